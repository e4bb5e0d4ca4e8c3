//! Numbers of schemas and values, compared as decimals.

use std::cmp::Ordering;

use pintle_gotemplate::Value;
use serde_json::{Number, Value as Json};

/// A number as `digits × 10^-scale`, from its shortest decimal text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decimal {
    Exact {
        digits: i128,
        scale: u32,
    },
    /// A number with more digits than fit.
    Rounded(f64),
}

impl Decimal {
    pub(super) fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(number) => Some(Self::Exact {
                digits: match number.as_u64() {
                    Some(number) => number.into(),
                    None => number.wrapping_i64().into(),
                },
                scale: 0,
            }),
            Value::Float(number) => Some(Self::of_float(*number)),
            _ => None,
        }
    }

    pub(super) fn of_json(json: &Json) -> Option<Self> {
        json.as_number().map(Self::of_number)
    }

    fn of_number(number: &Number) -> Self {
        let whole = number
            .as_i64()
            .map(i128::from)
            .or(number.as_u64().map(i128::from));
        match whole {
            Some(digits) => Self::Exact { digits, scale: 0 },
            None => Self::of_float(number.as_f64().unwrap_or(f64::NAN)),
        }
    }

    fn of_float(number: f64) -> Self {
        let text = number.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let digits = format!("{whole}{fraction}").parse();
        match (digits, u32::try_from(fraction.len())) {
            (Ok(digits), Ok(scale)) => Self::Exact { digits, scale },
            _ => Self::Rounded(number),
        }
    }

    fn to_float(self) -> f64 {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "only for what has too many digits"
            )]
            Self::Exact { digits, scale } => {
                digits as f64 / 10_f64.powi(i32::try_from(scale).unwrap_or(i32::MAX))
            }
            Self::Rounded(number) => number,
        }
    }

    /// Returns the digits of both numbers at the same scale.
    fn aligned(self, other: Self) -> Option<(i128, i128)> {
        let (
            Self::Exact {
                digits: a,
                scale: m,
            },
            Self::Exact {
                digits: b,
                scale: n,
            },
        ) = (self, other)
        else {
            return None;
        };
        let scale = m.max(n);
        let grow = |digits: i128, by: u32| digits.checked_mul(10_i128.checked_pow(by)?);
        Some((grow(a, scale - m)?, grow(b, scale - n)?))
    }

    pub(super) fn compare(self, other: Self) -> Ordering {
        match self.aligned(other) {
            Some((one, other)) => one.cmp(&other),
            None => self.to_float().total_cmp(&other.to_float()),
        }
    }

    pub(super) fn is_integer(self) -> bool {
        match self {
            Self::Exact { digits, scale } => 10_i128
                .checked_pow(scale)
                .is_some_and(|unit| digits % unit == 0),
            Self::Rounded(number) => number.fract() == 0.0,
        }
    }

    /// Returns the same result for equal numbers: without trailing zeros in the fraction.
    pub(super) fn reduced(self) -> (i128, u32) {
        match self {
            Self::Exact {
                mut digits,
                mut scale,
            } => {
                while scale > 0 && digits % 10 == 0 {
                    digits /= 10;
                    scale -= 1;
                }
                (digits, scale)
            }
            // These are larger than all exact numbers.
            Self::Rounded(number) => (number.to_bits().into(), u32::MAX),
        }
    }

    /// Returns whether the number is an integer multiple of the other one.
    pub(super) fn is_multiple_of(self, other: Self) -> bool {
        match self.aligned(other) {
            Some((_, 0)) => false,
            Some((one, other)) => one % other == 0,
            None => (self.to_float() / other.to_float()).fract() == 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        let decimal = |number: f64| Decimal::of_float(number);
        assert!(decimal(0.3).is_multiple_of(decimal(0.1)));
        assert!(!decimal(0.35).is_multiple_of(decimal(0.1)));
        assert!(decimal(1e6).is_integer());
        assert!(!decimal(1.5).is_integer());
        assert!(decimal(1e300).is_integer());
        assert_eq!(decimal(2.0).compare(decimal(10.0)), Ordering::Less);
        assert_eq!(decimal(-0.5).compare(decimal(-0.25)), Ordering::Less);
        assert_eq!(decimal(1e300).compare(decimal(1.0)), Ordering::Greater);
        assert_eq!(decimal(-0.0).reduced(), decimal(0.0).reduced());
        assert_eq!(decimal(2.5).reduced(), (25, 1));
        assert_eq!(decimal(100.0).reduced(), (100, 0));
        assert_ne!(decimal(1e300).reduced(), decimal(2e300).reduced());
    }
}
