//! Values that are equal as JSON: `1` is `1.0`.

use std::cmp::Ordering;

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

/// A value in a message: a text in quotes, a number as it is written.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", text.to_str_lossy()),
        Value::Float(number) => number.to_string(),
        Value::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}
