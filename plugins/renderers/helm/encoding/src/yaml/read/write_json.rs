//! Writes a tree as JSON.

use std::borrow::Cow;

use super::{
    decode::{Decoder, Resolved},
    error::YamlError,
    parse::Kind,
};
use crate::{float, json};

/// Writes nodes as JSON.
pub(super) struct Writer<'d, 't> {
    decoder: &'d Decoder<'t>,
    out: &'d mut Vec<u8>,
    /// The entries of the maps around the current node, with those of the innermost map last.
    entries: Vec<(Cow<'t, [u8]>, usize)>,
}

impl<'d, 't> Writer<'d, 't> {
    pub(super) fn new(decoder: &'d Decoder<'t>, out: &'d mut Vec<u8>) -> Self {
        Self {
            decoder,
            out,
            entries: Vec::new(),
        }
    }

    pub(super) fn node(&mut self, node: usize) -> Result<(), YamlError> {
        let node = self.decoder.target(node);
        match &self.decoder.tree.nodes[node].kind {
            Kind::Alias { .. } | Kind::Scalar { .. } => self.scalar(node),
            Kind::Sequence(_) => self.list(node),
            Kind::Mapping(_) => self.map(node),
        }
    }

    fn scalar(&mut self, node: usize) -> Result<(), YamlError> {
        match self.decoder.scalar(node)? {
            Resolved::Null => self.out.extend_from_slice(b"null"),
            Resolved::Bool(true) => self.out.extend_from_slice(b"true"),
            Resolved::Bool(false) => self.out.extend_from_slice(b"false"),
            Resolved::Int(number) => write_integer(number < 0, number.unsigned_abs(), self.out),
            Resolved::Uint(number) => write_integer(false, number, self.out),
            Resolved::Float(number) => {
                self.decoder.check(node, number)?;
                let is_zero = number == 0.0;
                let number = if self.decoder.exact && is_zero {
                    0.0
                } else {
                    number
                };
                float::write_json(number, self.out);
            }
            Resolved::Text(text) => self.decoder.write_text(&text, self.out),
        }
        Ok(())
    }

    fn list(&mut self, list: usize) -> Result<(), YamlError> {
        self.out.push(b'[');
        for (index, item) in self.decoder.children(list).enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.node(item)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn map(&mut self, map: usize) -> Result<(), YamlError> {
        let start = self.entries.len();
        self.decoder.entries(map, &mut |key, value| {
            self.entries.push((key, value));
            Ok(())
        })?;
        let own = &mut self.entries[start..];
        // Sorted keys are all different.
        let is_sorted = own.is_sorted_by(|one, two| one.0 < two.0);
        if !is_sorted {
            own.sort_by(|one, two| one.0.cmp(&two.0));
        }
        self.out.push(b'{');
        let opened = self.out.len();
        let end = self.entries.len();
        for place in start..end {
            let (key, value) = &self.entries[place];
            let value = *value;
            if !is_sorted && place + 1 < end && self.entries[place + 1].0 == *key {
                // A value that is overwritten must still be valid.
                self.decoder.sound(value)?;
                continue;
            }
            if self.out.len() > opened {
                self.out.push(b',');
            }
            self.decoder.write_text(key, self.out);
            self.out.push(b':');
            self.node(value)?;
        }
        self.entries.truncate(start);
        self.out.push(b'}');
        Ok(())
    }
}

impl Decoder<'_> {
    /// Writes a text. The scanner has already checked all its characters, unless the text comes from a tag.
    fn write_text(&self, text: &[u8], out: &mut Vec<u8>) {
        if self.tree.tags.is_empty() {
            json::write_valid_string(text, true, out);
        } else {
            json::write_string(text, true, out);
        }
    }
}

fn write_integer(negative: bool, mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if negative {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[start..]);
}
