//! Type conversions as the library `cast` makes them for sprig. No conversion fails, and a value that has no number becomes 0.

use pintle_gotemplate::{FunctionError, Text, Type, Value, print};

use crate::{
    dates::{Month, Weekday},
    go::{float, number},
};

/// Converts like `cast.ToInt64` and `cast.ToInt`, which are the same on 64-bit machines.
pub(crate) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(int) => int.wrapping_i64(),
        Value::Float(number) => number::float_to_int(*number),
        Value::Bool(value) => (*value).into(),
        Value::String(text) => {
            number::parse_int(without_zero_decimals(text), 0).unwrap_or_default()
        }
        Value::Object(_) => named_int(value).unwrap_or_default(),
        Value::Nil | Value::List(_) | Value::Map(_) => 0,
    }
}

/// Converts like `cast.ToFloat64`.
#[expect(
    clippy::cast_precision_loss,
    reason = "months and days of the week are small"
)]
pub(crate) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Int(int) => int.to_f64(),
        Value::Float(number) => *number,
        Value::Bool(value) => (*value).into(),
        Value::String(text) => float::parse(text).unwrap_or_default(),
        Value::Object(_) => named_int(value).unwrap_or_default() as f64,
        Value::Nil | Value::List(_) | Value::Map(_) => 0.0,
    }
}

/// Returns the number of a month or weekday. These are the only named integer types that `cast` knows; to it, even a
/// `time.Duration` is 0.
fn named_int(value: &Value) -> Option<i64> {
    let month = value.downcast::<Month>().map(|month| month.0.into());
    month.or_else(|| value.downcast::<Weekday>().map(|day| day.0.into()))
}

/// Returns `12.00` without the part after the 12, if that contains only zeros.
fn without_zero_decimals(text: &[u8]) -> &[u8] {
    match text.iter().rposition(|&byte| byte != b'0') {
        Some(dot) if text[dot] == b'.' && dot + 1 < text.len() => &text[..dot],
        _ => text,
    }
}

/// Converts like sprig's `strval`: a string as it is, and anything else as printed.
pub(crate) fn to_text(value: &Value) -> Result<Text, FunctionError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::List(list) if list.go_type() == Type::BYTES => {
            Ok(list.as_bytes().cloned().unwrap_or_default())
        }
        other => printed(other),
    }
}

/// Returns what `%v` prints.
pub(crate) fn printed(value: &Value) -> Result<Text, FunctionError> {
    print::value(value).map_err(FunctionError::new)
}

/// Converts like sprig's `strslice`: the items of a list as strings, without those that are nil; any other value by itself.
pub(crate) fn to_texts(value: &Value) -> Result<Vec<Text>, FunctionError> {
    match value {
        Value::Nil => Ok(Vec::new()),
        Value::List(list) => {
            let items = list.items();
            let items = items.iter().filter(|item| !matches!(item, Value::Nil));
            items.map(to_text).collect()
        }
        other => Ok(vec![to_text(other)?]),
    }
}

/// Returns sprig's `empty`: whether the value is the zero of its type, or has nothing inside. A struct is never empty.
pub(crate) fn is_empty(value: &Value) -> bool {
    !value.is_true()
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "exact results are what is tested")]
mod tests {
    use super::*;
    use pintle_gotemplate::List;

    #[test]
    fn integers_from_anything() {
        let cases = [
            (Value::from("12.00"), 12),
            ("12.".into(), 0),
            ("0x10".into(), 16),
            ("010".into(), 8),
            ("1_000".into(), 1000),
            ("12.5".into(), 0),
            ("100".into(), 100),
            ("".into(), 0),
            (true.into(), 1),
            (1e300.into(), i64::MIN),
            ((-2.9).into(), -2),
            (Value::Nil, 0),
            (Value::uint64(u64::MAX), -1),
            (List::strings(["1"]).into(), 0),
        ];
        for (value, expected) in cases {
            assert_eq!(to_int(&value), expected, "{value:?}");
        }
    }

    #[test]
    fn floats_from_anything() {
        assert_eq!(to_float(&"12.5".into()), 12.5);
        assert_eq!(to_float(&"0x1p4".into()), 16.0);
        assert_eq!(to_float(&" 1".into()), 0.0);
        assert_eq!(
            to_float(&Value::uint64(u64::MAX)),
            1.844_674_407_370_955_2e19
        );
    }
}
