//! Scans plain, quoted and block scalars. Those that can be used unchanged from a single line need no copy.

use std::{borrow::Cow, mem};

use super::{
    error::YamlError,
    lines::spaces,
    scan::Scanner,
    token::{Bytes, Mark},
};
use crate::words::{below, either, equal, find};

/// Marks where a plain scalar may end. The bytes before and after determine whether it does.
fn may_end_plain(word: u64) -> u64 {
    below(word, b' ') | equal(word, b':') | equal(word, b'#') | either(word, 0xc2, 0x20)
}

/// Marks the same in a flow collection.
fn may_end_plain_in_flow(word: u64) -> u64 {
    may_end_plain(word)
        | equal(word, b',')
        | equal(word, b'?')
        | either(word, b'[', 0x20)
        | either(word, b']', 0x20)
}

/// The white space between two words, or two lines.
#[derive(Default)]
struct Gap<'a> {
    /// The line breaks after the first, each of which counts.
    breaks: Vec<u8>,
    /// The first line break, if there is one. Most scalars end with it, so it is not copied.
    first: &'a [u8],
    is_break: bool,
}

impl<'a> Gap<'a> {
    /// Appends what joins the lines: a space, or all line breaks but the first.
    fn fold(&mut self, out: &mut Vec<u8>) {
        if self.first.first() == Some(&b'\n') {
            if self.breaks.is_empty() {
                out.push(b' ');
            }
        } else {
            out.extend_from_slice(self.first);
        }
        out.append(&mut self.breaks);
        self.first = b"";
        self.is_break = false;
    }

    fn add_break(&mut self, scanner: &mut Scanner<'a>, len: usize) {
        let line = scanner.take_line(len);
        if self.is_break {
            self.breaks.extend_from_slice(line);
        } else {
            self.first = line;
        }
        self.is_break = true;
    }
}

impl<'a> Scanner<'a> {
    /// Returns the end of the words that begin here, within the line: before a comment, `: `, or an indicator. Leaves the scanner
    /// after the white space that follows the words.
    fn words_end(&mut self) -> usize {
        let start = self.at;
        loop {
            let rest = &self.text[self.at..];
            let found = if self.flow_level == 0 {
                find(rest, may_end_plain)
            } else {
                find(rest, may_end_plain_in_flow)
            };
            self.at += found.unwrap_or(rest.len());
            let goes_on = match self.byte(0) {
                Some(b'\t') => true,
                Some(b':') => !self.is_blank_or_end(1),
                Some(b'#') => !matches!(self.text[start..self.at], [.., b' ' | b'\t']),
                Some(0xc2 | 0xe2) => self.line_break() == 0,
                _ => false,
            };
            if !goes_on {
                break;
            }
            self.at += 1;
        }
        let words = self.text[start..self.at].iter().rev();
        self.at
            - words
                .take_while(|byte| matches!(byte, b' ' | b'\t'))
                .count()
    }

    /// Scans a plain scalar. Most are on one line.
    pub(super) fn scan_plain(&mut self) -> Result<Bytes<'a>, YamlError> {
        let context = self.mark();
        let indent = self.indent + 1;
        let start = self.at;
        let end = self.words_end();
        let mut text = Cow::Borrowed(&self.text[start..end]);
        let mut gap = Gap::default();
        while self.line_break() > 0 {
            self.skip_gap(&mut gap, indent, context)?;
            if (self.flow_level == 0 && self.column().cast_signed() < indent)
                || self.at_document_indicator()
                || self.byte(0) == Some(b'#')
            {
                break;
            }
            let start = self.at;
            let end = self.words_end();
            if start == end {
                break;
            }
            let joined = text.to_mut();
            gap.fold(joined);
            joined.extend_from_slice(&self.text[start..end]);
        }
        if gap.is_break {
            self.simple_key_allowed = true;
        }
        Ok(text)
    }

    /// Skips line breaks, and the white space of the lines after them.
    fn skip_gap(
        &mut self,
        gap: &mut Gap<'a>,
        indent: isize,
        context: Mark,
    ) -> Result<(), YamlError> {
        loop {
            match self.byte(0) {
                Some(b' ') => self.skip_spaces(),
                Some(b'\t') => {
                    if gap.is_break && self.column().cast_signed() < indent {
                        return Err(
                            self.error(context, "found a tab character that violates indentation")
                        );
                    }
                    self.at += 1;
                }
                _ => match self.line_break() {
                    0 => return Ok(()),
                    len => gap.add_break(self, len),
                },
            }
        }
    }

    /// Scans a scalar in quotes of that kind.
    pub(super) fn scan_quoted(&mut self, quote: u8) -> Result<Bytes<'a>, YamlError> {
        let context = self.mark();
        self.at += 1;
        let start = self.at;
        loop {
            let rest = &self.text[self.at..];
            let found = find(rest, |word| {
                equal(word, quote)
                    | equal(word, b'\\')
                    | below(word, b' ')
                    | either(word, 0xc2, 0x20)
            });
            self.at += found.unwrap_or(rest.len());
            if self.byte(0) != Some(b'\t') {
                break;
            }
            self.at += 1;
        }
        if self.byte(0) == Some(quote) && (quote == b'"' || self.byte(1) != Some(quote)) {
            let text = &self.text[start..self.at];
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        self.at = start;
        self.scan_quoted_slowly(quote, context).map(Cow::Owned)
    }

    fn scan_quoted_slowly(&mut self, quote: u8, context: Mark) -> Result<Vec<u8>, YamlError> {
        let mut text = Vec::new();
        let mut gap = Gap::default();
        loop {
            if self.at_document_indicator() {
                return Err(self.error(context, "found unexpected document indicator"));
            }
            if self.byte(0).is_none() {
                return Err(self.error(context, "found unexpected end of stream"));
            }
            let mut blank_line = false;
            while !self.is_blank_or_end(0) {
                match self.byte(0) {
                    Some(b'\'') if quote == b'\'' => {
                        if self.byte(1) != Some(b'\'') {
                            break;
                        }
                        text.push(b'\'');
                        self.at += 2;
                    }
                    Some(b'"') if quote == b'"' => break,
                    Some(b'\\') if quote == b'"' => {
                        self.at += 1;
                        match self.line_break() {
                            0 => self.scan_escape(&mut text, context)?,
                            len => {
                                self.skip_line(len);
                                blank_line = true;
                                break;
                            }
                        }
                    }
                    byte => {
                        text.extend(byte);
                        self.at += 1;
                    }
                }
            }
            if self.byte(0) == Some(quote) {
                self.at += 1;
                return Ok(text);
            }
            let start = self.at;
            while matches!(self.byte(0), Some(b' ' | b'\t')) {
                self.at += 1;
            }
            if self.line_break() == 0 && !blank_line {
                text.extend_from_slice(&self.text[start..self.at]);
                continue;
            }
            // After an escaped line break, the next one counts.
            gap.is_break = blank_line;
            loop {
                match self.line_break() {
                    0 if matches!(self.byte(0), Some(b' ' | b'\t')) => self.at += 1,
                    0 => break,
                    len => gap.add_break(self, len),
                }
            }
            gap.fold_quoted(&mut text);
        }
    }

    /// Scans what follows a backslash.
    fn scan_escape(&mut self, out: &mut Vec<u8>, context: Mark) -> Result<(), YamlError> {
        let digits = match self.byte(0) {
            Some(b'x') => 2,
            Some(b'u') => 4,
            Some(b'U') => 8,
            other => {
                let text: &[u8] = match other {
                    Some(b'0') => b"\0",
                    Some(b'a') => b"\x07",
                    Some(b'b') => b"\x08",
                    Some(b't' | b'\t') => b"\t",
                    Some(b'n') => b"\n",
                    Some(b'v') => b"\x0b",
                    Some(b'f') => b"\x0c",
                    Some(b'r') => b"\r",
                    Some(b'e') => b"\x1b",
                    Some(b' ') => b" ",
                    Some(b'"') => b"\"",
                    Some(b'\'') => b"'",
                    Some(b'\\') => b"\\",
                    Some(b'N') => "\u{85}".as_bytes(),
                    Some(b'_') => "\u{a0}".as_bytes(),
                    Some(b'L') => "\u{2028}".as_bytes(),
                    Some(b'P') => "\u{2029}".as_bytes(),
                    _ => return Err(self.error(context, "found unknown escape character")),
                };
                out.extend_from_slice(text);
                self.at += 1;
                return Ok(());
            }
        };
        self.at += 1;
        let mut code = 0u32;
        for ahead in 0..digits {
            let digit = self.byte(ahead).and_then(|b| char::from(b).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.error(context, "did not find expected hexdecimal number"));
            };
            code = code << 4 | digit;
        }
        let Some(character) = char::from_u32(code) else {
            return Err(self.error(context, "found invalid Unicode character escape code"));
        };
        self.at += digits;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// Scans a block scalar, from its indicator on.
    pub(super) fn scan_block_scalar(&mut self, literal: bool) -> Result<Vec<u8>, YamlError> {
        let context = self.mark();
        self.at += 1;
        let header = self.scan_block_header(context)?;
        let mut indent = match header.increment {
            0 => 0,
            increment if self.indent >= 0 => self.indent.unsigned_abs() + increment,
            increment => increment,
        };
        let mut text = mem::take(&mut self.block);
        text.clear();
        let mut leading_break: &[u8] = b"";
        let mut breaks = Vec::new();
        self.scan_block_breaks(&mut indent, &mut breaks, context)?;
        let mut leading_blank = false;
        while self.byte(0).is_some() && self.column() == indent {
            let blank = matches!(self.byte(0), Some(b' ' | b'\t'));
            if !literal && !leading_blank && !blank && leading_break.first() == Some(&b'\n') {
                if breaks.is_empty() {
                    text.push(b' ');
                }
            } else {
                text.extend_from_slice(leading_break);
            }
            if !breaks.is_empty() {
                text.append(&mut breaks);
            }
            leading_blank = blank;
            let start = self.at;
            self.skip_comment();
            text.extend_from_slice(&self.text[start..self.at]);
            leading_break = match self.line_break() {
                0 => b"",
                len => self.take_line(len),
            };
            self.scan_block_breaks(&mut indent, &mut breaks, context)?;
        }
        if header.chomping != Chomping::Strip {
            text.extend_from_slice(leading_break);
        }
        if header.chomping == Chomping::Keep {
            text.append(&mut breaks);
        }
        let exact = text.as_slice().to_vec();
        self.block = text;
        Ok(exact)
    }

    /// Scans what follows the indicator of a block scalar on its line.
    fn scan_block_header(&mut self, context: Mark) -> Result<BlockHeader, YamlError> {
        let mut header = BlockHeader {
            chomping: Chomping::Clip,
            increment: 0,
        };
        let (mut chomping, mut increment) = (false, false);
        loop {
            match self.byte(0) {
                Some(b'+') if !chomping => {
                    header.chomping = Chomping::Keep;
                    chomping = true;
                }
                Some(b'-') if !chomping => {
                    header.chomping = Chomping::Strip;
                    chomping = true;
                }
                Some(b'0') if !increment => {
                    return Err(self.error(context, "found an indentation indicator equal to 0"));
                }
                Some(digit @ b'1'..=b'9') if !increment => {
                    header.increment = usize::from(digit - b'0');
                    increment = true;
                }
                _ => break,
            }
            self.at += 1;
        }
        self.skip_rest_of_line(context)?;
        Ok(header)
    }

    /// Skips white space, a comment and the line break. Nothing else is allowed there.
    pub(super) fn skip_rest_of_line(&mut self, context: Mark) -> Result<(), YamlError> {
        while matches!(self.byte(0), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        if self.byte(0) == Some(b'#') {
            self.skip_comment();
        }
        match self.line_break() {
            0 if self.byte(0).is_some() => {
                Err(self.error(context, "did not find expected comment or line break"))
            }
            0 => Ok(()),
            len => {
                self.skip_line(len);
                Ok(())
            }
        }
    }

    /// Skips the indentation and empty lines. Determines the indentation of the block if it is not known (0).
    fn scan_block_breaks(
        &mut self,
        indent: &mut usize,
        breaks: &mut Vec<u8>,
        context: Mark,
    ) -> Result<(), YamlError> {
        let mut deepest = 0;
        loop {
            let mut column = self.column();
            let most = match *indent {
                0 => usize::MAX,
                indent => indent.saturating_sub(column),
            };
            let passed = spaces(&self.text[self.at..]).min(most);
            self.at += passed;
            column += passed;
            deepest = deepest.max(column);
            if (*indent == 0 || column < *indent) && self.byte(0) == Some(b'\t') {
                return Err(self.error(
                    context,
                    "found a tab character where an indentation space is expected",
                ));
            }
            match self.line_break() {
                0 => break,
                len => breaks.extend_from_slice(self.take_line(len)),
            }
        }
        if *indent == 0 {
            let least = usize::try_from(self.indent + 1).unwrap_or(0).max(1);
            *indent = deepest.max(least);
        }
        Ok(())
    }
}

impl Gap<'_> {
    /// Works like [`Gap::fold`], but an escaped line break leaves nothing behind.
    fn fold_quoted(&mut self, out: &mut Vec<u8>) {
        if self.first.is_empty() {
            out.append(&mut self.breaks);
            self.is_break = false;
        } else {
            self.fold(out);
        }
    }
}

struct BlockHeader {
    chomping: Chomping,
    /// The indentation relative to the enclosing block; 0 if it is not given.
    increment: usize,
}

/// The treatment of the line breaks at the end of a block scalar.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chomping {
    Strip,
    Clip,
    Keep,
}
