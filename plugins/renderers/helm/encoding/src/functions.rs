//! The template functions of Helm and sprig with these names, as plain functions.
//!
//! Helm's `toX` return something in nearly every case, even if that is an empty string. `mustToX` stop the template. Times and
//! objects are written in their plain form, except that `toYamlPretty` writes their fields.

use pintle_gotemplate::{List, Map, Text, Type, Value};
use thiserror::Error;

use crate::{
    error::WriteError,
    json::{self, JsonError, Layout, Partial},
    toml::{self, DateTime},
    yaml::{self, Document, Flavor, Numbers, YamlError},
};

/// Implements `toYaml`. Returns an empty string for a value that cannot be written.
pub fn to_yaml(value: &Value) -> Text {
    must_to_yaml(value).unwrap_or_default()
}

/// Implements `mustToYaml`.
pub fn must_to_yaml(value: &Value) -> Result<Text, WriteError> {
    yaml(value, Flavor::Plain)
}

/// Implements `toYamlPretty`. Returns an empty string for a value that cannot be written, except that functions and the like stop
/// the template.
pub fn to_yaml_pretty(value: &Value) -> Result<Text, WriteError> {
    match yaml(value, Flavor::Pretty) {
        Err(error @ WriteError::Marshal { .. }) => Err(error),
        result => Ok(result.unwrap_or_default()),
    }
}

fn yaml(value: &Value, flavor: Flavor) -> Result<Text, WriteError> {
    let mut out = Vec::new();
    yaml::write(value, flavor, &mut out)?;
    out.pop_if(|byte| *byte == b'\n');
    Ok(out.into())
}

/// Implements Helm's `toJson`. Returns an empty string for a value that cannot be written.
pub fn to_json(value: &Value) -> Text {
    must_to_json(value).unwrap_or_default()
}

/// Implements `mustToJson`.
pub fn must_to_json(value: &Value) -> Result<Text, WriteError> {
    json(value, Layout::default())
}

/// Implements sprig's `toPrettyJson`. Returns an empty string for a value that cannot be written.
pub fn to_pretty_json(value: &Value) -> Text {
    must_to_pretty_json(value).unwrap_or_default()
}

/// Implements sprig's `mustToPrettyJson`.
pub fn must_to_pretty_json(value: &Value) -> Result<Text, WriteError> {
    json(
        value,
        Layout {
            pretty: true,
            raw: false,
        },
    )
}

/// Implements sprig's `toRawJson` and `mustToRawJson`, which both stop the template on an error.
pub fn must_to_raw_json(value: &Value) -> Result<Text, WriteError> {
    json(
        value,
        Layout {
            pretty: false,
            raw: true,
        },
    )
}

fn json(value: &Value, layout: Layout) -> Result<Text, WriteError> {
    let mut out = Vec::new();
    json::write(value, layout, &mut out)?;
    Ok(out.into())
}

/// Implements Helm's `fromJson`, which stores an error in the text under the key `Error`.
pub fn from_json(text: &[u8]) -> Map {
    match json::read_as(text, Type::ANY_MAP) {
        Ok(Partial {
            value: Value::Map(map),
            error,
        }) => match error {
            None => map,
            Some(error) => with_error(map, &error),
        },
        Ok(_) => Map::new(),
        Err(error) => with_error(Map::new(), &error),
    }
}

/// Implements Helm's `fromJsonArray`, which returns an error in the text as the only item.
pub fn from_json_array(text: &[u8]) -> List {
    match json::read_as(text, Type::ANY_SLICE) {
        Ok(Partial {
            value: Value::List(list),
            error: None,
        }) => list,
        Ok(Partial { error: None, .. }) => List::new(Vec::new()),
        Ok(Partial {
            error: Some(error), ..
        })
        | Err(error) => only_error(&error),
    }
}

/// Implements sprig's `mustFromJson`.
pub fn must_from_json(text: &[u8]) -> Result<Value, JsonError> {
    json::read(text)
}

/// Implements Helm's `fromYaml`, which stores an error in the text under the key `Error`.
pub fn from_yaml(text: &[u8]) -> Map {
    match read_yaml(text, Type::ANY_MAP) {
        Ok(Value::Map(map)) => map,
        Ok(_) => Map::new(),
        Err(error) => with_error(Map::new(), &error),
    }
}

/// Implements Helm's `fromYamlArray`, which returns an error in the text as the only item.
pub fn from_yaml_array(text: &[u8]) -> List {
    match read_yaml(text, Type::ANY_SLICE) {
        Ok(Value::List(list)) => list,
        Ok(_) => List::new(Vec::new()),
        Err(error) => only_error(&error),
    }
}

/// Implements Helm's `toToml`, which returns the error message in place of the text. Only a missing value stops the template.
pub fn to_toml(value: &Value) -> Result<Text, WriteError> {
    match must_to_toml(value) {
        Err(error) if error != WriteError::NoValue => Ok(error.to_string().into()),
        result => result,
    }
}

/// Implements Helm's `mustToToml`.
pub fn must_to_toml(value: &Value) -> Result<Text, WriteError> {
    let mut out = Vec::new();
    toml::write(value, &mut out)?;
    Ok(out.into())
}

/// Implements Helm's `fromToml`, which stores an error in the text under the key `Error`. `time` converts times to values.
pub fn from_toml(text: &[u8], time: &dyn Fn(&DateTime) -> Value) -> Map {
    match toml::read(text, time) {
        Ok(Value::Map(map)) => map,
        Ok(_) => Map::new(),
        Err(error) => with_error(Map::new(), &error),
    }
}

/// Why YAML does not have the expected type. The messages are those of `sigs.k8s.io/yaml`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReadYamlError {
    /// The text is not YAML, or contains something that JSON cannot hold.
    #[error("error converting YAML to JSON: {0}")]
    Yaml(YamlError),
    /// The value does not have the requested type.
    #[error("error unmarshaling JSON: while decoding JSON: {0}")]
    Type(JsonError),
}

/// Reads the first document like `yaml.Unmarshal` into a map or list of type `expected`. Returns nil if it is empty or null.
///
/// Numbers become `float64`.
pub fn read_yaml(text: &[u8], expected: Type) -> Result<Value, ReadYamlError> {
    let value = Document::new(text)
        .to_value(Numbers::Float)
        .map_err(ReadYamlError::Yaml)?;
    json::expect(&value, expected).map_err(ReadYamlError::Type)?;
    Ok(value)
}

fn with_error(map: Map, error: &dyn std::error::Error) -> Map {
    // The maps passed here are never nil.
    map.insert("Error", error.to_string().into()).ok();
    map
}

fn only_error(error: &dyn std::error::Error) -> List {
    List::new(vec![error.to_string().into()])
}
