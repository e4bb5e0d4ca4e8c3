//! Go's `time.Duration`: nanoseconds.

use thiserror::Error;

pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// The text is not a duration. The messages are Go's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum DurationError {
    #[error("time: invalid duration {0}")]
    Invalid(String),
    #[error("time: missing unit in duration {0}")]
    MissingUnit(String),
    #[error("time: unknown unit {0} in duration {1}")]
    UnknownUnit(String, String),
}

/// Parses like Go's `time.ParseDuration`.
pub(crate) fn parse(text: &[u8]) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(super::parse_time::quote(text));
    let (negative, mut rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    match rest {
        b"0" => return Ok(0),
        b"" => return Err(invalid()),
        _ => {}
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, digits, after) = leading_int(rest).ok_or_else(invalid)?;
        let (mut fraction, mut scale, mut decimals) = (0, 1.0, 0);
        rest = after;
        if let [b'.', after @ ..] = rest {
            (fraction, scale, decimals) = leading_fraction(after);
            rest = &after[decimals..];
        }
        if digits == 0 && decimals == 0 {
            return Err(invalid());
        }
        let end = rest
            .iter()
            .position(|byte| *byte == b'.' || byte.is_ascii_digit());
        let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        if name.is_empty() {
            return Err(DurationError::MissingUnit(super::parse_time::quote(text)));
        }
        let unit = unit(name).ok_or_else(|| {
            let quote = super::parse_time::quote;
            DurationError::UnknownUnit(quote(name), quote(text))
        })?;
        if whole > (1 << 63) / unit {
            return Err(invalid());
        }
        let mut part = whole * unit;
        if fraction > 0 {
            part += fraction_of(fraction, unit, scale);
        }
        total = total.wrapping_add(part);
        if part > 1 << 63 || total > 1 << 63 {
            return Err(invalid());
        }
    }
    if negative {
        return Ok(0i64.wrapping_sub_unsigned(total));
    }
    i64::try_from(total).map_err(|_| invalid())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "Go computes the same way; at most an hour in nanoseconds"
)]
fn fraction_of(fraction: u64, unit: u64, scale: f64) -> u64 {
    (fraction as f64 * (unit as f64 / scale)) as u64
}

fn unit(name: &[u8]) -> Option<u64> {
    let nanoseconds = match name {
        b"ns" => 1,
        b"us" | b"\xC2\xB5s" | b"\xCE\xBCs" => 1_000,
        b"ms" => 1_000_000,
        b"s" => SECOND,
        b"m" => MINUTE,
        b"h" => HOUR,
        _ => return None,
    };
    u64::try_from(nanoseconds).ok()
}

/// Returns the number at the start, the number of its digits, and the rest; None if the number is too large.
pub(super) fn leading_int(text: &[u8]) -> Option<(u64, usize, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    let mut value: u64 = 0;
    for digit in number {
        value = value
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))
            .filter(|&value| value <= 1 << 63)?;
    }
    Some((value, digits, rest))
}

/// Returns the digits after a point as a number, the power of ten that they are fractions of, and their count. Digits that do not
/// fit are ignored.
fn leading_fraction(text: &[u8]) -> (u64, f64, usize) {
    let (mut value, mut scale, mut full) = (0u64, 1.0, false);
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let mut count = 0;
    for digit in digits {
        count += 1;
        if full || value > ((1 << 63) - 1) / 10 {
            full = true;
            continue;
        }
        let next = value * 10 + u64::from(digit - b'0');
        if next > 1 << 63 {
            full = true;
            continue;
        }
        value = next;
        scale *= 10.0;
    }
    (value, scale, count)
}

/// Formats like Go's `Duration.String`: `72h3m0.5s`, with a smaller unit for short durations.
pub(crate) fn to_string(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let with_fraction = |whole: u64, fraction: u64, places: usize| {
        let fraction = format!("{fraction:0places$}");
        let fraction = fraction.trim_end_matches('0');
        let dot = if fraction.is_empty() { "" } else { "." };
        format!("{whole}{dot}{fraction}")
    };
    let split = |unit: u64| (total / unit, total % unit);
    match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{total}ns"),
        1_000..1_000_000 => {
            let (whole, rest) = split(1_000);
            format!("{sign}{}µs", with_fraction(whole, rest, 3))
        }
        1_000_000..1_000_000_000 => {
            let (whole, rest) = split(1_000_000);
            format!("{sign}{}ms", with_fraction(whole, rest, 6))
        }
        _ => {
            let (seconds, rest) = split(SECOND.unsigned_abs());
            let minutes = seconds / 60;
            let hours = match minutes / 60 {
                0 => String::new(),
                hours => format!("{hours}h"),
            };
            let minutes = match (minutes, minutes % 60) {
                (0, _) => String::new(),
                (_, minutes) => format!("{minutes}m"),
            };
            format!(
                "{sign}{hours}{minutes}{}s",
                with_fraction(seconds % 60, rest, 9)
            )
        }
    }
}

/// Truncates toward zero to a multiple, like Go's `Duration.Truncate`.
pub(crate) fn truncate(nanoseconds: i64, multiple: i64) -> i64 {
    if multiple <= 0 {
        return nanoseconds;
    }
    nanoseconds - nanoseconds % multiple
}

/// Rounds to the nearest multiple like Go's `Duration.Round`, with halves away from zero; as near as 64 bits allow.
pub(crate) fn round(nanoseconds: i64, multiple: i64) -> i64 {
    if multiple <= 0 {
        return nanoseconds;
    }
    let rest = nanoseconds % multiple;
    let down = nanoseconds - rest;
    if rest.unsigned_abs() * 2 < multiple.unsigned_abs() {
        return down;
    }
    if nanoseconds < 0 {
        down.checked_sub(multiple).unwrap_or(i64::MIN)
    } else {
        down.checked_add(multiple).unwrap_or(i64::MAX)
    }
}

/// Converts like Go's `Duration.Seconds` and similar methods: whole units and the rest are converted separately.
#[expect(clippy::cast_precision_loss, reason = "Go converts in the same way")]
pub(crate) fn in_units(nanoseconds: i64, unit: i64) -> f64 {
    (nanoseconds / unit) as f64 + (nanoseconds % unit) as f64 / unit as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_written_as_in_go() {
        let cases = [
            ("0", "0s"),
            ("1h", "1h0m0s"),
            ("90m", "1h30m0s"),
            ("1.5h", "1h30m0s"),
            ("-1m0.5s", "-1m0.5s"),
            (".5s", "500ms"),
            ("1.0000000001s", "1s"),
            ("1us", "1µs"),
            ("1500ns", "1.5µs"),
            ("2540400h10m10s", "2540400h10m10s"),
            ("-9223372036854775808ns", "-2562047h47m16.854775808s"),
        ];
        for (text, expected) in cases {
            let parsed = parse(text.as_bytes());
            assert_eq!(parsed.map(to_string).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn errors_are_go_s() {
        let cases = [
            ("", "time: invalid duration \"\""),
            ("x", "time: invalid duration \"x\""),
            ("1", "time: missing unit in duration \"1\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("3000000h", "time: invalid duration \"3000000h\""),
            (".s", "time: invalid duration \".s\""),
        ];
        for (text, expected) in cases {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn rounded_to_multiples() {
        assert_eq!(round(90 * SECOND, MINUTE), 2 * MINUTE);
        assert_eq!(round(-90 * SECOND, MINUTE), -2 * MINUTE);
        assert_eq!(round(89 * SECOND, MINUTE), MINUTE);
        assert_eq!(round(i64::MAX, HOUR), i64::MAX);
        assert_eq!(round(5, 0), 5);
        assert_eq!(truncate(-90 * SECOND, MINUTE), -MINUTE);
    }
}
