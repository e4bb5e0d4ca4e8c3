//! Errors of keys and certificates. The messages are Go's where Go says as much.

use thiserror::Error;

/// Why a private key cannot be read or used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum KeyError {
    #[error("no PEM data in input")]
    NoPem,
    #[error("no private key data in PEM block of type {0}")]
    NoKey(String),
    #[error("invalid private key type {0}")]
    UnknownType(String),
    /// An error inside the PEM block.
    #[error("{action}: {error}")]
    Inside {
        action: &'static str,
        error: Box<Self>,
    },
    #[error("x509: failed to parse private key: the bytes are no {0}")]
    Malformed(&'static str),
    #[error("asn1: syntax error: trailing data")]
    TrailingData,
    #[error("x509: unsupported private key version")]
    Version,
    #[error("x509: private key contains zero or negative value")]
    NotPositive,
    #[error("x509: the numbers of the private key do not fit together")]
    Inconsistent,
    #[error("x509: unknown elliptic curve")]
    UnknownCurve,
    #[error("x509: invalid private key length")]
    Length,
    #[error("x509: the private key is no number of its elliptic curve")]
    OutOfRange,
    #[error("x509: PKCS#8 wrapping contained private key with unknown algorithm")]
    UnknownAlgorithm,
    #[error("{0} are not supported here; use RSA, ECDSA with P-256, P-384 or P-521, or Ed25519")]
    Unsupported(&'static str),
    #[error("crypto/rsa: {bits}-bit keys are insecure, a signature takes one of 1024 bits or more")]
    TooSmall { bits: u64 },
    #[error("x509: certificate private key does not implement crypto.Signer")]
    CannotSign,
}

impl KeyError {
    /// Creates an error for bytes that do not have the expected form.
    pub(super) const fn malformed(what: &'static str) -> Self {
        Self::Malformed(what)
    }

    /// Creates an error for a kind of key that Go supports.
    pub(super) const fn unsupported(what: &'static str) -> Self {
        Self::Unsupported(what)
    }

    /// Wraps the error of an action on the bytes in a PEM block.
    pub(super) fn inside(self, action: &'static str) -> Self {
        Self::Inside {
            action,
            error: Box::new(self),
        }
    }
}

/// Why a certificate cannot be read or created.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum CertificateError {
    /// The certificate does not follow RFC 5280.
    #[error("x509: {0}")]
    Malformed(&'static str),
    #[error("x509: invalid RDNSequence: invalid attribute value: {0}")]
    Name(&'static str),
    #[error("x509: {name} cannot be encoded as an IA5String")]
    DnsName { name: String },
    #[error("asn1: string not valid UTF-8")]
    CommonName,
    #[error("asn1: structural error: cannot represent time as GeneralizedTime")]
    Time,
    #[error("x509: provided PrivateKey doesn't match parent's PublicKey")]
    OtherKey,
    #[error(transparent)]
    Key(#[from] KeyError),
}
