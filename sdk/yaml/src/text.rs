//! Decodes bytes into text.

use crate::{Error, ErrorKind, Limits, node::Mark};

/// Returns the text without its byte order mark.
pub(crate) fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<&'a str, Error> {
    let fail = |kind, mark| {
        Err(Error {
            kind,
            mark,
            pointer: String::new(),
        })
    };
    let start = Mark { line: 1, column: 1 };
    if bytes.len() > limits.bytes {
        return fail(
            ErrorKind::Size {
                size: bytes.len(),
                limit: limits.bytes,
            },
            start,
        );
    }
    if let Some(encoding) = other_encoding(bytes) {
        return fail(ErrorKind::Encoding(encoding), start);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            return fail(ErrorKind::NotUtf8, end_of(&valid));
        }
    };
    if let Some(at) = text.find('\0') {
        return fail(ErrorKind::Nul, end_of(&text[..at]));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Returns the name of the encoding if it is not UTF-8, recognised by its byte order mark or by the zero bytes of its first,
/// ASCII, characters (YAML 1.2.2 section 5.2).
fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => "UTF-32",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16",
        [0, 0, 0, c, ..] | [c, 0, 0, 0, ..] if *c != 0 => "UTF-32",
        [0, a, 0, b, ..] | [a, 0, b, 0, ..] if *a != 0 && *b != 0 => "UTF-16",
        _ => return None,
    })
}

/// Returns the position right after the text.
fn end_of(text: &str) -> Mark {
    let mut cursor = Cursor::new(text);
    cursor.mark(text.len())
}

/// A cursor that finds the positions of ascending offsets in one pass.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    mark: Mark,
}

impl<'a> Cursor<'a> {
    /// Creates a cursor at the beginning of the text.
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            offset: 0,
            mark: Mark { line: 1, column: 1 },
        }
    }

    /// Returns the position of a byte offset, which must not be lower than the previous one.
    pub(crate) fn mark(&mut self, offset: usize) -> Mark {
        for character in self.text[self.offset..offset].chars() {
            if character == '\n' {
                self.mark.line = self.mark.line.saturating_add(1);
                self.mark.column = 1;
            } else {
                self.mark.column = self.mark.column.saturating_add(1);
            }
        }
        self.offset = offset;
        self.mark
    }

    /// Moves to the next `character` and returns its position. Stays in place if there is none.
    pub(crate) fn seek(&mut self, character: char) -> Mark {
        let offset = self.text[self.offset..]
            .find(character)
            .map_or(self.offset, |at| self.offset + at);
        self.mark(offset)
    }
}
