//! Scans white space, comments, keys and strings.

use pintle_gotemplate::{Text, print};

use super::{MAX_DEPTH, Problem};
use crate::toml::text::is_bare;

pub(super) struct Scanner<'a> {
    /// The text up to the first byte that is not allowed in any text.
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    /// Why the text ends before the bytes do.
    cut: Option<String>,
    /// The number of arrays and inline tables around the current position.
    pub(super) depth: usize,
}

/// Finds the first byte that is not allowed in any text: invalid UTF-8, or a control character.
fn check(text: &[u8]) -> Option<(usize, String)> {
    let end = match std::str::from_utf8(text) {
        Ok(_) => text.len(),
        Err(error) => error.valid_up_to(),
    };
    for (at, &byte) in text[..end].iter().enumerate() {
        let control = match byte {
            b'\t' | b'\n' => false,
            b'\r' => text.get(at + 1) != Some(&b'\n'),
            _ => byte.is_ascii_control(),
        };
        if control {
            let text = format!("TOML files cannot contain control characters: '0x{byte:02x}'");
            return Some((at, text));
        }
    }
    let byte = text.get(end)?;
    Some((end, format!("invalid UTF-8 byte: 0x{byte:02x}")))
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        let (end, cut) = match check(text) {
            Some((end, problem)) => (end, Some(problem)),
            None => (text.len(), None),
        };
        Self {
            text: &text[..end],
            at: 0,
            cut,
            depth: 0,
        }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Returns the line of the current position, from 1.
    pub(super) fn line(&self) -> usize {
        self.line_of(self.at)
    }

    fn line_of(&self, at: usize) -> usize {
        let before = &self.text[..at.min(self.text.len())];
        before.split(|&b| b == b'\n').count()
    }

    /// Reports a problem in the current line.
    pub(super) fn problem(&self, text: impl Into<String>) -> Problem {
        self.problem_at(self.at, text.into())
    }

    fn problem_at(&self, at: usize, text: String) -> Problem {
        let at_end = at >= self.text.len();
        let (line, text) = match &self.cut {
            Some(cut) if at_end => (self.line(), cut.clone()),
            // No error can be in the line after the last line break.
            None if at_end && self.text.ends_with(b"\n") => (self.line() - 1, text),
            _ => (self.line_of(at), text),
        };
        Problem {
            line: Some(line),
            text,
        }
    }

    /// Reports an unexpected character, which replaces `{}` in the text.
    pub(super) fn unexpected(&self, text: &str) -> Problem {
        self.problem(text.replace("{}", &quoted(self.character())))
    }

    /// Adjusts a problem at which the library has already read the current character. A line break therefore counts.
    fn after_break(&self, problem: Problem) -> Problem {
        match self.peek() {
            Some(b'\n') => Problem {
                line: Some(self.line_of(self.at + 1)),
                ..problem
            },
            _ => problem,
        }
    }

    /// Reports that the current character is not the next item of a collection.
    pub(super) fn unexpected_item(&self, text: &str) -> Problem {
        let found = match self.character() {
            '\0' => "end of file".to_owned(),
            other => format!("'{other}'"),
        };
        self.problem(text.replace("{}", &found))
    }

    /// Returns the current character; NUL at the end.
    pub(super) fn character(&self) -> char {
        let rest = &self.text[self.at.min(self.text.len())..];
        let valid = std::str::from_utf8(rest).unwrap_or_default();
        valid.chars().next().unwrap_or('\0')
    }

    /// Refuses a text that is cut off at the current position.
    pub(super) fn check_end(&self) -> Result<(), Problem> {
        match self.cut {
            Some(_) if self.at >= self.text.len() => Err(self.problem("")),
            _ => Ok(()),
        }
    }

    pub(super) fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// Skips white space, comments and line breaks.
    pub(super) fn skip_lines(&mut self) -> Result<(), Problem> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(b'#') => self.skip_comment(),
                None => return self.check_end(),
                _ => return Ok(()),
            }
        }
    }

    fn skip_comment(&mut self) {
        while !matches!(self.peek(), None | Some(b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Skips the rest of a line, which may contain only a comment.
    pub(super) fn end_of_line(&mut self) -> Result<(), Problem> {
        self.skip_blanks();
        match self.peek() {
            None | Some(b'\r' | b'\n') => Ok(()),
            Some(b'#') => {
                self.skip_comment();
                Ok(())
            }
            _ => Err(self.unexpected(
                "expected a top-level item to end with a newline, comment, or EOF, but got {} instead",
            )),
        }
    }

    /// Returns whether the next value is an array.
    pub(super) fn is_array(&mut self) -> bool {
        self.skip_blanks();
        self.peek() == Some(b'[')
    }

    /// Reads a key up to its `=`.
    pub(super) fn key(&mut self) -> Result<Vec<Text>, Problem> {
        self.skip_blanks();
        match self.peek() {
            None | Some(b'=') => {
                return Err(self.problem("unexpected '=': key name appears blank"));
            }
            Some(b'.') => {
                return Err(self.problem("unexpected '.': keys cannot start with a '.'"));
            }
            _ => {}
        }
        let mut path = Vec::new();
        loop {
            path.push(self.name()?);
            self.check_depth(&path)?;
            self.skip_blanks();
            match self.peek() {
                Some(b'.') => self.at += 1,
                Some(b'=') => {
                    self.at += 1;
                    return Ok(path);
                }
                None => {
                    return Err(self.problem("unexpected EOF; expected key separator '='"));
                }
                _ => return Err(self.unexpected("expected '.' or '=', but got {} instead")),
            }
            self.skip_blanks();
            match self.peek() {
                None | Some(b'=') => return Err(self.problem("unexpected '='")),
                Some(b'.') => return Err(self.problem("unexpected '.'")),
                _ => {}
            }
        }
    }

    fn check_depth(&self, path: &[Text]) -> Result<(), Problem> {
        if path.len() > MAX_DEPTH {
            return Err(self.problem("exceeded max depth"));
        }
        Ok(())
    }

    /// Reads the name of a table, up to the brackets after it.
    pub(super) fn table_name(&mut self, array: bool) -> Result<Vec<Text>, Problem> {
        let mut path = Vec::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some(b']') => {
                    return Err(
                        self.problem("unexpected end of table name (table names cannot be empty)")
                    );
                }
                Some(b'.') => {
                    return Err(
                        self.problem("unexpected table separator (table names cannot be empty)")
                    );
                }
                _ => {}
            }
            path.push(self.name()?);
            self.check_depth(&path)?;
            self.skip_blanks();
            match self.peek() {
                Some(b'.') => self.at += 1,
                Some(b']') => break,
                _ => {
                    let text = "expected '.' or ']' to end table name, but got {} instead";
                    return Err(self.after_break(self.unexpected(text)));
                }
            }
        }
        self.at += 1;
        if array {
            if self.peek() != Some(b']') {
                let text = "expected end of table array name delimiter ']', but got {} instead";
                return Err(self.after_break(self.unexpected(text)));
            }
            self.at += 1;
        }
        Ok(path)
    }

    /// Reads a part of a key. Without quotes, it may turn out to be empty, and what follows is then wrong.
    fn name(&mut self) -> Result<Text, Problem> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'\'') => self.raw_string(),
            _ => {
                let start = self.at;
                while self.peek().is_some_and(is_bare) {
                    self.at += 1;
                }
                Ok(self.text[start..self.at].into())
            }
        }
    }

    /// Reads a string in double quotes.
    pub(super) fn string(&mut self) -> Result<Text, Problem> {
        self.at += 1;
        let start = self.at;
        let mut out = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.problem("unexpected EOF; expected '\"'")),
                Some(b'\r' | b'\n') => {
                    return Err(self.problem("strings cannot contain newlines"));
                }
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out.into());
                }
                Some(b'\\') => self.escape(start, &mut out)?,
                Some(byte) => {
                    out.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    /// Reads a string in single quotes.
    pub(super) fn raw_string(&mut self) -> Result<Text, Problem> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                None => return Err(self.problem("unexpected EOF; expected \"'\"")),
                Some(b'\r' | b'\n') => {
                    return Err(self.problem("strings cannot contain newlines"));
                }
                Some(b'\'') => {
                    let text = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(text.into());
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// Reads a string between three quotes of that kind. It may contain line breaks; one at the start is ignored.
    pub(super) fn long_string(&mut self, quote: u8) -> Result<Text, Problem> {
        self.at += 3;
        let start = self.at;
        match &self.text[start..] {
            [b'\n', ..] => self.at += 1,
            [b'\r', b'\n', ..] => self.at += 2,
            _ => {}
        }
        let mut out = Vec::new();
        loop {
            let Some(byte) = self.peek() else {
                let expected = if quote == b'"' {
                    r#"'"""'"#
                } else {
                    r#""'''""#
                };
                return Err(self.problem(format!("unexpected EOF; expected {expected}")));
            };
            if byte == quote {
                let quotes = self.text[self.at..].iter().take_while(|&&b| b == quote);
                match quotes.count() {
                    short @ 1..=2 => {
                        out.resize(out.len() + short, quote);
                        self.at += short;
                    }
                    // Up to two quotes before the closing three belong to the string.
                    end @ 3..=5 => {
                        out.resize(out.len() + end - 3, quote);
                        self.at += end;
                        return Ok(out.into());
                    }
                    _ => {
                        let found = if quote == b'"' {
                            r#"'""""""'"#
                        } else {
                            r#""''''''""#
                        };
                        return Err(self.problem(format!("unexpected {found}")));
                    }
                }
            } else if byte == b'\\' && quote == b'"' {
                if !self.skip_escaped_lines() {
                    self.escape(start, &mut out)?;
                }
            } else {
                out.push(byte);
                self.at += 1;
            }
        }
    }

    /// Skips a backslash at the end of a line, and all white space after it.
    fn skip_escaped_lines(&mut self) -> bool {
        let rest = &self.text[self.at + 1..];
        let blank = |b: &&u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
        let len = rest.iter().take_while(blank).count();
        let found = rest[..len].contains(&b'\n');
        if found {
            self.at += 1 + len;
        }
        found
    }

    /// Reads what follows a backslash in a string that begins at `start`.
    fn escape(&mut self, start: usize, out: &mut Vec<u8>) -> Result<(), Problem> {
        self.at += 1;
        let digits = match self.peek() {
            Some(b'x') => 2,
            Some(b'u') => 4,
            Some(b'U') => 8,
            Some(blank @ (b' ' | b'\t')) => {
                return Err(self.problem(format!("invalid escape: '\\{}'", char::from(blank))));
            }
            other => {
                let byte = match other {
                    Some(b'b') => 0x08,
                    Some(b't') => b'\t',
                    Some(b'n') => b'\n',
                    Some(b'f') => 0x0c,
                    Some(b'r') => b'\r',
                    Some(b'e') => 0x1b,
                    Some(byte @ (b'"' | b'\\')) => byte,
                    _ => {
                        let found = self.character();
                        return Err(self.problem(format!("invalid escape in string '\\{found}'")));
                    }
                };
                out.push(byte);
                self.at += 1;
                return Ok(());
            }
        };
        self.at += 1;
        let first = self.at;
        let mut code = 0u32;
        for _ in 0..digits {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.missing_digit(start, digits));
            };
            code = code << 4 | digit;
            self.at += 1;
        }
        let Some(character) = char::from_u32(code) else {
            let digits = String::from_utf8_lossy(&self.text[first..self.at]);
            return Err(self.problem(format!(
                "Escaped character '\\u{digits}' is not valid UTF-8."
            )));
        };
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn missing_digit(&self, start: usize, digits: usize) -> Problem {
        let end = self.at + self.character().len_utf8();
        let found = &self.text[start..end.min(self.text.len())];
        let (count, letter) = match digits {
            2 => ("two", 'x'),
            4 => ("four", 'u'),
            _ => ("eight", 'U'),
        };
        let found = print::quote(found);
        let found = String::from_utf8_lossy(&found);
        let problem = self.problem(format!(
            "expected {count} hexadecimal digits after '\\{letter}', but got {found} instead"
        ));
        self.after_break(problem)
    }
}

/// Formats a character as Go's `%q` prints it.
fn quoted(character: char) -> String {
    match character {
        '\0' => "'\\x00'".to_owned(),
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        other => {
            let quoted = print::quote(other.to_string().as_bytes());
            let inside = quoted.get(1..quoted.len() - 1).unwrap_or_default();
            format!("'{}'", String::from_utf8_lossy(inside))
        }
    }
}
