//! String and character literals: Go's strconv.Unquote.

use std::borrow::Cow;

use crate::rune::decode;

/// Returns the text that a literal in double quotes or backquotes stands for; None if an escape is invalid.
pub(crate) fn unquote(literal: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (mark, inside) = match literal {
        [mark @ (b'"' | b'`'), inside @ .., last] if mark == last => (*mark, inside),
        _ => return None,
    };
    if mark == b'`' {
        // Carriage returns in raw strings are ignored, so line endings mean the same on every system.
        if !inside.contains(&b'\r') {
            return Some(Cow::Borrowed(inside));
        }
        let kept = inside.iter().copied().filter(|byte| *byte != b'\r');
        return Some(Cow::Owned(kept.collect()));
    }
    // Nearly all literals stand for themselves.
    if inside.is_ascii() && !inside.iter().any(|&byte| byte == b'\\' || byte == mark) {
        return Some(Cow::Borrowed(inside));
    }
    let mut out = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while !rest.is_empty() {
        let (char, tail) = unquote_char(rest, mark)?;
        match char {
            Unquoted::Byte(byte) => out.push(byte),
            Unquoted::Char(char) => {
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        rest = tail;
    }
    Some(Cow::Owned(out))
}

/// Returns the character of a literal in single quotes.
pub(crate) fn unquote_constant(literal: &[u8]) -> Result<char, String> {
    const SYNTAX: &str = "invalid syntax";
    let inside = literal.get(1..).ok_or(SYNTAX)?;
    let (char, tail) = unquote_char(inside, b'\'').ok_or(SYNTAX)?;
    if tail != b"'" {
        return Err(format!(
            "malformed character constant: {}",
            String::from_utf8_lossy(literal)
        ));
    }
    Ok(match char {
        Unquoted::Byte(byte) => char::from(byte),
        Unquoted::Char(char) => char,
    })
}

enum Unquoted {
    Byte(u8),
    Char(char),
}

/// Returns the first character, with its escape resolved, and the text after it.
fn unquote_char(text: &[u8], mark: u8) -> Option<(Unquoted, &[u8])> {
    let first = *text.first()?;
    if first == mark {
        return None;
    }
    if first != b'\\' {
        let rune = decode(text)?;
        return Some((Unquoted::Char(rune.char), &text[rune.len..]));
    }
    let (kind, rest) = text[1..].split_first()?;
    let plain = match kind {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'\\' => b'\\',
        b'\'' | b'"' if *kind == mark => mark,
        b'x' => return digits(rest, 2, 16).and_then(byte),
        b'u' => return digits(rest, 4, 16).and_then(char),
        b'U' => return digits(rest, 8, 16).and_then(char),
        b'0'..=b'7' => return digits(&text[1..], 3, 8).and_then(byte),
        _ => return None,
    };
    Some((Unquoted::Byte(plain), rest))
}

fn digits(text: &[u8], count: usize, base: u32) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    let number = digits.iter().try_fold(0_u32, |number, digit| {
        let digit = char::from(*digit).to_digit(base)?;
        number.checked_mul(base)?.checked_add(digit)
    })?;
    Some((number, rest))
}

fn byte((number, rest): (u32, &[u8])) -> Option<(Unquoted, &[u8])> {
    Some((Unquoted::Byte(u8::try_from(number).ok()?), rest))
}

fn char((number, rest): (u32, &[u8])) -> Option<(Unquoted, &[u8])> {
    Some((Unquoted::Char(char::from_u32(number)?), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let good: [(&str, &[u8]); 7] = [
            (r#""a\tb\"""#, b"a\tb\""),
            (
                r#""\x41\102é\u00e9\U0001F600""#,
                "AB\u{e9}\u{e9}\u{1f600}".as_bytes(),
            ),
            (r#""\xff""#, b"\xff"),
            (r#""'""#, b"'"),
            ("`a\\n\"\r\n`", b"a\\n\"\n"),
            ("``", b""),
            (r#""""#, b""),
        ];
        for (literal, expected) in good {
            assert_eq!(
                unquote(literal.as_bytes()).as_deref(),
                Some(expected),
                "{literal}"
            );
        }
        for bad in [
            r#""\d""#,
            r#""\'""#,
            r#""\x4""#,
            r#""\ud800""#,
            r#""\400""#,
            "\"",
            "x",
        ] {
            assert_eq!(unquote(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn constants() {
        assert_eq!(unquote_constant(b"'a'"), Ok('a'));
        assert_eq!(unquote_constant(br"'\''"), Ok('\''));
        assert_eq!(unquote_constant(b"''"), Err("invalid syntax".to_owned()));
        assert_eq!(
            unquote_constant(b"'ab'"),
            Err("malformed character constant: 'ab'".to_owned())
        );
    }
}
