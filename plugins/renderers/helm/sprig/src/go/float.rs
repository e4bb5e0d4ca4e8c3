//! Go's `strconv.ParseFloat`, and the functions of `math` whose last bit differs from Rust's.

use super::number::underscores_fit;

/// Parses like Go's `strconv.ParseFloat(text, 64)`; None for what it refuses (including numbers out of range).
pub(crate) fn parse(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let lower = digits.to_ascii_lowercase();
    match lower.as_str() {
        "inf" | "infinity" => return Some(sign * f64::INFINITY),
        "nan" => return (digits.len() == text.len()).then_some(f64::NAN),
        _ => {}
    }
    let plain = if lower.contains('_') {
        if !underscores_fit(lower.as_bytes()) {
            return None;
        }
        lower.replace('_', "")
    } else {
        lower
    };
    let number = match plain.strip_prefix("0x") {
        Some(digits) => parse_hexadecimal(digits)?,
        None if plain.starts_with(|first: char| first.is_ascii_digit() || first == '.') => {
            plain.parse().ok()?
        }
        None => return None,
    };
    (number < f64::INFINITY).then_some(sign * number)
}

/// Parses `1.8p3`. The exponent is required.
fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let exponent: i64 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || digits.starts_with('+') {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    // 15 digits are 60 bits. The rest only determines how halves are rounded.
    let (head, tail) = digits.split_at(digits.len().min(15));
    if !tail.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let sticky = tail.bytes().any(|byte| byte != b'0');
    let head = match head {
        "" => 0,
        head => u64::from_str_radix(head, 16).ok()?,
    };
    let bits = i64::try_from(tail.len()).ok()? - i64::try_from(fraction.len()).ok()?;
    let exponent = exponent.checked_add(bits.checked_mul(4)?)?;
    Some(scale(
        (head << 1) | u64::from(sticky),
        exponent.checked_sub(1)?,
    ))
}

/// Returns `mantissa * 2^exponent`, rounded once, to even.
fn scale(mantissa: u64, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let length = 64 - i64::from(mantissa.leading_zeros());
    let top = exponent + length - 1;
    if top > 1023 {
        return f64::INFINITY;
    }
    // The number of bits that the result can hold: 53, or fewer below the normal range.
    let keep = if top >= -1022 { 53 } else { 53 - (-1022 - top) };
    if keep < 0 {
        return 0.0;
    }
    let drop = length - keep;
    let (kept, exponent) = if drop > 0 {
        let (kept, rest) = if drop >= 64 {
            (0, mantissa)
        } else {
            (mantissa >> drop, mantissa & ((1 << drop) - 1))
        };
        let half = 1u64 << (drop - 1).min(63);
        let up = rest > half || (rest == half && kept & 1 == 1);
        (kept + u64::from(up), exponent + drop)
    } else {
        (mantissa, exponent)
    };
    #[expect(clippy::cast_precision_loss, reason = "at most 53 bits are left")]
    let kept = kept as f64;
    load_exponent(kept, exponent)
}

/// Computes Go's `math.Ldexp` for results that need no rounding, and an approximation for others.
fn load_exponent(mut number: f64, mut exponent: i64) -> f64 {
    const STEP: i64 = 1000;
    let up = f64::from_bits(((1023 + 1000) as u64) << 52);
    let down = f64::from_bits(((1023 - 1000) as u64) << 52);
    exponent = exponent.clamp(-5000, 5000);
    while exponent > STEP {
        number *= up;
        exponent -= STEP;
    }
    while exponent < -STEP {
        number *= down;
        exponent += STEP;
    }
    let bits = u64::try_from(1023 + exponent).unwrap_or_default() << 52;
    number * f64::from_bits(bits)
}

/// Computes Go's `math.Pow(10, places)` for whole `places`. The products are in Go's order, so that the last bit is the same.
pub(crate) fn power_of_ten(places: i64) -> f64 {
    // Ten is 0.625 * 2^4 in the form of math.Frexp.
    let (mut fraction, mut exponent) = (0.625f64, 4i64);
    let (mut product, mut total) = (1.0f64, 0i64);
    let mut rest = places.unsigned_abs();
    while rest != 0 {
        if exponent > 1 << 12 {
            return if places < 0 { 0.0 } else { f64::INFINITY };
        }
        if rest & 1 == 1 {
            product *= fraction;
            total += exponent;
        }
        fraction *= fraction;
        exponent <<= 1;
        if fraction < 0.5 {
            fraction += fraction;
            exponent -= 1;
        }
        rest >>= 1;
    }
    if places < 0 {
        product = 1.0 / product;
        total = -total;
    }
    load_exponent(product, total)
}

/// Returns the result of Go's `math.Max`.
pub(crate) fn max(one: f64, two: f64) -> f64 {
    if one == f64::INFINITY || two == f64::INFINITY {
        f64::INFINITY
    } else if one.is_nan() || two.is_nan() {
        f64::NAN
    } else if one == 0.0 && two == 0.0 {
        if one.is_sign_negative() { two } else { one }
    } else if one > two {
        one
    } else {
        two
    }
}

/// Returns the result of Go's `math.Min`.
pub(crate) fn min(one: f64, two: f64) -> f64 {
    -max(-one, -two)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "exact results are what is tested")]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let cases: &[(&str, Option<f64>)] = &[
            ("1", Some(1.0)),
            ("+1.5e3", Some(1500.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1_000.5", Some(1000.5)),
            ("1__0", None),
            ("0x1p-2", Some(0.25)),
            ("0x1.8p1", Some(3.0)),
            ("0x1", None),
            ("0x1.fffffffffffff8p0", Some(2.0)),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p-1075", Some(0.0)),
            ("0x1.8p-1074", Some(1e-323)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("Infinity", Some(f64::INFINITY)),
            ("1e400", None),
            ("1e-400", Some(0.0)),
            ("", None),
            ("-", None),
            ("e5", None),
            ("1e", None),
            (" 1", None),
            ("infin", None),
            ("+nan", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes()), *expected, "{text:?}");
        }
        assert!(parse(b"nAn").is_some_and(f64::is_nan));
    }

    #[test]
    fn powers_and_extremes() {
        assert_eq!(power_of_ten(0), 1.0);
        assert_eq!(power_of_ten(3), 1000.0);
        assert_eq!(power_of_ten(-2), 0.01);
        assert_eq!(power_of_ten(400), f64::INFINITY);
        assert_eq!(power_of_ten(-400), 0.0);
        assert!(max(1.0, f64::NAN).is_nan());
        assert_eq!(min(1.0, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert!(max(-0.0, -0.0).is_sign_negative());
    }
}
