//! Keys, certificates, passwords and ciphers.
//!
//! What Go draws at random is derived from the render's [`Secrets`](crate::Secrets). The algorithms of NIST's curves,
//! Ed25519, AES, bcrypt and scrypt are those of well-kept crates; RSA is of our own, because no crate makes a key fast
//! enough in WebAssembly, where a render may ask for several.

mod certificate;
mod cipher;
mod der;
mod dsa;
mod error;
mod key;
mod montgomery;
mod parse;
mod password;
mod pem;
mod prime;
mod rsa;
mod x509;

use pintle_gotemplate::{Args, Call, Function, Type};

pub(crate) use certificate::FUNCTIONS as CERTIFICATE_FUNCTIONS;

use crate::{Outcome, random::Stream};
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
    let make: fn(&mut Stream) -> PrivateKey = match &*kind {
        "" | "rsa" => |stream| PrivateKey::rsa(4096, stream),
        "dsa" => PrivateKey::dsa,
        "ecdsa" => PrivateKey::p256,
        "ed25519" => PrivateKey::ed25519,
        unknown => return Ok(format!("Unknown type {unknown}").into()),
    };
    // Both names of the default mean the same key.
    let kind = if kind.is_empty() { "rsa" } else { &kind };
    let mut stream = Stream::for_call(call, kind)?;
    Ok(make(&mut stream).to_pem().into())
}

#[cfg(test)]
mod tests;
