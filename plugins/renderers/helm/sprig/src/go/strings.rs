//! Go's `strings` package on bytes.

use super::unicode::{self, decode, runes};

/// Returns the position of the first `needle` in `text`.
pub(crate) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let Some(&first) = needle.first() else {
        return Some(0);
    };
    let last = text.len().checked_sub(needle.len())?;
    (0..=last).find(|&at| text[at] == first && text[at..].starts_with(needle))
}

/// Splits like Go's `strings.SplitN`. A negative `count` returns all parts. An empty separator splits into characters.
pub(crate) fn split<'a>(text: &'a [u8], separator: &[u8], count: i64) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = text;
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    if most == 0 || (separator.is_empty() && text.is_empty()) {
        return parts;
    }
    while parts.len() + 1 < most {
        let (end, next) = if separator.is_empty() {
            let (_, size) = decode(rest);
            if size == rest.len() {
                break;
            }
            (size, size)
        } else {
            let Some(found) = find(rest, separator) else {
                break;
            };
            (found, found + separator.len())
        };
        parts.push(&rest[..end]);
        rest = &rest[next..];
    }
    parts.push(rest);
    parts
}

/// Returns the number of non-overlapping occurrences of `needle` in `text`. For an empty `needle`, this is one more than the
/// number of characters.
fn count(text: &[u8], needle: &[u8]) -> usize {
    if needle.is_empty() {
        return runes(text).count() + 1;
    }
    let (mut found, mut rest) = (0, text);
    while let Some(at) = find(rest, needle) {
        found += 1;
        rest = &rest[at + needle.len()..];
    }
    found
}

/// Returns the length of the result of [`replace`].
pub(crate) fn replaced_len(text: &[u8], old: &[u8], new: &[u8]) -> usize {
    if new.len() <= old.len() {
        return text.len();
    }
    let more = (new.len() - old.len()).saturating_mul(count(text, old));
    text.len().saturating_add(more)
}

/// Replaces like Go's `strings.ReplaceAll`. An empty `old` occurs before each character and at the end.
pub(crate) fn replace(text: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(replaced_len(text, old, new));
    let mut rest = text;
    if old.is_empty() {
        for (at, _, size) in runes(text) {
            out.extend_from_slice(new);
            out.extend_from_slice(&text[at..at + size]);
        }
        out.extend_from_slice(new);
        return out;
    }
    while let Some(at) = find(rest, old) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(new);
        rest = &rest[at + old.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// Trims like Go's `strings.TrimFunc`.
pub(crate) fn trim_matching(text: &[u8], matches: impl Fn(char) -> bool) -> &[u8] {
    let kept = runes(text).filter(|&(_, rune, _)| !matches(rune));
    let (mut start, mut end) = (None, 0);
    for (at, _, size) in kept {
        start.get_or_insert(at);
        end = at + size;
    }
    &text[start.unwrap_or(end)..end]
}

/// Trims like Go's `strings.TrimSpace`.
pub(crate) fn trim_space(text: &[u8]) -> &[u8] {
    trim_matching(text, unicode::is_space)
}

/// Trims like Go's `strings.Trim`: removes characters of `cutset` from both ends.
pub(crate) fn trim<'a>(text: &'a [u8], cutset: &[u8]) -> &'a [u8] {
    let cutset = unicode::to_runes(cutset);
    trim_matching(text, |rune| cutset.contains(&rune))
}

/// Converts like Go's `strings.ToUpper`.
pub(crate) fn to_upper(text: &[u8]) -> Vec<u8> {
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    unicode::map(text, unicode::to_upper)
}

/// Converts like Go's `strings.ToLower`.
pub(crate) fn to_lower(text: &[u8]) -> Vec<u8> {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    unicode::map(text, unicode::to_lower)
}

/// Converts like Go's `strings.Title`: the first letter of each word becomes title case.
pub(crate) fn title(text: &[u8]) -> Vec<u8> {
    let mut previous = ' ';
    unicode::map(text, |rune| {
        let start = if previous.is_ascii() {
            !(previous.is_ascii_alphanumeric() || previous == '_')
        } else {
            unicode::is_space(previous)
        };
        previous = rune;
        if start { unicode::to_title(rune) } else { rune }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str, separator: &str, count: i64) -> String {
        let parts = split(text.as_bytes(), separator.as_bytes(), count);
        let parts: Vec<_> = parts
            .iter()
            .map(|part| format!("[{}]", part.escape_ascii()))
            .collect();
        parts.concat()
    }

    #[test]
    fn split_as_in_go() {
        let cases = [
            (("a,b,c", ",", -1), "[a][b][c]"),
            (("a,b,c", ",", 2), "[a][b,c]"),
            (("a,b,c", ",", 0), ""),
            (("", ",", -1), "[]"),
            (("", "", -1), ""),
            (("äbc", "", -1), "[\\xc3\\xa4][b][c]"),
            (("abc", "", 2), "[a][bc]"),
            (("abc", "", 1), "[abc]"),
            ((",", ",", -1), "[][]"),
        ];
        for ((text, separator, count), expected) in cases {
            assert_eq!(parts(text, separator, count), expected);
        }
    }

    #[test]
    fn replaced_and_trimmed_as_in_go() {
        assert_eq!(replace(b"oink oink", b"k", b"ky"), b"oinky oinky");
        assert_eq!(replace("äb".as_bytes(), b"", b"-"), "-ä-b-".as_bytes());
        assert_eq!(replace(b"aaa", b"aa", b"b"), b"ba");
        assert_eq!(trim(b"$$5.00$", b"$"), b"5.00");
        assert_eq!(trim_space(" \t\u{a0}x y\u{85}".as_bytes()), b"x y");
        assert_eq!(trim_space(b"  "), b"");
        assert_eq!(
            title("hello wor_ld é-x ǆ".as_bytes()),
            "Hello Wor_ld É-X ǅ".as_bytes()
        );
        assert_eq!(to_upper(b"a\xFFb\xC3\xA4"), b"A\xEF\xBF\xBDB\xC3\x84");
    }
}
