//! Compares the written output, byte for byte.

use pintle_goencoding::{error::WriteError, json, yaml};
use pintle_gotemplate::Value;
use proptest::prelude::*;

use crate::{
    oracle::{self, Answer, sample},
    values,
};

pub(crate) type Write = fn(&Value, &mut Vec<u8>) -> Result<(), WriteError>;

pub(crate) fn compare(op: &str, write: Write, values: &[Value]) {
    let questions: Vec<_> = values
        .iter()
        .map(|value| oracle::writing(op, value))
        .collect();
    let mut differences = Vec::new();
    for (value, answer) in values.iter().zip(oracle::ask(&questions)) {
        let mut ours = Vec::new();
        let result = write(value, &mut ours);
        let same = match (&result, &answer) {
            (Ok(()), Answer::Text(text)) => ours == text.0,
            // The oracle leaves out empty texts.
            (Ok(()), Answer::Value(Value::Nil)) => ours.is_empty(),
            (Err(error), Answer::Error(text)) => {
                text.ends_with(&error.to_string()) || same_refusal(text, error)
            }
            _ => false,
        };
        if !same && !left_to_chance(op, value) {
            differences.push(format!(
                "{value:?}\n  ours:   {} {result:?}\n  theirs: {answer:?}",
                ours.escape_ascii()
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{op}: {} of {} differ; the shortest:\n{}",
        differences.len(),
        values.len(),
        {
            differences.sort_by_key(String::len);
            differences.truncate(8);
            differences.join("\n")
        }
    );
}

/// Returns whether the library itself has more than one answer, because its key order is not always consistent.
fn left_to_chance(op: &str, value: &Value) -> bool {
    let again: Vec<_> = std::iter::repeat_n(oracle::writing(op, value), 50).collect();
    let mut answers = oracle::ask(&again)
        .into_iter()
        .map(|answer| format!("{answer:?}"));
    let first = answers.next();
    answers.any(|answer| Some(answer) != first)
}

/// If there are several reasons to refuse a value, each side may name a different one.
fn same_refusal(theirs: &str, _ours: &WriteError) -> bool {
    theirs.contains("yaml: ") || theirs.contains("json: unsupported value")
}

fn to_yaml(value: &Value, out: &mut Vec<u8>) -> Result<(), WriteError> {
    yaml::write(value, yaml::Flavor::Plain, out)?;
    out.pop_if(|byte| *byte == b'\n');
    Ok(())
}

fn to_yaml_pretty(value: &Value, out: &mut Vec<u8>) -> Result<(), WriteError> {
    yaml::write(value, yaml::Flavor::Pretty, out)?;
    out.pop_if(|byte| *byte == b'\n');
    Ok(())
}

fn to_json(value: &Value, out: &mut Vec<u8>) -> Result<(), WriteError> {
    json::write(value, json::Layout::default(), out)
}

const COUNT: usize = 8_000;

fn strings() -> Vec<Value> {
    sample(values::nasty().prop_map(Value::string), COUNT)
}

#[test]
fn yaml_of_strings() {
    compare("toYaml", to_yaml, &strings());
}

#[test]
fn yaml_of_values() {
    compare("toYaml", to_yaml, &sample(values::value(), COUNT));
    compare("toYaml", to_yaml, &sample(values::map(), COUNT));
}

#[test]
fn pretty_yaml() {
    compare("toYamlPretty", to_yaml_pretty, &strings());
    compare(
        "toYamlPretty",
        to_yaml_pretty,
        &sample(values::value(), COUNT),
    );
}

#[test]
fn json_of_values() {
    compare("toJson", to_json, &strings());
    compare("toJson", to_json, &sample(values::value(), COUNT));
    let pretty: Write = |value, out| {
        json::write(
            value,
            json::Layout {
                pretty: true,
                ..Default::default()
            },
            out,
        )
    };
    compare("toPrettyJson", pretty, &sample(values::value(), COUNT / 4));
    let raw: Write = |value, out| {
        json::write(
            value,
            json::Layout {
                raw: true,
                ..Default::default()
            },
            out,
        )
    };
    compare("toRawJson", raw, &strings());
}
