//! `eq`, `lt` and related functions.

use std::{cmp::Ordering, mem};

use crate::{
    complex::Complex,
    function::FunctionError,
    print,
    value::{Int, Kind, Text, Value},
};

/// A value of one of the types that Go's templates can order or compare.
enum Basic<'a> {
    Bool(bool),
    Int(Int),
    Float(f64),
    String(&'a Text),
    Complex(Complex),
    /// Any other value, or no value.
    Other,
}

/// Returns the plain value of an object whose Go type is a named boolean, number or string type.
fn plain(value: &Value) -> Option<Value> {
    match value {
        Value::Object(object) => match object.go_type().kind() {
            Kind::Bool | Kind::Int(_) | Kind::Float64 | Kind::String => Some(object.to_plain()),
            _ => None,
        },
        _ => None,
    }
}

fn basic(value: &Value) -> Basic<'_> {
    match value {
        Value::Bool(value) => Basic::Bool(*value),
        Value::Int(int) => Basic::Int(*int),
        Value::Float(number) => Basic::Float(*number),
        Value::String(text) => Basic::String(text),
        Value::Object(_) => value
            .downcast()
            .map_or(Basic::Other, |complex| Basic::Complex(*complex)),
        Value::Nil | Value::List(_) | Value::Map(_) => Basic::Other,
    }
}

/// Implements `eq`: returns whether the first value equals any of the others.
pub(super) fn equal_any(first: &Value, others: &[Value]) -> Result<bool, FunctionError> {
    if others.is_empty() {
        return Err(FunctionError::new("missing argument for comparison"));
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(one: &Value, two: &Value) -> Result<bool, FunctionError> {
    let plains = (plain(one), plain(two));
    let (one_plain, two_plain) = (
        plains.0.as_ref().unwrap_or(one),
        plains.1.as_ref().unwrap_or(two),
    );
    let (basic_one, basic_two) = (basic(one_plain), basic(two_plain));
    #[expect(clippy::float_cmp, reason = "Go compares with == as well")]
    match (&basic_one, &basic_two) {
        (Basic::Int(one), Basic::Int(two)) => Ok(one.compare(*two) == Ordering::Equal),
        (Basic::Bool(one), Basic::Bool(two)) => Ok(one == two),
        (Basic::Float(one), Basic::Float(two)) => Ok(one == two),
        (Basic::String(one), Basic::String(two)) => Ok(one == two),
        (Basic::Complex(one), Basic::Complex(two)) => Ok(one == two),
        (Basic::Other, Basic::Other) => equal_others(one, two),
        _ if matches!(one, Value::Nil) || matches!(two, Value::Nil) => Ok(false),
        _ => Err(incompatible(one, two)),
    }
}

fn equal_others(one: &Value, two: &Value) -> Result<bool, FunctionError> {
    let (kind_one, kind_two) = (one.kind(), two.kind());
    if kind_one != kind_two && kind_one != Kind::Invalid && kind_two != Kind::Invalid {
        return Err(FunctionError::new(format_args!(
            "non-comparable types {}: {}, {}: {}",
            shown(one, b"%s"),
            one.go_type(),
            two.go_type(),
            shown(two, b"%v"),
        )));
    }
    if one.is_nil() || two.is_nil() {
        return Ok(one.is_nil() == two.is_nil());
    }
    match (one, two) {
        (_, Value::List(_) | Value::Map(_)) => Err(FunctionError::new(format_args!(
            "non-comparable type {}: {}",
            shown(two, b"%s"),
            two.go_type()
        ))),
        (Value::Object(one), Value::Object(two)) => Ok(one.equals(&**two)),
        _ => Ok(false),
    }
}

fn shown(value: &Value, format: &[u8]) -> String {
    match print::sprintf(format, std::slice::from_ref(value)) {
        Ok(text) => text.to_str_lossy().into_owned(),
        Err(error) => error.to_string(),
    }
}

fn incompatible(one: &Value, two: &Value) -> FunctionError {
    FunctionError::new(format_args!(
        "incompatible types for comparison: {} and {}",
        one.go_type(),
        two.go_type()
    ))
}

/// Implements `lt`.
pub(super) fn less(one: &Value, two: &Value) -> Result<bool, FunctionError> {
    order(one, two).map(|order| order == Some(Ordering::Less))
}

/// Implements `le`.
pub(super) fn less_or_equal(one: &Value, two: &Value) -> Result<bool, FunctionError> {
    order(one, two).map(|order| matches!(order, Some(Ordering::Less | Ordering::Equal)))
}

/// Compares two values. None if neither comes first and they are not equal either.
fn order(one: &Value, two: &Value) -> Result<Option<Ordering>, FunctionError> {
    let invalid = || FunctionError::new("invalid type for comparison");
    let plains = (plain(one), plain(two));
    let basics = (
        basic(plains.0.as_ref().unwrap_or(one)),
        basic(plains.1.as_ref().unwrap_or(two)),
    );
    match &basics {
        (Basic::Other, _) | (_, Basic::Other) => Err(invalid()),
        (Basic::Int(one), Basic::Int(two)) => Ok(Some(one.compare(*two))),
        (Basic::Float(one), Basic::Float(two)) => Ok(one.partial_cmp(two)),
        (Basic::String(one), Basic::String(two)) => Ok(Some(one.cmp(two))),
        // The remaining pairs of the same group cannot be ordered: booleans and complex numbers.
        (one, two) if mem::discriminant(one) == mem::discriminant(two) => Err(invalid()),
        _ => Err(incompatible(one, two)),
    }
}
