//! Powers modulo large odd numbers.
//!
//! Finding the two primes of an RSA key takes some seventy powers of numbers with a thousand bits, so this is written
//! for that, and for a machine that multiplies no more than 32 by 32 bits, as WebAssembly is one: numbers are in limbs
//! of 28 bits, so that many products of two add up in 64 bits before a carry must be looked after. It takes an eighth of
//! the time of the powers in `num-bigint`.
//!
//! How long it takes depends on the exponent. Nobody can watch a render from close enough to learn from that.

use num_bigint::BigUint;

/// How many bits a limb has.
const BITS: u32 = 28;
const MASK: u64 = (1 << BITS) - 1;
const MASK_OF_LIMB: u32 = (1 << BITS) - 1;

/// So many steps add no more to a limb than 64 bits hold: two products of 56 bits each.
const STEPS_BEFORE_CARRY: usize = 100;

/// A number to calculate with: the limbs, the lowest first, of the number times R modulo n, or n more.
pub(super) type Residue = Vec<u32>;

/// Arithmetic modulo an odd number n, after Montgomery: with R = 2^(28 × limbs), which is more than 4 n, so that numbers
/// below 2 n stay below 2 n without a comparison.
#[derive(Debug)]
pub(super) struct Modulus {
    number: BigUint,
    limbs: Vec<u32>,
    /// -1/n modulo 2^28.
    inverse: u32,
    one: Residue,
    /// R × R modulo n.
    square: Residue,
}

impl Modulus {
    /// The modulus, if it is odd and above 1.
    pub(super) fn new(number: &BigUint) -> Option<Self> {
        if !number.bit(0) || number.bits() < 2 {
            return None;
        }
        let count = usize::try_from((number.bits() + 2).div_ceil(u64::from(BITS))).ok()?;
        let limbs = to_limbs(number, count);
        // Newton's method doubles the number of right bits, and an odd number is its own inverse modulo 8.
        let mut inverse = limbs[0];
        for _ in 0..4 {
            let product = limbs[0].wrapping_mul(inverse);
            inverse = inverse.wrapping_mul(2u32.wrapping_sub(product));
        }
        let r = BigUint::from(1u32) << (u64::from(BITS) * count as u64);
        let one = &r % number;
        let square = &one * &one % number;
        Some(Self {
            number: number.clone(),
            inverse: inverse.wrapping_neg() & MASK_OF_LIMB,
            one: to_limbs(&one, count),
            square: to_limbs(&square, count),
            limbs,
        })
    }

    /// The number to calculate with.
    pub(super) fn residue(&self, number: &BigUint) -> Residue {
        let reduced = to_limbs(&(number % &self.number), self.limbs.len());
        self.multiply(&reduced, &self.square)
    }

    /// The number that was calculated.
    pub(super) fn number(&self, residue: &[u32]) -> BigUint {
        let mut one = vec![0; self.limbs.len()];
        one[0] = 1;
        to_number(&self.multiply(residue, &one)) % &self.number
    }

    /// 1.
    pub(super) fn one(&self) -> &[u32] {
        &self.one
    }

    /// a × b / R, which is the product of what both stand for.
    pub(super) fn multiply(&self, a: &[u32], b: &[u32]) -> Residue {
        let count = self.limbs.len();
        let (b, limbs) = (&b[..count], &self.limbs[..count]);
        let mut sums = vec![0u64; count];
        let sums = &mut sums[..count];
        for (step, &limb) in a.iter().enumerate() {
            let limb = u64::from(limb);
            let first = sums[0] + limb * u64::from(b[0]);
            // So many n that the lowest limb becomes 0 and can be dropped.
            let factor = ((first & MASK) * u64::from(self.inverse)) & MASK;
            let carry = (first + factor * u64::from(limbs[0])) >> BITS;
            for index in 1..count {
                let products = limb * u64::from(b[index]) + factor * u64::from(limbs[index]);
                sums[index - 1] = sums[index] + products;
            }
            sums[count - 1] = 0;
            sums[0] += carry;
            if step % STEPS_BEFORE_CARRY == STEPS_BEFORE_CARRY - 1 {
                carry_over(sums);
            }
        }
        carry_over(sums);
        sums.iter().map(|&sum| (sum & MASK) as u32).collect()
    }

    /// Twice the number.
    fn double(&self, residue: &mut Residue) {
        let mut carry = 0;
        for limb in residue.iter_mut() {
            let sum = (*limb << 1) | carry;
            carry = sum >> BITS;
            *limb = sum & MASK_OF_LIMB;
        }
        // It is below 4 n now, which is below R.
        self.reduce_below(residue, 1);
    }

    /// Subtracts n × 2^shift if the number is not below it.
    fn reduce_below(&self, residue: &mut Residue, shift: u32) {
        let mut difference = Vec::with_capacity(residue.len());
        let (mut borrow, mut shifted_out) = (0, 0);
        for (&limb, &of_modulus) in residue.iter().zip(&self.limbs) {
            let subtrahend = (u64::from(of_modulus) << shift) | shifted_out;
            shifted_out = subtrahend >> BITS;
            let result = u64::from(limb) + (1 << BITS) - (subtrahend & MASK) - borrow;
            borrow = 1 - (result >> BITS);
            difference.push((result & MASK) as u32);
        }
        if borrow == 0 {
            *residue = difference;
        }
    }

    /// Whether two residues stand for the same number.
    pub(super) fn same(&self, a: &[u32], b: &[u32]) -> bool {
        let (mut a, mut b) = (a.to_vec(), b.to_vec());
        self.reduce_below(&mut a, 0);
        self.reduce_below(&mut b, 0);
        a == b
    }

    /// 2 to the power of the exponent.
    pub(super) fn power_of_two(&self, exponent: &BigUint) -> Residue {
        let mut result = self.one.clone();
        for bit in (0..exponent.bits()).rev() {
            result = self.multiply(&result, &result);
            if exponent.bit(bit) {
                self.double(&mut result);
            }
        }
        result
    }

    /// The base to the power of the exponent.
    pub(super) fn power(&self, base: &[u32], exponent: &BigUint) -> Residue {
        /// So many bits of the exponent are looked at together.
        const WINDOW: u64 = 4;
        let mut powers = vec![self.one.clone()];
        for index in 0..(1 << WINDOW) - 1 {
            powers.push(self.multiply(&powers[index], base));
        }
        let mut result = self.one.clone();
        for window in (0..exponent.bits().div_ceil(WINDOW)).rev() {
            for _ in 0..WINDOW {
                result = self.multiply(&result, &result);
            }
            let bits =
                (0..WINDOW).map(|bit| usize::from(exponent.bit(window * WINDOW + bit)) << bit);
            result = self.multiply(&result, &powers[bits.sum::<usize>()]);
        }
        result
    }
}

/// Leaves no more in a limb than it has bits.
fn carry_over(sums: &mut [u64]) {
    let mut carry = 0;
    let Some((last, sums)) = sums.split_last_mut() else {
        return;
    };
    for sum in sums {
        *sum += carry;
        carry = *sum >> BITS;
        *sum &= MASK;
    }
    *last += carry;
}

fn to_limbs(number: &BigUint, count: usize) -> Vec<u32> {
    let mut limbs = Vec::with_capacity(count);
    let (mut pending, mut bits) = (0u64, 0);
    for digit in number.iter_u32_digits() {
        pending |= u64::from(digit) << bits;
        bits += 32;
        while bits >= BITS {
            limbs.push((pending & MASK) as u32);
            pending >>= BITS;
            bits -= BITS;
        }
    }
    limbs.push((pending & MASK) as u32);
    limbs.resize(count, 0);
    limbs
}

fn to_number(limbs: &[u32]) -> BigUint {
    let mut digits = Vec::with_capacity(limbs.len());
    let (mut pending, mut bits) = (0u64, 0);
    for &limb in limbs {
        pending |= u64::from(limb) << bits;
        bits += BITS;
        if bits >= 32 {
            digits.push((pending & 0xFFFF_FFFF) as u32);
            pending >>= 32;
            bits -= 32;
        }
    }
    digits.push((pending & 0xFFFF_FFFF) as u32);
    BigUint::new(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn big(max_digits: usize) -> impl Strategy<Value = BigUint> {
        let digit = prop_oneof![any::<u32>(), Just(0), Just(u32::MAX)];
        prop::collection::vec(digit, 1..max_digits).prop_map(BigUint::new)
    }

    proptest! {
        #[test]
        fn powers_are_those_of_num_bigint(number in big(140), base in big(140), exponent in big(3)) {
            let number = number | BigUint::from(3u32);
            let modulus = Modulus::new(&number).unwrap();
            let base_residue = modulus.residue(&base);
            prop_assert_eq!(modulus.number(&base_residue), &base % &number);
            let power = modulus.power(&base_residue, &exponent);
            prop_assert_eq!(modulus.number(&power), base.modpow(&exponent, &number));
            let of_two = modulus.power_of_two(&exponent);
            let expected = BigUint::from(2u32).modpow(&exponent, &number);
            prop_assert_eq!(&modulus.number(&of_two), &expected);
            prop_assert!(modulus.same(&of_two, &modulus.residue(&expected)));
        }
    }

    #[test]
    fn only_odd_numbers_are_moduli() {
        for number in [0u32, 1, 2, 1024] {
            assert!(Modulus::new(&number.into()).is_none());
        }
    }

    #[test]
    fn sums_of_many_full_limbs_do_not_overflow() {
        let number = (BigUint::from(1u32) << 8192u32) - 1u32;
        let modulus = Modulus::new(&number).unwrap();
        let base = &number - 2u32;
        let power = modulus.power(&modulus.residue(&base), &BigUint::from(5u32));
        assert_eq!(modulus.number(&power), base.modpow(&5u32.into(), &number));
    }
}
