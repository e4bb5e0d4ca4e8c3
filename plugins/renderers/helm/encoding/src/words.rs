//! Searches eight bytes at a time for certain bytes, with arithmetic on one word.
//!
//! The words are little endian, so the lowest byte comes first in the text.

const ONES: u64 = 0x0101_0101_0101_0101;

/// Sets the high bit of the first byte that is less than `least`, which is at most 0x80. It may also set the high bits of bytes
/// after that one. If there is no such byte, it sets none. The other bits have no meaning.
pub(crate) fn below(word: u64, least: u8) -> u64 {
    // A byte that is less borrows from its high bit.
    word.wrapping_sub(ONES * u64::from(least)) & !word
}

/// Does the same for the first byte that equals `byte`.
pub(crate) fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

/// Does the same for the first byte that equals `byte`, with or without that bit.
pub(crate) fn either(word: u64, byte: u8, bit: u8) -> u64 {
    equal(word | (ONES * u64::from(bit)), byte | bit)
}

/// Returns the index of the first byte that `marks` marks. `marks` must be built from the functions of this module.
pub(crate) fn find(text: &[u8], marks: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = text.as_chunks();
    for (index, word) in words.iter().enumerate() {
        if let Some(found) = first(marks(u64::from_le_bytes(*word))) {
            return Some(8 * index + found);
        }
    }
    // Most texts are short, and a processor cannot predict how often a loop over single bytes would run.
    first(marks(ending(text)?))?;
    let found = rest
        .iter()
        .position(|byte| first(marks(ONES * u64::from(*byte))).is_some());
    found.map(|found| text.len() - rest.len() + found)
}

/// Returns the last eight bytes of a text. A shorter text gives all its bytes, some of them twice. None if it is empty.
fn ending(text: &[u8]) -> Option<u64> {
    if let Some(word) = text.last_chunk() {
        return Some(u64::from_le_bytes(*word));
    }
    if let (Some(one), Some(two)) = (text.first_chunk(), text.last_chunk()) {
        let [one, two] = [one, two].map(|half| u64::from(u32::from_le_bytes(*half)));
        return Some(one | two << 32);
    }
    let (first, last) = (*text.first()?, *text.last()?);
    let all = u64::from(u32::from_le_bytes([
        first,
        text[text.len() / 2],
        last,
        last,
    ]));
    Some(all | all << 32)
}

/// Returns the index of the first byte whose high bit the functions of this module have set.
fn first(marks: u64) -> Option<usize> {
    const HIGH: u64 = ONES << 7;
    match marks & HIGH {
        0 => None,
        marks => Some(marks.trailing_zeros() as usize / 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the result for words with one byte among equal ones with the result for each byte by itself.
    fn check(marks: impl Fn(u64) -> u64, is_meant: impl Fn(u8) -> bool) {
        for byte in 0..=u8::MAX {
            for around in [b' ', b'a', 0x7f, 0x80, 0xff] {
                assert!(!is_meant(around));
                for at in 0..8 {
                    let mut word = [around; 8];
                    word[at] = byte;
                    let found = first(marks(u64::from_le_bytes(word)));
                    assert_eq!(found, is_meant(byte).then_some(at), "{word:?}");
                    // Bytes after the first match do not matter.
                    word[at..].fill(byte);
                    let found = first(marks(u64::from_le_bytes(word)));
                    assert_eq!(found, is_meant(byte).then_some(at), "{word:?}");
                }
            }
        }
    }

    #[test]
    fn the_first_byte_is_found() {
        check(|word| below(word, 0x20), |byte| byte < 0x20);
        for meant in [0, b'\n', b'"', b':', 0xc2, 0xe2] {
            check(|word| equal(word, meant), |byte| byte == meant);
        }
        check(
            |word| either(word, 0xc2, 0x20),
            |byte| matches!(byte, 0xc2 | 0xe2),
        );
    }

    #[test]
    fn it_is_found_wherever_it_stands() {
        let marks = |word| equal(word, b':') | below(word, b' ');
        for len in 0..40 {
            let mut text = vec![b'a'; len];
            assert_eq!(find(&text, marks), None);
            for at in 0..len {
                text[at] = b':';
                assert_eq!(find(&text, marks), Some(at), "{len}");
                text[at..].fill(b'\n');
                assert_eq!(find(&text, marks), Some(at), "{len}");
                text[at..].fill(b'a');
            }
        }
    }
}
