//! `html`, `js` and `urlquery`.

use std::io::Write;

use crate::rune::{decode, is_printable};

pub(super) fn html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        out.extend_from_slice(match byte {
            0 => "\u{fffd}".as_bytes(),
            b'"' => b"&#34;",
            b'\'' => b"&#39;",
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            other => std::slice::from_ref(other),
        });
    }
    out
}

pub(super) fn js(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(rune) = decode(rest) {
        match rune.char {
            '\\' => out.extend_from_slice(b"\\\\"),
            '\'' => out.extend_from_slice(b"\\'"),
            '"' => out.extend_from_slice(b"\\\""),
            char @ ('<' | '>' | '&' | '=' | '\0'..' ') => push_unicode(&mut out, char),
            char if char.is_ascii() || is_printable(char) => {
                out.extend_from_slice(&rest[..rune.len]);
            }
            char => push_unicode(&mut out, char),
        }
        rest = &rest[rune.len..];
    }
    out
}

fn push_unicode(out: &mut Vec<u8>, char: char) {
    write!(out, "\\u{:04X}", u32::from(char)).expect("memory takes it");
}

pub(super) fn url_query(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            b' ' => out.push(b'+'),
            other => write!(out, "%{other:02X}").expect("memory takes it"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(
            html(b"<a b=\"c\">'&\0"),
            "&lt;a b=&#34;c&#34;&gt;&#39;&amp;\u{fffd}".as_bytes()
        );
        assert_eq!(
            String::from_utf8(js("'\"\\<\n=é\u{200b}".as_bytes())).unwrap(),
            r#"\'\"\\\u003C\u000A\u003Dé\u200B"#
        );
        assert_eq!(url_query("a b/é~".as_bytes()), b"a+b%2F%C3%A9~");
    }
}
