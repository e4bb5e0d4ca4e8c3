//! Decimal numbers of any size, as the library `shopspring/decimal` computes with them for `addf` and similar functions.

use num_bigint::{BigInt, Sign};
use pintle_gotemplate::FunctionError;
use thiserror::Error;

/// The number of decimal places to which quotients are rounded.
const DIVISION_PLACES: i64 = 16;

/// A number as `digits * 10^exponent`.
#[derive(Clone, Debug)]
pub(crate) struct Decimal {
    digits: BigInt,
    exponent: i64,
}

/// The conditions in which the library panics.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub(crate) enum DecimalError {
    /// A number that is infinite or NaN.
    #[error("Cannot create a Decimal from {}", infinite(*.0))]
    NotFinite(f64),
    /// A division by zero.
    #[error("decimal division by 0")]
    DivisionByZero,
}

/// Returns the number as Go prints it.
fn infinite(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

impl From<DecimalError> for FunctionError {
    fn from(error: DecimalError) -> Self {
        Self::new(error)
    }
}

impl Decimal {
    /// Returns the shortest decimal that parses as the number.
    pub(crate) fn from_float(number: f64) -> Result<Self, DecimalError> {
        if !number.is_finite() {
            return Err(DecimalError::NotFinite(number));
        }
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent: i64 = exponent.parse().unwrap_or_default();
        let places = i64::try_from(fraction.len()).unwrap_or_default();
        Ok(Self {
            digits: [whole, fraction].concat().parse().unwrap_or_default(),
            exponent: exponent - places,
        })
    }

    /// Returns the nearest float.
    pub(crate) fn to_float(&self) -> f64 {
        let text = format!("{}e{}", self.digits, self.exponent);
        text.parse().unwrap_or(f64::NAN)
    }

    pub(crate) fn add(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        Self {
            digits: self.scaled_to(exponent) + other.scaled_to(exponent),
            exponent,
        }
    }

    pub(crate) fn sub(&self, other: &Self) -> Self {
        let negated = Self {
            digits: -&other.digits,
            exponent: other.exponent,
        };
        self.add(&negated)
    }

    pub(crate) fn mul(&self, other: &Self) -> Self {
        Self {
            digits: &self.digits * &other.digits,
            exponent: self.exponent + other.exponent,
        }
    }

    /// Returns the quotient to 16 places, with halves rounded away from zero.
    pub(crate) fn div(&self, other: &Self) -> Result<Self, DecimalError> {
        if other.digits.sign() == Sign::NoSign {
            return Err(DecimalError::DivisionByZero);
        }
        let shift = self.exponent - other.exponent + DIVISION_PLACES;
        let (dividend, divisor) = if shift < 0 {
            (self.digits.clone(), &other.digits * power(-shift))
        } else {
            (&self.digits * power(shift), other.digits.clone())
        };
        let quotient = &dividend / &divisor;
        let remainder = dividend - &quotient * &divisor;
        let negative = self.digits.sign() != other.digits.sign();
        let up = remainder.magnitude() * 2u32 >= *divisor.magnitude();
        let digits = match (up, negative) {
            (false, _) => quotient,
            (true, false) => quotient + 1,
            (true, true) => quotient - 1,
        };
        Ok(Self {
            digits,
            exponent: -DIVISION_PLACES,
        })
    }

    /// Returns the digits for an exponent that is not larger than the number's own.
    fn scaled_to(&self, exponent: i64) -> BigInt {
        &self.digits * power(self.exponent - exponent)
    }
}

fn power(exponent: i64) -> BigInt {
    BigInt::from(10).pow(u32::try_from(exponent).unwrap_or_default())
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "exact results are what is tested")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(number: f64) -> Decimal {
        Decimal::from_float(number).unwrap()
    }

    #[test]
    fn exact_where_floats_are_not() {
        assert_eq!(decimal(0.1).add(&decimal(0.2)).to_float(), 0.3);
        assert_eq!(decimal(1.1).mul(&decimal(1.1)).to_float(), 1.21);
        assert_eq!(decimal(1.0).sub(&decimal(0.9)).to_float(), 0.1);
        let quotient = |one, two| decimal(one).div(&decimal(two)).unwrap().to_float();
        assert_eq!(quotient(10.0, 3.0), 3.333_333_333_333_333_3);
        assert_eq!(quotient(-2.0, 3.0), -0.666_666_666_666_666_7);
        assert_eq!(quotient(1e-20, 3.0), 0.0);
        assert_eq!(quotient(1e200, 1e-200), f64::INFINITY);
        assert_eq!(
            decimal(1.0)
                .div(&decimal(0.0))
                .map(|found| found.to_float()),
            Err(DecimalError::DivisionByZero)
        );
    }

    proptest! {
        #[test]
        fn floats_come_back(number in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            prop_assert_eq!(decimal(number).to_float(), number);
        }
    }
}
