//! Number literals: Go's `strconv.ParseInt`, `ParseUint` and `ParseFloat` with base 0.

use crate::{complex::Complex, value::Value};

use super::{lex::Kind, literal::unquote_constant};

/// A number constant, which fits several types until it is passed to a parameter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Number {
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
    pub(crate) complex: Option<Complex>,
    /// The value where nothing determines the type; None if it overflows `int`.
    pub(crate) ideal: Option<Value>,
}

impl Number {
    /// Parses a token. `Err` explains in Go's words what is wrong.
    pub(crate) fn parse(literal: &[u8], kind: Kind) -> Result<Self, String> {
        let text = String::from_utf8_lossy(literal);
        let mut number = match kind {
            Kind::CharConstant => Self::char(unquote_constant(literal)?),
            Kind::Complex => {
                Self::complex(parse_complex(&text).ok_or("syntax error scanning complex number")?)
            }
            _ => Self::real(&text)?,
        };
        number.ideal = number.to_ideal(&text);
        Ok(number)
    }

    fn char(char: char) -> Self {
        let code = u32::from(char);
        Self {
            int: Some(code.into()),
            uint: Some(code.into()),
            float: Some(code.into()),
            ..Self::default()
        }
    }

    fn complex(complex: Complex) -> Self {
        let mut number = Self {
            complex: Some(complex),
            ..Self::default()
        };
        if complex.imaginary == 0.0 {
            number.float = Some(complex.real);
            number.int = exact_int(complex.real);
            number.uint = exact_uint(complex.real);
        }
        number
    }

    fn real(text: &str) -> Result<Self, String> {
        let imaginary = text.strip_suffix('i').and_then(parse_float);
        if let Some(imaginary) = imaginary {
            return Ok(Self::complex(Complex {
                real: 0.0,
                imaginary,
            }));
        }
        let mut number = Self {
            int: parse_int(text),
            uint: parse_uint(text),
            ..Self::default()
        };
        #[expect(clippy::cast_precision_loss, reason = "Go's conversion rounds as well")]
        match (number.int, number.uint) {
            (Some(0), _) => {
                // Minus zero is not an unsigned literal, but is still 0.
                number.uint = Some(0);
                number.float = Some(0.0);
            }
            (Some(int), _) => number.float = Some(int as f64),
            (None, Some(uint)) => number.float = Some(uint as f64),
            (None, None) => {
                let float = parse_float(text)
                    .ok_or_else(|| format!("illegal number syntax: \"{text}\""))?;
                if !text.contains(['.', 'e', 'E', 'p', 'P']) {
                    return Err(format!("integer overflow: \"{text}\""));
                }
                number.float = Some(float);
                number.int = exact_int(float);
                number.uint = exact_uint(float);
            }
        }
        Ok(number)
    }

    fn to_ideal(&self, text: &str) -> Option<Value> {
        if let Some(complex) = self.complex {
            return Some(Value::object(complex));
        }
        let is_hex = text.len() > 2 && text.starts_with('0') && text[1..].starts_with(['x', 'X']);
        let is_hex = is_hex && !text.contains(['p', 'P']);
        let is_char = text.starts_with('\'');
        if !is_hex && !is_char && text.contains(['.', 'e', 'E', 'p', 'P']) {
            return self.float.map(Value::Float);
        }
        self.int.map(Value::int)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "the question is whether the conversion is exact"
)]
fn exact_int(float: f64) -> Option<i64> {
    let int = float as i64;
    (int as f64 == float && int != i64::MAX).then_some(int)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "the question is whether the conversion is exact"
)]
fn exact_uint(float: f64) -> Option<u64> {
    let uint = float as u64;
    (uint as f64 == float && uint != u64::MAX).then_some(uint)
}

fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let size = parse_uint(digits)?;
    if negative {
        0_i64.checked_sub_unsigned(size)
    } else {
        i64::try_from(size).ok()
    }
}

fn parse_uint(text: &str) -> Option<u64> {
    let (base, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &text[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &text[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &text[2..]),
        [b'0', _, ..] => (8, &text[1..]),
        _ => (10, text),
    };
    if digits.starts_with('+') || !underscores_are_good(text) {
        return None;
    }
    u64::from_str_radix(&digits.replace('_', ""), base).ok()
}

/// Returns whether each `_` stands between digits. A prefix like `0x` counts as a digit.
fn underscores_are_good(text: &str) -> bool {
    if !text.contains('_') {
        return true;
    }
    let text = text.trim_start_matches(['+', '-']);
    let (mut before, rest, hex) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (b'0', &text[2..], true),
        [b'0', b'b' | b'B' | b'o' | b'O', ..] => (b'0', &text[2..], false),
        _ => (b'^', text, false),
    };
    for byte in rest.bytes() {
        let class = match byte {
            b'0'..=b'9' => b'0',
            b'a'..=b'f' | b'A'..=b'F' if hex => b'0',
            b'_' if before != b'0' => return false,
            b'_' => b'_',
            _ if before == b'_' => return false,
            _ => b'!',
        };
        before = class;
    }
    before != b'_'
}

fn parse_float(text: &str) -> Option<f64> {
    if !underscores_are_good(text) {
        return None;
    }
    let text = text.replace('_', "");
    let unsigned = text.trim_start_matches(['+', '-']);
    if unsigned.starts_with("0x") || unsigned.starts_with("0X") {
        let size = parse_hex_float(&unsigned[2..])?;
        return Some(if text.starts_with('-') { -size } else { size });
    }
    let plausible = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let number: f64 = text.parse().ok().filter(|_| plausible)?;
    number.is_finite().then_some(number)
}

/// Parses `hhh.hhhp±dd`, without the prefix.
fn parse_hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut exponent: i32 = exponent.parse().ok()?;
    let mut bits: u64 = 0;
    let mut sticky = false;
    for (index, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(digit.to_digit(16)?);
        // Digits beyond what a mantissa can hold affect only the rounding.
        if bits >> 59 == 0 {
            bits = bits << 4 | digit;
            if index >= whole.len() {
                exponent = exponent.checked_sub(4)?;
            }
        } else {
            sticky |= digit != 0;
            if index < whole.len() {
                exponent = exponent.checked_add(4)?;
            }
        }
    }
    if bits == 0 {
        return Some(0.0);
    }
    bits |= u64::from(sticky);
    let number = scale(bits, exponent);
    number.is_finite().then_some(number)
}

/// Returns `bits` times two to the `exponent`, rounded once.
fn scale(bits: u64, exponent: i32) -> f64 {
    let top = 63 - i32::try_from(bits.leading_zeros()).unwrap_or(0);
    let lowest = (top.saturating_add(exponent) - 52).max(-1074);
    let drop = lowest.saturating_sub(exponent);
    let rounded = if drop <= 0 {
        // All bits fit, so the product below is exact.
        return exact_product(bits, exponent);
    } else if drop > 64 {
        0
    } else {
        let kept = bits.checked_shr(drop.unsigned_abs()).unwrap_or(0);
        let rest = bits - kept.checked_shl(drop.unsigned_abs()).unwrap_or(0);
        let half = 1_u64 << (drop - 1);
        kept + u64::from(rest > half || (rest == half && kept % 2 == 1))
    };
    exact_product(rounded, lowest)
}

#[expect(clippy::cast_precision_loss, reason = "at most 53 bits are set")]
fn exact_product(bits: u64, exponent: i32) -> f64 {
    // In two steps, because two to the exponent alone may be too small to represent.
    let half = exponent / 2;
    bits as f64 * 2_f64.powi(half) * 2_f64.powi(exponent - half)
}

/// Parses `1+2i`.
fn parse_complex(text: &str) -> Option<Complex> {
    let body = text.strip_suffix('i')?;
    let split = body.char_indices().rev().find(|(index, char)| {
        let before = body[..*index].chars().next_back();
        matches!(char, '+' | '-') && before.is_some_and(|before| !"eEpP".contains(before))
    })?;
    Some(Complex {
        real: parse_float(&body[..split.0])?,
        imaginary: parse_float(&body[split.0..])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ideal(text: &str) -> Result<Option<Value>, String> {
        let kind = if text.starts_with('\'') {
            Kind::CharConstant
        } else {
            Kind::Number
        };
        Number::parse(text.as_bytes(), kind).map(|number| number.ideal)
    }

    #[test]
    fn literals_have_go_s_types() {
        let cases = [
            ("0", Value::int(0)),
            ("-0", Value::int(0)),
            ("017", Value::int(15)),
            ("0o17", Value::int(15)),
            ("0b101", Value::int(5)),
            ("0xFF", Value::int(255)),
            ("0xe", Value::int(14)),
            ("1_000", Value::int(1000)),
            ("'a'", Value::int(97)),
            ("1e3", Value::from(1000.0)),
            ("1.", Value::from(1.0)),
            (".5", Value::from(0.5)),
            ("0x1.8p1", Value::from(3.0)),
            ("0x1p-1074", Value::from(f64::from_bits(1))),
            ("-9223372036854775808", Value::int(i64::MIN)),
        ];
        for (text, expected) in cases {
            assert_eq!(ideal(text), Ok(Some(expected)), "{text}");
        }
        assert_eq!(ideal("18446744073709551615"), Ok(None));
        let overflow = "integer overflow: \"18446744073709551616\"";
        assert_eq!(ideal("18446744073709551616"), Err(overflow.to_owned()));
        for bad in ["1__0", "0x", "089", "1e", "0x1.8", "1_", "1e999"] {
            let expected = format!("illegal number syntax: \"{bad}\"");
            // The leading 0 marks an octal number, which 089 is not. As a float, it has no point.
            let expected = if bad == "089" {
                "integer overflow: \"089\"".to_owned()
            } else {
                expected
            };
            assert_eq!(ideal(bad), Err(expected), "{bad}");
        }
    }

    #[test]
    fn complex_literals() {
        let number = Number::parse(b"1e+3-2i", Kind::Complex).unwrap();
        let expected = Complex {
            real: 1000.0,
            imaginary: -2.0,
        };
        assert_eq!(number.complex, Some(expected));
        assert_eq!(Number::parse(b"3+0i", Kind::Complex).unwrap().int, Some(3));
    }
}
