//! Go's string literals: strconv.Quote and related functions.

use std::io::Write;

use crate::rune::{decode, is_printable, runes};

/// Formats a text as a Go string literal with double quotes, like Go's `strconv.Quote`.
///
/// ```
/// assert_eq!(pintle_gotemplate::print::quote(b"a\"\xff\n"), b"\"a\\\"\\xff\\n\"");
/// ```
pub fn quote(text: &[u8]) -> Vec<u8> {
    quoted(text, b'"', false)
}

/// Formats a text like [`quote`], with all non-ASCII characters escaped, like Go's `strconv.QuoteToASCII`.
pub fn quote_to_ascii(text: &[u8]) -> Vec<u8> {
    quoted(text, b'"', true)
}

/// Formats a character as a Go character literal.
pub(super) fn quote_char(char: char, ascii_only: bool) -> Vec<u8> {
    let mut out = vec![b'\''];
    push_escaped(&mut out, char, b'\'', ascii_only);
    out.push(b'\'');
    out
}

fn quoted(text: &[u8], mark: u8, ascii_only: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(mark);
    let mut rest = text;
    while let Some(rune) = decode(rest) {
        if rune.is_invalid() {
            push_hex(&mut out, b'x', u32::from(rest[0]), 2);
        } else {
            push_escaped(&mut out, rune.char, mark, ascii_only);
        }
        rest = &rest[rune.len..];
    }
    out.push(mark);
    out
}

fn push_escaped(out: &mut Vec<u8>, char: char, mark: u8, ascii_only: bool) {
    let code = u32::from(char);
    let short = match char {
        '\u{7}' => b'a',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{b}' => b'v',
        '\\' => b'\\',
        _ if char == char::from(mark) => mark,
        _ if is_printable(char) && (char.is_ascii() || !ascii_only) => {
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
        '\0'..' ' | '\u{7f}' => return push_hex(out, b'x', code, 2),
        '\u{0}'..='\u{ffff}' => return push_hex(out, b'u', code, 4),
        _ => return push_hex(out, b'U', code, 8),
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn push_hex(out: &mut Vec<u8>, kind: u8, code: u32, digits: usize) {
    out.extend_from_slice(&[b'\\', kind]);
    write!(out, "{code:0digits$x}").expect("writing to memory does not fail");
}

/// Returns whether a text can stand between backquotes on one line, like Go's `strconv.CanBackquote`.
pub fn can_backquote(text: &[u8]) -> bool {
    runes(text).all(|rune| {
        !rune.is_invalid()
            && match rune.char {
                '\u{feff}' | '`' | '\u{7f}' => false,
                char => char >= ' ' || char == '\t',
            }
    })
}
