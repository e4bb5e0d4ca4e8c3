//! Checks values against `values.schema.json`: JSON Schema drafts 4, 6, 7, 2019-09 and 2020-12.
//!
//! The rules follow the library that Helm uses: what a valid schema is, what a valid value is, which draft applies if a schema
//! names none (2020-12), and when `format` is checked (up to draft 7).
//!
//! # Where the results are not the library's
//!
//! - Schemas on the network are not fetched. A value that such a schema applies to counts as valid, with a warning. The same
//!   holds for the metaschemas, which are built into Helm.
//! - `$recursiveRef` and `$dynamicRef` lead to the same place as `$ref`, from wherever they are reached.
//! - A schema nests at most 128 deep, and has no lone surrogates and no numbers beyond a `float64`.
//! - The compiled patterns of a schema take at most 32 MiB.

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

/// A value does not satisfy the schema of a chart, or the schema is invalid.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{chart}: {}{message}", at(.path))]
pub struct SchemaError {
    /// The chart to which the schema belongs.
    pub chart: String,
    /// The keys and indices that lead to the value within the values of the root chart.
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

/// Formats a path as in templates and after `--set`: `image.tags[0]`.
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
    /// Returns the path as written in templates and after `--set`: `image.tags[0]`. It is empty for the values as a whole.
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

/// Problems with values, and where they are.
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

/// Parses JSON as Go does: with a replacement character for each byte that is not UTF-8.
fn parsed(schema: &[u8]) -> Result<Json, serde_json::Error> {
    if let Ok(schema) = std::str::from_utf8(schema) {
        return serde_json::from_str(schema);
    }
    let schema: String = rune::runes(schema).map(|rune| rune.char).collect();
    serde_json::from_str(&schema)
}

#[cfg(test)]
mod tests;
