//! Turns bytes into text. Invalid UTF-8, and characters that YAML does not allow, end the input.

use std::borrow::Cow;

/// The part of a text that can be scanned, up to the first invalid byte.
pub(super) struct Input<'a> {
    pub(super) text: Cow<'a, [u8]>,
    /// Why the text ends before the bytes do.
    pub(super) problem: Option<&'static str>,
    pub(super) script: Script,
}

/// Facts about all characters of a text, which save looking at each of them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// Whether each character is one byte.
    pub(super) is_ascii: bool,
    /// Whether line feeds are the only line breaks.
    pub(super) has_line_feeds_only: bool,
}

impl Script {
    const SIMPLE: Self = Self {
        is_ascii: true,
        has_line_feeds_only: true,
    };
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        match bytes {
            [0xff, 0xfe, rest @ ..] => Self::utf16(rest, u16::from_le_bytes),
            [0xfe, 0xff, rest @ ..] => Self::utf16(rest, u16::from_be_bytes),
            [0xef, 0xbb, 0xbf, rest @ ..] => Self::utf8(rest),
            _ => Self::utf8(bytes),
        }
    }

    fn utf8(bytes: &'a [u8]) -> Self {
        let mut script = Script::SIMPLE;
        let (end, problem) = match check(bytes, &mut script) {
            None => (bytes.len(), None),
            Some((end, problem)) => (end, Some(problem)),
        };
        Self {
            text: Cow::Borrowed(&bytes[..end]),
            problem,
            script,
        }
    }

    fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Self {
        let units = bytes.chunks_exact(2).map(|two| unit([two[0], two[1]]));
        let mut text = String::with_capacity(bytes.len());
        let mut problem = (!bytes.len().is_multiple_of(2)).then_some("incomplete UTF-16 character");
        for character in char::decode_utf16(units) {
            match character {
                Ok(character) => text.push(character),
                Err(error) => {
                    problem = Some(if error.unpaired_surrogate() >= 0xdc00 {
                        "unexpected low surrogate area"
                    } else {
                        "expected low surrogate area"
                    });
                    break;
                }
            }
        }
        let mut text = text.into_bytes();
        let mut script = Script::SIMPLE;
        if let Some((end, found)) = check(&text, &mut script) {
            text.truncate(end);
            problem = Some(found);
        }
        Self {
            text: Cow::Owned(text),
            problem,
            script,
        }
    }
}

/// The number of bytes to check at once, with a handful of vector instructions.
const CHUNK: usize = 16;

/// Finds the first invalid byte, and why it is invalid. Records facts about the text before it.
fn check(bytes: &[u8], script: &mut Script) -> Option<(usize, &'static str)> {
    const CONTROL: &str = "control characters are not allowed";
    let mut at = 0;
    // Most input is plain ASCII.
    loop {
        let (chunks, _) = bytes[at..].as_chunks();
        at += CHUNK * chunks.iter().take_while(|chunk| is_plain(chunk)).count();
        let stop = (at + CHUNK).min(bytes.len());
        if at == bytes.len() {
            return None;
        }
        while at < stop {
            match bytes[at] {
                b'\t' | b'\n' | 0x20..=0x7e => at += 1,
                b'\r' => {
                    script.has_line_feeds_only = false;
                    at += 1;
                }
                0..0x80 => return Some((at, CONTROL)),
                _ => {
                    script.is_ascii = false;
                    match character(&bytes[at..]) {
                        Err(problem) => return Some((at, problem)),
                        Ok((0x80..=0x84 | 0x86..=0x9f | 0xfffe | 0xffff, _)) => {
                            return Some((at, CONTROL));
                        }
                        Ok((code, len)) => {
                            if matches!(code, 0x85 | 0x2028 | 0x2029) {
                                script.has_line_feeds_only = false;
                            }
                            at += len;
                        }
                    }
                }
            }
        }
    }
}

/// Returns whether each byte is a line feed or from 0x20 to 0x7e.
fn is_plain(bytes: &[u8; CHUNK]) -> bool {
    let is_plain = |byte| matches!(byte, b'\n' | 0x20..0x7f);
    bytes.iter().fold(true, |all, byte| all & is_plain(*byte))
}

/// Reads a non-ASCII character at the front of the bytes. Also returns its length.
fn character(bytes: &[u8]) -> Result<(u32, usize), &'static str> {
    let first = bytes[0];
    let (len, mut code) = match first {
        0xc0..0xe0 => (2, u32::from(first & 0x1f)),
        0xe0..0xf0 => (3, u32::from(first & 0x0f)),
        0xf0..0xf8 => (4, u32::from(first & 0x07)),
        _ => return Err("invalid leading UTF-8 octet"),
    };
    let Some(rest) = bytes.get(1..len) else {
        return Err("incomplete UTF-8 octet sequence");
    };
    for &byte in rest {
        if byte & 0xc0 != 0x80 {
            return Err("invalid trailing UTF-8 octet");
        }
        code = code << 6 | u32::from(byte & 0x3f);
    }
    let least = [0x80, 0x800, 0x10000][len - 2];
    if code < least {
        return Err("invalid length of a UTF-8 sequence");
    }
    if char::from_u32(code).is_none() {
        return Err("invalid Unicode character");
    }
    Ok((code, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_the_text() {
        let cases: [(&[u8], usize, Option<&str>); 10] = [
            (b"abcdefgh\nijklmnop\r\n\tq", 21, None),
            ("aé中\u{1f600}\u{85}\u{a0}".as_bytes(), 14, None),
            (
                b"abcdefghijklmnop\x01",
                16,
                Some("control characters are not allowed"),
            ),
            (b"abc\x7f", 3, Some("control characters are not allowed")),
            (
                "a\u{80}".as_bytes(),
                1,
                Some("control characters are not allowed"),
            ),
            (
                "\u{ffff}".as_bytes(),
                0,
                Some("control characters are not allowed"),
            ),
            (b"a\xff", 1, Some("invalid leading UTF-8 octet")),
            (b"a\xc3", 1, Some("incomplete UTF-8 octet sequence")),
            (b"a\xc3a", 1, Some("invalid trailing UTF-8 octet")),
            (b"\xed\xa0\x80", 0, Some("invalid Unicode character")),
        ];
        for (bytes, end, problem) in cases {
            let input = Input::new(bytes);
            assert_eq!(
                (input.text.len(), input.problem),
                (end, problem),
                "{bytes:?}"
            );
        }
        let input = Input::new(b"\xff\xfea\0:\0");
        assert_eq!((&*input.text, input.problem), (&b"a:"[..], None));
    }

    #[test]
    fn each_byte_counts_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for at in 0..2 * CHUNK + 3 {
                let mut text = [b'a'; 2 * CHUNK + 3];
                text[at] = byte;
                let input = Input::new(&text);
                if matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..0x7f) {
                    assert_eq!((&*input.text, input.problem), (&text[..], None));
                    assert_eq!(
                        input.script.has_line_feeds_only,
                        byte != b'\r',
                        "{byte} at {at}"
                    );
                } else {
                    assert_eq!(input.text.len(), at, "{byte}");
                    assert!(input.problem.is_some(), "{byte} at {at}");
                }
            }
        }
    }

    #[test]
    fn what_is_known_of_the_characters() {
        let script = |text: &str| {
            let script = Input::new(text.as_bytes()).script;
            (script.is_ascii, script.has_line_feeds_only)
        };
        assert_eq!(script("a\tb\n"), (true, true));
        assert_eq!(script("a\rb"), (true, false));
        assert_eq!(
            script("a\u{a0}\u{e9}\u{2027}\u{202a}\u{1f600}\n"),
            (false, true)
        );
        for end in ["\u{85}", "\u{2028}", "\u{2029}"] {
            for len in 0..20 {
                assert_eq!(script(&("a".repeat(len) + end + "b")), (false, false));
            }
        }
    }
}
