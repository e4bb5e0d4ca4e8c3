//! The effect of JSON on strings: `sigs.k8s.io/yaml` marshals to JSON, and reads the result as YAML.
//!
//! Nearly all strings stay as they are. Invalid UTF-8 becomes U+FFFD, some characters are refused, and a line break that JSON
//! does not recognise (U+0085) is folded.

use std::borrow::Cow;

use crate::{error::WriteError, json};

/// Returns a string in value position.
pub(crate) fn value(text: &[u8]) -> Result<Cow<'_, [u8]>, WriteError> {
    if text.iter().all(|&b| b < 0x7f) {
        return Ok(Cow::Borrowed(text));
    }
    let text = valid(text);
    let mut next_lines = false;
    for character in text.chars() {
        match character {
            '\u{85}' => next_lines = true,
            '\u{7f}'..'\u{a0}' | '\u{fffe}' | '\u{ffff}' => return Err(WriteError::Control),
            _ => {}
        }
    }
    if next_lines {
        return fold(&text).map(|text| Cow::Owned(text.into_bytes()));
    }
    Ok(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

/// Returns a string in key position, where it must be short and without line breaks.
pub(crate) fn key(text: &[u8]) -> Result<Cow<'_, [u8]>, WriteError> {
    // Each byte gives at most six characters, and there are two quotes.
    if text.len() > (MAX_KEY - 2) / 6 {
        let mut quoted = Vec::with_capacity(text.len() + 2);
        json::write_string(text, false, &mut quoted);
        let characters = quoted.iter().filter(|&&b| b & 0xc0 != 0x80).count();
        if characters > MAX_KEY {
            return Err(WriteError::Key);
        }
    }
    if text.windows(2).any(|two| two == "\u{85}".as_bytes()) {
        return Err(WriteError::Key);
    }
    value(text)
}

/// The maximum number of characters in a simple key of YAML.
const MAX_KEY: usize = 1024;

/// Returns the text with each byte replaced that is not part of a character.
fn valid(text: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(text) {
        return Cow::Borrowed(text);
    }
    let mut all = String::with_capacity(text.len() + 16);
    for chunk in text.utf8_chunks() {
        all.push_str(chunk.valid());
        all.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    Cow::Owned(all)
}

/// Folds the line breaks U+0085 as YAML does inside double quotes. JSON escapes all other white space except spaces.
fn fold(text: &str) -> Result<String, WriteError> {
    let mut lines = text.split('\u{85}');
    let mut folded = String::with_capacity(text.len());
    let first = lines.next().unwrap_or_default();
    folded.push_str(first.trim_end_matches(' '));
    let mut breaks = 0;
    let mut lines = lines.peekable();
    while let Some(line) = lines.next() {
        breaks += 1;
        let content = line.trim_start_matches(' ');
        let last = lines.peek().is_none();
        if content.is_empty() && !last {
            continue;
        }
        let indicator = line
            .strip_prefix("---")
            .or_else(|| line.strip_prefix("..."));
        if indicator.is_some_and(|rest| rest.starts_with(' ') || (rest.is_empty() && !last)) {
            return Err(WriteError::DocumentIndicator);
        }
        if breaks == 1 {
            folded.push(' ');
        } else {
            folded.extend(std::iter::repeat_n('\n', breaks - 1));
        }
        breaks = 0;
        folded.push_str(if last {
            content
        } else {
            content.trim_end_matches(' ')
        });
    }
    Ok(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_lines_fold() {
        let cases = [
            ("a\u{85}b", "a b"),
            ("a  \u{85}  b \u{85}", "a b "),
            ("a\u{85} \u{85}\u{85}b ", "a\n\nb "),
            ("\u{85}", " "),
            ("\u{85}\u{85}", "\n"),
            ("a \n \u{85}b", "a \n b"),
        ];
        for (text, expected) in cases {
            let found = value(text.as_bytes()).unwrap();
            assert_eq!(std::str::from_utf8(&found).unwrap(), expected, "{text:?}");
        }
        assert_eq!(
            value("\u{85}--- a".as_bytes()),
            Err(WriteError::DocumentIndicator)
        );
        assert!(value("\u{85}---".as_bytes()).is_ok());
        assert_eq!(value(b"\x7f"), Err(WriteError::Control));
        assert_eq!(key("a\u{85}".as_bytes()), Err(WriteError::Key));
        assert!(key(&[b'k'; 1022]).is_ok());
        assert_eq!(key(&[b'k'; 1023]), Err(WriteError::Key));
        assert_eq!(
            &*value(b"\xe2\x82a").unwrap(),
            "\u{fffd}\u{fffd}a".as_bytes()
        );
    }
}
