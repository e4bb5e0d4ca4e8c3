//! Writes JSON with sorted keys, Go's escapes and Go's numbers.

use base64::{Engine, engine::general_purpose::STANDARD};
use pintle_gotemplate::{Kind, List, Map, Value, value::MAX_NESTING};

use crate::{
    error::WriteError,
    float,
    words::{below, equal, find},
};

/// The layout of JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Whether `<`, `>` and `&` stay as they are. `json.Marshal` escapes them.
    pub raw: bool,
    /// Whether each value gets its own line, indented by two spaces per level.
    pub pretty: bool,
}

/// Appends a value as `json.Marshal` writes it.
///
/// Objects are written in their plain form. On an error, `out` contains a part of the text.
pub fn write(value: &Value, layout: Layout, out: &mut Vec<u8>) -> Result<(), WriteError> {
    Writer { layout, out }.value(value, 0)
}

struct Writer<'a> {
    layout: Layout,
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), WriteError> {
        if depth > MAX_NESTING {
            return Err(WriteError::Depth);
        }
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::Bool(true) => self.out.extend_from_slice(b"true"),
            Value::Bool(false) => self.out.extend_from_slice(b"false"),
            Value::Int(int) => self.out.extend_from_slice(int.to_string().as_bytes()),
            Value::Float(number) => {
                if let Some(error) = not_a_number(*number) {
                    return Err(error);
                }
                float::write_json(*number, self.out);
            }
            Value::String(text) => write_string(text, self.layout.raw, self.out),
            Value::List(list) => return self.list(list, depth),
            Value::Map(map) => return self.map(map, depth),
            Value::Object(object) => {
                if let Some(fields) = object.json_fields() {
                    let fields = fields.iter();
                    return self.table(fields.map(|(name, value)| (name.as_bytes(), value)), depth);
                }
                return match object.to_plain() {
                    Value::Object(object) => Err(WriteError::Type {
                        go_type: object.go_type().to_string(),
                    }),
                    _ if object.go_type().kind() == Kind::Func => Err(WriteError::Type {
                        go_type: object.go_type().to_string(),
                    }),
                    plain => self.value(&plain, depth + 1),
                };
            }
        }
        Ok(())
    }

    fn list(&mut self, list: &List, depth: usize) -> Result<(), WriteError> {
        if list.is_nil() {
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        if let Some(bytes) = list.as_bytes() {
            self.out.push(b'"');
            self.out
                .extend_from_slice(STANDARD.encode(bytes.as_bytes()).as_bytes());
            self.out.push(b'"');
            return Ok(());
        }
        self.out.push(b'[');
        let items = list.items();
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.line(depth + 1);
            self.value(item, depth + 1)?;
        }
        if !items.is_empty() {
            self.line(depth);
        }
        self.out.push(b']');
        Ok(())
    }

    fn map(&mut self, map: &Map, depth: usize) -> Result<(), WriteError> {
        if map.is_nil() {
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        let entries = map.borrow();
        let entries = entries.iter();
        self.table(entries.map(|(key, value)| (key.as_bytes(), value)), depth)
    }

    fn table<'v>(
        &mut self,
        entries: impl Iterator<Item = (&'v [u8], &'v Value)>,
        depth: usize,
    ) -> Result<(), WriteError> {
        self.out.push(b'{');
        let mut is_empty = true;
        for (key, value) in entries {
            if !is_empty {
                self.out.push(b',');
            }
            is_empty = false;
            self.line(depth + 1);
            write_string(key, self.layout.raw, self.out);
            self.out.push(b':');
            if self.layout.pretty {
                self.out.push(b' ');
            }
            self.value(value, depth + 1)?;
        }
        if !is_empty {
            self.line(depth);
        }
        self.out.push(b'}');
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if self.layout.pretty {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + 2 * depth, b' ');
        }
    }
}

/// Returns the error for a number that JSON does not have.
pub(crate) fn not_a_number(number: f64) -> Option<WriteError> {
    if number.is_finite() {
        return None;
    }
    Some(WriteError::Number(if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }))
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends a string in quotes. Each byte that is not part of a character becomes `\ufffd`.
pub(crate) fn write_string(text: &[u8], raw: bool, out: &mut Vec<u8>) {
    if std::str::from_utf8(text).is_ok() {
        return write_valid_string(text, raw, out);
    }
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        write_valid(chunk.valid().as_bytes(), raw, out);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

/// Appends a string that is known to be valid UTF-8 in quotes.
pub(crate) fn write_valid_string(text: &[u8], raw: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    write_valid(text, raw, out);
    out.push(b'"');
}

/// Returns the index of the first byte that may need an escape.
fn special(text: &[u8], raw: bool) -> Option<usize> {
    let special =
        |word| below(word, b' ') | equal(word, b'"') | equal(word, b'\\') | equal(word, 0xe2);
    if raw {
        return find(text, special);
    }
    find(text, |word| {
        special(word) | equal(word, b'<') | equal(word, b'>') | equal(word, b'&')
    })
}

/// Appends valid UTF-8, copying runs of bytes that need no escape.
fn write_valid(text: &[u8], raw: bool, out: &mut Vec<u8>) {
    let (mut done, mut next) = (0, 0);
    while let Some(found) = special(&text[next..], raw) {
        let index = next + found;
        let byte = text[index];
        next = index + 1;
        let escape = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..=0x1f => b'u',
            b'<' | b'>' | b'&' if !raw => b'u',
            // U+2028 and U+2029, which end lines in JavaScript: E2 80 A8 and A9.
            0xe2 if matches!(text.get(index + 1..index + 3), Some([0x80, 0xa8 | 0xa9])) => {
                out.extend_from_slice(&text[done..index]);
                out.extend_from_slice(b"\\u202");
                out.push(HEX[usize::from(text[index + 2] & 0xf)]);
                done = index + 3;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&text[done..index]);
        done = index + 1;
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            out.extend_from_slice(b"00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 0xf)]);
        }
    }
    out.extend_from_slice(&text[done..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_counts_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let raw = matches!(byte, 0..b' ' | b'"' | b'\\' | 0xe2);
            let escaped = raw || matches!(byte, b'<' | b'>' | b'&');
            for at in 0..20 {
                let mut text = [b'a'; 20];
                text[at] = byte;
                assert_eq!(special(&text, true), raw.then_some(at), "{byte}");
                assert_eq!(special(&text, false), escaped.then_some(at), "{byte}");
            }
        }
    }

    #[test]
    fn what_is_special_is_found_anywhere() {
        for len in 0..40 {
            let mut text = "\u{e9}".repeat(len).into_bytes();
            assert_eq!(special(&text, true), None);
            for at in 0..text.len() {
                let kept = std::mem::replace(&mut text[at], b'<');
                assert_eq!(special(&text, true), None);
                assert_eq!(special(&text, false), Some(at));
                text[at] = kept;
            }
        }
    }
}
