//! Integers of Go's integer types.

use std::{cmp::Ordering, fmt};

use super::types::IntKind;

/// An integer of one of Go's integer types.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Int {
    kind: IntKind,
    /// The number in two's complement: sign-extended for signed kinds, zero-extended for unsigned ones.
    bits: u64,
}

impl Int {
    /// Converts a number to the type like Go's conversion, which truncates a number that does not fit.
    #[expect(
        clippy::cast_sign_loss,
        reason = "two's complement is the point: unsigned() reads the bits back"
    )]
    pub const fn new(kind: IntKind, number: i64) -> Self {
        Self::unsigned(kind, number as u64)
    }

    /// Converts like [`Self::new`], for numbers that need all 64 bits.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "Go's conversions cut and reinterpret in the same way"
    )]
    pub const fn unsigned(kind: IntKind, bits: u64) -> Self {
        let bits = match kind {
            IntKind::Int8 => bits as i8 as u64,
            IntKind::Int16 => bits as i16 as u64,
            IntKind::Int32 => bits as i32 as u64,
            IntKind::Uint8 => bits as u8 as u64,
            IntKind::Uint16 => bits as u16 as u64,
            IntKind::Uint32 => bits as u32 as u64,
            IntKind::Int | IntKind::Int64 | IntKind::Uint | IntKind::Uint64 | IntKind::Uintptr => {
                bits
            }
        };
        Self { kind, bits }
    }

    /// Returns the integer type.
    pub const fn kind(self) -> IntKind {
        self.kind
    }

    /// Returns whether the number is 0.
    pub const fn is_zero(self) -> bool {
        self.bits == 0
    }

    /// Returns the number if it fits an `i64`, which is always the case for signed types.
    pub const fn as_i64(self) -> Option<i64> {
        let number = self.wrapping_i64();
        if self.kind.is_signed() || number >= 0 {
            Some(number)
        } else {
            None
        }
    }

    /// Returns the number if it is not negative.
    pub const fn as_u64(self) -> Option<u64> {
        if self.kind.is_signed() && self.wrapping_i64() < 0 {
            None
        } else {
            Some(self.bits)
        }
    }

    /// Returns the result of Go's conversion `int64(x)`: unsigned numbers above the limit become negative.
    #[expect(
        clippy::cast_possible_wrap,
        reason = "two's complement, as Go converts"
    )]
    pub const fn wrapping_i64(self) -> i64 {
        self.bits as i64
    }

    /// Returns the result of Go's conversion `uint64(x)`: negative numbers become large ones.
    pub const fn wrapping_u64(self) -> u64 {
        self.bits
    }

    /// Returns the result of Go's conversion `float64(x)`.
    #[expect(clippy::cast_precision_loss, reason = "Go's conversion rounds as well")]
    pub const fn to_f64(self) -> f64 {
        if self.kind.is_signed() {
            self.wrapping_i64() as f64
        } else {
            self.bits as f64
        }
    }

    /// Compares the numbers, whatever their types.
    pub fn compare(self, other: Self) -> Ordering {
        match (self.as_u64(), other.as_u64()) {
            (Some(one), Some(two)) => one.cmp(&two),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (None, None) => self.wrapping_i64().cmp(&other.wrapping_i64()),
        }
    }
}

impl fmt::Display for Int {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind.is_signed() {
            self.wrapping_i64().fmt(out)
        } else {
            self.bits.fmt(out)
        }
    }
}

impl fmt::Debug for Int {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}{}", self.kind.name())
    }
}

/// Converts a number to a length or an index: 0 if it is negative, and the largest possible one if it is too large.
///
/// Go's `int` has 64 bits, but lengths in a component have 32. A template's number may therefore be too large for a length
/// although Go accepts it and takes it to mean "more than there is".
pub fn clamp_to_usize(number: i64) -> usize {
    clamped(number, usize::MAX)
}

/// Does what [`clamp_to_usize`] does for lengths of any width.
fn clamped<T: TryFrom<u64>>(number: i64, largest: T) -> T {
    let number = u64::try_from(number).unwrap_or(0);
    T::try_from(number).unwrap_or(largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_any_width_hold_what_is_too_large_for_them() {
        let cases = [
            (i64::MIN, 0),
            (-4_294_967_295, 0),
            (-1, 0),
            (0, 0),
            (7, 7),
            (4_294_967_295, u32::MAX),
            (4_294_967_296, u32::MAX),
            (4_294_967_299, u32::MAX),
            (i64::MAX, u32::MAX),
        ];
        for (number, expected) in cases {
            assert_eq!(clamped(number, u32::MAX), expected, "{number}");
        }
        assert_eq!(clamped(4_294_967_299, u64::MAX), 4_294_967_299);
        assert_eq!(clamp_to_usize(-1), 0);
        assert_eq!(clamp_to_usize(7), 7);
    }

    #[test]
    fn conversions_cut_as_in_go() {
        assert_eq!(Int::new(IntKind::Uint8, -1).to_string(), "255");
        assert_eq!(Int::new(IntKind::Int8, 200).to_string(), "-56");
        assert_eq!(
            Int::new(IntKind::Uint64, -1).to_string(),
            u64::MAX.to_string()
        );
        assert_eq!(Int::unsigned(IntKind::Uint64, u64::MAX).as_i64(), None);
        assert_eq!(
            Int::new(IntKind::Int, -1).compare(Int::unsigned(IntKind::Uint64, u64::MAX)),
            Ordering::Less
        );
    }
}
