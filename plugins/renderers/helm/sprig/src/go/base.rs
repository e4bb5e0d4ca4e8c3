//! Go's `encoding/base64` and `encoding/base32` with their standard alphabets, and the positions that their errors name.

/// The text is not in the encoding. The position is that of the first byte that is not allowed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("illegal base{base} data at input byte {at}")]
pub(crate) struct BaseError {
    base: u8,
    at: usize,
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Encodes base64 with padding.
pub(crate) fn encode64(bytes: &[u8]) -> Vec<u8> {
    encode(bytes, BASE64, 3, 4)
}

/// Encodes the base64 of bcrypt's hashes, with a different alphabet and without padding.
pub(crate) fn encode_bcrypt(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let digits = encode(bytes, ALPHABET, 3, 4).into_iter().map(char::from);
    digits.filter(|&digit| digit != '=').collect()
}

/// Encodes base32 with padding.
pub(crate) fn encode32(bytes: &[u8]) -> Vec<u8> {
    encode(bytes, BASE32, 5, 8)
}

/// Writes each `size` bytes as `digits` characters. An incomplete last group is padded.
fn encode(bytes: &[u8], alphabet: &[u8], size: usize, digits: usize) -> Vec<u8> {
    let bits = size * 8 / digits;
    let mut out = Vec::with_capacity(bytes.len().div_ceil(size) * digits);
    for group in bytes.chunks(size) {
        let number = group
            .iter()
            .fold(0u64, |number, &byte| (number << 8) | u64::from(byte));
        let number = number << (8 * (size - group.len()));
        let used = (group.len() * 8).div_ceil(bits);
        out.extend((0..digits).map(|digit| {
            if digit >= used {
                return b'=';
            }
            // Only the masked value is certain to fit a length, which has 32 bits in a component.
            let value = (number >> (bits * (digits - 1 - digit))) & ((1 << bits) - 1);
            alphabet[usize::try_from(value).unwrap_or_default()]
        }));
    }
    out
}

fn digit64(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

fn digit32(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'2'..=b'7' => byte - b'2' + 26,
        _ => return None,
    })
}

/// Decodes base64. Line ends are skipped wherever they occur.
pub(crate) fn decode64(text: &[u8]) -> Result<Vec<u8>, BaseError> {
    let error = |at| BaseError { base: 64, at };
    let is_line_end = |at: usize| matches!(text.get(at), Some(b'\n' | b'\r'));
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut at = 0;
    loop {
        let mut digits = [0u8; 4];
        let mut count = 0;
        while count < 4 {
            let Some(&byte) = text.get(at) else {
                // The position of an incomplete group is counted back by its digits, as if there were no line ends among them.
                return if count == 0 {
                    Ok(out)
                } else {
                    Err(error(at - count))
                };
            };
            at += 1;
            if let Some(digit) = digit64(byte) {
                digits[count] = digit;
                count += 1;
                continue;
            }
            if matches!(byte, b'\n' | b'\r') {
                continue;
            }
            if byte != b'=' || count < 2 {
                return Err(error(at - 1));
            }
            break;
        }
        let full = count == 4;
        if !full {
            if count == 2 {
                while is_line_end(at) {
                    at += 1;
                }
                match text.get(at) {
                    None => return Err(error(text.len())),
                    Some(b'=') => at += 1,
                    Some(_) => return Err(error(at - 1)),
                }
            }
            while is_line_end(at) {
                at += 1;
            }
            if at < text.len() {
                return Err(error(at));
            }
        }
        let [one, two, three, four] = digits;
        let bytes = [
            (one << 2) | (two >> 4),
            (two << 4) | (three >> 2),
            (three << 6) | four,
        ];
        out.extend_from_slice(&bytes[..count - 1]);
        if !full {
            return Ok(out);
        }
    }
}

/// Decodes base32. Line ends are removed first, so positions do not count them.
pub(crate) fn decode32(text: &[u8]) -> Result<Vec<u8>, BaseError> {
    let error = |at| BaseError { base: 32, at };
    let text: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\n' | b'\r'))
        .collect();
    let len = text.len();
    let mut out = Vec::with_capacity(len / 8 * 5);
    let mut at = 0;
    while at < len {
        let mut digits = [0u8; 8];
        let mut count = 0;
        let mut padded = false;
        while count < 8 {
            let Some(&byte) = text.get(at) else {
                return Err(error(len - count));
            };
            at += 1;
            let left = len - at;
            if byte == b'=' && count >= 2 && left < 8 {
                let missing = 7 - count;
                if left < missing {
                    return Err(error(len));
                }
                let wrong = text[at..at + missing].iter().position(|&byte| byte != b'=');
                if let Some(wrong) = wrong {
                    return Err(error(at + wrong - 1));
                }
                if matches!(count, 1 | 3 | 6) {
                    return Err(error(at - 1));
                }
                padded = true;
                break;
            }
            digits[count] = digit32(byte).ok_or(error(at - 1))?;
            count += 1;
        }
        let number = digits
            .iter()
            .fold(0u64, |number, &digit| (number << 5) | u64::from(digit));
        out.extend_from_slice(&number.to_be_bytes()[3..3 + count * 5 / 8]);
        if padded {
            break;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn encodings_of_the_rfc() {
        let words = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let in64 = [
            "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
        ];
        let in32 = [
            "",
            "MY======",
            "MZXQ====",
            "MZXW6===",
            "MZXW6YQ=",
            "MZXW6YTB",
            "MZXW6YTBOI======",
        ];
        for ((word, in64), in32) in words.iter().zip(in64).zip(in32) {
            assert_eq!(text(&encode64(word.as_bytes())), in64);
            assert_eq!(text(&encode32(word.as_bytes())), in32);
            assert_eq!(decode64(in64.as_bytes()).as_deref(), Ok(word.as_bytes()));
            assert_eq!(decode32(in32.as_bytes()).as_deref(), Ok(word.as_bytes()));
        }
        assert_eq!(decode64(b"Zm\n9v\r\n").as_deref(), Ok(&b"foo"[..]));
    }
}
