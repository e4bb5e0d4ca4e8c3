//! Writes YAML in block style, as the Go libraries do.

mod object;

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use pintle_gotemplate::{List, Map, Value, value::MAX_NESTING};

use super::{
    keys,
    style::{Analysis, Style, is_printable, line_break, width},
    through_json,
};
use crate::{error::WriteError, float, json::not_a_number};

/// The library whose output is reproduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// `sigs.k8s.io/yaml`: through JSON, then by go-yaml 2. Lists in maps are not indented, and long lines are folded at 80
    /// characters. `toYaml` uses this.
    Plain,
    /// go-yaml 3 with an indent of two: lists in maps are indented, and lines are not folded. `toYamlPretty` uses this.
    Pretty,
}

/// Appends a value as YAML, with a line feed at the end.
///
/// On an error, `out` contains a part of the text.
pub fn write(value: &Value, flavor: Flavor, out: &mut Vec<u8>) -> Result<(), WriteError> {
    let mut writer = Writer {
        out,
        flavor,
        fold_after: match flavor {
            Flavor::Plain => 80,
            Flavor::Pretty => usize::MAX,
        },
        column: 0,
        indent: None,
        whitespace: true,
        indention: true,
    };
    writer.value(value, Place::Elsewhere, 0)?;
    writer.indent = None;
    writer.new_line();
    Ok(())
}

/// The position of a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A key without `?`, which must fit on its line.
    SimpleKey,
    /// A key after `?`, or the value of a key.
    InMap,
    Elsewhere,
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    flavor: Flavor,
    /// The column after which a space becomes a line break.
    fold_after: usize,
    /// The number of characters in the line so far.
    column: usize,
    /// The indentation of the current block in columns; None outside all blocks.
    indent: Option<usize>,
    /// Whether the last output separates like a space.
    whitespace: bool,
    /// Whether the line contains only indentation and `-`, `?`, `:` so far.
    indention: bool,
}

const STEP: usize = 2;

impl Writer<'_> {
    fn value(&mut self, value: &Value, place: Place, depth: usize) -> Result<(), WriteError> {
        if depth > MAX_NESTING {
            return Err(WriteError::Depth);
        }
        match value {
            Value::Nil => self.word(b"null"),
            Value::Bool(true) => self.word(b"true"),
            Value::Bool(false) => self.word(b"false"),
            Value::Int(int) => self.word(int.to_string().as_bytes()),
            Value::Float(number) => self.float(*number)?,
            Value::String(text) => self.text(text, place)?,
            Value::List(list) => return self.list(list, place, depth),
            Value::Map(map) => return self.map(map, depth),
            Value::Object(object) => return self.object(&**object, place, depth),
        }
        Ok(())
    }

    fn map(&mut self, map: &Map, depth: usize) -> Result<(), WriteError> {
        let plain = self.flavor == Flavor::Plain;
        if plain && map.is_nil() {
            self.word(b"null");
            return Ok(());
        }
        let entries = map.borrow();
        let mut sorted: Vec<Entry<'_>> = Vec::with_capacity(entries.len());
        let mut changed = false;
        for (key, value) in entries.iter() {
            let name = if plain {
                through_json::key(key)?
            } else {
                Cow::Borrowed(&**key)
            };
            changed |= matches!(name, Cow::Owned(_));
            sorted.push(Entry { name, value });
        }
        if changed {
            only_last(&mut sorted);
        }
        keys::sort(&mut sorted, self.flavor);
        self.mapping(&sorted, depth)
    }

    /// Writes keys and values in the given order.
    fn mapping(&mut self, entries: &[Entry<'_>], depth: usize) -> Result<(), WriteError> {
        if entries.is_empty() {
            self.indicator(b"{}", false);
            return Ok(());
        }
        let outer = self.indent;
        self.indent = Some(outer.map_or(0, |indent| indent + STEP));
        for Entry { name, value } in entries {
            self.new_line();
            if self.key(name) {
                self.out.push(b':');
                self.column += 1;
                self.whitespace = false;
                self.indention = false;
            } else {
                self.new_line();
                self.indicator(b":", true);
            }
            self.value(value, Place::InMap, depth + 1)?;
        }
        self.indent = outer;
        Ok(())
    }

    /// Writes a key. Returns whether it is a simple one.
    fn key(&mut self, name: &[u8]) -> bool {
        let valid = std::str::from_utf8(name).is_ok();
        let (text, tag) = if valid {
            (Cow::Borrowed(name), 0)
        } else {
            (Cow::Owned(binary(name)), "!!binary".len())
        };
        let analysis = Analysis::of(&text, self.flavor);
        let simple = !analysis.multiline && text.len() + tag <= 128;
        let place = if simple {
            Place::SimpleKey
        } else {
            self.indicator(b"?", true);
            Place::InMap
        };
        self.scalar(&text, analysis, !valid, place);
        simple
    }

    fn list(&mut self, list: &List, place: Place, depth: usize) -> Result<(), WriteError> {
        if self.flavor == Flavor::Plain {
            if list.is_nil() {
                self.word(b"null");
                return Ok(());
            }
            if let Some(bytes) = list.as_bytes() {
                return self.text(STANDARD.encode(bytes.as_bytes()).as_bytes(), place);
            }
        }
        if list.is_empty() {
            self.indicator(b"[]", false);
            return Ok(());
        }
        let outer = self.indent;
        let in_line_with_key =
            self.flavor == Flavor::Plain && place == Place::InMap && !self.indention;
        self.indent = Some(match outer {
            None => 0,
            Some(indent) if in_line_with_key => indent,
            Some(indent) => indent + STEP,
        });
        for item in list.items().iter() {
            self.new_line();
            self.indicator(b"-", true);
            self.value(item, Place::Elsewhere, depth + 1)?;
        }
        self.indent = outer;
        Ok(())
    }

    fn float(&mut self, number: f64) -> Result<(), WriteError> {
        let mut text = Vec::with_capacity(24);
        match (self.flavor, not_a_number(number)) {
            (Flavor::Plain, Some(error)) => return Err(error),
            (Flavor::Plain, None) => {
                // What JSON writes as a whole number is read as an integer if it fits one. The digits of the lowest integer are
                // rounded, and therefore lower than it.
                float::write_json(number, &mut text);
                let digits = text.strip_prefix(b"-").unwrap_or(&text);
                let whole = digits.iter().all(u8::is_ascii_digit);
                let fits = if text[0] == b'-' {
                    number > -(2f64.powi(63))
                } else {
                    number < 2f64.powi(64)
                };
                if number == 0.0 {
                    text = b"0".to_vec();
                } else if !whole || !fits {
                    text.clear();
                    float::write_general(number, &mut text);
                }
            }
            (Flavor::Pretty, Some(_)) => {
                text.extend_from_slice(if number.is_nan() {
                    b".nan"
                } else if number > 0.0 {
                    b".inf"
                } else {
                    b"-.inf"
                });
            }
            (Flavor::Pretty, None) => float::write_general(number, &mut text),
        }
        self.word(&text);
        Ok(())
    }

    /// Writes a string in value position.
    fn text(&mut self, text: &[u8], place: Place) -> Result<(), WriteError> {
        if self.flavor == Flavor::Plain {
            let text = through_json::value(text)?;
            let analysis = Analysis::of(&text, self.flavor);
            self.scalar(&text, analysis, false, place);
        } else if std::str::from_utf8(text).is_ok() {
            self.scalar(text, Analysis::of(text, self.flavor), false, place);
        } else {
            let text = binary(text);
            self.scalar(&text, Analysis::of(&text, self.flavor), true, place);
        }
        Ok(())
    }

    fn scalar(&mut self, text: &[u8], analysis: Analysis, is_binary: bool, place: Place) {
        let simple_key = place == Place::SimpleKey;
        let style = if is_binary {
            self.separate();
            self.put_all(b"!!binary");
            self.whitespace = false;
            self.indention = false;
            let wanted = if analysis.multiline {
                Style::Literal
            } else {
                Style::Plain
            };
            analysis.allowed_style(wanted, simple_key)
        } else {
            analysis.string_style(text, self.flavor, simple_key)
        };
        let outer = self.indent;
        self.indent = Some(outer.map_or(STEP, |indent| indent + STEP));
        match style {
            Style::Plain => self.plain(text, !simple_key),
            Style::Single => self.single(text, !simple_key),
            Style::Double => self.double(text, !simple_key),
            Style::Literal => self.literal(text),
        }
        self.indent = outer;
    }

    /// Writes a plain scalar without spaces.
    fn word(&mut self, text: &[u8]) {
        self.separate();
        self.put_all(text);
        self.whitespace = false;
        self.indention = false;
    }

    fn plain(&mut self, text: &[u8], may_fold: bool) {
        self.separate();
        self.folded(text, may_fold, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn single(&mut self, text: &[u8], may_fold: bool) {
        self.separate();
        self.put_all(b"'");
        self.whitespace = false;
        self.indention = false;
        if text.contains(&b'\'') || text.contains(&0xe2) {
            self.single_with_care(text, may_fold);
        } else {
            self.folded(text, may_fold, true);
        }
        self.put_all(b"'");
        self.whitespace = false;
        self.indention = false;
    }

    /// Writes text on one line, and breaks the line at single spaces where it gets too long.
    fn folded(&mut self, text: &[u8], may_fold: bool, quoted: bool) {
        // No line gets too long if the text fits with at most one column per byte.
        if !may_fold || self.column.saturating_add(text.len()) <= self.fold_after {
            self.indention = false;
            return self.put_all(text);
        }
        let mut after_space = false;
        let mut done = 0;
        for (at, &byte) in text.iter().enumerate() {
            if byte != b' ' {
                after_space = false;
                continue;
            }
            if !after_space {
                self.put_all(&text[done..at]);
                done = at;
                // A quoted text may begin and end with a space.
                let inside = !quoted || (at > 0 && at + 1 < text.len());
                if self.column > self.fold_after && inside && text.get(at + 1) != Some(&b' ') {
                    self.indention = false;
                    self.new_line();
                    done = at + 1;
                }
            }
            after_space = true;
        }
        self.put_all(&text[done..]);
        self.indention = false;
    }

    fn single_with_care(&mut self, text: &[u8], may_fold: bool) {
        let mut after_space = false;
        let mut after_break = false;
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            let len = width(byte);
            let character = &text[at..at + len];
            if byte == b' ' {
                let inside = at > 0 && at + 1 < text.len() && text.get(at + 1) != Some(&b' ');
                if may_fold && !after_space && self.column > self.fold_after && inside {
                    self.new_line();
                } else {
                    self.put_all(character);
                }
                after_space = true;
            } else if line_break(character) > 0 {
                self.put_break(character);
                after_break = true;
            } else {
                if after_break {
                    self.new_line();
                }
                if byte == b'\'' {
                    self.put_all(b"'");
                }
                self.put_all(character);
                self.indention = false;
                after_space = false;
                after_break = false;
            }
            at += len;
        }
    }

    fn double(&mut self, text: &[u8], may_fold: bool) {
        self.separate();
        self.put_all(b"\"");
        self.whitespace = false;
        self.indention = false;
        // The library looks for the mark at the start of the text, not at the character.
        let marked = text.starts_with(b"\xef\xbb\xbf");
        let mut after_space = false;
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            let len = width(byte);
            let rest = &text[at..];
            let character = &rest[..len.min(rest.len())];
            if marked || matches!(byte, b'"' | b'\\') || !is_printable(rest) || line_break(rest) > 0
            {
                self.escape(character);
                after_space = false;
            } else if byte == b' ' {
                let inside = at > 0 && at + 1 < text.len();
                if may_fold && !after_space && self.column > self.fold_after && inside {
                    self.new_line();
                    if rest.get(1) == Some(&b' ') {
                        self.put_all(b"\\");
                    }
                } else {
                    self.put_all(character);
                }
                after_space = true;
            } else {
                self.put_all(character);
                after_space = false;
            }
            at += len;
        }
        self.put_all(b"\"");
        self.whitespace = false;
        self.indention = false;
    }

    fn escape(&mut self, character: &[u8]) {
        let code = std::str::from_utf8(character)
            .ok()
            .and_then(|text| text.chars().next())
            .map_or(0xfffd, u32::from);
        let short = match code {
            0x00 => '0',
            0x07 => 'a',
            0x08 => 'b',
            0x09 => 't',
            0x0a => 'n',
            0x0b => 'v',
            0x0c => 'f',
            0x0d => 'r',
            0x1b => 'e',
            0x22 => '"',
            0x5c => '\\',
            0x85 => 'N',
            0xa0 => '_',
            0x2028 => 'L',
            0x2029 => 'P',
            _ => '\0',
        };
        let text = if short != '\0' {
            format!("\\{short}")
        } else if code <= 0xff {
            format!("\\x{code:02X}")
        } else if code <= 0xffff {
            format!("\\u{code:04X}")
        } else {
            format!("\\U{code:08X}")
        };
        self.put_all(text.as_bytes());
    }

    fn literal(&mut self, text: &[u8]) {
        self.separate();
        self.put_all(b"|");
        if text.first() == Some(&b' ') || line_break(text) > 0 {
            self.put_all(b"2");
        }
        self.put_all(chomping(text));
        self.put_break(b"\n");
        self.whitespace = true;
        let mut at = 0;
        let mut start = 0;
        let mut after_break = true;
        loop {
            let len = line_break(&text[at..]);
            if at < text.len() && len == 0 {
                at += 1;
                continue;
            }
            if start < at {
                if after_break {
                    self.new_line();
                }
                self.put_all(&text[start..at]);
                self.indention = false;
            }
            if at == text.len() {
                return;
            }
            self.put_break(&text[at..at + len]);
            after_break = true;
            at += len;
            start = at;
        }
    }

    /// Begins a new line and indents it, unless the current line has not passed that column.
    fn new_line(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break(b"\n");
        }
        if self.column < indent {
            self.out.resize(self.out.len() + indent - self.column, b' ');
            self.column = indent;
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, text: &[u8], indents: bool) {
        self.separate();
        self.put_all(text);
        self.whitespace = false;
        self.indention &= indents;
    }

    fn separate(&mut self) {
        if !self.whitespace {
            self.out.push(b' ');
            self.column += 1;
        }
    }

    fn put_break(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
        self.column = 0;
        self.indention = true;
    }

    fn put_all(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
        self.column += text.iter().filter(|&&b| b & 0xc0 != 0x80).count();
    }
}

struct Entry<'a> {
    name: Cow<'a, [u8]>,
    value: &'a Value,
}

impl AsRef<[u8]> for Entry<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.name
    }
}

/// Removes all entries with the same name except the last.
fn only_last(entries: &mut Vec<Entry<'_>>) {
    // A stable sort keeps entries with the same name in order, so after the reversal the last one comes first.
    entries.reverse();
    entries.sort_by(|one, two| one.name.cmp(&two.name));
    entries.dedup_by(|later, kept| later.name == kept.name);
}

/// Returns the indicator for the end of a block scalar: read without a line break, with one, or with all.
fn chomping(text: &[u8]) -> &'static [u8] {
    let last_break = |text: &[u8]| {
        [1, 2, 3]
            .into_iter()
            .filter_map(|len| text.len().checked_sub(len))
            .find(|&start| line_break(&text[start..]) == text.len() - start)
    };
    match last_break(text) {
        None => b"-",
        Some(0) => b"+",
        Some(start) if last_break(&text[..start]).is_some() => b"+",
        Some(_) => b"",
    }
}

/// Encodes base64 in lines of 70 characters, if it needs more than one.
fn binary(bytes: &[u8]) -> Vec<u8> {
    const LINE: usize = 70;
    let encoded = STANDARD.encode(bytes).into_bytes();
    if encoded.len() < LINE {
        return encoded;
    }
    let mut lines = Vec::with_capacity(encoded.len() + encoded.len() / LINE + 1);
    for line in encoded.chunks(LINE) {
        lines.extend_from_slice(line);
        lines.push(b'\n');
    }
    lines
}
