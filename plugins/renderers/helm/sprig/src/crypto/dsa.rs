//! DSA keys (FIPS 186-4), which only `genPrivateKey "dsa"` creates.

use num_bigint::BigUint;

use super::{
    der::{self, Reader, tag},
    error::KeyError,
    prime::{Search, random},
};
use crate::{Powers, random::Stream};

/// The sizes of p and q in bits.
const SIZES: (u64, u64) = (2048, 256);

/// A key: p, q, g, and y = g^x modulo p.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DsaKey([BigUint; 5]);

impl DsaKey {
    /// Creates parameters and a key from the stream. What is taken from the stream, and how, never changes.
    pub(super) fn generate(powers: &Powers, stream: &mut Stream) -> Self {
        let search = Search::new(powers);
        loop {
            let q = loop {
                let start = odd(SIZES.1, stream);
                let found = search.first(&start, &2u32.into(), stream, |q| q.bits() == SIZES.1);
                if let Some(q) = found {
                    break q;
                }
            };
            // p is 1 modulo 2 q.
            let step = &q << 1u32;
            let start = odd(SIZES.0, stream);
            let start = &start - (&start % &step) + 1u32;
            let Some(p) = search.first(&start, &step, stream, |p| p.bits() == SIZES.0) else {
                continue;
            };
            if let Some(key) = Self::with_parameters(p, q, powers, stream) {
                return key;
            }
        }
    }

    fn with_parameters(
        p: BigUint,
        q: BigUint,
        powers: &Powers,
        stream: &mut Stream,
    ) -> Option<Self> {
        let cofactor = (&p - 1u32) / &q;
        let one = BigUint::from(1u32);
        let generator = (2u32..100)
            .map(|base| powers.power(&base.into(), &cofactor, &p))
            .find(|power| *power != one)?;
        // With 64 bits more than q has, all numbers are equally likely (B.1.1).
        let private = random(SIZES.1 + 64, stream) % (&q - 1u32) + 1u32;
        let public = powers.power(&generator, &private, &p);
        Some(Self([p, q, generator, public, private]))
    }

    /// Returns the key as OpenSSL writes it: the version 0 and p, q, g, y, x.
    pub(super) fn to_der(&self) -> Vec<u8> {
        let mut contents = der::unsigned(&[0]);
        for number in &self.0 {
            contents.extend(der::unsigned(&number.to_bytes_be()));
        }
        der::sequence(&[&contents])
    }

    pub(super) fn from_der(bytes: &[u8]) -> Result<Self, KeyError> {
        let read = || {
            let mut reader = Reader::new(bytes).inside(tag::SEQUENCE)?;
            reader.integer()?;
            let mut number = || reader.integer().map(BigUint::from_bytes_be);
            Some(Self([
                number()?,
                number()?,
                number()?,
                number()?,
                number()?,
            ]))
        };
        read().ok_or(KeyError::malformed("DSA key"))
    }
}

/// Returns a random odd number with this many bits.
fn odd(bits: u64, stream: &mut Stream) -> BigUint {
    let mut number = random(bits, stream);
    number.set_bit(0, true);
    number.set_bit(bits - 1, true);
    number
}
