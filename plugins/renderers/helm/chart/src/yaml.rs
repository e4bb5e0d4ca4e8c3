//! Reads YAML as Helm's library (`sigs.k8s.io/yaml`) does.

use std::borrow::Cow;

use pintle_goencoding::yaml::{self, Document, Numbers};
use pintle_gotemplate::{Map, Value};
use thiserror::Error;

use crate::values::{merge, noun};

/// Why a YAML document cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum YamlError {
    /// The document is malformed, or contains something that JSON cannot represent.
    #[error("error converting YAML to JSON: {0}")]
    Malformed(yaml::YamlError),
    /// Text follows `---`.
    #[error("invalid Yaml document separator: {0}")]
    Separator(String),
    /// The document is not a table.
    #[error("values must be a table, and here is {0}")]
    NoTable(&'static str),
}

impl YamlError {
    /// Returns the line, from 1, if it is known.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Malformed(error) => error.place().map(|place| place.line),
            Self::Separator(_) | Self::NoTable(_) => None,
        }
    }
}

/// Reads the first document into JSON, with integers preserved, and returns the values under some of its keys.
pub(crate) fn read_object(text: &[u8], keys: &[&[u8]]) -> Result<(String, Value), YamlError> {
    let document = Document::new(text);
    let mut json = Vec::with_capacity(text.len());
    let kept = document
        .write_json_keeping(keys, &mut json)
        .map_err(YamlError::Malformed)?;
    let json = String::from_utf8(json).expect("what is no character is replaced in JSON");
    Ok((json, kept))
}

/// Reads the first document with numbers as written, for structs with string fields.
pub(crate) fn read_written(text: &[u8]) -> Result<Value, YamlError> {
    let document = Document::new(text);
    document
        .to_value(Numbers::AsWritten)
        .map_err(YamlError::Malformed)
}

/// Reads the first document with every number as a `float64`, as in values.
pub(crate) fn read(text: &[u8]) -> Result<Value, YamlError> {
    let document = Document::new(text);
    document
        .to_value(Numbers::Float)
        .map_err(YamlError::Malformed)
}

/// Formats a number as Go's YAML library writes it into a string: `strconv.FormatFloat` with `g` and 32 bits.
pub(crate) fn float_text(number: f64) -> String {
    let mut text = Vec::new();
    pintle_goencoding::float::write_general_32(number, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Reads a file of values: tables in one or more documents, later ones over earlier ones.
pub fn read_values(text: &[u8]) -> Result<Map, YamlError> {
    // As in Helm. Otherwise a block text in the last line would end without a line feed.
    let ended = match text.last() {
        None | Some(b'\n') => Cow::Borrowed(text),
        Some(_) => Cow::Owned([text, b"\n"].concat()),
    };
    let mut values = Map::new();
    for document in documents(&ended)? {
        match read(document)? {
            Value::Nil => {}
            Value::Map(table) if values.is_empty() => values = table,
            Value::Map(table) => values = merge(&values, &table),
            other => return Err(YamlError::NoTable(noun(&other))),
        }
    }
    Ok(values)
}

/// Returns the documents of a file of values. A line that begins with `---` separates them, even inside a string.
fn documents(text: &[u8]) -> Result<Vec<&[u8]>, YamlError> {
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let next = at + line.len();
        if let Some(behind) = line.strip_prefix(b"---") {
            let behind = behind.trim_ascii();
            if !behind.is_empty() && !behind.starts_with(b"#") {
                let behind = String::from_utf8_lossy(behind).into_owned();
                return Err(YamlError::Separator(behind));
            }
            if at > start {
                found.push(&text[start..at]);
                start = next;
            }
        }
        at = next;
    }
    if at > start {
        found.push(&text[start..at]);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_where_helm_splits() {
        let split = |text: &'static str| {
            let documents = documents(text.as_bytes()).map_err(|error| error.to_string())?;
            let texts = documents.into_iter().map(String::from_utf8_lossy);
            Ok::<_, String>(texts.collect::<Vec<_>>())
        };
        assert_eq!(split(""), Ok(vec![]));
        assert_eq!(split("a: 1"), Ok(vec!["a: 1".into()]));
        // The first separator stays with the document after it.
        assert_eq!(
            split("---\na: 1\n---\nb: 1\n"),
            Ok(vec!["---\na: 1\n".into(), "b: 1\n".into()])
        );
        assert_eq!(
            split("a: 1\n--- # b\nb: 1"),
            Ok(vec!["a: 1\n".into(), "b: 1".into()])
        );
        assert_eq!(
            split("a: 1\n--- b"),
            Err("invalid Yaml document separator: b".into())
        );
    }

    #[test]
    fn later_documents_win() {
        let values = read_values(b"a: {b: 1, c: 2}\n---\na: {c: 3}\n---\n").expect("good YAML");
        let expected = read_values(b"a: {b: 1, c: 3}").expect("good YAML");
        assert_eq!(Value::from(values), Value::from(expected));
        let error = read_values(b"- a").expect_err("a list");
        assert_eq!(
            error.to_string(),
            "values must be a table, and here is a list"
        );
    }
}
