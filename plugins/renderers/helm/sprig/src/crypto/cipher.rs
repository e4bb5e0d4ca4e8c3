//! `encryptAES` and `decryptAES`: AES-256 in CBC mode with PKCS #7 padding. An encrypted text is the base64 of the initialization
//! vector followed by the blocks.

use aes::{
    Aes256, Block,
    cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};
use pintle_gotemplate::{Args, Call, FunctionError, Value};

use crate::{
    Outcome,
    go::base,
    random::{Stream, digest},
};

/// The length of a block in bytes.
const BLOCK: usize = 16;

pub(super) fn encrypt(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let (password, text) = (args.text(0)?, args.text(1)?);
    if text.is_empty() {
        return Ok("".into());
    }
    call.charge(text.len().saturating_mul(4))?;
    let mut vector = [0; BLOCK];
    Stream::for_call(call, &digest(&[password, text]))?.fill(&mut vector);
    let padding = BLOCK - text.len() % BLOCK;
    let mut plain = text.to_vec();
    plain.resize(text.len() + padding, padding.to_le_bytes()[0]);
    let cipher = cipher(password);
    let mut out = vector.to_vec();
    for chunk in plain.chunks_exact(BLOCK) {
        let mut block = xor(chunk, &vector);
        cipher.encrypt_block(&mut block);
        vector = block.into();
        out.extend(vector);
    }
    Ok(Value::string(base::encode64(&out)))
}

pub(super) fn decrypt(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let (password, text) = (args.text(0)?, args.text(1)?);
    if text.is_empty() {
        return Ok("".into());
    }
    call.charge(text.len().saturating_mul(2))?;
    let bytes = base::decode64(text).map_err(FunctionError::new)?;
    let Some((vector, encrypted)) = bytes.split_first_chunk::<BLOCK>() else {
        return Err(FunctionError::new(format_args!(
            "the encrypted text has {} bytes, and an initial vector alone has {BLOCK}",
            bytes.len()
        )));
    };
    if encrypted.is_empty() || encrypted.len() % BLOCK != 0 {
        return Err(FunctionError::new("crypto/cipher: input not full blocks"));
    }
    let cipher = cipher(password);
    let mut vector = &vector[..];
    let mut plain = Vec::with_capacity(encrypted.len());
    for chunk in encrypted.chunks_exact(BLOCK) {
        let mut block = block(chunk);
        cipher.decrypt_block(&mut block);
        plain.extend(xor(&block, vector));
        vector = chunk;
    }
    // sprig examines only the last byte, which can have any value if the password is wrong.
    let padding = usize::from(plain.last().copied().unwrap_or_default());
    let Some(len) = plain.len().checked_sub(padding) else {
        return Err(FunctionError::new(format_args!(
            "the decrypted text has {} bytes and claims to have {padding} of padding: another password encrypted it",
            plain.len()
        )));
    };
    plain.truncate(len);
    Ok(Value::string(plain))
}

/// Returns the cipher whose key is the password, truncated or zero-padded to 32 bytes.
fn cipher(password: &[u8]) -> Aes256 {
    let mut key = [0; 32];
    let len = password.len().min(key.len());
    key[..len].copy_from_slice(&password[..len]);
    Aes256::new(&key.into())
}

fn block(bytes: &[u8]) -> Block {
    let mut block = Block::default();
    block.copy_from_slice(bytes);
    block
}

fn xor(bytes: &[u8], with: &[u8]) -> Block {
    let mut block = block(bytes);
    for (byte, with) in block.iter_mut().zip(with) {
        *byte ^= with;
    }
    block
}
