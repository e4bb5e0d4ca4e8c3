//! The meaning of plain scalars: YAML 1.1 with the changes of the Go library.

use super::time::is_timestamp;

/// The meaning of a plain scalar without a tag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// A whole number above `i64::MAX`.
    Uint(u64),
    Float(f64),
    /// A text that looks like a date. It is read as a string, but written in quotes.
    Timestamp,
    Text,
}

/// Resolves a scalar. `timestamps` determines whether a text that looks like a date is one. Under the tag of a number, it is not.
pub(crate) fn resolve(text: &[u8], timestamps: bool) -> Scalar {
    let Some(&first) = text.first() else {
        return Scalar::Null;
    };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => word(text),
        b'.' => match special_float(text) {
            Some(number) => Scalar::Float(number),
            None => fraction(text).map_or(Scalar::Text, Scalar::Float),
        },
        b'+' | b'-' | b'0'..=b'9' => number(text, timestamps),
        _ => Scalar::Text,
    }
}

/// Resolves the words for booleans and null.
fn word(text: &[u8]) -> Scalar {
    if text.len() > 5 {
        return Scalar::Text;
    }
    match text {
        b"y" | b"Y" | b"yes" | b"Yes" | b"YES" | b"true" | b"True" | b"TRUE" | b"on" | b"On"
        | b"ON" => Scalar::Bool(true),
        b"n" | b"N" | b"no" | b"No" | b"NO" | b"false" | b"False" | b"FALSE" | b"off" | b"Off"
        | b"OFF" => Scalar::Bool(false),
        b"~" | b"null" | b"Null" | b"NULL" => Scalar::Null,
        _ => Scalar::Text,
    }
}

fn special_float(text: &[u8]) -> Option<f64> {
    match text {
        b".nan" | b".NaN" | b".NAN" => Some(f64::NAN),
        b".inf" | b".Inf" | b".INF" | b"+.inf" | b"+.Inf" | b"+.INF" => Some(f64::INFINITY),
        b"-.inf" | b"-.Inf" | b"-.INF" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Resolves a text that begins with a digit or a sign.
fn number(text: &[u8], timestamps: bool) -> Scalar {
    // Most numbers are short and decimal.
    if text.len() < 19 && text[0] != b'0' && text.iter().all(u8::is_ascii_digit) {
        return Scalar::Int(text.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0')));
    }
    if let Some(number) = special_float(text) {
        return Scalar::Float(number);
    }
    if timestamps && is_timestamp(text) {
        return Scalar::Timestamp;
    }
    // All forms consist of these characters. This rules out most other texts that begin like a number.
    if !text.iter().all(|b| {
        b.is_ascii_hexdigit() || matches!(b, b'+' | b'-' | b'.' | b'_' | b'x' | b'X' | b'o' | b'O')
    }) {
        return Scalar::Text;
    }
    let without;
    let plain = if text.contains(&b'_') {
        without = text
            .iter()
            .copied()
            .filter(|&b| b != b'_')
            .collect::<Vec<_>>();
        &without[..]
    } else {
        text
    };
    if let Some(found) = integer(plain) {
        return found;
    }
    if is_float(plain)
        && let Some(number) = parse_float(plain)
    {
        return Scalar::Float(number);
    }
    odd_binary(plain)
}

/// Parses what Go's `ParseInt` and `ParseUint` accept with base 0: a prefix or a leading zero determines the base.
fn integer(text: &[u8]) -> Option<Scalar> {
    let (negative, signed, digits) = match text {
        [b'-', rest @ ..] => (true, true, rest),
        [b'+', rest @ ..] => (false, true, rest),
        _ => (false, false, text),
    };
    let (base, digits) = match digits {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', b'o' | b'O', rest @ ..] => (8, rest),
        [b'0', b'b' | b'B', rest @ ..] => (2, rest),
        [b'0', rest @ ..] if !rest.is_empty() => (8, rest),
        _ => (10, digits),
    };
    let magnitude = magnitude(digits, base)?;
    if negative {
        return (magnitude <= 1 << 63).then(|| Scalar::Int(0i64.wrapping_sub_unsigned(magnitude)));
    }
    match i64::try_from(magnitude) {
        Ok(number) => Some(Scalar::Int(number)),
        Err(_) if signed => None,
        Err(_) => Some(Scalar::Uint(magnitude)),
    }
}

/// Parses a number that consists only of digits.
fn magnitude(digits: &[u8], base: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &digit| {
        let digit = char::from(digit).to_digit(base)?;
        number
            .checked_mul(u64::from(base))?
            .checked_add(u64::from(digit))
    })
}

/// Parses `0b` followed by a sign, a remnant of an older way to read binary numbers.
fn odd_binary(text: &[u8]) -> Scalar {
    let Some(digits) = text.strip_prefix(b"0b") else {
        return Scalar::Text;
    };
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => return Scalar::Text,
    };
    let Some(magnitude) = magnitude(digits, 2) else {
        return Scalar::Text;
    };
    if negative && magnitude <= 1 << 63 {
        Scalar::Int(0i64.wrapping_sub_unsigned(magnitude))
    } else {
        match i64::try_from(magnitude) {
            Ok(number) if !negative => Scalar::Int(number),
            _ => Scalar::Text,
        }
    }
}

/// Returns whether version 3 of the library reads the text as an additional kind of octal number: `0o+7`.
pub(crate) fn is_odd_octal(text: &[u8]) -> bool {
    let digits = text
        .iter()
        .copied()
        .filter(|&b| b != b'_')
        .collect::<Vec<_>>();
    let Some([b'+' | b'-', digits @ ..]) = digits.strip_prefix(b"0o") else {
        return false;
    };
    magnitude(digits, 8).is_some_and(|n| i64::try_from(n).is_ok())
}

/// Matches `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_float(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let text = match text {
        [b'+' | b'-', rest @ ..] => rest,
        _ => text,
    };
    let whole = digits(text);
    let mut rest = &text[whole..];
    if let [b'.', after @ ..] = rest {
        let fraction = digits(after);
        if whole + fraction == 0 {
            return false;
        }
        rest = &after[fraction..];
    } else if whole == 0 {
        return false;
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    }
}

/// Parses what Go's `ParseFloat` accepts in a text that begins with a dot. Underscores may separate digits.
fn fraction(text: &[u8]) -> Option<f64> {
    if !text.contains(&b'_') {
        return is_float(text).then(|| parse_float(text))?;
    }
    let between_digits = text.iter().enumerate().all(|(at, &byte)| {
        byte != b'_'
            || (at > 0
                && text[at - 1].is_ascii_digit()
                && text.get(at + 1).is_some_and(u8::is_ascii_digit))
    });
    let plain: Vec<u8> = text.iter().copied().filter(|&b| b != b'_').collect();
    (between_digits && is_float(&plain)).then(|| parse_float(&plain))?
}

/// Parses a number; None if it is too large, which Go considers an error.
pub(crate) fn parse_float(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// Matches `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`: base-60 numbers, which other readers support.
pub(crate) fn is_base_60(text: &[u8]) -> bool {
    let mut rest = match text {
        [b'+' | b'-', rest @ ..] => rest,
        _ => text,
    };
    if !rest.first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let number = |b: &u8| b.is_ascii_digit() || *b == b'_';
    rest = &rest[rest.iter().take_while(|b| number(b)).count()..];
    let mut groups = 0;
    while let [b':', after @ ..] = rest {
        rest = match after {
            [b'0'..=b'5', b'0'..=b'9', rest @ ..] | [b'0'..=b'9', rest @ ..] => rest,
            _ => return false,
        };
        groups += 1;
    }
    groups > 0
        && match rest {
            [] => true,
            [b'.', fraction @ ..] => fraction.iter().all(number),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let cases: [(&str, Scalar); 27] = [
            ("0", Scalar::Int(0)),
            ("-0", Scalar::Int(0)),
            ("0777", Scalar::Int(511)),
            ("0o17", Scalar::Int(15)),
            ("08", Scalar::Float(8.0)),
            ("0x1F", Scalar::Int(31)),
            ("-0b11", Scalar::Int(-3)),
            ("0b-11", Scalar::Int(-3)),
            ("1_000", Scalar::Int(1000)),
            ("1e3", Scalar::Float(1000.0)),
            ("1.", Scalar::Float(1.0)),
            (".5", Scalar::Float(0.5)),
            (".5_0", Scalar::Float(0.5)),
            ("._5", Scalar::Text),
            ("+.5", Scalar::Float(0.5)),
            (".", Scalar::Text),
            ("1e400", Scalar::Text),
            ("-", Scalar::Text),
            ("+", Scalar::Text),
            ("9223372036854775808", Scalar::Uint(1 << 63)),
            ("-9223372036854775808", Scalar::Int(i64::MIN)),
            (
                "+9223372036854775808",
                Scalar::Float(9_223_372_036_854_775_808.0),
            ),
            (
                "18446744073709551616",
                Scalar::Float(18_446_744_073_709_551_616.0),
            ),
            ("2001-01-01", Scalar::Timestamp),
            ("1e", Scalar::Text),
            ("1:30", Scalar::Text),
            ("-.inf", Scalar::Float(f64::NEG_INFINITY)),
        ];
        for (text, expected) in cases {
            assert_eq!(resolve(text.as_bytes(), true), expected, "{text}");
        }
    }

    #[test]
    fn base_60() {
        for text in ["1:30", "+1_0:59:59.5_", "0:0", "1:9."] {
            assert!(is_base_60(text.as_bytes()), "{text}");
        }
        for text in ["1:60", "1:", ":30", "1", "a:1", "1:30x", "_1:3"] {
            assert!(!is_base_60(text.as_bytes()), "{text}");
        }
    }
}
