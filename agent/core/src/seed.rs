//! The secret seed of an application, from which values are derived that must be random and yet repeatable.

use std::fmt;

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::digest::Digest;

/// The size of a block of the expansion, in bytes.
const BLOCK: usize = 32;

/// The maximum number of bytes derived for one purpose: RFC 5869 ends at 255 blocks.
const MOST: usize = 255 * BLOCK;

/// 32 secret bytes that belong to one application. Created once, kept in the cluster, never in git.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

impl Seed {
    /// Wraps 32 bytes from a cryptographic random source.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, for the place where the seed is kept.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Derives a seed from a text chosen by a person (`--seed`).
    pub fn from_text(text: &str) -> Self {
        Self(*Digest::of(text).as_bytes())
    }

    /// Derives `length` bytes for a purpose: the same on every call, different for each purpose.
    ///
    /// The expansion is HKDF-Expand of RFC 5869 with HMAC-SHA-256, which ends at 255 blocks. Longer requests are cut there (8160
    /// bytes), far above any password or key.
    pub fn derive(&self, purpose: &str, length: usize) -> Vec<u8> {
        self.expand(purpose.as_bytes(), length)
    }

    fn expand(&self, info: &[u8], length: usize) -> Vec<u8> {
        // A plugin may ask for any length, so do not reserve more than can be derived.
        let mut out = Vec::with_capacity(length.min(MOST) + BLOCK);
        let mut block: Vec<u8> = Vec::new();
        for counter in 1..=255u8 {
            if out.len() >= length {
                break;
            }
            let mut mac = self.mac();
            mac.update(&block);
            mac.update(info);
            mac.update(&[counter]);
            block = mac.finalize().into_bytes().to_vec();
            out.extend_from_slice(&block);
        }
        out.truncate(length);
        out
    }

    /// Replaces a secret value with a keyed digest. Equal values stay equal, and nobody without the seed can test a guess.
    pub fn conceal(&self, value: &Value) -> Value {
        let mut mac = self.mac();
        mac.update(b"conceal");
        mac.update(crate::canonical::to_string(value).as_bytes());
        Value::String(format!(
            "hmac-sha256:{}",
            hex::encode(mac.finalize().into_bytes())
        ))
    }

    fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0).expect("HMAC takes keys of any length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn derives_what_rfc_5869_expands() {
        // RFC 5869, appendix A.1: HKDF-Expand of the PRK with its info.
        let mut prk = [0; 32];
        hex::decode_to_slice(
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            &mut prk,
        )
        .unwrap();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let expected =
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        assert_eq!(hex::encode(Seed(prk).expand(&info, 42)), expected);
    }

    #[test]
    fn repeats_for_a_purpose_and_differs_between_purposes_and_seeds() {
        let seed = Seed::from_text("a");
        assert_eq!(seed.derive("x", 100), seed.derive("x", 100));
        assert_eq!(seed.derive("x", 100)[..16], seed.derive("x", 16)[..]);
        assert_ne!(seed.derive("x", 16), seed.derive("y", 16));
        assert_ne!(seed.derive("x", 16), Seed::from_text("b").derive("x", 16));
        assert_eq!(seed.derive("x", 1 << 20).len(), MOST);
        let most = seed.derive("x", usize::MAX);
        assert_eq!(most.len(), MOST);
        assert!(most.capacity() <= 2 * MOST);
    }

    #[test]
    fn conceals_equally_and_prints_nothing() {
        let seed = Seed::from_text("a");
        assert_eq!(seed.conceal(&json!("p")), seed.conceal(&json!("p")));
        assert_ne!(seed.conceal(&json!("p")), seed.conceal(&json!("q")));
        assert_ne!(
            seed.conceal(&json!("p")),
            Seed::from_text("b").conceal(&json!("p"))
        );
        assert_eq!(format!("{seed:?}"), "Seed(…)");
    }
}
