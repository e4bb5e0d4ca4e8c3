//! Floats as Go's `strconv.FormatFloat` writes them: with the fewest digits that parse as the same number.

use std::io::Write as _;

/// The digits of a finite number: `0.d1d2d3... × 10^point`, without trailing zeros; one zero for 0.
struct Digits {
    negative: bool,
    /// The shortest form has at most 17 digits.
    shortest: [u8; 17],
    len: usize,
    point: i32,
}

impl Digits {
    /// Parses the output of the standard library, which is also the shortest form: `-1.2345e-7`.
    fn parse(scientific: &[u8]) -> Self {
        let mut this = Self {
            negative: false,
            shortest: [b'0'; 17],
            len: 0,
            point: 0,
        };
        let mut exponent = 0;
        let mut bytes = scientific.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'-' => this.negative = true,
                b'0'..=b'9' if this.len < this.shortest.len() => {
                    this.shortest[this.len] = byte;
                    this.len += 1;
                }
                b'e' => {
                    let text = std::str::from_utf8(bytes.as_slice()).unwrap_or_default();
                    exponent = text.parse().unwrap_or_default();
                    break;
                }
                _ => {}
            }
        }
        this.point = if this.shortest[..this.len] == *b"0" {
            1
        } else {
            exponent + 1
        };
        this
    }

    fn f64(number: f64) -> Self {
        // "-d.dddddddddddddddde-ddd"
        let mut buffer = [0; 32];
        let mut rest = &mut buffer[..];
        let written = match write!(rest, "{number:e}") {
            Ok(()) => 32 - rest.len(),
            Err(_) => 0,
        };
        Self::parse(&buffer[..written])
    }

    fn digits(&self) -> &[u8] {
        &self.shortest[..self.len]
    }

    /// Writes `123.45` or `0.0012`.
    fn write_fixed(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        let digits = self.digits();
        let zeros = |out: &mut Vec<u8>, count: usize| out.resize(out.len() + count, b'0');
        match usize::try_from(self.point) {
            Err(_) | Ok(0) => {
                out.extend_from_slice(b"0.");
                zeros(out, self.point.unsigned_abs() as usize);
                out.extend_from_slice(digits);
            }
            Ok(point) if point >= digits.len() => {
                out.extend_from_slice(digits);
                zeros(out, point - digits.len());
            }
            Ok(point) => {
                out.extend_from_slice(&digits[..point]);
                out.push(b'.');
                out.extend_from_slice(&digits[point..]);
            }
        }
    }

    /// Writes `1.2345e+06`, with at least `width` digits in the exponent.
    fn write_exponent(&self, width: usize, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        let digits = self.digits();
        out.push(digits.first().copied().unwrap_or(b'0'));
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let exponent = self.point - 1;
        out.push(b'e');
        out.push(if exponent < 0 { b'-' } else { b'+' });
        let exponent = exponent.unsigned_abs();
        if width > 1 && exponent < 10 {
            out.push(b'0');
        }
        out.extend_from_slice(exponent.to_string().as_bytes());
    }

    fn write_general(&self, out: &mut Vec<u8>) {
        // Package fmt moves the upper limit to 21. In strconv itself, it is 6 digits.
        if (-4..6).contains(&(self.point - 1)) {
            self.write_fixed(out);
        } else {
            self.write_exponent(2, out);
        }
    }
}

/// Writes the result of `FormatFloat(number, 'g', -1, 64)`: `1e+06`, `0.5`; `NaN`, `+Inf` and `-Inf`.
pub fn write_general(number: f64, out: &mut Vec<u8>) {
    if let Some(word) = special(number) {
        out.extend_from_slice(word.as_bytes());
    } else {
        Digits::f64(number).write_general(out);
    }
}

/// Writes the result of `FormatFloat(number, 'g', -1, 32)`. The number is first rounded to a `float32`, as keys of YAML maps are.
#[expect(clippy::cast_possible_truncation, reason = "the rounding is the point")]
pub fn write_general_32(number: f64, out: &mut Vec<u8>) {
    let number = number as f32;
    if let Some(word) = special(f64::from(number)) {
        out.extend_from_slice(word.as_bytes());
    } else {
        Digits::parse(format!("{number:e}").as_bytes()).write_general(out);
    }
}

/// Writes a finite number as `encoding/json` does: without an exponent from 1e-6 to below 1e21.
pub(crate) fn write_json(number: f64, out: &mut Vec<u8>) {
    let size = number.abs();
    let digits = Digits::f64(number);
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        // Only negative exponents lose the zero that pads them to two digits.
        digits.write_exponent(if size < 1.0 { 1 } else { 2 }, out);
    } else {
        digits.write_fixed(out);
    }
}

fn special(number: f64) -> Option<&'static str> {
    if number.is_nan() {
        Some("NaN")
    } else if number.is_infinite() {
        Some(if number > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(f64, &mut Vec<u8>), number: f64) -> String {
        let mut out = Vec::new();
        write(number, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn general_form() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.5, "0.5"),
            (100_000.0, "100000"),
            (123_456.5, "123456.5"),
            (1e6, "1e+06"),
            (1_234_567.5, "1.2345675e+06"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.000_012, "1.2e-05"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "+Inf"),
        ];
        for (number, expected) in cases {
            assert_eq!(text(write_general, number), expected);
        }
        assert_eq!(text(write_general_32, 0.1), "0.1");
        assert_eq!(text(write_general_32, 1.234_567_89), "1.2345679");
        assert_eq!(text(write_general_32, 1e300), "+Inf");
    }

    #[test]
    fn json_form() {
        let cases = [
            (-0.0, "-0"),
            (1e6, "1000000"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1e-6, "0.000001"),
            (1.5e-7, "1.5e-7"),
            (1e-10, "1e-10"),
            (123.456, "123.456"),
        ];
        for (number, expected) in cases {
            assert_eq!(text(write_json, number), expected);
        }
    }
}
