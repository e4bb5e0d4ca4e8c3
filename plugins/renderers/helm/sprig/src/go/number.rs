//! Go's `strconv.ParseInt`, `ParseUint` and `Atoi`, and the conversion of floats to integers.

/// Why a text is not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberError {
    /// The text does not have the form of a number.
    Syntax,
    /// The number does not fit 64 bits. This is the nearest one that does.
    Range(i64),
}

/// Parses like Go's `strconv.ParseInt(text, base, 64)`. Base 0 means that the prefix determines the base and `_` may separate
/// digits.
pub(crate) fn parse_int(text: &[u8], base: u32) -> Result<i64, NumberError> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let limit = if negative { i64::MIN } else { i64::MAX };
    match parse_uint(digits, base) {
        Ok(number) if negative => 0i64
            .checked_sub_unsigned(number)
            .ok_or(NumberError::Range(limit)),
        Ok(number) => i64::try_from(number).map_err(|_| NumberError::Range(limit)),
        Err(NumberError::Range(_)) => Err(NumberError::Range(limit)),
        Err(NumberError::Syntax) => Err(NumberError::Syntax),
    }
}

/// Parses like Go's `strconv.ParseUint(text, base, 64)`.
fn parse_uint(text: &[u8], base: u32) -> Result<u64, NumberError> {
    let (base, digits, underscores) = if base == 0 {
        let (base, digits) = split_base(text);
        (base, digits, true)
    } else {
        (base, text, false)
    };
    if digits.is_empty() || (underscores && !underscores_fit(text)) {
        return Err(NumberError::Syntax);
    }
    let mut number: Option<u64> = Some(0);
    for &byte in digits {
        if byte == b'_' && underscores {
            continue;
        }
        let digit = char::from(byte).to_digit(base).ok_or(NumberError::Syntax)?;
        number = number
            .and_then(|number| number.checked_mul(base.into()))
            .and_then(|number| number.checked_add(digit.into()));
    }
    number.ok_or(NumberError::Range(i64::MAX))
}

fn split_base(text: &[u8]) -> (u32, &[u8]) {
    match text {
        [b'0', b'x' | b'X', rest @ ..] if !rest.is_empty() => (16, rest),
        [b'0', b'b' | b'B', rest @ ..] if !rest.is_empty() => (2, rest),
        [b'0', b'o' | b'O', rest @ ..] | [b'0', rest @ ..] if !rest.is_empty() => (8, rest),
        _ => (10, text),
    }
}

/// Returns whether each `_` is between digits, or between a base's prefix and a digit.
pub(crate) fn underscores_fit(text: &[u8]) -> bool {
    let text = match text {
        [b'-' | b'+', rest @ ..] => rest,
        _ => text,
    };
    let (hexadecimal, rest, mut after_digit) = match text {
        [b'0', b'x' | b'X', rest @ ..] => (true, rest, true),
        [b'0', b'b' | b'B' | b'o' | b'O', rest @ ..] => (false, rest, true),
        _ => (false, text, false),
    };
    let mut after_underscore = false;
    for &byte in rest {
        let digit = byte.is_ascii_digit() || (hexadecimal && byte.is_ascii_hexdigit());
        if (byte == b'_' && !after_digit) || (byte != b'_' && !digit && after_underscore) {
            return false;
        }
        after_underscore = byte == b'_';
        after_digit = digit;
    }
    !after_underscore
}

/// Parses like Go's `strconv.Atoi` with errors ignored: 0 for a text that is not a number, and the nearest number for one that
/// exceeds 64 bits.
pub(crate) fn atoi(text: &[u8]) -> i64 {
    match parse_int(text, 10) {
        Ok(number) | Err(NumberError::Range(number)) => number,
        Err(NumberError::Syntax) => 0,
    }
}

/// Converts like Go's `int64(number)` on 64-bit processors: numbers that do not fit, including NaN, become the least number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked, and the fraction is to be cut"
)]
pub(crate) fn float_to_int(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&number) {
        number as i64
    } else {
        i64::MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_zero_reads_go_literals() {
        let cases: &[(&str, Result<i64, NumberError>)] = &[
            ("0x1F", Ok(31)),
            ("0b101", Ok(5)),
            ("0o17", Ok(15)),
            ("017", Ok(15)),
            ("-0x_10", Ok(-16)),
            ("1_000", Ok(1000)),
            ("1__0", Err(NumberError::Syntax)),
            ("_1", Err(NumberError::Syntax)),
            ("1_", Err(NumberError::Syntax)),
            ("08", Err(NumberError::Syntax)),
            ("0x", Err(NumberError::Syntax)),
            ("", Err(NumberError::Syntax)),
            ("+", Err(NumberError::Syntax)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(NumberError::Range(i64::MAX))),
            ("-99999999999999999999", Err(NumberError::Range(i64::MIN))),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_int(text.as_bytes(), 0), *expected, "{text}");
        }
        assert_eq!(parse_int(b"1_0", 10), Err(NumberError::Syntax));
        assert_eq!(atoi(b"99999999999999999999"), i64::MAX);
        assert_eq!(atoi(b"x"), 0);
    }

    #[test]
    fn floats_that_do_not_fit_become_the_least() {
        assert_eq!(float_to_int(1.9), 1);
        assert_eq!(float_to_int(-1.9), -1);
        assert_eq!(float_to_int(1e300), i64::MIN);
        assert_eq!(float_to_int(f64::NAN), i64::MIN);
    }
}
