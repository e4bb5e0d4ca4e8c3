//! Creates certificates (RFC 5280) with the same contents as sprig and Go's `crypto/x509`.

use std::net::IpAddr;

use pintle_gotemplate::print;
use sha2::{Digest, Sha256};

use super::{
    der::{self, oid, tag},
    error::CertificateError,
    key::PrivateKey,
    parse::{Authority, is_printable},
};
use crate::{
    Powers,
    go::{
        duration::{HOUR, SECOND},
        time::Time,
        zone::Zone,
    },
};

/// The contents of a certificate about its subject.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) common_name: Vec<u8>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) names: Vec<Vec<u8>>,
    pub(super) validity: Validity,
    /// Whether the certificate may sign others.
    pub(super) is_authority: bool,
}

/// The validity period.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Validity {
    from: Time,
    to: Time,
}

impl Validity {
    /// Returns a period of this many days that includes the current time.
    ///
    /// In Go, the period begins now, so each render creates a different certificate. Here, it begins at one of a series of times
    /// spaced by half its length: renders repeat, and a certificate is renewed after half its lifetime. The phase, which can be
    /// any number, determines where the series begins, so that not all applications of a cluster renew at once.
    pub(super) fn around(now: &Time, days: i64, phase: u64) -> Self {
        let length = days.wrapping_mul(24 * HOUR);
        let half = length / SECOND / 2;
        let from = if half > 0 {
            let phase = i64::try_from(phase % half.unsigned_abs()).unwrap_or_default();
            let begin = now.seconds - (now.seconds - phase).rem_euclid(half);
            begin.max(0).min(now.seconds)
        } else {
            now.seconds
        };
        let from = Time::new(from, 0, Zone::Utc);
        Self {
            to: from.add(length),
            from,
        }
    }

    /// Returns the start and end, in seconds since 1970.
    #[cfg(test)]
    pub(super) const fn seconds(&self) -> (i64, i64) {
        (self.from.seconds, self.to.seconds)
    }

    fn to_der(&self) -> Result<Vec<u8>, CertificateError> {
        Ok(der::sequence(&[&time(&self.from)?, &time(&self.to)?]))
    }
}

/// The signer: its certificate, or None if the new certificate signs itself, and its key.
pub(super) struct Signer<'a> {
    pub(super) certificate: Option<&'a Authority>,
    pub(super) key: &'a PrivateKey,
}

/// Creates a certificate for the public half of a key. Two certificates with the same contents and secret are identical. Others
/// have different serial numbers.
pub(super) fn sign(
    request: &Request,
    key: &PrivateKey,
    signer: &Signer<'_>,
    secret: &[u8; 32],
    powers: &Powers,
) -> Result<Vec<u8>, CertificateError> {
    let algorithm = signer.key.signature_algorithm()?;
    let public_key = key.public_key_info()?;
    let subject = common_name(&request.common_name)?;
    let issuer = signer
        .certificate
        .map_or(&subject[..], |authority| &authority.subject);
    let known = signer
        .certificate
        .and_then(|authority| authority.public_key.as_ref());
    if known.is_some_and(|known| signer.key.public_key_info().as_ref() != Ok(known)) {
        return Err(CertificateError::OtherKey);
    }
    let authority_id = signer
        .certificate
        .and_then(|authority| authority.key_id.as_deref())
        .filter(|id| !id.is_empty() && issuer != subject);
    let extensions = extensions(request, key, &subject, authority_id)?;
    let after_serial = [
        &algorithm[..],
        issuer,
        &request.validity.to_der()?,
        &subject,
        &public_key,
        &extensions,
    ]
    .concat();
    let version = der::element(tag::explicit(0), &[&der::unsigned(&[2])]);
    let hash = Sha256::new()
        .chain_update(secret)
        .chain_update(&after_serial);
    let serial = der::unsigned(&hash.finalize()[..16]);
    let body = der::sequence(&[&version, &serial, &after_serial]);
    let signature = signer.key.sign(&body, powers)?;
    Ok(der::sequence(&[&body, &algorithm, &der::bits(&signature)]))
}

/// Encodes a `Name` that has only a common name; empty if the common name is.
fn common_name(text: &[u8]) -> Result<Vec<u8>, CertificateError> {
    if text.is_empty() {
        return Ok(der::sequence(&[]));
    }
    let tag = if text.iter().all(|&byte| is_printable(byte)) {
        tag::PRINTABLE_STRING
    } else if std::str::from_utf8(text).is_ok() {
        tag::UTF8_STRING
    } else {
        return Err(CertificateError::CommonName);
    };
    let attribute = der::sequence(&[
        &der::element(tag::OID, &[oid::COMMON_NAME]),
        &der::element(tag, &[text]),
    ]);
    Ok(der::sequence(&[&der::element(tag::SET, &[&attribute])]))
}

/// Encodes a `Time`, in the short form up to 2049.
fn time(time: &Time) -> Result<Vec<u8>, CertificateError> {
    let (tag, layout): (_, &[u8]) = match time.civil().year {
        1950..2050 => (tag::UTC_TIME, b"060102150405Z"),
        0..10_000 => (tag::GENERALIZED_TIME, b"20060102150405Z"),
        _ => return Err(CertificateError::Time),
    };
    Ok(der::element(tag, &[&time.format(layout)]))
}

/// Encodes the `Extensions`.
fn extensions(
    request: &Request,
    key: &PrivateKey,
    subject: &[u8],
    authority_id: Option<&[u8]>,
) -> Result<Vec<u8>, CertificateError> {
    // Digital signatures and key encipherment; for an authority, also the signing of certificates.
    let usage: &[u8] = if request.is_authority {
        &[2, 0b1010_0100]
    } else {
        &[5, 0b1010_0000]
    };
    let purposes = der::sequence(&[
        &der::element(tag::OID, &[oid::SERVER_AUTH]),
        &der::element(tag::OID, &[oid::CLIENT_AUTH]),
    ]);
    let constraints = if request.is_authority {
        der::sequence(&[&der::element(tag::BOOLEAN, &[&[0xFF]])])
    } else {
        der::sequence(&[])
    };
    let mut extensions = vec![
        extension(
            oid::KEY_USAGE,
            true,
            &der::element(tag::BIT_STRING, &[usage]),
        ),
        extension(oid::EXTENDED_KEY_USAGE, false, &purposes),
        extension(oid::BASIC_CONSTRAINTS, true, &constraints),
    ];
    if request.is_authority {
        // RFC 7093, section 2, method 1.
        let id = &Sha256::digest(key.public_bits())[..20];
        let id = der::element(tag::OCTET_STRING, &[id]);
        extensions.push(extension(oid::SUBJECT_KEY_ID, false, &id));
    }
    if let Some(id) = authority_id {
        let id = der::sequence(&[&der::element(tag::implicit(0), &[id])]);
        extensions.push(extension(oid::AUTHORITY_KEY_ID, false, &id));
    }
    if !request.names.is_empty() || !request.addresses.is_empty() {
        // Critical if it is the only name of the subject.
        let critical = subject == der::sequence(&[]);
        let names = alternative_names(request)?;
        extensions.push(extension(oid::ALTERNATIVE_NAME, critical, &names));
    }
    let list = der::sequence(&[&extensions.concat()]);
    Ok(der::element(tag::explicit(3), &[&list]))
}

fn extension(name: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let name = der::element(tag::OID, &[name]);
    let critical = if critical {
        der::element(tag::BOOLEAN, &[&[0xFF]])
    } else {
        Vec::new()
    };
    der::sequence(&[&name, &critical, &der::element(tag::OCTET_STRING, &[value])])
}

fn alternative_names(request: &Request) -> Result<Vec<u8>, CertificateError> {
    const DNS_NAME: u8 = tag::implicit(2);
    const ADDRESS: u8 = tag::implicit(7);
    let mut names = Vec::new();
    for name in &request.names {
        if !name.is_ascii() {
            return Err(CertificateError::DnsName {
                name: String::from_utf8_lossy(&print::quote(name)).into_owned(),
            });
        }
        names.extend(der::element(DNS_NAME, &[name]));
    }
    for address in &request.addresses {
        let bytes = match address.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        names.extend(der::element(ADDRESS, &[&bytes]));
    }
    Ok(der::sequence(&[&names]))
}
