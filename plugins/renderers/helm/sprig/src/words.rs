//! Functions on words as in the library `goutils`. Several count bytes where one would expect characters.

use pintle_gotemplate::value::clamp_to_usize;

use crate::go::unicode::{
    self, is_lower, is_space, is_title, is_upper, to_lower, to_runes, to_title, to_upper,
};

/// Returns at most `width` bytes. The last three are dots if something is omitted. Below a width of 4, nothing is omitted.
pub(crate) fn abbreviate(text: &[u8], width: i64) -> Vec<u8> {
    if width < 4 {
        return text.to_vec();
    }
    abbreviate_from(text, 0, width)
}

/// Returns at most `width` bytes that begin at or before `offset`, with dots where something is omitted.
pub(crate) fn abbreviate_both(text: &[u8], offset: i64, width: i64) -> Vec<u8> {
    if width < 4 || (offset > 0 && width < 7) {
        return text.to_vec();
    }
    abbreviate_from(text, offset, width)
}

/// The width is at least 4.
fn abbreviate_from(text: &[u8], offset: i64, width: i64) -> Vec<u8> {
    let len = text.len();
    let width = clamp_to_usize(width);
    if len <= width {
        return text.to_vec();
    }
    let kept = width - 3;
    let [whole, part] = [len, kept].map(|length| i64::try_from(length).unwrap_or(i64::MAX));
    // As in Go, the distance to an offset far below 0 overflows.
    let offset = if whole.wrapping_sub(offset) < part {
        len - kept
    } else {
        clamp_to_usize(offset)
    };
    if offset <= 4 {
        return [&text[..kept], b"..."].concat();
    }
    if width < 7 {
        return Vec::new();
    }
    let mut out = b"...".to_vec();
    if offset + kept < len {
        // Here, the rest is longer than the kept part, which has at least 4 bytes.
        out.extend_from_slice(&text[offset..offset + kept - 3]);
        out.extend_from_slice(b"...");
    } else {
        out.extend_from_slice(&text[len - kept..]);
    }
    out
}

/// Breaks lines at spaces, so that they have at most `width` bytes. Longer words are broken only if `long_words` is set.
pub(crate) fn wrap(text: &[u8], width: i64, separator: &[u8], long_words: bool) -> Vec<u8> {
    let width = clamp_to_usize(width).max(1);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut line = |line: &[u8]| {
        out.extend_from_slice(line);
        out.extend_from_slice(separator);
    };
    while rest.len() > width {
        if rest[0] == b' ' {
            rest = &rest[1..];
            continue;
        }
        let space = rest[..=width].iter().rposition(|&byte| byte == b' ');
        let later = || rest[width..].iter().position(|&byte| byte == b' ');
        if let Some(space) = space {
            line(&rest[..space]);
            rest = &rest[space + 1..];
        } else if long_words {
            line(&rest[..width]);
            rest = &rest[width..];
        } else if let Some(later) = later() {
            line(&rest[..width + later]);
            rest = &rest[width + later + 1..];
        } else {
            break;
        }
    }
    out.extend_from_slice(rest);
    out
}

/// Converts the first letter of each word to lowercase.
pub(crate) fn uncapitalize(text: &[u8]) -> Vec<u8> {
    let mut start = true;
    unicode::map(text, |rune| {
        if is_space(rune) {
            start = true;
            return rune;
        }
        if std::mem::take(&mut start) {
            to_lower(rune)
        } else {
            rune
        }
    })
}

/// Swaps upper and lower case. A lowercase letter at the start of a word becomes title case.
pub(crate) fn swap_case(text: &[u8]) -> Vec<u8> {
    let mut after_space = true;
    let mut out = Vec::with_capacity(text.len());
    for rune in to_runes(text) {
        let swapped = if is_upper(rune) || is_title(rune) {
            after_space = false;
            to_lower(rune)
        } else if is_lower(rune) {
            if std::mem::take(&mut after_space) {
                to_title(rune)
            } else {
                to_upper(rune)
            }
        } else {
            after_space = is_space(rune);
            rune
        };
        unicode::push(&mut out, swapped);
    }
    out
}

/// Returns the first byte of each word, interpreted as a Latin-1 character.
pub(crate) fn initials(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut after_space = true;
    for rune in text.iter().copied().map(char::from) {
        if is_space(rune) {
            after_space = true;
        } else if std::mem::take(&mut after_space) {
            unicode::push(&mut out, rune);
        }
    }
    out
}

/// Returns the text without white space. If there is any, the bytes are interpreted as Latin-1 characters.
pub(crate) fn delete_white_space(text: &[u8]) -> Vec<u8> {
    let runes = text.iter().copied().map(char::from);
    if !runes.clone().any(is_space) {
        return text.to_vec();
    }
    let mut out = Vec::with_capacity(text.len());
    for rune in runes.filter(|&rune| !is_space(rune)) {
        unicode::push(&mut out, rune);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

    // The expected results are Helm's.
    #[test]
    fn numbers_may_be_larger_than_any_text() {
        for offset in [1 << 32, (1 << 32) + 1, i64::MAX, i64::MIN] {
            let cut = abbreviate_both(LETTERS, offset, 10);
            assert_eq!(cut, b"...tuvwxyz", "{offset}");
        }
        assert_eq!(abbreviate_both(LETTERS, -1, 10), b"abcdefg...");
        assert_eq!(abbreviate_both(LETTERS, 0, i64::MAX), LETTERS);
        assert_eq!(abbreviate(LETTERS, 1 << 32), LETTERS);
        for width in [1 << 32, i64::MAX] {
            assert_eq!(wrap(b"hello world", width, b"|", true), b"hello world");
        }
        assert_eq!(wrap(b"ab c", i64::MIN, b"|", true), b"a|b|c");
    }
}
