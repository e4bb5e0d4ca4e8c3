//! The meaning of scalars by the rules of `sigs.k8s.io/yaml` (its `goyaml.v2`, `resolve.go`). These are the rules of YAML
//! 1.1 with changes: there are no sexagesimal numbers, and timestamps stay texts.

use serde_json::Number;

use crate::node::Value;

/// The tag prefix that `!!` stands for.
pub(crate) const CORE: &str = "tag:yaml.org,2002:";

/// The meaning of a scalar.
///
/// Unlike JSON, this distinguishes integers from floats and has infinities, because keys do, too.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// A whole number above `i64::MAX`.
    Uint(u64),
    Float(f64),
    Text,
}

/// Returns the value of a plain, untagged scalar with this text.
///
/// Infinities and `.nan`, which JSON cannot hold, stay texts.
pub fn resolve_plain(text: &str) -> Value {
    resolve(text).into_value().unwrap_or_else(|| Value::String {
        text: text.to_owned(),
        plain: true,
    })
}

impl Scalar {
    /// Returns the value; `None` for texts and for what JSON cannot hold.
    pub(crate) fn into_value(self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Number(value.into()),
            Self::Uint(value) => Value::Number(value.into()),
            Self::Float(value) => Value::Number(number(value)?),
            Self::Text => return None,
        })
    }

    /// Returns the short tag of the scalar's kind.
    pub(crate) fn tag(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::Uint(_) => "int",
            Self::Float(_) => "float",
            Self::Text => "str",
        }
    }
}

/// Returns the JSON number of a float; `None` for infinities and NaN.
///
/// A whole number becomes the integer of its shortest decimal form, because the API server refuses `1000.0` for an integer,
/// and Go writes that form, `1000`.
pub(crate) fn number(value: f64) -> Option<Number> {
    // Go writes floats from 1e21 on with an exponent. No integer type can hold them anyway.
    if value.fract() == 0.0 && value.abs() < 1e21 {
        let shortest = format!("{value}");
        if let Ok(value) = shortest.parse::<i64>() {
            return Some(value.into());
        }
        if let Ok(value) = shortest.parse::<u64>() {
            return Some(value.into());
        }
    }
    Number::from_f64(value)
}

/// Resolves a plain scalar without a tag.
pub(crate) fn resolve(text: &str) -> Scalar {
    match text.as_bytes().first() {
        None | Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~') => {
            word(text)
        }
        Some(b'.') => match word(text) {
            Scalar::Text => go_float(text),
            found => found,
        },
        Some(b'+' | b'-' | b'0'..=b'9') => match word(text) {
            Scalar::Text => go_number(text),
            found => found,
        },
        Some(_) => Scalar::Text,
    }
}

fn word(text: &str) -> Scalar {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => Scalar::Text,
    }
}

/// Resolves a text that begins with a digit or a sign.
///
/// Underscores are ignored. Integers of any base are tried first, then floats.
fn go_number(text: &str) -> Scalar {
    let plain: String = text.chars().filter(|&character| character != '_').collect();
    if let Some(value) = integer(&plain) {
        return value;
    }
    if is_float(&plain) {
        return finite(&plain);
    }
    // Accepting a sign after the prefix is an oddity of resolve.go that costs nothing to share.
    if let Some(digits) = plain.strip_prefix("0b") {
        return i64::from_str_radix(digits, 2).map_or(Scalar::Text, Scalar::Int);
    }
    Scalar::Text
}

/// Parses an integer as Go's `strconv.ParseInt(s, 0, 64)` does, then as `ParseUint` does.
fn integer(plain: &str) -> Option<Scalar> {
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(plain);
    let (radix, digits) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    if !digits.starts_with(|character: char| character.is_ascii_alphanumeric()) {
        return None;
    }
    let sign = if plain.starts_with('-') { "-" } else { "" };
    if let Ok(value) = i64::from_str_radix(&format!("{sign}{digits}"), radix) {
        return Some(Scalar::Int(value));
    }
    if unsigned.len() < plain.len() {
        return None;
    }
    u64::from_str_radix(digits, radix).ok().map(Scalar::Uint)
}

/// Returns whether the text matches `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`.
fn is_float(plain: &str) -> bool {
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(plain);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        ),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
        && !(whole.is_empty() && fraction.is_none_or(str::is_empty))
}

/// Parses a text that begins with `.` as Go's `strconv.ParseFloat` does: underscores are allowed between digits.
fn go_float(text: &str) -> Scalar {
    let bytes = text.as_bytes();
    let separates = |at: usize| {
        at > 0
            && bytes[at - 1].is_ascii_digit()
            && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
    };
    if (0..bytes.len()).any(|at| bytes[at] == b'_' && !separates(at)) {
        return Scalar::Text;
    }
    let plain = text.replace('_', "");
    if is_float(&plain) {
        finite(&plain)
    } else {
        Scalar::Text
    }
}

/// Parses a float. One that is too large for 64 bits is a text, because Go reports a range error for it.
fn finite(plain: &str) -> Scalar {
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() => Scalar::Float(value),
        _ => Scalar::Text,
    }
}

/// Returns the form of a float as a key: `strconv.FormatFloat(f, 'g', -1, 32)`, with YAML's words for the infinities.
pub(crate) fn float_key(value: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the key is the text of the 32-bit float"
    )]
    let value = value as f32;
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// Returns whether a boolean is spelled in a way that only YAML 1.1 knows.
pub(crate) fn is_old_boolean(text: &str) -> bool {
    matches!(resolve(text), Scalar::Bool(_))
        && !matches!(text.as_bytes()[0], b't' | b'T' | b'f' | b'F')
}

/// Returns whether a number is spelled in a way that texts can be too: a commit `12e5`, an identifier `1_000`.
pub(crate) fn is_odd_number(text: &str) -> bool {
    let hexadecimal = text.contains(['x', 'X']);
    text.contains('_')
        || (text.contains(['e', 'E']) && !text.contains(['.', '+', '-']) && !hexadecimal)
}

/// Returns whether a number is written as a whole number.
pub(crate) fn is_whole(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-')
}
