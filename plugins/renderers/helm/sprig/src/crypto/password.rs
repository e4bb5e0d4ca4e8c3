//! Password hashes, and passwords derived from a master password.

use hmac::{Hmac, KeyInit, Mac};
use pintle_gotemplate::{Args, Call, FunctionError, IntKind, Type, Value};
use sha2::Sha256;

use crate::{
    Outcome,
    go::base,
    random::{Stream, digest},
};

/// The cost of sprig's bcrypt: 2^10 rounds.
const COST: u32 = 10;

/// The signature of `derivePassword`: a counter, the kind of password, the master password, the user and the site.
pub(super) const DERIVE: &[Type] = &[
    Type::Int(IntKind::Uint32),
    Type::String,
    Type::String,
    Type::String,
    Type::String,
];

pub(super) fn bcrypt(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let password = args.text(0)?;
    let stream = Stream::for_call(call, &digest(&[password]))?;
    Ok(hashed(password, stream).into())
}

pub(super) fn htpasswd(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let (user, password) = (args.text(0)?, args.text(1)?);
    if user.contains(&b':') {
        return Ok(Value::string([b"invalid username: ", &user[..]].concat()));
    }
    let stream = Stream::for_call(call, &digest(&[user, password]))?;
    let hash = hashed(password, stream);
    Ok(Value::string([&user[..], b":", hash.as_bytes()].concat()))
}

/// Returns the password's hash, with a salt from the stream.
fn hashed(password: &[u8], mut stream: Stream) -> String {
    if password.len() > 72 {
        return "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes"
            .to_owned();
    }
    let mut salt = [0; 16];
    stream.fill(&mut salt);
    // The algorithm takes a C string and reads 72 bytes of it.
    let mut text = [password, &[0]].concat();
    text.truncate(72);
    let hash = bcrypt::bcrypt(COST, salt, &text);
    let (salt, hash) = (base::encode_bcrypt(&salt), base::encode_bcrypt(&hash[..23]));
    format!("$2a${COST}${salt}{hash}")
}

/// The name that the "Master Password" algorithm uses to keep its keys separate from those of others.
const SCOPE: &[u8] = b"com.lyndir.masterpassword";

/// The kinds of passwords, each with the patterns to choose from.
const PATTERNS: &[(&str, &[&str])] = &[
    ("maximum", &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"]),
    (
        "long",
        &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
    ),
    ("medium", &["CvcnoCvc", "CvcCvcno"]),
    ("short", &["Cvcn"]),
    ("basic", &["aaanaaan", "aannaaan", "aaannaaa"]),
    ("pin", &["nnnn"]),
];

/// Returns the characters that a letter in a pattern stands for.
const fn characters(letter: u8) -> &'static [u8] {
    match letter {
        b'V' => b"AEIOU",
        b'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
        b'v' => b"aeiou",
        b'c' => b"bcdfghjklmnpqrstvwxyz",
        b'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
        b'n' => b"0123456789",
        b'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
        _ => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
    }
}

/// Implements the "Master Password" algorithm, version 2 except for its patterns. Nothing in it is random.
pub(super) fn derive(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let counter = args.int(0)?;
    let (kind, password) = (args.text(1)?, args.text(2)?);
    let (user, site) = (args.text(3)?, args.text(4)?);
    let Some((_, patterns)) = PATTERNS
        .iter()
        .find(|(name, _)| name.as_bytes() == &kind[..])
    else {
        let text = [b"cannot find password template ", &kind[..]].concat();
        return Ok(Value::string(text));
    };
    let params = scrypt::Params::new(15, 8, 2).map_err(FunctionError::new)?;
    // The memory that scrypt temporarily needs: 128 bytes for each of 2^15 blocks of 8.
    call.charge(32 << 20)?;
    let mut key = [0; 64];
    scrypt::scrypt(password, &scoped(user, &[]), &params, &mut key).map_err(FunctionError::new)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    let counter = u32::try_from(counter).map_err(FunctionError::new)?;
    mac.update(&scoped(site, &counter.to_be_bytes()));
    let seed: [u8; 32] = mac.finalize().into_bytes().into();
    let pattern = patterns[usize::from(seed[0]) % patterns.len()].bytes();
    let text = pattern.zip(&seed[1..]).map(|(letter, &byte)| {
        let characters = characters(letter);
        characters[usize::from(byte) % characters.len()]
    });
    Ok(Value::string(text.collect::<Vec<_>>()))
}

/// Returns a name with its length in the scope, followed by `behind`.
fn scoped(name: &[u8], behind: &[u8]) -> Vec<u8> {
    // Go's conversion also drops everything above 32 bits.
    let len = name.len().to_le_bytes();
    let len = [len[3], len[2], len[1], len[0]];
    [SCOPE, &len, name, behind].concat()
}
