//! Turns a text into tokens.
//!
//! The difficulty of YAML is that `a` is a key only if `:` follows. Tokens wait in a queue while the first of them may turn out
//! to be such a *simple key*. Two tokens are then inserted before it.

use std::{cell::Cell, collections::VecDeque};

use super::{
    error::{Place, YamlError},
    input::{Input, Script},
    lines::{characters, place},
    token::{At, Mark, Token},
};

/// A place where a simple key may have begun.
#[derive(Clone, Copy, Default)]
struct SimpleKey {
    possible: bool,
    /// Whether tokens wait until it is known whether this is a key. The library forgets this for an empty flow collection, but
    /// still treats it as a key when `:` follows and it is still in the queue.
    awaited: bool,
    /// Whether the block cannot continue without a key here.
    required: bool,
    /// The number of tokens before it.
    number: usize,
    mark: Mark,
    column: usize,
}

pub(super) struct Scanner<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    pub(super) line: usize,
    pub(super) line_start: usize,
    /// A byte of this line, and its column. It avoids counting again, because a line can be as long as the text.
    pub(super) known_column: Cell<(usize, usize)>,
    pub(super) script: Script,
    problem: Option<&'static str>,
    queue: VecDeque<At<'a>>,
    /// Whether the meaning of the token at the front of the queue is known.
    ready: bool,
    /// The number of tokens that have left the queue.
    taken: usize,
    /// The possible simple key of each open flow collection, and of the block around them.
    simple_keys: Vec<SimpleKey>,
    pub(super) simple_key_allowed: bool,
    /// The column of the current block; -1 outside all blocks.
    pub(super) indent: isize,
    pub(super) indents: Vec<isize>,
    pub(super) flow_level: usize,
    /// A buffer in which a block scalar is assembled line by line.
    pub(super) block: Vec<u8>,
}

/// The maximum nesting depth of blocks and flow collections during scanning, as in the library. A lower limit applies to what is
/// built from the tokens.
const MAX_LEVEL: usize = 10_000;

/// The number of bytes that the library checks at once.
const BLOCK: usize = 512;

/// The maximum number of characters in a simple key.
const MAX_KEY: usize = 1024;

impl<'a> Scanner<'a> {
    pub(super) fn new(input: &'a Input<'_>) -> Self {
        Self {
            text: &input.text,
            at: 0,
            line: 0,
            line_start: 0,
            known_column: Cell::new((0, 0)),
            script: input.script,
            problem: input.problem,
            queue: VecDeque::with_capacity(16),
            ready: false,
            taken: 0,
            simple_keys: vec![SimpleKey::default()],
            simple_key_allowed: true,
            indent: -1,
            indents: Vec::new(),
            flow_level: 0,
            block: Vec::new(),
        }
    }

    /// Returns the next token without taking it.
    pub(super) fn peek(&mut self) -> Result<&At<'a>, YamlError> {
        if !self.ready {
            while self.queue.is_empty() || self.may_be_key()? {
                self.fetch()?;
            }
            self.ready = true;
        }
        self.queue
            .front()
            .ok_or_else(|| self.error(Mark::default(), "unexpected end of stream"))
    }

    /// Takes the token that [`Scanner::peek`] returned.
    pub(super) fn take(&mut self) -> Option<At<'a>> {
        self.ready = false;
        self.taken += 1;
        self.queue.pop_front()
    }

    /// Returns whether the token at the front of the queue may be a simple key.
    fn may_be_key(&mut self) -> Result<bool, YamlError> {
        let number = self.taken;
        // Keys at deeper levels began later.
        let level = self.simple_keys.partition_point(|key| key.number < number);
        match self.simple_keys.get(level) {
            Some(key) if key.awaited && key.number == number => self.is_valid_key(level),
            _ => Ok(false),
        }
    }

    /// Returns whether a possible simple key is still possible: it must end on its line, and soon.
    fn is_valid_key(&mut self, level: usize) -> Result<bool, YamlError> {
        let key = self.simple_keys[level];
        if !key.possible {
            return Ok(false);
        }
        if key.mark.line < self.line || self.is_far(key.mark.at) {
            if key.required {
                return Err(self.missing_colon(&key));
            }
            self.simple_keys[level].possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    fn is_far(&self, start: usize) -> bool {
        let bytes = self.at - start;
        // No character has more than four bytes.
        bytes > 4 * MAX_KEY || (bytes > MAX_KEY && characters(&self.text[start..self.at]) > MAX_KEY)
    }

    fn missing_colon(&self, key: &SimpleKey) -> YamlError {
        self.error(key.mark, "could not find expected ':'")
    }

    fn save_simple_key(&mut self) -> Result<(), YamlError> {
        if !self.simple_key_allowed {
            return Ok(());
        }
        let column = self.column();
        let required = self.flow_level == 0 && self.indent == column.cast_signed();
        self.remove_simple_key()?;
        let key = SimpleKey {
            possible: true,
            awaited: true,
            required,
            number: self.taken + self.queue.len(),
            mark: self.mark(),
            column,
        };
        if let Some(last) = self.simple_keys.last_mut() {
            *last = key;
        }
        Ok(())
    }

    fn remove_simple_key(&mut self) -> Result<(), YamlError> {
        match self.simple_keys.last_mut() {
            Some(key) if key.possible && key.required => {
                let key = *key;
                Err(self.missing_colon(&key))
            }
            Some(key) => {
                key.possible = false;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn fetch(&mut self) -> Result<(), YamlError> {
        self.skip_to_token();
        let column = self.column();
        self.unroll_indent(column.cast_signed());
        let Some(byte) = self.byte(0) else {
            return self.fetch_end();
        };
        if column == 0 {
            if byte == b'%' {
                return self.fetch_directive();
            }
            if self.at_document_indicator() {
                return self.fetch_document_indicator(byte);
            }
        }
        match byte {
            b'[' => self.fetch_flow_start(Token::FlowSequenceStart),
            b'{' => self.fetch_flow_start(Token::FlowMappingStart),
            b']' => self.fetch_flow_end(Token::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(Token::FlowMappingEnd),
            b',' => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                self.push_indicator(Token::FlowEntry);
                Ok(())
            }
            b'-' if self.is_blank_or_end(1) => self.fetch_block_entry(column),
            b'?' if self.flow_level > 0 || self.is_blank_or_end(1) => self.fetch_key(column),
            b':' if self.flow_level > 0 || self.is_blank_or_end(1) => self.fetch_value(column),
            b'*' | b'&' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                let start = self.mark();
                let token = self.scan_anchor(byte == b'&')?;
                self.push(token, start);
                Ok(())
            }
            b'!' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                let start = self.mark();
                let token = self.scan_tag()?;
                self.push(token, start);
                Ok(())
            }
            b'|' | b'>' if self.flow_level == 0 => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                let start = self.mark();
                let text = self.scan_block_scalar(byte == b'|')?;
                self.push_scalar(text.into(), false, start);
                Ok(())
            }
            b'\'' | b'"' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                let start = self.mark();
                let text = self.scan_quoted(byte)?;
                self.push_scalar(text, false, start);
                Ok(())
            }
            _ if self.starts_plain(byte) => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                let start = self.mark();
                let text = self.scan_plain()?;
                self.push_scalar(text, true, start);
                Ok(())
            }
            _ => {
                let here = self.mark();
                Err(self.error(here, "found character that cannot start any token"))
            }
        }
    }

    pub(super) fn starts_plain(&self, byte: u8) -> bool {
        match byte {
            b'-' => !matches!(self.byte(1), Some(b' ' | b'\t')),
            b'?' | b':' => self.flow_level == 0,
            b'\t' | b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>'
            | b'\'' | b'"' | b'%' | b'@' | b'`' => false,
            _ => true,
        }
    }

    pub(super) fn push(&mut self, token: Token<'a>, mark: Mark) {
        self.queue.push_back(At { token, mark });
    }

    /// Inserts a token before the one with that number, or at the end if that one has left the queue.
    fn insert(&mut self, number: usize, token: Token<'a>, mark: Mark) {
        match number.checked_sub(self.taken) {
            Some(place) if place < self.queue.len() => self.queue.insert(place, At { token, mark }),
            _ => self.push(token, mark),
        }
    }

    fn push_scalar(&mut self, text: super::token::Bytes<'a>, plain: bool, mark: Mark) {
        self.push(Token::Scalar { text, plain }, mark);
    }

    /// Adds a token of one byte.
    fn push_indicator(&mut self, token: Token<'a>) {
        let start = self.mark();
        self.at += 1;
        self.push(token, start);
    }

    /// Opens a block if the column is deeper than the current one. `number` is the token before which the block begins.
    fn roll_indent(
        &mut self,
        column: usize,
        number: Option<usize>,
        token: Token<'a>,
        mark: Mark,
    ) -> Result<(), YamlError> {
        let column = column.cast_signed();
        if self.flow_level > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        if self.indents.len() > MAX_LEVEL {
            return Err(self.too_deep());
        }
        self.insert(number.unwrap_or(usize::MAX), token, mark);
        Ok(())
    }

    fn too_deep(&self) -> YamlError {
        self.error(self.mark(), &format!("exceeded max depth of {MAX_LEVEL}"))
    }

    /// Closes the blocks that are deeper than the column.
    fn unroll_indent(&mut self, column: isize) {
        if self.flow_level > 0 {
            return;
        }
        while self.indent > column {
            let mark = self.mark();
            self.push(Token::BlockEnd, mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    /// Refuses a text that is cut off within the [`BLOCK`] of bytes that the scanner has reached.
    pub(super) fn check_block(&self) -> Result<(), YamlError> {
        match self.problem {
            Some(problem) if self.text.len() < (self.at + 1).next_multiple_of(BLOCK) => {
                // The line is that of the scanner, which is before the cut.
                let place = self.place(self.mark());
                Err(YamlError::yaml(None, problem, Some(place)))
            }
            _ => Ok(()),
        }
    }

    fn fetch_end(&mut self) -> Result<(), YamlError> {
        self.check_block()?;
        if self.at != self.line_start {
            self.line += 1;
            self.line_start = self.at;
        }
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let mark = self.mark();
        self.push(Token::StreamEnd, mark);
        Ok(())
    }

    fn fetch_directive(&mut self) -> Result<(), YamlError> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.mark();
        let token = self.scan_directive()?;
        self.push(token, start);
        Ok(())
    }

    fn fetch_document_indicator(&mut self, byte: u8) -> Result<(), YamlError> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.mark();
        self.at += 3;
        let token = if byte == b'-' {
            Token::DocumentStart
        } else {
            Token::DocumentEnd
        };
        self.push(token, start);
        Ok(())
    }

    fn fetch_flow_start(&mut self, token: Token<'a>) -> Result<(), YamlError> {
        self.save_simple_key()?;
        self.simple_keys.push(SimpleKey {
            number: self.taken + self.queue.len(),
            ..SimpleKey::default()
        });
        self.flow_level += 1;
        if self.flow_level > MAX_LEVEL {
            return Err(self.too_deep());
        }
        self.simple_key_allowed = true;
        self.push_indicator(token);
        Ok(())
    }

    fn fetch_flow_end(&mut self, token: Token<'a>) -> Result<(), YamlError> {
        self.remove_simple_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            let inner = self.simple_keys.pop().map(|key| key.number);
            if let Some(outer) = self.simple_keys.last_mut()
                && inner == Some(outer.number)
            {
                outer.awaited = false;
            }
        }
        self.simple_key_allowed = false;
        self.push_indicator(token);
        Ok(())
    }

    fn fetch_block_entry(&mut self, column: usize) -> Result<(), YamlError> {
        if self.flow_level == 0 {
            let here = self.mark();
            if !self.simple_key_allowed {
                return Err(self.error(
                    here,
                    "block sequence entries are not allowed in this context",
                ));
            }
            self.roll_indent(column, None, Token::BlockSequenceStart, here)?;
        }
        // In a flow collection this is an error, for which the parser has a better message.
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.push_indicator(Token::BlockEntry);
        Ok(())
    }

    fn fetch_key(&mut self, column: usize) -> Result<(), YamlError> {
        if self.flow_level == 0 {
            let here = self.mark();
            if !self.simple_key_allowed {
                return Err(self.error(here, "mapping keys are not allowed in this context"));
            }
            self.roll_indent(column, None, Token::BlockMappingStart, here)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.push_indicator(Token::Key);
        Ok(())
    }

    fn fetch_value(&mut self, column: usize) -> Result<(), YamlError> {
        let level = self.simple_keys.len() - 1;
        if self.is_valid_key(level)? {
            let key = self.simple_keys[level];
            self.insert(key.number, Token::Key, key.mark);
            self.roll_indent(
                key.column,
                Some(key.number),
                Token::BlockMappingStart,
                key.mark,
            )?;
            self.simple_keys[level].possible = false;
            self.simple_key_allowed = false;
        } else {
            if self.flow_level == 0 {
                let here = self.mark();
                if !self.simple_key_allowed {
                    return Err(self.error(here, "mapping values are not allowed in this context"));
                }
                self.roll_indent(column, None, Token::BlockMappingStart, here)?;
            }
            self.simple_key_allowed = self.flow_level == 0;
        }
        self.push_indicator(Token::Value);
        Ok(())
    }

    /// Creates an error of the scanner at the current position, for a construct that began at `context`.
    pub(super) fn error(&self, context: Mark, problem: &str) -> YamlError {
        let line = match self.line {
            0 => Some(context.line).filter(|&line| line > 0),
            line => Some(line + 1),
        };
        YamlError::yaml(line, problem, Some(self.place(self.mark())))
    }

    /// Creates an error of the parser at a token, for a construct that began at `context`. The library counts these lines from 0.
    pub(super) fn parser_error(&self, at: Mark, context: Mark, problem: &str) -> YamlError {
        let line = [at.line, context.line].into_iter().find(|&line| line > 0);
        YamlError::yaml(line, problem, Some(self.place(at)))
    }

    /// Returns the place with line and column counted from 1.
    pub(super) fn place(&self, mark: Mark) -> Place {
        place(self.text, mark)
    }
}
