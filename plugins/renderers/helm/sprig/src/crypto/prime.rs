//! Large random primes.

use num_bigint::BigUint;

use crate::{Powers, random::Stream};

/// The limit below which divisors are tried before the costly test.
const DIVISORS_BELOW: usize = 1 << 16;

/// The number of consecutive candidates to sieve. Of numbers with 2048 bits, one in 700 is a prime.
const WINDOW: usize = 8192;

/// The number of random bases. Candidates are drawn at random. Of random numbers with 1024 bits or more, such as the primes of RSA
/// keys, the test passes a composite one less often than once in 2^100 (FIPS 186-5, appendix B.3, asks for fewer rounds at this
/// size). The certainty is lower for q of a DSA key, which has 256 bits. A number chosen to deceive the test would need more bases.
const ROUNDS: usize = 8;

/// Finds primes among the numbers `start`, `start + step`, `start + 2 × step`, ...
pub(super) struct Search<'a> {
    /// The odd primes below [`DIVISORS_BELOW`].
    divisors: Vec<u32>,
    powers: &'a Powers,
}

impl<'a> Search<'a> {
    pub(super) fn new(powers: &'a Powers) -> Self {
        let mut composite = vec![false; DIVISORS_BELOW];
        let mut divisors = Vec::new();
        for number in (3..DIVISORS_BELOW).step_by(2) {
            if !composite[number] {
                divisors.extend(u32::try_from(number));
                let multiples = (number * number..DIVISORS_BELOW).step_by(number);
                multiples.for_each(|multiple| composite[multiple] = true);
            }
        }
        Self { divisors, powers }
    }

    /// Returns the first accepted prime from `start` on, if there is one among the next [`WINDOW`] numbers.
    ///
    /// `start` is odd and far above the divisors, and `step` is even.
    pub(super) fn first(
        &self,
        start: &BigUint,
        step: &BigUint,
        stream: &mut Stream,
        accepts: impl Fn(&BigUint) -> bool,
    ) -> Option<BigUint> {
        let composite = self.sieve(start, step);
        let candidates = (0..WINDOW).filter(|&index| !composite[index]);
        candidates
            .map(|index| start + step * index)
            .find(|candidate| accepts(candidate) && is_prime(candidate, self.powers, stream))
    }

    /// Returns which candidates have a small divisor.
    fn sieve(&self, start: &BigUint, step: &BigUint) -> Vec<bool> {
        let mut composite = vec![false; WINDOW];
        // The product of two divisors has 32 bits, so one division of the large number serves both.
        for pair in self.divisors.chunks(2) {
            let product: u32 = pair.iter().product();
            let (start, step) = (remainder(start, product), remainder(step, product));
            for &divisor in pair {
                mark(&mut composite, start % divisor, step % divisor, divisor);
            }
        }
        composite
    }
}

/// Marks the indices where `start + step × index` is a multiple of the divisor.
fn mark(composite: &mut [bool], start: u32, step: u32, divisor: u32) {
    if step == 0 {
        // Either all of them are multiples, or none.
        if start == 0 {
            composite.fill(true);
        }
        return;
    }
    let modulus = u64::from(divisor);
    let inverse = power(u64::from(step), modulus - 2, modulus);
    let first = (modulus - u64::from(start)) * inverse % modulus;
    let Ok(first) = usize::try_from(first) else {
        return;
    };
    let stride = divisor as usize;
    let marked = composite.iter_mut().skip(first).step_by(stride);
    marked.for_each(|index| *index = true);
}

fn remainder(number: &BigUint, divisor: u32) -> u32 {
    let remainder = number % divisor;
    remainder.iter_u32_digits().next().unwrap_or_default()
}

/// Returns a power modulo a number of at most 32 bits.
fn power(mut base: u64, mut exponent: u64, modulus: u64) -> u64 {
    let mut result = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * base % modulus;
        }
        base = base * base % modulus;
        exponent >>= 1;
    }
    result
}

/// Returns whether an odd number is a prime. This is the Miller-Rabin test with the base 2, which rules out nearly all composite
/// numbers, and then with random bases.
///
/// The bases drawn determine what else the stream gives, so this never changes.
pub(super) fn is_prime(number: &BigUint, powers: &Powers, stream: &mut Stream) -> bool {
    if !number.bit(0) || number.bits() < 2 {
        return false;
    }
    let one = BigUint::from(1u32);
    let before = number - 1u32;
    let zeros = before.trailing_zeros().unwrap_or_default();
    let odd_part = &before >> zeros;
    let passes = |base: &BigUint| {
        let mut power = powers.power(base, &odd_part, number);
        if power == one || power == before {
            return true;
        }
        (1..zeros).any(|_| {
            power = &power * &power % number;
            power == before
        })
    };
    passes(&BigUint::from(2u32))
        && (0..ROUNDS).all(|_| {
            let base = random(number.bits(), stream) % (number - 2u32) + 2u32;
            passes(&base)
        })
}

/// Returns a random number of at most this many bits.
pub(super) fn random(bits: u64, stream: &mut Stream) -> BigUint {
    let len = usize::try_from(bits.div_ceil(8)).unwrap_or_default();
    let mut bytes = vec![0; len];
    stream.fill(&mut bytes);
    BigUint::from_bytes_be(&bytes) >> (len as u64 * 8 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Stream {
        Stream::new(&[3; 32])
    }

    #[test]
    fn primes_and_pseudoprimes() {
        let powers = Powers::default();
        let prime = |number: u128| is_prime(&number.into(), &powers, &mut stream());
        for number in [3, 5, 7, 65_537, (1 << 61) - 1, (1 << 127) - 1] {
            assert!(prime(number), "{number}");
        }
        // Numbers that are even or below 2, numbers that pass the test with the base 2, products of primes, and Carmichael
        // numbers.
        for number in [
            0,
            1,
            4,
            2047,
            3277,
            3_215_031_751,
            9,
            561,
            ((1 << 61) - 1) * ((1 << 31) - 1),
        ] {
            assert!(!prime(number), "{number}");
        }
    }

    #[test]
    fn a_sieve_leaves_the_numbers_without_small_divisors() {
        let powers = Powers::default();
        let search = Search::new(&powers);
        let start = BigUint::from((1u64 << 62) + 1);
        for step in [2u32, 2 * 3 * 101] {
            let composite = search.sieve(&start, &step.into());
            for (index, &composite) in composite.iter().enumerate() {
                let number = &start + BigUint::from(step) * index;
                let divisible = search
                    .divisors
                    .iter()
                    .any(|&divisor| remainder(&number, divisor) == 0);
                assert_eq!(composite, divisible, "{step} {index}");
            }
        }
    }

    #[test]
    fn the_first_prime_is_found() {
        let start = BigUint::from((1u64 << 61) - 29);
        let powers = Powers::default();
        let found = Search::new(&powers).first(&start, &2u32.into(), &mut stream(), |_| true);
        assert_eq!(found, Some(((1u64 << 61) - 1).into()));
    }
}
