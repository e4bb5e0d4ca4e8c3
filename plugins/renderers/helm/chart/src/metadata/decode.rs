//! Decodes `Chart.yaml` and the lock files as Go decodes them into its structs.
//!
//! Keys match regardless of case, numbers and booleans become strings where a string is expected, null leaves a field unchanged,
//! and unknown keys are ignored.

use std::collections::BTreeMap;

use pintle_gotemplate::Value;
use thiserror::Error;

use super::{Dependency, Maintainer, Metadata};
use crate::{
    lock::{self, Lock},
    values::noun,
    yaml::float_text,
};

/// A field has the wrong type.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The value does not have the expected type.
    #[error("cannot unmarshal {found} into field {field} of type {wanted}")]
    Type {
        /// The path of the field.
        field: String,
        /// The actual value: `a list`.
        found: &'static str,
        /// Go's name of the expected type: `string`.
        wanted: &'static str,
    },
    /// A list has a null item.
    #[error("validation: {0} must not contain empty or null nodes")]
    NullItem(String),
    /// The value is not a time.
    #[error("parsing time {0:?}: it is no time as of RFC 3339, such as 2006-01-02T15:04:05Z")]
    Time(String),
}

/// The location of a value, for messages.
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
    /// Applies the content of a document. Fields that it does not name stay, including those of list items.
    pub(crate) fn read(&mut self, document: &Value) -> Result<(), DecodeError> {
        each(document, "Metadata", |field, value| {
            match field.name {
                "name" => text(field, value, &mut self.name)?,
                "home" => text(field, value, &mut self.home)?,
                "sources" => texts(field, value, &mut self.sources)?,
                "version" => text(field, value, &mut self.version)?,
                "description" => text(field, value, &mut self.description)?,
                "keywords" => texts(field, value, &mut self.keywords)?,
                "maintainers" => list(field, value, &mut self.maintainers, maintainer)?,
                "icon" => text(field, value, &mut self.icon)?,
                "apiversion" => text(field, value, &mut self.api_version)?,
                "condition" => text(field, value, &mut self.condition)?,
                "tags" => text(field, value, &mut self.tags)?,
                "appversion" => text(field, value, &mut self.app_version)?,
                "deprecated" => boolean(field, value, &mut self.deprecated)?,
                "annotations" => annotations(field, value, &mut self.annotations)?,
                "kubeversion" => text(field, value, &mut self.kube_version)?,
                "dependencies" => {
                    list(field, value, &mut self.dependencies, dependency)?;
                    self.has_dependencies = !matches!(value, Value::Nil);
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
            "generated" => check_time(field, value)?,
            "digest" => text(field, value, &mut lock.digest)?,
            "dependencies" => list(field, value, &mut lock.dependencies, dependency)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(lock)
}

fn maintainer(document: &Value, read: &mut Maintainer) -> Result<(), DecodeError> {
    each(document, "Maintainer", |field, value| match field.name {
        "name" => text(field, value, &mut read.name),
        "email" => text(field, value, &mut read.email),
        "url" => text(field, value, &mut read.url),
        _ => Ok(()),
    })
}

fn dependency(document: &Value, read: &mut Dependency) -> Result<(), DecodeError> {
    each(document, "Dependency", |field, value| match field.name {
        "name" => text(field, value, &mut read.name),
        "version" => text(field, value, &mut read.version),
        "repository" => text(field, value, &mut read.repository),
        "condition" => text(field, value, &mut read.condition),
        "tags" => texts(field, value, &mut read.tags),
        "enabled" => boolean(field, value, &mut read.enabled),
        "alias" => text(field, value, &mut read.alias),
        "import-values" => match value {
            Value::Nil => {
                read.import_values.clear();
                Ok(())
            }
            Value::List(items) => {
                read.import_values = items.iter().map(|item| as_floats(&item)).collect();
                Ok(())
            }
            other => Err(field.wrong(other, "[]interface {}")),
        },
        _ => Ok(()),
    })
}

/// Visits every key of a document, in lowercase, with its value. Null is an empty document.
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
            into.resize(items.len(), String::new());
            for (item, into) in items.iter().zip(into) {
                text(field, &item, into)?;
            }
        }
        other => return Err(field.wrong(other, "[]string")),
    }
    Ok(())
}

/// The time at which a lock file was made is not used, but Helm parses it.
fn check_time(field: Field<'_>, value: &Value) -> Result<(), DecodeError> {
    match value {
        Value::Nil => Ok(()),
        Value::String(text) if lock::is_time(text) => Ok(()),
        Value::String(text) => Err(DecodeError::Time(text.to_string())),
        other => Err(field.wrong(other, "time.Time")),
    }
}

fn boolean(field: Field<'_>, value: &Value, into: &mut bool) -> Result<(), DecodeError> {
    match value {
        Value::Nil => {}
        Value::Bool(value) => *into = *value,
        other => return Err(field.wrong(other, "bool")),
    }
    Ok(())
}

/// Reads each item over the existing one at the same index, as Go does.
fn list<T: Default>(
    field: Field<'_>,
    value: &Value,
    into: &mut Vec<T>,
    read: fn(&Value, &mut T) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    match value {
        Value::Nil => into.clear(),
        Value::List(items) => {
            into.resize_with(items.len(), T::default);
            for (item, into) in items.iter().zip(into) {
                if matches!(item, Value::Nil) {
                    return Err(DecodeError::NullItem(field.name.to_owned()));
                }
                read(&item, into)?;
            }
        }
        other => return Err(field.wrong(other, "list")),
    }
    Ok(())
}

/// Keys that are not named stay.
fn annotations(
    field: Field<'_>,
    value: &Value,
    into: &mut Option<BTreeMap<String, String>>,
) -> Result<(), DecodeError> {
    match value {
        Value::Nil => *into = None,
        Value::Map(entries) => {
            let annotations = into.get_or_insert_default();
            for (key, value) in entries.entries() {
                let text = as_text(field, &value)?.unwrap_or_default();
                annotations.insert(key.to_string(), text);
            }
        }
        other => return Err(field.wrong(other, "map[string]string")),
    }
    Ok(())
}

/// Converts integers to floats, as the intermediate JSON does.
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
