//! Compares values as JSON: `1` equals `1.0`.

use std::{
    cmp::Ordering,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use pintle_gotemplate::Value;
use serde_json::Value as Json;

use super::super::number::Decimal;

pub(super) fn equals(value: &Value, json: &Json) -> bool {
    match (value, json) {
        (Value::Nil, Json::Null) => true,
        (Value::Bool(one), Json::Bool(other)) => one == other,
        (Value::String(text), Json::String(other)) => *text == other.as_str(),
        (Value::Int(_) | Value::Float(_), Json::Number(_)) => {
            let numbers = Decimal::of_value(value).zip(Decimal::of_json(json));
            numbers.is_some_and(|(one, other)| one.compare(other) == Ordering::Equal)
        }
        (Value::List(list), Json::Array(items)) => {
            list.len() == items.len()
                && list
                    .iter()
                    .zip(items)
                    .all(|(one, other)| equals(&one, other))
        }
        (Value::Map(map), Json::Object(entries)) => {
            map.len() == entries.len()
                && entries.iter().all(|(key, other)| {
                    map.get(key.as_bytes())
                        .is_some_and(|one| equals(&one, other))
                })
        }
        _ => false,
    }
}

pub(super) fn values_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::List(list), Value::List(others)) => {
            list.len() == others.len()
                && list
                    .iter()
                    .zip(others.iter())
                    .all(|(one, other)| values_equal(&one, &other))
        }
        (Value::Map(map), Value::Map(others)) => {
            map.len() == others.len()
                && map.entries().iter().all(|(key, one)| {
                    others
                        .get(key)
                        .is_some_and(|other| values_equal(one, &other))
                })
        }
        _ => match (Decimal::of_value(one), Decimal::of_value(other)) {
            (Some(one), Some(other)) => one.compare(other) == Ordering::Equal,
            (None, None) => one == other,
            _ => false,
        },
    }
}

/// Returns a number that is the same for equal values.
pub(super) fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    feed(value, &mut hasher);
    hasher.finish()
}

fn feed(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Nil => 0_u8.hash(hasher),
        Value::Bool(value) => (1_u8, value).hash(hasher),
        Value::Int(_) | Value::Float(_) => {
            let number = Decimal::of_value(value).map(Decimal::reduced);
            (2_u8, number).hash(hasher);
        }
        Value::String(text) => (3_u8, text).hash(hasher),
        Value::List(list) => {
            (4_u8, list.len()).hash(hasher);
            for item in list.iter() {
                feed(&item, hasher);
            }
        }
        Value::Map(map) => {
            (5_u8, map.len()).hash(hasher);
            for (key, value) in map.borrow().iter() {
                key.hash(hasher);
                feed(value, hasher);
            }
        }
        Value::Object(_) => 6_u8.hash(hasher),
    }
}

/// Formats a value for a message: a string in quotes, a number as written.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", text.to_str_lossy()),
        Value::Float(number) => number.to_string(),
        Value::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}
