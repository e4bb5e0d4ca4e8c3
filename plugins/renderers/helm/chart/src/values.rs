//! Values: their sources, and how they are combined.

pub mod coalesce;
pub mod set;

use pintle_goencoding::functions::must_to_yaml;
use pintle_gotemplate::{
    Function, FunctionError, Kind, List, Map, Named, Text, Type, Value,
    value::{Entries, MAX_NESTING},
};

/// The Go type of a chart's values, of `.` in templates, and of `.Template`.
pub static VALUES: Named = Named {
    name: "common.Values",
    kind: Kind::Map,
    underlying: Some(Type::ANY_MAP),
    methods: METHODS,
};

const METHODS: &[Function] = &[
    Function::method("AsMap", &[], |_, args| {
        let values = args.map(0)?;
        Ok(if values.is_empty() {
            Map::new().into()
        } else {
            values.converted(Type::ANY_MAP).into()
        })
    }),
    Function::method("YAML", &[], |_, args| {
        let text = must_to_yaml(&Value::Map(args.map(0)?.clone())).map_err(FunctionError::new)?;
        // The function removes the line feed at the end, but Go's method does not.
        let mut text = text.to_vec();
        text.push(b'\n');
        Ok(Value::string(text))
    }),
    Function::method("Table", &[Type::String], |_, args| {
        let path = args.text(1)?.to_str_lossy();
        let found = lookup_table(args.map(0)?, path.split('.'));
        let table =
            found.map_err(|key| FunctionError::new(format_args!("{key:?} is not a table")))?;
        Ok(table.converted(Type::Named(&VALUES)).into())
    }),
    Function::method("PathValue", &[Type::String], |_, args| {
        path_value(args.map(0)?, &args.text(1)?.to_str_lossy())
    }),
];

/// Returns the table at a path, or the key at which there is none.
fn lookup_table<'a>(values: &Map, path: impl Iterator<Item = &'a str>) -> Result<Map, &'a str> {
    let mut table = values.clone();
    for key in path {
        table = match table.get(key.as_bytes()) {
            Some(Value::Map(inner)) => inner,
            _ => return Err(key),
        };
    }
    Ok(table)
}

fn path_value(values: &Map, path: &str) -> Result<Value, FunctionError> {
    if path.is_empty() {
        return Err(FunctionError::new("YAML path cannot be empty"));
    }
    let none = |key: &str| FunctionError::new(format_args!("{key:?} is not a value"));
    let (above, key) = match path.rsplit_once('.') {
        Some((above, key)) => (
            lookup_table(values, above.split('.')).map_err(|_| none(key))?,
            key,
        ),
        None => (values.clone(), path),
    };
    match above.get(key.as_bytes()) {
        None | Some(Value::Map(_)) => Err(none(key)),
        Some(value) => Ok(value),
    }
}

/// Converts a JSON value as Go decodes it into an `interface{}`: every number is a `float64`.
pub fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => (*value).into(),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => text.as_str().into(),
        serde_json::Value::Array(items) => Value::list(items.iter().map(from_json).collect()),
        serde_json::Value::Object(entries) => {
            let entries = entries.iter();
            Value::Map(
                entries
                    .map(|(key, value)| (key.as_str(), from_json(value)))
                    .collect(),
            )
        }
    }
}

/// Converts a JSON value with whole numbers preserved, as the API server reads objects.
pub fn from_json_exact(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::int64(number),
            (None, Some(number)) => Value::uint64(number),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::Array(items) => Value::list(items.iter().map(from_json_exact).collect()),
        serde_json::Value::Object(entries) => {
            let entries = entries.iter();
            let entries = entries.map(|(key, value)| (key.as_str(), from_json_exact(value)));
            Value::Map(entries.collect())
        }
        other => from_json(other),
    }
}

/// Converts a value to JSON. Null stands for what JSON cannot represent.
pub fn to_json(value: &Value) -> serde_json::Value {
    to_json_within(value, MAX_NESTING)
}

fn to_json_within(value: &Value, depth: usize) -> serde_json::Value {
    let Some(depth) = depth.checked_sub(1) else {
        return serde_json::Value::Null;
    };
    match value {
        Value::Nil | Value::Object(_) => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(int) => match int.as_i64() {
            Some(int) => int.into(),
            None => int.wrapping_u64().into(),
        },
        Value::Float(float) => (*float).into(),
        Value::String(text) => text.to_str_lossy().into(),
        Value::List(list) => {
            let items = list.items();
            items
                .iter()
                .map(|item| to_json_within(item, depth))
                .collect()
        }
        Value::Map(map) => {
            let entries = map.borrow();
            let entries = entries.iter().map(|(key, value)| {
                (
                    key.to_str_lossy().into_owned(),
                    to_json_within(value, depth),
                )
            });
            serde_json::Value::Object(entries.collect())
        }
    }
}

/// Describes the type of a value with its article, for messages.
pub(crate) fn noun(value: &Value) -> &'static str {
    match value {
        Value::Nil => "null",
        Value::Bool(_) => "a boolean",
        Value::Int(_) | Value::Float(_) => "a number",
        Value::String(_) => "a string",
        Value::List(_) => "a list",
        Value::Map(_) | Value::Object(_) => "a table",
    }
}

/// Returns a copy that shares no table with the original, so neither sees writes to the other.
///
/// Lists without tables, and texts, never change, so both share them.
pub(crate) fn deep_copy(map: &Map) -> Map {
    copy_map(map, MAX_NESTING)
}

fn copy_map(map: &Map, depth: usize) -> Map {
    let mut copied = Entries::clone(&map.borrow());
    for value in copied.values_mut().filter(|value| holds_tables(value)) {
        *value = copy(value, depth);
    }
    Map::with_entries(map.go_type(), copied)
}

fn copy(value: &Value, depth: usize) -> Value {
    // Values nested deeper than this are refused wherever they are used.
    let Some(depth) = depth.checked_sub(1) else {
        return value.clone();
    };
    match value {
        Value::Map(map) => Value::Map(copy_map(map, depth)),
        Value::List(list) if list.items().iter().any(holds_tables) => {
            let items = list.items();
            let items = items.iter().map(|item| copy(item, depth)).collect();
            Value::List(List::typed(list.go_type(), items))
        }
        other => other.clone(),
    }
}

fn holds_tables(value: &Value) -> bool {
    matches!(value, Value::Map(_) | Value::List(_))
}

/// Merges one source of a user's values over another. Tables are merged, everything else is replaced, and null is kept.
///
/// The result shares what comes from only one of the two.
#[must_use]
pub fn merge(below: &Map, above: &Map) -> Map {
    let merged = below.shallow_copy();
    for (key, value) in above.entries() {
        let value = match (merged.get(&key), &value) {
            (Some(Value::Map(under)), Value::Map(over)) => Value::Map(merge(&under, over)),
            _ => value,
        };
        put(&merged, key, value);
    }
    merged
}

/// Returns the table at a dot-separated path of keys, if each of them is a table.
pub(crate) fn table(values: &Map, path: &str) -> Option<Map> {
    lookup_table(values, path.split('.')).ok()
}

/// Returns the value at a dot-separated path of keys, if it exists and is not a table.
pub(crate) fn at_path(values: &Map, path: &str) -> Option<Value> {
    path_value(values, path).ok()
}

/// Stores a value in a table of values. These are never nil maps.
pub(crate) fn put(table: &Map, key: impl Into<Text>, value: Value) {
    table
        .insert(key, value)
        .expect("tables of values are never nil maps");
}
