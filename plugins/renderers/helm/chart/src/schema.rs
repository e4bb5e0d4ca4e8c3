//! Checking values against `values.schema.json`: JSON Schema drafts 4, 6, 7, 2019-09 and 2020-12.
//!
//! What is a schema, what is valid, which draft holds where a schema names none (2020-12), and when `format` is checked
//! (up to draft 7) follow the library that Helm uses.
//!
//! # Where the results are not the library's
//!
//! - Schemas on the network are not fetched: what refers to one is taken for valid, with a warning. So it is with the
//!   metaschemas, which Helm has built in.
//! - `$recursiveRef` and `$dynamicRef` lead where `$ref` does, from wherever they are come to.
//! - A schema nests 128 deep at most, has no halves of surrogate pairs, and no numbers beyond a `float64`.
//! - The patterns of a schema take 32 MiB at most once they are compiled.

mod compiled;
mod document;
mod format;
mod keywords;
mod number;
mod validate;

use pintle_gotemplate::{Map, Value, rune};
use serde_json::Value as Json;
use thiserror::Error;

use crate::{chart::Chart, values::noun, warning::Warnings};
use document::Document;
use validate::Validator;

/// A value is not what the schema of a chart asks for; or the schema is no schema.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{chart}: {}{message}", at(.path))]
pub struct SchemaError {
    /// The chart whose schema it is.
    pub chart: String,
    /// The keys and indices that lead to the value in the values of the root chart.
    pub path: Vec<String>,
    /// What is wrong with it.
    pub message: String,
}

fn at(path: &[String]) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("at {}: ", dotted(path))
    }
}

/// A path as it is written in templates and after `--set`: `image.tags[0]`.
fn dotted(path: &[String]) -> String {
    let mut text = String::new();
    for key in path {
        if !text.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()) {
            text.extend(["[", key, "]"]);
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(key);
    }
    text
}

impl SchemaError {
    /// The path as it is written in templates and after `--set`: `image.tags[0]`; empty for all values together.
    pub fn dotted_path(&self) -> String {
        dotted(&self.path)
    }
}

/// Checks the values of a chart and its subcharts.
pub(crate) fn check(chart: &Chart, values: &Map, warnings: &mut Warnings) -> Vec<SchemaError> {
    let mut errors = Vec::new();
    descend(chart, values, &mut Vec::new(), &mut errors, warnings);
    errors
}

fn descend(
    chart: &Chart,
    values: &Map,
    path: &mut Vec<String>,
    errors: &mut Vec<SchemaError>,
    warnings: &mut Warnings,
) {
    if let Some(schema) = &chart.schema {
        let problems = one(chart.name(), schema, values, warnings);
        errors.extend(problems.into_iter().map(|(inner, message)| SchemaError {
            chart: chart.name().to_owned(),
            path: path.iter().cloned().chain(inner).collect(),
            message,
        }));
    }
    for subchart in &chart.dependencies {
        path.push(subchart.name().to_owned());
        match values.get(subchart.name().as_bytes()) {
            None | Some(Value::Nil) => {}
            Some(Value::Map(inner)) => descend(subchart, &inner, path, errors, warnings),
            Some(other) => errors.push(SchemaError {
                chart: subchart.name().to_owned(),
                path: path.clone(),
                message: format!("the values must be a table, and here is {}", noun(&other)),
            }),
        }
        path.pop();
    }
}

/// What is wrong with values, and where.
type Problems = Vec<(Vec<String>, String)>;

/// Checks values against one schema.
fn one(chart: &str, schema: &[u8], values: &Map, warnings: &mut Warnings) -> Problems {
    let of_schema = |message: String| (Vec::new(), format!("values.schema.json {message}"));
    let schema = match parsed(schema) {
        Ok(schema) => schema,
        Err(error) => return vec![of_schema(format!("is not JSON: {error}"))],
    };
    let document = match Document::new(&schema) {
        Ok(document) => document,
        Err(messages) => return messages.into_iter().map(of_schema).collect(),
    };
    let mut validator = Validator::new(&document);
    let problems = validator.run(&Value::Map(values.clone()));
    for reference in validator.into_skipped() {
        warnings.add(format_args!(
            "the schema of the chart {chart:?} refers to {reference:?}, which is not fetched: what it asks for is not checked"
        ));
    }
    problems
}

/// JSON as Go reads it: with a replacement character for each byte that is not UTF-8.
fn parsed(schema: &[u8]) -> Result<Json, serde_json::Error> {
    if let Ok(schema) = std::str::from_utf8(schema) {
        return serde_json::from_str(schema);
    }
    let schema: String = rune::runes(schema).map(|rune| rune.char).collect();
    serde_json::from_str(&schema)
}

#[cfg(test)]
mod tests;
