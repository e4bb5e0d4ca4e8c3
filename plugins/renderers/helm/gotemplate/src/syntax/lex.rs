//! Splits the text of a template into tokens.

use std::ops::Range;

use memchr::memchr;

use super::Delimiters;
use crate::{
    print::quote,
    rune::{Rune, decode, is_digit, is_letter, is_printable},
};

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An error, which the token's text describes.
    Error,
    Bool,
    /// A printable character that means nothing by itself, usually a comma.
    Char,
    CharConstant,
    Complex,
    /// `=`
    Assign,
    /// `:=`
    Declare,
    Eof,
    /// `.name`
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    /// `$name`
    Variable,
    Dot,
    Nil,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

impl Kind {
    fn keyword(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"block" => Self::Block,
            b"break" => Self::Break,
            b"continue" => Self::Continue,
            b"define" => Self::Define,
            b"else" => Self::Else,
            b"end" => Self::End,
            b"if" => Self::If,
            b"nil" => Self::Nil,
            b"range" => Self::Range,
            b"template" => Self::Template,
            b"with" => Self::With,
            _ => return None,
        })
    }

    /// Returns whether Go's error messages show the token in angle brackets.
    fn is_keyword(self) -> bool {
        matches!(
            self,
            Self::Dot
                | Self::Nil
                | Self::Block
                | Self::Break
                | Self::Continue
                | Self::Define
                | Self::Else
                | Self::End
                | Self::If
                | Self::Range
                | Self::Template
                | Self::With
        )
    }
}

/// A piece of the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// The position in the text, in bytes.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token {
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Returns the token as Go's error messages show it. An error token has its own text.
    pub(crate) fn show(&self, text: &[u8]) -> String {
        let own = &text[self.range()];
        match self.kind {
            Kind::Eof => "EOF".to_owned(),
            kind if kind.is_keyword() => format!("<{}>", String::from_utf8_lossy(own)),
            _ if own.len() > 10 => {
                let end = crate::rune::runes(own).take(10).map(|rune| rune.len).sum();
                format!("{}...", quoted(&own[..end]))
            }
            _ => quoted(own),
        }
    }
}

fn quoted(text: &[u8]) -> String {
    String::from_utf8_lossy(&quote(text)).into_owned()
}

/// Formats an unexpected character in Go's notation.
fn unicode(rune: Option<Rune>) -> String {
    match rune {
        None => "U+FFFFFFFFFFFFFFFF".to_owned(),
        Some(Rune { char, .. }) if is_printable(char) => {
            format!("U+{:04X} '{char}'", u32::from(char))
        }
        Some(Rune { char, .. }) => format!("U+{:04X}", u32::from(char)),
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_alphanumeric(rune: Rune) -> bool {
    rune.char == '_' || is_letter(rune.char) || is_digit(rune.char)
}

/// The bytes that can be part of a name by themselves.
const NAME: [bool; 256] = {
    let mut part = [false; 256];
    let mut byte = 0_u8;
    while byte.is_ascii() {
        part[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_';
        byte += 1;
    }
    part
};

/// Returns the position of the next opening or closing mark.
fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    let first = *mark.first()?;
    let mut from = 0;
    // The first byte of a mark is rare in manifests. Searching for it alone is faster than searching for the whole mark.
    while let Some(found) = memchr(first, &text[from..]) {
        if text[from + found..].starts_with(mark) {
            return Some(from + found);
        }
        from += found + 1;
    }
    None
}

/// Returns whether a text begins with a mark. This is checked for each token, and a mark is too short for a call to a function
/// that compares long texts.
fn begins(text: &[u8], mark: &[u8]) -> bool {
    let mut pairs = text.iter().zip(mark);
    text.len() >= mark.len() && pairs.all(|(byte, wanted)| byte == wanted)
}

/// The text, and the position up to which it has been split into tokens.
pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    marks: &'a Delimiters,
    /// The position where the next token begins.
    start: usize,
    pos: usize,
    inside_action: bool,
    parens: usize,
    /// The error message, after an error token.
    problem: Option<Box<str>>,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8], marks: &'a Delimiters) -> Self {
        Self {
            text,
            marks,
            start: 0,
            pos: 0,
            inside_action: false,
            parens: 0,
            problem: None,
        }
    }

    /// Returns the next token. After the last token or after an error, this is always the end.
    pub(crate) fn next(&mut self) -> Token {
        if self.problem.is_some() {
            return self.token(Kind::Eof);
        }
        if self.inside_action {
            self.inside()
        } else {
            self.outside()
        }
    }

    /// Returns the error message, if a token was an error.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Returns the token between `start` and `pos`.
    fn token(&mut self, kind: Kind) -> Token {
        let token = Token {
            kind,
            start: self.start,
            end: self.pos,
        };
        self.skip();
        token
    }

    /// Begins the next token at the current position.
    fn skip(&mut self) {
        self.start = self.pos;
    }

    #[cold]
    #[inline(never)]
    fn error(&mut self, text: impl Into<Box<str>>) -> Token {
        self.problem = Some(text.into());
        self.token(Kind::Error)
    }

    fn rest(&self) -> &'a [u8] {
        &self.text[self.pos..]
    }

    fn peek(&self) -> Option<Rune> {
        decode(self.rest())
    }

    fn advance(&mut self) -> Option<Rune> {
        let rune = self.peek()?;
        self.pos += rune.len;
        Some(rune)
    }

    fn accept(&mut self, set: &[u8]) -> bool {
        let found = self.rest().first().is_some_and(|byte| set.contains(byte));
        self.pos += usize::from(found);
        found
    }

    fn accept_run(&mut self, set: &[u8]) {
        while self.accept(set) {}
    }

    /// Reads text up to an action, or the action's opening mark.
    fn outside(&mut self) -> Token {
        loop {
            let Some(found) = find(self.rest(), &self.marks.left) else {
                self.pos = self.text.len();
                let kind = if self.pos > self.start {
                    Kind::Text
                } else {
                    Kind::Eof
                };
                return self.token(kind);
            };
            if found > 0 {
                let delimiter = self.pos + found;
                let after = &self.text[delimiter + self.marks.left.len()..];
                let text = &self.text[self.pos..delimiter];
                let kept = if has_left_trim(after) {
                    text.len()
                        - text
                            .iter()
                            .rev()
                            .take_while(|byte| is_space(**byte))
                            .count()
                } else {
                    text.len()
                };
                self.pos += kept;
                let token = self.token(Kind::Text);
                self.pos = delimiter;
                self.skip();
                if kept > 0 {
                    return token;
                }
            }
            if let Some(token) = self.left_delimiter() {
                return token;
            }
        }
    }

    /// Reads the mark that opens an action; None after a comment.
    fn left_delimiter(&mut self) -> Option<Token> {
        self.pos += self.marks.left.len();
        let marker = if has_left_trim(self.rest()) { 2 } else { 0 };
        if self.rest()[marker..].starts_with(b"/*") {
            self.pos += marker;
            self.skip();
            return self.comment();
        }
        let token = self.token(Kind::LeftDelim);
        self.inside_action = true;
        self.parens = 0;
        self.pos += marker;
        self.skip();
        Some(token)
    }

    fn comment(&mut self) -> Option<Token> {
        self.pos += 2;
        let Some(end) = find(self.rest(), b"*/") else {
            return Some(self.error("unclosed comment"));
        };
        self.pos += end + 2;
        let Some(trim) = self.at_right_delimiter() else {
            return Some(self.error("comment ends before closing delimiter"));
        };
        self.leave(trim);
        None
    }

    /// Returns whether the closing mark of an action comes next and trims the space after it; None if it does not come next.
    fn at_right_delimiter(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_trim(rest) && begins(&rest[2..], &self.marks.right) {
            return Some(true);
        }
        begins(rest, &self.marks.right).then_some(false)
    }

    /// Skips the closing mark of an action, and the space that it trims.
    fn leave(&mut self, trim: bool) {
        self.pos += self.marks.right.len() + if trim { 2 } else { 0 };
        self.skip();
        if trim {
            self.skip_space();
        }
    }

    fn skip_space(&mut self) {
        let spaces = self.rest().iter().take_while(|byte| is_space(**byte));
        self.pos += spaces.count();
        self.skip();
    }

    fn right_delimiter(&mut self, trim: bool) -> Token {
        if trim {
            self.pos += 2;
            self.skip();
        }
        self.pos += self.marks.right.len();
        let token = self.token(Kind::RightDelim);
        self.inside_action = false;
        if trim {
            self.skip_space();
        }
        token
    }

    fn inside(&mut self) -> Token {
        if let Some(trim) = self.at_right_delimiter() {
            if self.parens == 0 {
                return self.right_delimiter(trim);
            }
            return self.error("unclosed left paren");
        }
        let Some(rune) = self.advance() else {
            return self.error("unclosed action");
        };
        match rune.char {
            ' ' | '\t' | '\r' | '\n' => self.space(),
            '=' => self.token(Kind::Assign),
            ':' => {
                if self.accept(b"=") {
                    self.token(Kind::Declare)
                } else {
                    self.error("expected :=")
                }
            }
            '|' => self.token(Kind::Pipe),
            '"' => self.quoted(b'"', Kind::String, "unterminated quoted string"),
            '\'' => self.quoted(b'\'', Kind::CharConstant, "unterminated character constant"),
            '`' => self.raw(),
            '$' => self.name(Kind::Variable),
            '.' if !self.rest().first().is_some_and(u8::is_ascii_digit)
                && !self.rest().is_empty() =>
            {
                self.name(Kind::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.pos -= 1;
                self.number()
            }
            '(' => {
                self.parens += 1;
                self.token(Kind::LeftParen)
            }
            ')' if self.parens == 0 => self.error("unexpected right paren"),
            ')' => {
                self.parens -= 1;
                self.token(Kind::RightParen)
            }
            _ if is_alphanumeric(rune) => self.word(),
            char if char.is_ascii() && is_printable(char) => self.token(Kind::Char),
            _ => {
                let what = unicode(Some(rune));
                self.error(format!("unrecognized character in action: {what}"))
            }
        }
    }

    /// Reads a run of spaces, without the one that belongs to a trim marker.
    fn space(&mut self) -> Token {
        while self.rest().first().is_some_and(|byte| is_space(*byte)) {
            self.pos += 1;
        }
        let last = &self.text[self.pos - 1..];
        if has_right_trim(last) && begins(&last[2..], &self.marks.right) {
            self.pos -= 1;
            if self.pos == self.start {
                return self.right_delimiter(true);
            }
        }
        self.token(Kind::Space)
    }

    fn word(&mut self) -> Token {
        self.skip_name();
        if !self.at_terminator() {
            let what = unicode(self.peek());
            return self.error(format!("bad character {what}"));
        }
        let word = &self.text[self.start..self.pos];
        let kind = match word {
            b"true" | b"false" => Kind::Bool,
            _ => Kind::keyword(word).unwrap_or(Kind::Identifier),
        };
        self.token(kind)
    }

    /// Skips letters and digits of any script.
    fn skip_name(&mut self) {
        loop {
            while let Some(byte) = self.text.get(self.pos)
                && NAME[usize::from(*byte)]
            {
                self.pos += 1;
            }
            match self.peek() {
                Some(rune) if !rune.char.is_ascii() && is_alphanumeric(rune) => {
                    self.pos += rune.len;
                }
                _ => return,
            }
        }
    }

    /// Reads what follows a `.` or `$`.
    fn name(&mut self, kind: Kind) -> Token {
        if self.at_terminator() {
            let kind = if kind == Kind::Field { Kind::Dot } else { kind };
            return self.token(kind);
        }
        self.skip_name();
        if !self.at_terminator() {
            let what = unicode(self.peek());
            return self.error(format!("bad character {what}"));
        }
        self.token(kind)
    }

    /// Returns whether what comes next may follow a name.
    fn at_terminator(&self) -> bool {
        match self.rest().first() {
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'.' | b',' | b'|' | b':' | b')' | b'(') => {
                true
            }
            Some(_) => begins(self.rest(), &self.marks.right),
        }
    }

    fn quoted(&mut self, mark: u8, kind: Kind, unterminated: &'static str) -> Token {
        loop {
            match self.rest().first().copied() {
                None | Some(b'\n') => return self.error(unterminated),
                Some(b'\\') => {
                    self.pos += 1;
                    if matches!(self.rest().first(), None | Some(b'\n')) {
                        return self.error(unterminated);
                    }
                }
                Some(byte) if byte == mark => {
                    self.pos += 1;
                    return self.token(kind);
                }
                Some(_) => {}
            }
            self.pos += 1;
        }
    }

    fn raw(&mut self) -> Token {
        match memchr(b'`', self.rest()) {
            None => self.error("unterminated raw quoted string"),
            Some(end) => {
                self.pos += end + 1;
                self.token(Kind::RawString)
            }
        }
    }

    fn number(&mut self) -> Token {
        let mut good = self.scan_number();
        let mut kind = Kind::Number;
        if good && matches!(self.rest().first(), Some(b'+' | b'-')) {
            good = self.scan_number() && self.text[self.pos - 1] == b'i';
            kind = Kind::Complex;
        }
        if good {
            return self.token(kind);
        }
        let what = quoted(&self.text[self.start..self.pos]);
        self.error(format!("bad number syntax: {what}"))
    }

    fn scan_number(&mut self) -> bool {
        const DECIMAL: &[u8] = b"0123456789_";
        self.accept(b"+-");
        let mut digits = DECIMAL;
        if self.accept(b"0") {
            if self.accept(b"xX") {
                digits = b"0123456789abcdefABCDEF_";
            } else if self.accept(b"oO") {
                digits = b"01234567_";
            } else if self.accept(b"bB") {
                digits = b"01_";
            }
        }
        self.accept_run(digits);
        if self.accept(b".") {
            self.accept_run(digits);
        }
        let exponent: &[u8] = match digits.len() {
            11 => b"eE",
            23 => b"pP",
            _ => b"",
        };
        if self.accept(exponent) {
            self.accept(b"+-");
            self.accept_run(DECIMAL);
        }
        self.accept(b"i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.advance();
            return false;
        }
        true
    }
}

fn has_left_trim(text: &[u8]) -> bool {
    matches!(text, [b'-', space, ..] if is_space(*space))
}

fn has_right_trim(text: &[u8]) -> bool {
    matches!(text, [space, b'-', ..] if is_space(*space))
}
