//! Keys, certificates, passwords and ciphers.
//!
//! What Go draws at random is derived from the render's [`Secrets`](crate::Secrets). The algorithms for NIST's curves, Ed25519,
//! AES, bcrypt and scrypt come from well-maintained crates. RSA and DSA are implemented here, because what a key takes from its
//! secret must never change. The host computes their [`Powers`], because these take several times as long in WebAssembly, and a
//! render may request several keys.

mod certificate;
mod cipher;
mod der;
mod dsa;
mod error;
mod key;
mod parse;
mod password;
mod pem;
mod powers;
mod prime;
mod rsa;
mod x509;

use pintle_gotemplate::{Args, Call, Function, Type};

pub(crate) use certificate::FUNCTIONS as CERTIFICATE_FUNCTIONS;

use crate::{Outcome, Powers, random::Stream};
use key::PrivateKey;

const TEXTS: &[Type] = &[Type::String, Type::String];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new("genPrivateKey", &[Type::String], private_key),
    Function::new("bcrypt", &[Type::String], password::bcrypt),
    Function::new("htpasswd", TEXTS, password::htpasswd),
    Function::new("derivePassword", password::DERIVE, password::derive),
    Function::new("encryptAES", TEXTS, cipher::encrypt),
    Function::new("decryptAES", TEXTS, cipher::decrypt),
];

fn private_key(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let kind = args.text(0)?.to_str_lossy();
    let make: fn(&Powers, &mut Stream) -> PrivateKey = match &*kind {
        "" | "rsa" => |powers, stream| PrivateKey::rsa(4096, powers, stream),
        "dsa" => PrivateKey::dsa,
        "ecdsa" => |_, stream| PrivateKey::p256(stream),
        "ed25519" => |_, stream| PrivateKey::ed25519(stream),
        unknown => return Ok(format!("Unknown type {unknown}").into()),
    };
    // Both names of the default mean the same key.
    let kind = if kind.is_empty() { "rsa" } else { &kind };
    let mut stream = Stream::for_call(call, kind)?;
    Ok(make(&Powers::of(call), &mut stream).to_pem().into())
}

#[cfg(test)]
mod tests;
