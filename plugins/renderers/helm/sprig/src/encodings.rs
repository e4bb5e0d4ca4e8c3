//! Encodings and hashes of texts. If a text cannot be decoded, the result is the error message.

use pintle_gotemplate::{Function, Type, Value};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use crate::go::base;

const TEXT: &[Type] = &[Type::String];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new("b64enc", TEXT, |_, args| {
        Ok(Value::string(base::encode64(args.text(0)?)))
    }),
    Function::new("b64dec", TEXT, |_, args| {
        Ok(base::decode64(args.text(0)?)
            .map_or_else(|error| error.to_string().into(), Value::string))
    }),
    Function::new("b32enc", TEXT, |_, args| {
        Ok(Value::string(base::encode32(args.text(0)?)))
    }),
    Function::new("b32dec", TEXT, |_, args| {
        Ok(base::decode32(args.text(0)?)
            .map_or_else(|error| error.to_string().into(), Value::string))
    }),
    Function::new("sha1sum", TEXT, |_, args| {
        Ok(hex(&Sha1::digest(args.text(0)?)).into())
    }),
    Function::new("sha256sum", TEXT, |_, args| {
        Ok(hex(&Sha256::digest(args.text(0)?)).into())
    }),
    Function::new("sha512sum", TEXT, |_, args| {
        Ok(hex(&Sha512::digest(args.text(0)?)).into())
    }),
    Function::new("adler32sum", TEXT, |_, args| {
        Ok(adler32(args.text(0)?).to_string().into())
    }),
];

/// Formats bytes as lowercase hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Computes Adler-32 (RFC 1950).
fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65521;
    let (mut low, mut high) = (1u32, 0u32);
    // The number of bytes that can be added before the sums could exceed 32 bits.
    for chunk in bytes.chunks(5552) {
        for &byte in chunk {
            low += u32::from(byte);
            high += low;
        }
        low %= MODULUS;
        high %= MODULUS;
    }
    (high << 16) | low
}
