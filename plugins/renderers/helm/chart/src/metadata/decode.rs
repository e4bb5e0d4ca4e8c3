//! Reading `Chart.yaml` and the lock files as Go reads them into its structs.
//!
//! Keys match without regard to case, numbers and booleans become texts where a text belongs, null leaves a field as it
//! is, and unknown keys are ignored.

use std::collections::BTreeMap;

use pintle_gotemplate::Value;
use thiserror::Error;

use super::{Dependency, Maintainer, Metadata};
use crate::{lock::Lock, values::noun, yaml::float_text};

/// A field has the wrong type.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Something else than what belongs there.
    #[error("cannot unmarshal {found} into field {field} of type {wanted}")]
    Type {
        /// The path of the field.
        field: String,
        /// What is there: `a list`.
        found: &'static str,
        /// Go's name of what belongs there: `string`.
        wanted: &'static str,
    },
    /// Nothing between two items of a list.
    #[error("validation: {0} must not contain empty or null nodes")]
    NullItem(&'static str),
}

/// Where a value is, for messages.
#[derive(Clone, Copy)]
struct Field<'a> {
    of: &'a str,
    name: &'a str,
}

impl Field<'_> {
    fn wrong(self, value: &Value, wanted: &'static str) -> DecodeError {
        DecodeError::Type {
            field: format!("{}.{}", self.of, self.name),
            found: noun(value),
            wanted,
        }
    }
}

impl Metadata {
    /// Takes over what a document says; fields that it does not name stay.
    pub(crate) fn read(&mut self, document: &Value) -> Result<(), DecodeError> {
        each(document, "Metadata", |field, value| {
            match field.name {
                "name" => text(field, value, &mut self.name)?,
                "home" => text(field, value, &mut self.home)?,
                "sources" => texts(field, value, &mut self.sources)?,
                "version" => text(field, value, &mut self.version)?,
                "description" => text(field, value, &mut self.description)?,
                "keywords" => texts(field, value, &mut self.keywords)?,
                "maintainers" => self.maintainers = list(field, value, "maintainers", maintainer)?,
                "icon" => text(field, value, &mut self.icon)?,
                "apiversion" => text(field, value, &mut self.api_version)?,
                "condition" => text(field, value, &mut self.condition)?,
                "tags" => text(field, value, &mut self.tags)?,
                "appversion" => text(field, value, &mut self.app_version)?,
                "deprecated" => boolean(field, value, &mut self.deprecated)?,
                "annotations" => self.annotations = annotations(field, value)?,
                "kubeversion" => text(field, value, &mut self.kube_version)?,
                "dependencies" => {
                    self.dependencies = list(field, value, "dependencies", dependency)?;
                }
                "type" => text(field, value, &mut self.chart_type)?,
                _ => {}
            }
            Ok(())
        })
    }
}

/// Reads a lock file.
pub(crate) fn decode_lock(document: &Value) -> Result<Lock, DecodeError> {
    let mut lock = Lock::default();
    each(document, "Lock", |field, value| {
        match field.name {
            "digest" => text(field, value, &mut lock.digest)?,
            "dependencies" => lock.dependencies = list(field, value, "dependencies", dependency)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(lock)
}

fn maintainer(document: &Value) -> Result<Maintainer, DecodeError> {
    let mut read = Maintainer::default();
    each(document, "Maintainer", |field, value| match field.name {
        "name" => text(field, value, &mut read.name),
        "email" => text(field, value, &mut read.email),
        "url" => text(field, value, &mut read.url),
        _ => Ok(()),
    })?;
    Ok(read)
}

fn dependency(document: &Value) -> Result<Dependency, DecodeError> {
    let mut read = Dependency::default();
    each(document, "Dependency", |field, value| match field.name {
        "name" => text(field, value, &mut read.name),
        "version" => text(field, value, &mut read.version),
        "repository" => text(field, value, &mut read.repository),
        "condition" => text(field, value, &mut read.condition),
        "tags" => texts(field, value, &mut read.tags),
        "enabled" => boolean(field, value, &mut read.enabled),
        "alias" => text(field, value, &mut read.alias),
        "import-values" => match value {
            Value::Nil => Ok(()),
            Value::List(items) => {
                read.import_values = items.iter().map(|item| as_floats(&item)).collect();
                Ok(())
            }
            other => Err(field.wrong(other, "[]interface {}")),
        },
        _ => Ok(()),
    })?;
    Ok(read)
}

/// Gives every key of a document, in lower case, with its value. Null is an empty document.
fn each(
    document: &Value,
    of: &str,
    mut read: impl FnMut(Field<'_>, &Value) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let entries = match document {
        Value::Nil => return Ok(()),
        Value::Map(map) => map.entries(),
        other => {
            return Err(DecodeError::Type {
                field: of.to_owned(),
                found: noun(other),
                wanted: "struct",
            });
        }
    };
    for (key, value) in entries {
        let name = key.to_str_lossy().to_ascii_lowercase();
        let field = Field { of, name: &name };
        read(field, &value)?;
    }
    Ok(())
}

fn text(field: Field<'_>, value: &Value, into: &mut String) -> Result<(), DecodeError> {
    if let Some(text) = as_text(field, value)? {
        *into = text;
    }
    Ok(())
}

fn as_text(field: Field<'_>, value: &Value) -> Result<Option<String>, DecodeError> {
    Ok(Some(match value {
        Value::Nil => return Ok(None),
        Value::String(text) => text.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => float_text(*number),
        other => return Err(field.wrong(other, "string")),
    }))
}

fn texts(field: Field<'_>, value: &Value, into: &mut Vec<String>) -> Result<(), DecodeError> {
    match value {
        Value::Nil => into.clear(),
        Value::List(items) => {
            *into = items
                .iter()
                .map(|item| Ok(as_text(field, &item)?.unwrap_or_default()))
                .collect::<Result<_, _>>()?;
        }
        other => return Err(field.wrong(other, "[]string")),
    }
    Ok(())
}

fn boolean(field: Field<'_>, value: &Value, into: &mut bool) -> Result<(), DecodeError> {
    match value {
        Value::Nil => {}
        Value::Bool(value) => *into = *value,
        other => return Err(field.wrong(other, "bool")),
    }
    Ok(())
}

fn list<T>(
    field: Field<'_>,
    value: &Value,
    name: &'static str,
    read: fn(&Value) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    match value {
        Value::Nil => Ok(Vec::new()),
        Value::List(items) => items
            .iter()
            .map(|item| match item {
                Value::Nil => Err(DecodeError::NullItem(name)),
                item => read(&item),
            })
            .collect(),
        other => Err(field.wrong(other, "list")),
    }
}

fn annotations(
    field: Field<'_>,
    value: &Value,
) -> Result<Option<BTreeMap<String, String>>, DecodeError> {
    match value {
        Value::Nil => Ok(None),
        Value::Map(entries) => {
            let mut annotations = BTreeMap::new();
            for (key, value) in entries.entries() {
                let text = as_text(field, &value)?.unwrap_or_default();
                annotations.insert(key.to_string(), text);
            }
            Ok(Some(annotations))
        }
        other => Err(field.wrong(other, "map[string]string")),
    }
}

/// Makes integers floats, as JSON in between makes them.
fn as_floats(value: &Value) -> Value {
    match value {
        Value::Int(number) => Value::Float(number.to_f64()),
        Value::List(items) => Value::list(items.iter().map(|item| as_floats(&item)).collect()),
        Value::Map(entries) => {
            let entries = entries.entries().into_iter();
            Value::Map(
                entries
                    .map(|(key, value)| (key, as_floats(&value)))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}
