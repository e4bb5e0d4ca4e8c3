//! RSA keys (RFC 8017): created from a stream of random bytes, written and read as PKCS #1, and used for signatures.

use num_bigint::BigUint;
use sha2::{Digest, Sha256};

use super::{
    der::{self, Reader, oid, tag},
    error::KeyError,
    prime::{Search, random},
};
use crate::{Powers, random::Stream};

/// The public exponent of new keys.
const EXPONENT: u32 = 65_537;

/// The largest key size to read, in bits. Calculations with larger keys take seconds.
const MAX_BITS: u64 = 16_384;

/// A private key with two primes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RsaKey {
    modulus: BigUint,
    public: BigUint,
    private: BigUint,
    /// The primes p and q.
    primes: [BigUint; 2],
    /// The private exponent modulo p - 1 and q - 1.
    exponents: [BigUint; 2],
    /// 1/q modulo p.
    coefficient: BigUint,
}

impl RsaKey {
    /// Creates a key of this many bits, an even number, from the stream.
    ///
    /// What is taken from the stream, and how, never changes: previously created keys must be reproduced.
    pub(super) fn generate(bits: u64, powers: &Powers, stream: &mut Stream) -> Self {
        let search = Search::new(powers);
        loop {
            let p = prime(&search, bits / 2, stream);
            let q = prime(&search, bits / 2, stream);
            // Primes with the same first hundred bits would reveal themselves (FIPS 186-5, A.1.3).
            if (&p >> (bits / 2 - 100)) == (&q >> (bits / 2 - 100)) {
                continue;
            }
            let public = BigUint::from(EXPONENT);
            let totient = (&p - 1u32) * (&q - 1u32);
            if let Some(private) = public.modinv(&totient)
                && let Some(key) = Self::new(public, private, [p, q])
            {
                return key;
            }
        }
    }

    fn new(public: BigUint, private: BigUint, primes: [BigUint; 2]) -> Option<Self> {
        let [p, q] = &primes;
        Some(Self {
            modulus: p * q,
            exponents: [&private % (p - 1u32), &private % (q - 1u32)],
            coefficient: q.modinv(p)?,
            public,
            private,
            primes,
        })
    }

    /// Returns the key as `RSAPrivateKey`.
    pub(super) fn to_pkcs1(&self) -> Vec<u8> {
        let [p, q] = &self.primes;
        let [of_p, of_q] = &self.exponents;
        let numbers = [
            &self.modulus,
            &self.public,
            &self.private,
            p,
            q,
            of_p,
            of_q,
            &self.coefficient,
        ];
        let mut contents = der::unsigned(&[0]);
        for number in numbers {
            contents.extend(integer(number));
        }
        der::sequence(&[&contents])
    }

    /// Reads an `RSAPrivateKey`.
    pub(super) fn from_pkcs1(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut outer = Reader::new(bytes);
        let malformed = KeyError::malformed("RSAPrivateKey");
        let mut reader = outer.inside(tag::SEQUENCE).ok_or(malformed.clone())?;
        if !outer.is_empty() {
            return Err(KeyError::TrailingData);
        }
        match reader.integer().ok_or(malformed.clone())? {
            [0] => {}
            [1] => return Err(KeyError::unsupported("RSA keys with more than two primes")),
            _ => return Err(KeyError::Version),
        }
        let mut numbers = Vec::new();
        while !reader.is_empty() {
            let bytes = reader.integer().ok_or(malformed.clone())?;
            if matches!(bytes, [0] | [0x80..=0xFF, ..]) {
                return Err(KeyError::NotPositive);
            }
            numbers.push(BigUint::from_bytes_be(bytes));
        }
        let [modulus, public, private, p, q, rest @ ..] = &numbers[..] else {
            return Err(malformed);
        };
        if modulus.bits() > MAX_BITS {
            return Err(KeyError::unsupported("RSA keys with more than 16384 bits"));
        }
        let one = BigUint::from(1u32);
        let are_odd = [p, q, public]
            .iter()
            .all(|number| number.bit(0) && **number > one);
        if !are_odd || public.bits() > 31 || &(p * q) != modulus || private >= modulus {
            return Err(KeyError::Inconsistent);
        }
        let key = Self::new(public.clone(), private.clone(), [p.clone(), q.clone()])
            .ok_or(KeyError::Inconsistent)?;
        let [of_p, of_q] = &key.exponents;
        let fits = |exponent: &BigUint, prime: &BigUint| {
            exponent * &key.public % (prime - 1u32) == BigUint::from(1u32)
        };
        let agrees = rest
            .iter()
            .zip([of_p, of_q, &key.coefficient])
            .all(|(given, calculated)| given == calculated);
        if !fits(of_p, p) || !fits(of_q, q) || !agrees {
            return Err(KeyError::Inconsistent);
        }
        Ok(key)
    }

    /// Returns the public key as `RSAPublicKey`.
    pub(super) fn public_key(&self) -> Vec<u8> {
        der::sequence(&[&integer(&self.modulus), &integer(&self.public)])
    }

    /// Returns the RSASSA-PKCS1-v1_5 signature with SHA-256.
    pub(super) fn sign(&self, message: &[u8], powers: &Powers) -> Result<Vec<u8>, KeyError> {
        let bits = self.modulus.bits();
        if bits < 1024 {
            return Err(KeyError::TooSmall { bits });
        }
        let padded = BigUint::from_bytes_be(&padded(message, bits));
        let signature = self.decrypt(&padded, powers);
        // A wrong signature would reveal the primes.
        if powers.power(&signature, &self.public, &self.modulus) != padded {
            return Err(KeyError::Inconsistent);
        }
        let digits = signature.to_bytes_be();
        let len = usize::try_from(bits.div_ceil(8)).unwrap_or_default();
        let mut bytes = vec![0; len.saturating_sub(digits.len())];
        bytes.extend(digits);
        Ok(bytes)
    }

    /// Returns the number to the power of the private exponent, calculated separately for each prime.
    fn decrypt(&self, number: &BigUint, powers: &Powers) -> BigUint {
        let [p, q] = &self.primes;
        let of_p = powers.power(number, &self.exponents[0], p);
        let of_q = powers.power(number, &self.exponents[1], q);
        let difference = (of_p + p - &of_q % p) * &self.coefficient % p;
        of_q + difference * q
    }
}

/// Returns a prime with this many bits. The first two bits are 1, so the product of two primes has twice as many.
fn prime(search: &Search<'_>, bits: u64, stream: &mut Stream) -> BigUint {
    loop {
        let mut start = random(bits, stream);
        for bit in [0, bits - 2, bits - 1] {
            start.set_bit(bit, true);
        }
        let accepts = |candidate: &BigUint| {
            candidate.bits() == bits && candidate % EXPONENT != BigUint::from(1u32)
        };
        if let Some(prime) = search.first(&start, &BigUint::from(2u32), stream, accepts) {
            return prime;
        }
    }
}

/// Encodes with EMSA-PKCS1-v1_5 for a key of this many bits.
fn padded(message: &[u8], bits: u64) -> Vec<u8> {
    let algorithm = der::sequence(&[
        &der::element(tag::OID, &[oid::SHA256]),
        &der::element(tag::NULL, &[]),
    ]);
    let hash = der::element(tag::OCTET_STRING, &[&Sha256::digest(message)]);
    let info = der::sequence(&[&algorithm, &hash]);
    let len = usize::try_from(bits.div_ceil(8)).unwrap_or_default();
    let mut padded = vec![0xFF; len];
    padded[..2].copy_from_slice(&[0, 1]);
    let at = len - info.len();
    padded[at - 1] = 0;
    padded[at..].copy_from_slice(&info);
    padded
}

fn integer(number: &BigUint) -> Vec<u8> {
    der::unsigned(&number.to_bytes_be())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::encodings::hex;

    fn key() -> RsaKey {
        static KEY: LazyLock<RsaKey> = LazyLock::new(|| {
            RsaKey::generate(1024, &Powers::default(), &mut Stream::new(&[1; 32]))
        });
        KEY.clone()
    }

    #[test]
    fn a_seed_gives_the_same_key_for_ever() {
        let key = key();
        assert_eq!(key.modulus.bits(), 1024);
        assert_eq!(
            hex(&Sha256::digest(key.to_pkcs1())),
            "89116aab37101577706e8b60aa1ca1beb596e09f6e98ab7bad7102eb917ed719"
        );
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let key = key();
        assert_eq!(RsaKey::from_pkcs1(&key.to_pkcs1()), Ok(key));
    }

    #[test]
    fn keys_that_do_not_fit_together_are_refused() {
        let key = key();
        let error = |change: fn(&mut RsaKey)| {
            let mut key = key.clone();
            change(&mut key);
            RsaKey::from_pkcs1(&key.to_pkcs1()).unwrap_err()
        };
        let inconsistent: [fn(&mut RsaKey); 5] = [
            |key| key.modulus += 2u32,
            |key| key.public += 2u32,
            |key| key.private += 2u32,
            |key| key.exponents[1] += 1u32,
            |key| key.primes[0] = BigUint::from(1u32),
        ];
        for change in inconsistent {
            assert_eq!(error(change), KeyError::Inconsistent);
        }
        assert_eq!(
            error(|key| key.private = BigUint::ZERO),
            KeyError::NotPositive
        );
        let mut bytes = key.to_pkcs1();
        bytes.push(0);
        assert_eq!(RsaKey::from_pkcs1(&bytes), Err(KeyError::TrailingData));
    }

    #[test]
    fn a_signature_is_the_padded_hash_to_the_private_power() {
        let key = key();
        let signature = key.sign(b"message", &Powers::default()).unwrap();
        assert_eq!(signature.len(), 128);
        let opened = BigUint::from_bytes_be(&signature).modpow(&key.public, &key.modulus);
        let opened = opened.to_bytes_be();
        assert!(
            opened.starts_with(&[1, 0xFF, 0xFF]) && opened.ends_with(&Sha256::digest(b"message"))
        );
    }
}
