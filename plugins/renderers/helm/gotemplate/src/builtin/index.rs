//! `len`, `index` and `slice`.

use crate::{
    function::{FunctionError, prepare},
    value::{Int, IntKind, Kind, Type, Value},
};

/// Returns the plain value of an object that is a slice or map.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(object)
            if matches!(
                object.go_type().kind(),
                Kind::Slice | Kind::Map | Kind::String
            ) =>
        {
            object.to_plain()
        }
        other => other.clone(),
    }
}

fn int(number: usize) -> Value {
    Value::int(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(super) fn len(item: &Value) -> Result<Value, FunctionError> {
    match plain(item) {
        Value::String(text) => Ok(int(text.len())),
        Value::List(list) => Ok(int(list.len())),
        Value::Map(map) => Ok(int(map.len())),
        Value::Nil => Err(FunctionError::new("len of nil pointer")),
        other => Err(FunctionError::new(format_args!(
            "len of type {}",
            other.go_type()
        ))),
    }
}

pub(super) fn index(item: &Value, indexes: &[Value]) -> Result<Value, FunctionError> {
    if matches!(item, Value::Nil) {
        return Err(FunctionError::new("index of untyped nil"));
    }
    let mut item = plain(item);
    for index in indexes {
        item = match &item {
            Value::Nil => return Err(FunctionError::new("index of nil pointer")),
            Value::String(text) => {
                let at = position(index, text.len())?;
                let byte = text.get(at).copied().ok_or_else(|| outside("string"))?;
                Value::Int(Int::new(IntKind::Uint8, byte.into()))
            }
            Value::List(list) => {
                let at = position(index, list.len())?;
                list.get(at).ok_or_else(|| outside("slice"))?
            }
            Value::Map(map) => {
                let key = prepare(index.clone(), Type::String)?;
                let found = key.as_text().and_then(|key| map.get(key));
                found.unwrap_or_else(|| Value::zero(map.go_type().elem()))
            }
            other => {
                return Err(FunctionError::new(format_args!(
                    "can't index item of type {}",
                    other.go_type()
                )));
            }
        };
        item = plain(&item);
    }
    Ok(item)
}

/// Returns the message of the panic in Go's reflection for an index directly after the end.
fn outside(what: &str) -> FunctionError {
    FunctionError::new(format_args!("reflect: {what} index out of range"))
}

/// Reads an index from 0 to `end`.
fn position(index: &Value, end: usize) -> Result<usize, FunctionError> {
    let int = match index {
        Value::Int(int) => int,
        Value::Nil => {
            return Err(FunctionError::new("cannot index slice/array with nil"));
        }
        other => {
            return Err(FunctionError::new(format_args!(
                "cannot index slice/array with type {}",
                other.go_type()
            )));
        }
    };
    let number = int.wrapping_i64();
    usize::try_from(number)
        .ok()
        .filter(|number| *number <= end)
        .ok_or_else(|| FunctionError::new(format_args!("index out of range: {number}")))
}

pub(super) fn slice(item: &Value, indexes: &[Value]) -> Result<Value, FunctionError> {
    if matches!(item, Value::Nil) {
        return Err(FunctionError::new("slice of untyped nil"));
    }
    if indexes.len() > 3 {
        return Err(FunctionError::new(format_args!(
            "too many slice indexes: {}",
            indexes.len()
        )));
    }
    let item = plain(item);
    let len = match &item {
        Value::String(_) if indexes.len() == 3 => {
            return Err(FunctionError::new("cannot 3-index slice a string"));
        }
        Value::String(text) => text.len(),
        Value::List(list) => list.len(),
        other => {
            return Err(FunctionError::new(format_args!(
                "can't slice item of type {}",
                other.go_type()
            )));
        }
    };
    let mut bounds = [0, len, len];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, len)?;
    }
    let [from, to, cap] = bounds;
    for (low, high) in [(from, to), (to, cap)] {
        if low > high {
            return Err(FunctionError::new(format_args!(
                "invalid slice index: {low} > {high}"
            )));
        }
    }
    Ok(match item {
        Value::String(text) => Value::string(&text[from..to]),
        Value::List(list) => list.slice(from..to).map_or(Value::Nil, Value::List),
        other => other,
    })
}
