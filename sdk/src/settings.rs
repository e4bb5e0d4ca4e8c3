//! Settings: their schema, and one way to parse them for every call.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::{Plugin, Problem};

/// Returns the JSON Schema 2020-12 of settings.
pub(crate) fn schema<S: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<S>()
        .to_value()
}

/// Parses settings and has the plugin validate them, so that no call ever works with invalid settings.
pub(crate) fn parse<T: Plugin>(text: &str) -> Result<T::Settings, Vec<Problem>> {
    let json: Value = serde_json::from_str(text).map_err(|error| {
        vec![Problem::new(format!("settings are not JSON: {error}")).pointer("")]
    })?;
    // Derived structs also accept a list of their fields' values, which is not intended here.
    if !json.is_object() {
        return Err(vec![
            Problem::new(format!("settings are {}, not an object", noun(&json))).pointer(""),
        ]);
    }
    let settings: T::Settings = serde_path_to_error::deserialize(json).map_err(|error| {
        vec![Problem::new(error.inner().to_string()).pointer(pointer(error.path()))]
    })?;
    let problems = T::validate(&settings);
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(problems)
    }
}

fn noun(json: &Value) -> &'static str {
    match json {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Returns the RFC 6901 pointer of a path.
///
/// Enum variants are not part of the document, or appear as separate keys.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}
