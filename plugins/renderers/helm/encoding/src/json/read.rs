//! Reads JSON. Numbers become `float64`, the last of several equal keys wins, and invalid UTF-8 becomes U+FFFD.

use std::fmt::Write as _;

use pintle_gotemplate::{
    Kind, Map, Type, Value,
    value::{Entries, MAX_NESTING},
};
use thiserror::Error;

/// Why a text cannot be read. The messages are Go's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JsonError {
    /// The text ends prematurely.
    #[error("unexpected end of JSON input")]
    End,
    /// An unexpected character.
    #[error("invalid character {found} {context}")]
    Character {
        /// The character in Go's quotes.
        found: String,
        /// What was expected, or where the character is.
        context: &'static str,
        /// The offset of the character in bytes, from 0.
        offset: usize,
    },
    /// Lists and maps are nested too deeply.
    #[error("exceeded max depth")]
    Depth,
    /// A number is too large for a `float64`.
    #[error("json: cannot unmarshal number {0} into Go value of type float64")]
    Number(String),
    /// The text does not contain the requested type.
    #[error("json: cannot unmarshal {found} into Go value of type {expected}")]
    Type {
        /// `array`, `object`, `string`, `number` or `bool`.
        found: &'static str,
        /// The Go type.
        expected: Type,
    },
}

/// The value that was read, even if there is an error in it. Numbers that are too large are left out.
pub(crate) struct Partial {
    pub(crate) value: Value,
    pub(crate) error: Option<JsonError>,
}

/// Reads a value like `json.Unmarshal` into an `interface{}`.
pub fn read(text: &[u8]) -> Result<Value, JsonError> {
    let Partial { value, error } = read_partial(text)?;
    error.map_or(Ok(value), Err)
}

/// Reads the value at the start of a text like `json.Decoder`, whatever follows. Also returns where the value ends.
pub fn read_first(text: &[u8]) -> Result<(Value, usize), JsonError> {
    let mut reader = Reader {
        text,
        at: 0,
        error: None,
    };
    let value = reader.value(0)?;
    match reader.error {
        Some(error) => Err(error),
        None => Ok((value, reader.at)),
    }
}

/// Reads a map or a list like `json.Unmarshal` into one of type `expected`. `null` gives a nil one.
pub(crate) fn read_as(text: &[u8], expected: Type) -> Result<Partial, JsonError> {
    let partial = read_partial(text)?;
    expect(&partial.value, expected)?;
    Ok(match partial.value {
        Value::Nil => Partial {
            value: Value::zero(expected),
            ..partial
        },
        _ => partial,
    })
}

/// Refuses a value that is neither nil nor of the kind of the expected map or list.
pub(crate) fn expect(value: &Value, expected: Type) -> Result<(), JsonError> {
    let found = match value {
        Value::Nil => return Ok(()),
        Value::List(_) if expected.kind() == Kind::Slice => return Ok(()),
        Value::Map(_) if expected.kind() == Kind::Map => return Ok(()),
        Value::List(_) => "array",
        Value::Map(_) => "object",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        _ => "number",
    };
    Err(JsonError::Type { found, expected })
}

fn read_partial(text: &[u8]) -> Result<Partial, JsonError> {
    let mut reader = Reader {
        text,
        at: 0,
        error: None,
    };
    let value = reader.value(0)?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.unexpected("after top-level value"));
    }
    Ok(Partial {
        value,
        error: reader.error,
    })
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// The first number that is too large. Reading continues after it.
    error: Option<JsonError>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Returns the error for the character at the current position, or for the end.
    fn unexpected(&self, context: &'static str) -> JsonError {
        // At the end, Go checks whether a space could continue the text. Inside a word or a number, the space is the wrong
        // character.
        let inside = (context.starts_with("in ") || context.starts_with("after decimal"))
            && context != "in string literal";
        match self.peek() {
            None if !inside => JsonError::End,
            byte => JsonError::Character {
                found: quote(byte.unwrap_or(b' ')),
                context,
                offset: self.at,
            },
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.space();
        match self.peek() {
            Some(b'{') => self.map(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Value::string(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true", &TRUE, true.into()),
            Some(b'f') => self.literal(b"false", &FALSE, false.into()),
            Some(b'n') => self.literal(b"null", &NULL, Value::Nil),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn literal(
        &mut self,
        word: &[u8],
        contexts: &[&'static str],
        value: Value,
    ) -> Result<Value, JsonError> {
        self.at += 1;
        for (expected, context) in word[1..].iter().zip(contexts) {
            if self.peek() != Some(*expected) {
                return Err(self.unexpected(context));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn list(&mut self, depth: usize) -> Result<Value, JsonError> {
        let depth = deeper(depth)?;
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::list(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::list(items));
                }
                _ => return Err(self.unexpected("after array element")),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, JsonError> {
        let depth = deeper(depth)?;
        self.at += 1;
        let mut entries = Entries::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Map::from(entries).into());
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("looking for beginning of object key string"));
            }
            let key = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("after object key"));
            }
            self.at += 1;
            let value = self.value(depth)?;
            entries.insert(key.into(), value);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Map::from(entries).into());
                }
                _ => return Err(self.unexpected("after object key:value pair")),
            }
        }
    }

    fn digits(&mut self, context: &'static str) -> Result<(), JsonError> {
        if !self.peek().is_some_and(|b| b.is_ascii_digit()) {
            return Err(self.unexpected(context));
        }
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        let text = String::from_utf8_lossy(&self.text[start..self.at]);
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => {
                let error = JsonError::Number(text.into_owned());
                self.error.get_or_insert(error);
                Ok(Value::Nil)
            }
        }
    }

    /// Reads a string from its opening quote.
    fn string(&mut self) -> Result<Vec<u8>, JsonError> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            for chunk in self.text[start..self.at].utf8_chunks() {
                out.extend_from_slice(chunk.valid().as_bytes());
                chunk
                    .invalid()
                    .iter()
                    .for_each(|_| push(&mut out, '\u{fffd}'));
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => self.escape(&mut out)?,
                _ => return Err(self.unexpected("in string literal")),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        self.at += 1;
        let byte = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                self.at += 1;
                let code = self.hex()?;
                push(out, self.character(code)?);
                return Ok(());
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        out.push(byte);
        Ok(())
    }

    /// Returns the character of a `\u` escape. A surrogate pair makes one character beyond U+FFFF; a lone surrogate is replaced.
    fn character(&mut self, code: u32) -> Result<char, JsonError> {
        if let Some(character) = char::from_u32(code) {
            return Ok(character);
        }
        if code < 0xdc00 && self.text[self.at..].starts_with(b"\\u") {
            let start = self.at;
            self.at += 2;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            self.at = start;
        }
        Ok('\u{fffd}')
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.unexpected("in \\u hexadecimal character escape"));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

const TRUE: [&str; 3] = [
    "in literal true (expecting 'r')",
    "in literal true (expecting 'u')",
    "in literal true (expecting 'e')",
];
const FALSE: [&str; 4] = [
    "in literal false (expecting 'a')",
    "in literal false (expecting 'l')",
    "in literal false (expecting 's')",
    "in literal false (expecting 'e')",
];
const NULL: [&str; 3] = [
    "in literal null (expecting 'u')",
    "in literal null (expecting 'l')",
    "in literal null (expecting 'l')",
];

fn deeper(depth: usize) -> Result<usize, JsonError> {
    if depth < MAX_NESTING {
        Ok(depth + 1)
    } else {
        Err(JsonError::Depth)
    }
}

fn push(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Formats a byte as Go shows it in errors: as the character with that number.
fn quote(byte: u8) -> String {
    let mut text = String::from("'");
    match byte {
        b'\'' => text.push_str("\\'"),
        0x07 => text.push_str("\\a"),
        0x08 => text.push_str("\\b"),
        0x0b => text.push_str("\\v"),
        0x0c => text.push_str("\\f"),
        b'\n' | b'\r' | b'\t' | b'\\' => text.extend(char::from(byte).escape_default()),
        0..0x20 | 0x7f => write!(text, "\\x{byte:02x}").unwrap_or_default(),
        0x80..=0xa0 | 0xad => write!(text, "\\u{byte:04x}").unwrap_or_default(),
        _ => text.push(char::from(byte)),
    }
    text.push('\'');
    text
}
