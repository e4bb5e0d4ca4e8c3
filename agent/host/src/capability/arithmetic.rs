//! `pintle:types/arithmetic`: calculations that a component could do itself, several times slower.

mod memo;

use crypto_bigint::{
    BoxedUint, Odd,
    modular::{BoxedMontyForm, BoxedMontyParams},
};

pub(crate) use self::memo::Memo;
use crate::{bindings::wit::arithmetic::Host, state::State};

/// The maximum number of bytes of an operand, including leading zeros.
const MOST_BYTES: usize = 2048;

/// The maximum of the exponent's bits times the square of the modulus's bits: some 20 ms of work. A calculation cannot be
/// interrupted, so this is how late a call may end.
const MOST_WORK: u64 = 1 << 36;

/// The amount of work from which a power is cached. Below it, calculating is as fast as a lookup.
const WORTH_REMEMBERING: u64 = 1 << 24;

impl Host for State {
    fn power_modulo(
        &mut self,
        base: Vec<u8>,
        exponent: Vec<u8>,
        modulus: Vec<u8>,
    ) -> wasmtime::Result<Option<Vec<u8>>> {
        self.deadline.check()?;
        self.called(base.len() + exponent.len() + modulus.len())?;
        let power = power_modulo(&self.powers, &base, &exponent, &modulus);
        self.traffic.charge(power.as_ref().map_or(0, Vec::len))?;
        Ok(power)
    }
}

/// Returns the power, in as many bytes as the modulus. Returns `None` for a modulus that is even or below 3, and for operands
/// that would take too long.
fn power_modulo(known: &Memo, base: &[u8], exponent: &[u8], modulus: &[u8]) -> Option<Vec<u8>> {
    let operands = [base, exponent, modulus];
    if operands.iter().any(|operand| operand.len() > MOST_BYTES) {
        return None;
    }
    let len = modulus.len();
    let operands = operands.map(without_zeros);
    let [_, exponent, modulus] = operands;
    let work = bits(exponent) * bits(modulus).pow(2);
    if bits(modulus) < 2 || work > MOST_WORK {
        return None;
    }
    let modulus = Odd::new(number(modulus)).into_option()?;
    let digits = if work < WORTH_REMEMBERING {
        calculate(operands, modulus)
    } else {
        known.power(operands, || calculate(operands, modulus))
    };
    let zeros = vec![0; len.checked_sub(digits.len())?];
    Some([zeros, digits].concat())
}

/// Calculates the power, without leading zeros.
fn calculate([base, exponent, _]: [&[u8]; 3], modulus: Odd<BoxedUint>) -> Vec<u8> {
    let parameters = BoxedMontyParams::new_vartime(modulus);
    let base = number(base).rem_vartime(parameters.modulus().as_nz_ref());
    // The time depends on the length of the exponent but on none of its bits: the exponent may be private.
    let power = BoxedMontyForm::new(base, &parameters).pow(&number(exponent));
    without_zeros(&power.retrieve().to_be_bytes()).to_vec()
}

/// Returns the bytes without leading zeros.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    &bytes[zeros..]
}

/// Returns the number of bits of a number without leading zero bytes.
fn bits(bytes: &[u8]) -> u64 {
    let unused = bytes.first().map_or(0, |first| first.leading_zeros());
    bytes.len() as u64 * 8 - u64::from(unused)
}

fn number(bytes: &[u8]) -> BoxedUint {
    BoxedUint::from_be_slice_vartime(bytes)
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;

    fn power_modulo(base: &[u8], exponent: &[u8], modulus: &[u8]) -> Option<Vec<u8>> {
        let known = Memo::default();
        let power = super::power_modulo(&known, base, exponent, modulus);
        let again = super::power_modulo(&known, base, exponent, modulus);
        assert_eq!(power, again);
        power
    }

    /// Generates up to 40 bytes, many of them at the extremes of a byte.
    fn operand() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![any::<u8>(), Just(0), Just(u8::MAX)];
        (0..10usize, prop::collection::vec(byte, 0..=30))
            .prop_map(|(zeros, bytes)| [vec![0; zeros], bytes].concat())
    }

    fn ones(len: usize) -> Vec<u8> {
        vec![u8::MAX; len]
    }

    proptest! {
        #[test]
        fn powers_are_those_of_num_bigint(base in operand(), exponent in operand(), modulus in operand()) {
            let power = power_modulo(&base, &exponent, &modulus);
            let [base, exponent, number] = [&base, &exponent, &modulus].map(|bytes| BigUint::from_bytes_be(bytes));
            if !number.bit(0) || number < BigUint::from(3u32) {
                prop_assert_eq!(power, None);
            } else {
                let power = power.unwrap();
                prop_assert_eq!(power.len(), modulus.len());
                prop_assert_eq!(BigUint::from_bytes_be(&power), base.modpow(&exponent, &number));
            }
        }
    }

    #[test]
    fn nothing_and_zeros_are_zero() {
        assert_eq!(power_modulo(&[], &[], &[0, 0, 7]), Some(vec![0, 0, 1]));
        assert_eq!(power_modulo(&[7], &[0, 0], &[7]), Some(vec![1]));
        assert_eq!(power_modulo(&[0, 0], &[0, 1], &[7]), Some(vec![0]));
        let moduli: [&[u8]; 6] = [&[], &[0], &[1], &[0, 1], &[2], &[1, 0]];
        for modulus in moduli {
            assert_eq!(power_modulo(&[3], &[5], modulus), None, "{modulus:?}");
        }
    }

    #[test]
    fn what_takes_long_is_left_to_the_component() {
        let is_given = |base: usize, exponent: &[u8], modulus: usize| {
            power_modulo(&ones(base), exponent, &ones(modulus)).is_some()
        };
        assert!(is_given(512, &ones(512), 512));
        let one_bit_more = [&[1][..], &ones(512)].concat();
        assert!(!is_given(512, &one_bit_more, 512));
        assert!(is_given(2048, &ones(32), 2048));
        assert!(!is_given(2048, &ones(33), 2048));
    }

    #[test]
    fn what_is_long_is_left_to_the_component_whatever_it_begins_with() {
        let long = [&[0; MOST_BYTES][..], &[3]].concat();
        assert_eq!(power_modulo(&long, &[3], &[3]), None);
        assert_eq!(power_modulo(&[3], &long, &[3]), None);
        assert_eq!(power_modulo(&[3], &[3], &long), None);
        let power = power_modulo(&long[1..], &[2], &long[1..]);
        assert_eq!(power, Some(vec![0; MOST_BYTES]));
    }
}
