//! Floating-point numbers as text: Go's strconv.FormatFloat.

use std::fmt::Write;

/// The largest number of digits after the point, without trailing zeros, in any `f64`.
const MAX_FRACTION: usize = 1074;

/// Formats a number like Go's `strconv.FormatFloat(number, verb, precision, 64)`.
///
/// `verb` is one of `e E f g G b x X`. Anything else gives `%` and the verb, as in Go. Without a precision, the result is the
/// shortest text that parses as the same number.
///
/// ```
/// use pintle_gotemplate::print::format_float;
///
/// assert_eq!(format_float(1_000_000.0, 'g', None), "1e+06");
/// assert_eq!(format_float(123_456.5, 'g', None), "123456.5");
/// assert_eq!(format_float(2.5, 'f', Some(0)), "2");
/// ```
pub fn format_float(number: f64, verb: char, precision: Option<usize>) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let mut out = String::new();
    if number.is_sign_negative() {
        out.push('-');
    }
    let number = number.abs();
    match verb {
        'e' | 'E' => scientific(
            &mut out,
            &Digits::scientific(number, precision),
            verb,
            precision,
        ),
        'f' => fixed(&mut out, number, precision),
        'g' | 'G' => general(&mut out, number, verb, precision),
        'b' => binary(&mut out, number),
        'x' | 'X' => hexadecimal(&mut out, number, verb, precision),
        other => {
            out = format!("%{other}");
        }
    }
    out
}

/// Significant decimal digits without trailing zeros, and the position of the point.
struct Digits {
    /// ASCII digits; empty for 0.
    digits: Vec<u8>,
    /// The number of digits before the point; negative if zeros follow the point.
    point: i32,
}

impl Digits {
    /// Returns `precision` digits after the first, or as many as needed.
    fn scientific(number: f64, precision: Option<usize>) -> Self {
        let text = match precision {
            Some(precision) => format!("{number:.*e}", precision.min(MAX_FRACTION)),
            None => format!("{number:e}"),
        };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mut digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let point = if digits.is_empty() { 0 } else { exponent + 1 };
        Self { digits, point }
    }
}

/// Writes `d.ddde±dd`.
fn scientific(out: &mut String, number: &Digits, verb: char, precision: Option<usize>) {
    let digit = |index: usize| char::from(number.digits.get(index).copied().unwrap_or(b'0'));
    out.push(digit(0));
    let fraction = precision.unwrap_or(number.digits.len().saturating_sub(1));
    if fraction > 0 {
        out.push('.');
        out.extend((1..=fraction).map(digit));
    }
    let exponent = if number.digits.is_empty() {
        0
    } else {
        number.point - 1
    };
    push_exponent(out, verb, exponent);
}

fn push_exponent(out: &mut String, letter: char, exponent: i32) {
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "{letter}{sign}{:02}", exponent.unsigned_abs()).expect("memory takes it");
}

/// Writes `ddd.ddd`.
fn fixed(out: &mut String, number: f64, precision: Option<usize>) {
    let Some(precision) = precision else {
        write!(out, "{number}").expect("memory takes it");
        return;
    };
    let exact = precision.min(MAX_FRACTION);
    write!(out, "{number:.exact$}").expect("memory takes it");
    out.extend(std::iter::repeat_n('0', precision - exact));
}

/// Writes the shorter of both forms: `%e` for exponents below -4 or not below the precision.
fn general(out: &mut String, number: f64, verb: char, precision: Option<usize>) {
    let wanted = precision.map(|precision| precision.max(1));
    let digits = Digits::scientific(number, wanted.map(|wanted| wanted - 1));
    let count = digits.digits.len();
    let limit = match wanted {
        // For the shortest form, the choice is made as if 6 digits were requested.
        None => 6,
        Some(wanted) => {
            let whole = usize::try_from(digits.point).unwrap_or(0);
            if wanted > count && count >= whole {
                count
            } else {
                wanted
            }
        }
    };
    let exponent = digits.point - 1;
    let too_large = exponent >= i32::try_from(limit).unwrap_or(i32::MAX);
    if exponent < -4 || too_large {
        let letter = if verb == 'G' { 'E' } else { 'e' };
        scientific(out, &digits, letter, None);
    } else {
        positional(out, &digits);
    }
}

/// Writes all digits in their places, without trailing zeros after the point.
fn positional(out: &mut String, number: &Digits) {
    let whole = usize::try_from(number.point).unwrap_or(0);
    if whole == 0 {
        out.push('0');
    }
    let digit = |index: usize| char::from(number.digits.get(index).copied().unwrap_or(b'0'));
    out.extend((0..whole).map(digit));
    if number.digits.len() > whole {
        out.push('.');
        let zeros = usize::try_from(-number.point).unwrap_or(0);
        out.extend(std::iter::repeat_n('0', zeros));
        out.extend((whole..number.digits.len()).map(digit));
    }
}

/// Returns the bits of the fraction, including the leading one, and the exponent of the last bit.
fn mantissa(number: f64) -> (u64, i32) {
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = number.to_bits();
    let biased = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    if biased == 0 {
        (bits & FRACTION, -1074)
    } else {
        (bits & FRACTION | (1 << 52), biased - 1075)
    }
}

/// Writes `ddddp±ddd`.
fn binary(out: &mut String, number: f64) {
    let (mantissa, exponent) = mantissa(number);
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "{mantissa}p{sign}{}", exponent.unsigned_abs()).expect("memory takes it");
}

/// Writes `0x1.hhhp±dd`.
fn hexadecimal(out: &mut String, number: f64, verb: char, precision: Option<usize>) {
    let (mut mantissa, mut exponent) = mantissa(number);
    if mantissa == 0 {
        exponent = 0;
    } else {
        // The leading one moves to bit 60, so that 15 hexadecimal digits follow it.
        let shift = mantissa.leading_zeros() - 3;
        mantissa <<= shift;
        exponent += 60 - i32::try_from(shift).unwrap_or(0);
    }
    if let Some(precision) = precision.filter(|precision| *precision < 15) {
        let dropped = 60 - 4 * u32::try_from(precision).unwrap_or(15);
        let (unit, half) = (1_u64 << dropped, 1_u64 << (dropped - 1));
        let rest = mantissa & (unit - 1);
        mantissa -= rest;
        let odd = mantissa & unit != 0;
        if rest > half || (rest == half && odd) {
            mantissa += unit;
        }
        if mantissa >> 61 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let mut fraction = format!("{:015x}", mantissa & ((1 << 60) - 1));
    match precision {
        None => fraction.truncate(fraction.trim_end_matches('0').len()),
        Some(precision) => {
            fraction.truncate(precision);
            let missing = precision - fraction.len();
            fraction.extend(std::iter::repeat_n('0', missing));
        }
    }
    let point = if fraction.is_empty() { "" } else { "." };
    let mut text = format!("0x{}{point}{fraction}", mantissa >> 60);
    push_exponent(&mut text, 'p', exponent);
    if verb == 'X' {
        text.make_ascii_uppercase();
    }
    out.push_str(&text);
}
