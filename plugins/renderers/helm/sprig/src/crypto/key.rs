//! Private keys of all kinds, and their PEM forms.

use ed25519_dalek::Signer as _;

use super::{
    der::{self, Reader, oid, tag},
    dsa::DsaKey,
    error::KeyError,
    pem,
    rsa::RsaKey,
};
use crate::{Powers, random::Stream};

/// A private key.
#[derive(Clone, Debug)]
pub(super) enum PrivateKey {
    Rsa(Box<RsaKey>),
    Dsa(Box<DsaKey>),
    P256(Box<p256::ecdsa::SigningKey>),
    P384(Box<p384::ecdsa::SigningKey>),
    P521(Box<p521::ecdsa::SigningKey>),
    Ed25519(Box<ed25519_dalek::SigningKey>),
    /// A key for key agreement, which cannot sign.
    X25519,
}

impl PrivateKey {
    /// Creates an RSA key of this many bits.
    pub(super) fn rsa(bits: u64, powers: &Powers, stream: &mut Stream) -> Self {
        Self::Rsa(Box::new(RsaKey::generate(bits, powers, stream)))
    }

    pub(super) fn dsa(powers: &Powers, stream: &mut Stream) -> Self {
        Self::Dsa(Box::new(DsaKey::generate(powers, stream)))
    }

    /// Creates an ECDSA key on the curve P-256.
    pub(super) fn p256(stream: &mut Stream) -> Self {
        loop {
            let mut bytes = [0; 32];
            stream.fill(&mut bytes);
            // All but a few of these numbers are below the order of the curve.
            if let Ok(key) = p256::ecdsa::SigningKey::from_slice(&bytes) {
                return Self::P256(Box::new(key));
            }
        }
    }

    pub(super) fn ed25519(stream: &mut Stream) -> Self {
        let mut bytes = [0; 32];
        stream.fill(&mut bytes);
        Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&bytes)))
    }

    /// Reads a PEM key as sprig does: PKCS #8, or the older forms of RSA, EC and DSA keys.
    pub(super) fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let block = pem::decode(text).ok_or(KeyError::NoPem)?;
        let kind = || String::from_utf8_lossy(&block.kind).into_owned();
        if block.kind == b"PRIVATE KEY" {
            return Self::from_pkcs8(&block.bytes)
                .map_err(|error| error.inside("decoding PEM as PKCS#8"));
        }
        match block.kind.strip_suffix(b" PRIVATE KEY") {
            None => Err(KeyError::NoKey(kind())),
            Some(b"RSA") => RsaKey::from_pkcs1(&block.bytes)
                .map(|key| Self::Rsa(Box::new(key)))
                .map_err(|error| error.inside("parsing RSA private key from PEM")),
            Some(b"EC") => Self::from_sec1(&block.bytes, None)
                .map_err(|error| error.inside("parsing EC private key from PEM")),
            Some(b"DSA") => DsaKey::from_der(&block.bytes)
                .map(|key| Self::Dsa(Box::new(key)))
                .map_err(|error| error.inside("parsing DSA private key from PEM")),
            Some(_) => Err(KeyError::UnknownType(kind())),
        }
    }

    /// Reads `PrivateKeyInfo` (RFC 5208) or `OneAsymmetricKey` (RFC 5958).
    fn from_pkcs8(bytes: &[u8]) -> Result<Self, KeyError> {
        let read = || {
            let mut reader = Reader::new(bytes).inside(tag::SEQUENCE)?;
            reader.integer()?;
            let mut algorithm = reader.inside(tag::SEQUENCE)?;
            let name = algorithm.take(tag::OID)?;
            Some((name, algorithm, reader.take(tag::OCTET_STRING)?))
        };
        let (name, mut parameters, key) = read().ok_or(KeyError::malformed("PrivateKeyInfo"))?;
        match name {
            oid::RSA => RsaKey::from_pkcs1(key)
                .map(|key| Self::Rsa(Box::new(key)))
                .map_err(|error| {
                    error.inside("x509: failed to parse RSA private key embedded in PKCS#8")
                }),
            oid::EC => Self::from_sec1(key, parameters.take(tag::OID)).map_err(|error| {
                error.inside("x509: failed to parse EC private key embedded in PKCS#8")
            }),
            oid::ED25519 | oid::X25519 => {
                let seed = Reader::new(key).take(tag::OCTET_STRING);
                let seed = seed.filter(|_| parameters.is_empty());
                let seed: [u8; 32] = seed
                    .ok_or(KeyError::malformed("CurvePrivateKey without parameters"))?
                    .try_into()
                    .map_err(|_| KeyError::Length)?;
                Ok(if name == oid::ED25519 {
                    Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&seed)))
                } else {
                    Self::X25519
                })
            }
            _ => Err(KeyError::UnknownAlgorithm),
        }
    }

    /// Reads `ECPrivateKey` (RFC 5915). Its curve may be specified outside of it.
    fn from_sec1(bytes: &[u8], curve: Option<&[u8]>) -> Result<Self, KeyError> {
        let read = || {
            let mut reader = Reader::new(bytes).inside(tag::SEQUENCE)?;
            let version = reader.integer()?;
            let key = reader.take(tag::OCTET_STRING)?;
            let named = match reader.inside(tag::explicit(0)) {
                Some(mut named) => Some(named.take(tag::OID)?),
                None => None,
            };
            Some((version, key, named))
        };
        let (version, key, named) = read().ok_or(KeyError::malformed("ECPrivateKey"))?;
        if version != [1] {
            return Err(KeyError::Version);
        }
        let curve = curve.or(named).ok_or(KeyError::UnknownCurve)?;
        let key = |len| fitted(key, len);
        let out_of_range = |_| KeyError::OutOfRange;
        match curve {
            oid::P256 => p256::ecdsa::SigningKey::from_slice(&key(32)?)
                .map(|key| Self::P256(Box::new(key)))
                .map_err(out_of_range),
            oid::P384 => p384::ecdsa::SigningKey::from_slice(&key(48)?)
                .map(|key| Self::P384(Box::new(key)))
                .map_err(out_of_range),
            oid::P521 => p521::ecdsa::SigningKey::from_slice(&key(66)?)
                .map(|key| Self::P521(Box::new(key)))
                .map_err(out_of_range),
            oid::P224 => Err(KeyError::unsupported("keys on the curve P-224")),
            _ => Err(KeyError::UnknownCurve),
        }
    }

    /// Returns the key in the form that sprig writes for its kind; empty for a kind that it cannot write.
    pub(super) fn to_pem(&self) -> String {
        match self {
            Self::Rsa(key) => pem::encode("RSA PRIVATE KEY", &key.to_pkcs1()),
            Self::Dsa(key) => pem::encode("DSA PRIVATE KEY", &key.to_der()),
            Self::P256(key) => sec1(oid::P256, &key.to_bytes(), &self.public_bits()),
            Self::P384(key) => sec1(oid::P384, &key.to_bytes(), &self.public_bits()),
            Self::P521(key) => sec1(oid::P521, &key.to_bytes(), &self.public_bits()),
            Self::Ed25519(key) => {
                let seed = der::element(tag::OCTET_STRING, &[&key.to_bytes()]);
                let info = der::sequence(&[
                    &der::unsigned(&[0]),
                    &algorithm(oid::ED25519, &[]),
                    &der::element(tag::OCTET_STRING, &[&seed]),
                ]);
                pem::encode("PRIVATE KEY", &info)
            }
            Self::X25519 => String::new(),
        }
    }

    /// Returns the content of the public key's BIT STRING; empty for keys that certificates cannot have.
    pub(super) fn public_bits(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => key.public_key(),
            Self::P256(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Self::P384(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Self::P521(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Self::Ed25519(key) => key.verifying_key().to_bytes().to_vec(),
            Self::Dsa(_) | Self::X25519 => Vec::new(),
        }
    }

    /// Returns the `SubjectPublicKeyInfo`.
    pub(super) fn public_key_info(&self) -> Result<Vec<u8>, KeyError> {
        let curve = |curve| algorithm(oid::EC, &der::element(tag::OID, &[curve]));
        let algorithm = match self {
            Self::Rsa(_) => algorithm(oid::RSA, &der::element(tag::NULL, &[])),
            Self::P256(_) => curve(oid::P256),
            Self::P384(_) => curve(oid::P384),
            Self::P521(_) => curve(oid::P521),
            Self::Ed25519(_) => algorithm(oid::ED25519, &[]),
            Self::Dsa(_) | Self::X25519 => return Err(KeyError::CannotSign),
        };
        Ok(der::sequence(&[
            &algorithm,
            &der::bits(&self.public_bits()),
        ]))
    }

    /// Returns the algorithm of [`sign`](Self::sign) as an `AlgorithmIdentifier`.
    pub(super) fn signature_algorithm(&self) -> Result<Vec<u8>, KeyError> {
        Ok(match self {
            Self::Rsa(_) => algorithm(oid::SHA256_WITH_RSA, &der::element(tag::NULL, &[])),
            Self::P256(_) => algorithm(oid::ECDSA_WITH_SHA256, &[]),
            Self::P384(_) => algorithm(oid::ECDSA_WITH_SHA384, &[]),
            Self::P521(_) => algorithm(oid::ECDSA_WITH_SHA512, &[]),
            Self::Ed25519(_) => algorithm(oid::ED25519, &[]),
            Self::Dsa(_) | Self::X25519 => return Err(KeyError::CannotSign),
        })
    }

    /// Signs a message with the hash that belongs to the kind of key. The same message always has the same signature: the numbers
    /// that ECDSA needs are those of RFC 6979.
    pub(super) fn sign(&self, message: &[u8], powers: &Powers) -> Result<Vec<u8>, KeyError> {
        Ok(match self {
            Self::Rsa(key) => key.sign(message, powers)?,
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                pair(&signature.to_bytes())
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign(message);
                pair(&signature.to_bytes())
            }
            Self::P521(key) => {
                let signature: p521::ecdsa::Signature = key.sign(message);
                pair(&signature.to_bytes())
            }
            Self::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Self::Dsa(_) | Self::X25519 => return Err(KeyError::CannotSign),
        })
    }
}

/// Encodes an `AlgorithmIdentifier`.
fn algorithm(name: &[u8], parameters: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::element(tag::OID, &[name]), parameters])
}

/// Encodes an `Ecdsa-Sig-Value` from two concatenated numbers of the same length.
fn pair(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    der::sequence(&[&der::unsigned(r), &der::unsigned(s)])
}

/// Encodes an `ECPrivateKey` in PEM.
fn sec1(curve: &[u8], private: &[u8], public: &[u8]) -> String {
    let curve = der::element(tag::OID, &[curve]);
    let key = der::sequence(&[
        &der::unsigned(&[1]),
        &der::element(tag::OCTET_STRING, &[private]),
        &der::element(tag::explicit(0), &[&curve]),
        &der::element(tag::explicit(1), &[&der::bits(public)]),
    ]);
    pem::encode("EC PRIVATE KEY", &key)
}

/// Returns a number in this many bytes. Some programs write leading zeros, and others omit necessary ones.
fn fitted(key: &[u8], len: usize) -> Result<Vec<u8>, KeyError> {
    let zeros = key.iter().take_while(|&&byte| byte == 0).count();
    let digits = &key[zeros..];
    let padding = len.checked_sub(digits.len()).ok_or(KeyError::Length)?;
    Ok([&vec![0; padding], digits].concat())
}
