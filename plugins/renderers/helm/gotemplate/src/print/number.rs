//! Integers and floating-point numbers, formatted with the flags of a verb.

use super::{format_float, printer::Flags};
use crate::{
    rune::{Rune, is_printable},
    value::Int,
};

/// Formats an integer for `%d %b %o %O %x %X`, with sign, prefix and zeros, but without padding by spaces.
pub(super) fn integer(int: Int, verb: char, flags: &Flags) -> String {
    let negative = int.kind().is_signed() && int.wrapping_i64() < 0;
    let size = if negative {
        int.wrapping_i64().unsigned_abs()
    } else {
        int.wrapping_u64()
    };
    let sign = match (negative, flags.plus, flags.space) {
        (true, _, _) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    let least = match (flags.precision, flags.width) {
        (Some(0), _) if size == 0 => return String::new(),
        (Some(precision), _) => precision,
        (None, Some(width)) if flags.zero && !flags.minus => width - sign.len().min(width),
        _ => 0,
    };
    let digits = match verb {
        'b' => format!("{size:b}"),
        'o' | 'O' => format!("{size:o}"),
        'x' => format!("{size:x}"),
        'X' => format!("{size:X}"),
        _ => size.to_string(),
    };
    let zeros = "0".repeat(least.saturating_sub(digits.len()));
    let starts_with_zero = !zeros.is_empty() || digits == "0";
    let prefix = match verb {
        'O' if flags.sharp && !starts_with_zero => "0o0",
        'O' => "0o",
        'b' if flags.sharp => "0b",
        'o' if flags.sharp && !starts_with_zero => "0",
        'x' if flags.sharp => "0x",
        'X' if flags.sharp => "0X",
        _ => "",
    };
    [sign, prefix, &zeros, &digits].concat()
}

/// Formats `U+0041`, followed by the character if `#` is set.
pub(super) fn unicode(int: Int, flags: &Flags) -> String {
    let code = int.wrapping_u64();
    let digits = flags.precision.unwrap_or(0).max(4);
    let mut text = format!("U+{code:0digits$X}");
    let char = u32::try_from(code).ok().and_then(char::from_u32);
    if let Some(char) = char.filter(|char| flags.sharp && is_printable(*char)) {
        text.push_str(" '");
        text.push(char);
        text.push('\'');
    }
    text
}

/// Returns the character of a code point; U+FFFD if there is none.
pub(super) fn character(int: Int) -> char {
    let code = u32::try_from(int.wrapping_u64()).ok();
    code.and_then(char::from_u32).unwrap_or(Rune::INVALID)
}

/// Formats a floating-point number with its sign as the flags specify, but without padding.
pub(super) fn float(number: f64, verb: char, flags: &Flags) -> String {
    let (format, default) = match verb {
        'v' => ('g', None),
        'F' => ('f', Some(6)),
        'f' | 'e' | 'E' => (verb, Some(6)),
        _ => (verb, None),
    };
    let precision = flags.precision.or(default);
    let text = format_float(number, format, precision);
    let (negative, body) = match text.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let infinite = body.starts_with('I');
    let sign = match (negative, flags.plus, flags.space) {
        (true, _, _) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ if infinite => "+",
        _ => "",
    };
    if flags.sharp && format != 'b' && number.is_finite() {
        return [sign, &with_point(body, format, precision)].concat();
    }
    [sign, body].concat()
}

/// Adds what `#` requests: always a decimal point, and trailing zeros for `%g`.
fn with_point(body: &str, format: char, precision: Option<usize>) -> String {
    let exponent = match format {
        'x' | 'X' => body.find(['p', 'P']),
        _ => body.find(['e', 'E']),
    };
    let (number, tail) = body.split_at(exponent.unwrap_or(body.len()));
    let mut text = number.to_owned();
    let significant = number
        // Go counts the x of a hexadecimal number as a digit.
        .trim_start_matches(['0', '.'])
        .bytes()
        .filter(|byte| *byte != b'.')
        .count();
    let significant = if number == "0" { 1 } else { significant };
    if !number.contains('.') {
        text.push('.');
    }
    if matches!(format, 'g' | 'G' | 'x') {
        let wanted = precision.unwrap_or(6);
        text.push_str(&"0".repeat(wanted.saturating_sub(significant)));
    }
    text.push_str(tail);
    text
}
