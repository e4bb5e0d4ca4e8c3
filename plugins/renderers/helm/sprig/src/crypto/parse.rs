//! Reads certificates (RFC 5280) as strictly as Go's `crypto/x509`, except for the contents of most extensions.

use super::{
    der::{Element, Reader, oid, tag},
    error::CertificateError,
};
use crate::go::parse_time;

type Result<T> = std::result::Result<T, CertificateError>;

/// The used parts of a certificate that signs others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// The `Name`, unchanged.
    pub(super) subject: Vec<u8>,
    /// The `SubjectPublicKeyInfo`, if the kind of key is known.
    pub(super) public_key: Option<Vec<u8>>,
    /// The identifier of its key in other certificates.
    pub(super) key_id: Option<Vec<u8>>,
}

/// Converts a missing value to an error that describes it.
trait Expect<T> {
    fn or_malformed(self, what: &'static str) -> Result<T>;
}

impl<T> Expect<T> for Option<T> {
    fn or_malformed(self, what: &'static str) -> Result<T> {
        self.ok_or(CertificateError::Malformed(what))
    }
}

/// Reads a certificate.
pub(super) fn certificate(bytes: &[u8]) -> Result<Authority> {
    let mut input = Reader::new(bytes);
    let mut certificate = input
        .inside(tag::SEQUENCE)
        .or_malformed("malformed certificate")?;
    let mut body = certificate
        .inside(tag::SEQUENCE)
        .or_malformed("malformed tbs certificate")?;
    let version = version(&mut body)?;
    let serial = body.integer().or_malformed("malformed serial number")?;
    if serial.first().is_some_and(|&byte| byte >= 0x80) {
        return Err(CertificateError::Malformed("negative serial number"));
    }
    let inner = body
        .take(tag::SEQUENCE)
        .or_malformed("malformed signature algorithm identifier")?;
    let outer = certificate
        .take(tag::SEQUENCE)
        .or_malformed("malformed algorithm identifier")?;
    if inner != outer {
        return Err(CertificateError::Malformed(
            "inner and outer signature algorithm identifiers don't match",
        ));
    }
    algorithm(inner)?;
    name(&mut body)?;
    validity(&mut body)?;
    let subject = name(&mut body)?.bytes.to_vec();
    let public_key = public_key(&mut body)?;
    let key_id = if version == 3 {
        extensions(&mut body)?
    } else {
        None
    };
    certificate.bits().or_malformed("malformed signature")?;
    if !input.is_empty() {
        return Err(CertificateError::Malformed("trailing data"));
    }
    Ok(Authority {
        subject,
        public_key,
        key_id,
    })
}

/// Returns the contents of the next element if it has the tag.
fn optional<'a>(reader: &mut Reader<'a>, tag: u8, error: &'static str) -> Result<Option<&'a [u8]>> {
    if !reader.at(tag) {
        return Ok(None);
    }
    reader.take(tag).or_malformed(error).map(Some)
}

/// Reads the version, 1 to 3.
fn version(body: &mut Reader<'_>) -> Result<u8> {
    let Some(bytes) = optional(body, tag::explicit(0), "malformed version")? else {
        return Ok(1);
    };
    match Reader::new(bytes)
        .integer()
        .or_malformed("malformed version")?
    {
        [version @ 0..=2] => Ok(version + 1),
        [0x80..=0xFF, ..] => Err(CertificateError::Malformed("malformed version")),
        _ => Err(CertificateError::Malformed("invalid version")),
    }
}

/// Reads an `AlgorithmIdentifier`: the name and the parameters.
fn algorithm(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut reader = Reader::new(bytes);
    let name = reader.take(tag::OID).or_malformed("malformed OID")?;
    if reader.is_empty() {
        return Ok((name, &[]));
    }
    let parameters = reader.any().or_malformed("malformed parameters")?;
    Ok((name, parameters.bytes))
}

/// Reads a `Name`.
fn name<'a>(body: &mut Reader<'a>) -> Result<Element<'a>> {
    let element = body
        .element(tag::SEQUENCE)
        .or_malformed("malformed issuer")?;
    let mut names = Reader::new(element.contents);
    while !names.is_empty() {
        let mut set = names.inside(tag::SET).or_malformed("invalid RDNSequence")?;
        while !set.is_empty() {
            let mut attribute = set
                .inside(tag::SEQUENCE)
                .or_malformed("invalid RDNSequence: invalid attribute")?;
            attribute
                .take(tag::OID)
                .or_malformed("invalid RDNSequence: invalid attribute type")?;
            let value = attribute
                .any()
                .or_malformed("invalid RDNSequence: invalid attribute value")?;
            text(value.tag, value.contents).map_err(CertificateError::Name)?;
        }
    }
    Ok(element)
}

/// Checks a string of one of ASN.1's types.
fn text(tag: u8, bytes: &[u8]) -> std::result::Result<(), &'static str> {
    let check = |valid: bool, error| if valid { Ok(()) } else { Err(error) };
    match tag {
        tag::T61_STRING => Ok(()),
        tag::PRINTABLE_STRING => check(
            // Asterisks and ampersands are common, though not allowed.
            bytes
                .iter()
                .all(|&byte| is_printable(byte) || matches!(byte, b'*' | b'&')),
            "invalid PrintableString",
        ),
        tag::UTF8_STRING => check(std::str::from_utf8(bytes).is_ok(), "invalid UTF-8 string"),
        tag::BMP_STRING => {
            let (units, rest) = bytes.as_chunks::<2>();
            let valid = units.iter().all(|&unit| {
                !matches!(
                    u16::from_be_bytes(unit),
                    0xFFFE..|0xFDD0..=0xFDEF| 0xD800..=0xDFFF
                )
            });
            check(rest.is_empty() && valid, "invalid BMPString")
        }
        tag::IA5_STRING => check(bytes.is_ascii(), "invalid IA5String"),
        tag::NUMERIC_STRING => check(
            bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b' ')),
            "invalid NumericString",
        ),
        _ => Err("unsupported string type"),
    }
}

/// Returns whether a character may occur in a `PrintableString`.
pub(super) const fn is_printable(byte: u8) -> bool {
    matches!(
        byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'\''..=b')' | b'+'..=b'/' | b' ' | b':' | b'=' | b'?'
    )
}

fn validity(body: &mut Reader<'_>) -> Result<()> {
    let mut validity = body
        .inside(tag::SEQUENCE)
        .or_malformed("malformed validity")?;
    time(&mut validity)?;
    time(&mut validity)
}

fn time(validity: &mut Reader<'_>) -> Result<()> {
    let (layouts, error): (&[&[u8]], _) = if validity.at(tag::UTC_TIME) {
        (
            &[b"060102150405Z0700", b"0601021504Z0700"],
            "malformed UTCTime",
        )
    } else if validity.at(tag::GENERALIZED_TIME) {
        (&[b"20060102150405Z0700"], "malformed GeneralizedTime")
    } else {
        return Err(CertificateError::Malformed("unsupported time format"));
    };
    let text = validity.any().or_malformed(error)?.contents;
    layouts
        .iter()
        .find_map(|layout| parse_time::parse(layout, text).ok())
        .map(|_| ())
        .or_malformed(error)
}

/// Reads a `SubjectPublicKeyInfo`; None if the kind of key is unknown.
fn public_key(body: &mut Reader<'_>) -> Result<Option<Vec<u8>>> {
    let element = body.element(tag::SEQUENCE).or_malformed("malformed spki")?;
    let mut info = Reader::new(element.contents);
    let identifier = info
        .take(tag::SEQUENCE)
        .or_malformed("malformed public key algorithm identifier")?;
    let (name, parameters) = algorithm(identifier)?;
    let bits = info.bits().or_malformed("malformed subjectPublicKey")?;
    match name {
        oid::RSA => rsa_key(parameters, bits)?,
        oid::EC => {
            let curve = Reader::new(parameters)
                .take(tag::OID)
                .or_malformed("invalid ECDSA parameters")?;
            if ![oid::P224, oid::P256, oid::P384, oid::P521].contains(&curve) {
                return Err(CertificateError::Malformed("unsupported elliptic curve"));
            }
        }
        oid::ED25519 | oid::X25519 => {
            if !parameters.is_empty() {
                return Err(CertificateError::Malformed(
                    "Ed25519 key encoded with illegal parameters",
                ));
            }
            if bits.len() != 32 {
                return Err(CertificateError::Malformed("wrong Ed25519 public key size"));
            }
        }
        oid::DSA => {}
        _ => return Ok(None),
    }
    Ok(Some(element.bytes.to_vec()))
}

fn rsa_key(parameters: &[u8], bits: &[u8]) -> Result<()> {
    if parameters != [tag::NULL, 0] {
        return Err(CertificateError::Malformed(
            "RSA key missing NULL parameters",
        ));
    }
    let mut key = Reader::new(bits)
        .inside(tag::SEQUENCE)
        .or_malformed("invalid RSA public key")?;
    key.positive().or_malformed("invalid RSA modulus")?;
    key.positive().or_malformed("invalid RSA public exponent")?;
    Ok(())
}

/// Reads the extensions, of which only the key identifier is used.
fn extensions(body: &mut Reader<'_>) -> Result<Option<Vec<u8>>> {
    for (number, error) in [
        (1, "malformed issuerUniqueID"),
        (2, "malformed subjectUniqueID"),
    ] {
        optional(body, tag::implicit(number), error)?;
    }
    let Some(bytes) = optional(body, tag::explicit(3), "malformed extensions")? else {
        return Ok(None);
    };
    let mut extensions = Reader::new(bytes)
        .inside(tag::SEQUENCE)
        .or_malformed("malformed extensions")?;
    let (mut seen, mut key_id) = (Vec::new(), None);
    while !extensions.is_empty() {
        let mut extension = extensions
            .inside(tag::SEQUENCE)
            .or_malformed("malformed extension")?;
        let name = extension
            .take(tag::OID)
            .or_malformed("malformed extension OID field")?;
        let error = "malformed extension critical field";
        let critical = match optional(&mut extension, tag::BOOLEAN, error)? {
            None | Some([0]) => false,
            Some([0xFF]) => true,
            Some(_) => return Err(CertificateError::Malformed(error)),
        };
        let value = extension
            .take(tag::OCTET_STRING)
            .or_malformed("malformed extension value field")?;
        if seen.contains(&name) {
            return Err(CertificateError::Malformed(
                "certificate contains duplicate extension",
            ));
        }
        seen.push(name);
        if name == oid::SUBJECT_KEY_ID {
            if critical {
                return Err(CertificateError::Malformed(
                    "subject key identifier incorrectly marked critical",
                ));
            }
            let id = Reader::new(value).take(tag::OCTET_STRING);
            key_id = Some(id.or_malformed("invalid subject key identifier")?.to_vec());
        }
    }
    Ok(key_id)
}
