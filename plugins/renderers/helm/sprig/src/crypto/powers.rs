//! Powers modulo large numbers.
//!
//! Finding the two primes of an RSA key takes about seventy powers of numbers with a thousand bits, which accounts for nearly all
//! of the time to create the key. A machine that multiplies at most 32 by 32 bits, such as WebAssembly, needs several times as
//! long as the host's machine, so the host is asked first.

use num_bigint::BigUint;

use crate::Powers;

impl Powers {
    /// Returns the base to the power of the exponent, modulo a number that is not 0.
    pub(super) fn power(&self, base: &BigUint, exponent: &BigUint, modulus: &BigUint) -> BigUint {
        let [base_bytes, exponent_bytes, modulus_bytes] =
            [base, exponent, modulus].map(BigUint::to_bytes_be);
        match self.ask(&base_bytes, &exponent_bytes, &modulus_bytes) {
            Some(bytes) => BigUint::from_bytes_be(&bytes),
            None => base.modpow(exponent, modulus),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power(powers: &Powers, numbers: [u32; 3]) -> BigUint {
        let [base, exponent, modulus] = numbers.map(BigUint::from);
        powers.power(&base, &exponent, &modulus)
    }

    #[test]
    fn the_host_is_asked_first_and_need_not_answer() {
        let numbers = [4, 13, 497];
        assert_eq!(power(&Powers::default(), numbers), BigUint::from(445u32));
        let silent = Powers::new(|_, _, _| None);
        assert_eq!(power(&silent, numbers), BigUint::from(445u32));
        // The host's answer is not verified.
        let host = Powers::new(|base, exponent, modulus| Some([base, exponent, modulus].concat()));
        assert_eq!(power(&host, numbers), BigUint::from(0x040D_01F1u32));
    }
}
