//! Line breaks, columns and comments.

use super::{error::Place, scan::Scanner, token::Mark};
use crate::{
    words::{equal, find},
    yaml::style::line_break,
};

impl<'a> Scanner<'a> {
    pub(super) fn mark(&self) -> Mark {
        Mark {
            at: self.at,
            line: self.line,
        }
    }

    /// Returns the column in characters, from 0.
    pub(super) fn column(&self) -> usize {
        if self.script.is_ascii {
            return self.at - self.line_start;
        }
        let (at, column) = self.known_column.get();
        let column = match self.text.get(at..self.at) {
            Some(since) if at >= self.line_start && since.is_ascii() => column + since.len(),
            Some(since) if at >= self.line_start => column + characters(since),
            _ => characters(&self.text[self.line_start..self.at]),
        };
        self.known_column.set((self.at, column));
        column
    }

    pub(super) fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    /// Returns whether there is white space or the end this many bytes ahead.
    pub(super) fn is_blank_or_end(&self, ahead: usize) -> bool {
        match self.text.get(self.at + ahead..) {
            None | Some([] | [b' ' | b'\t' | b'\n' | b'\r', ..]) => true,
            Some(rest @ [0xc2 | 0xe2, ..]) => line_break(rest) > 0,
            Some(_) => false,
        }
    }

    /// Returns the length of the line break at the current position. `\r\n` counts as one.
    pub(super) fn line_break(&self) -> usize {
        match &self.text[self.at..] {
            [b'\r', b'\n', ..] => 2,
            rest => line_break(rest),
        }
    }

    /// Skips a line break of that length.
    pub(super) fn skip_line(&mut self, len: usize) {
        self.at += len;
        self.line += 1;
        self.line_start = self.at;
    }

    /// Skips a line break of that length and returns what it counts as: a line feed, except for U+2028 and U+2029, which stay
    /// as they are.
    pub(super) fn take_line(&mut self, len: usize) -> &'a [u8] {
        let counted: &'a [u8] = if len == 3 {
            &self.text[self.at..self.at + len]
        } else {
            b"\n"
        };
        self.skip_line(len);
        counted
    }

    /// Returns whether a document indicator is at the current position, at the start of a line.
    pub(super) fn at_document_indicator(&self) -> bool {
        self.at == self.line_start
            && matches!(self.text.get(self.at..self.at + 3), Some(b"---" | b"..."))
            && self.is_blank_or_end(3)
    }

    pub(super) fn skip_spaces(&mut self) {
        self.at += spaces(&self.text[self.at..]);
    }

    /// Skips spaces and tabs.
    pub(super) fn skip_blanks(&mut self) {
        self.skip_spaces();
        while self.byte(0) == Some(b'\t') {
            self.at += 1;
            self.skip_spaces();
        }
    }

    /// Skips white space, comments and line breaks.
    pub(super) fn skip_to_token(&mut self) {
        loop {
            self.skip_spaces();
            // A tab may not indent a key.
            if self.flow_level > 0 || !self.simple_key_allowed {
                self.skip_blanks();
            }
            if self.byte(0) == Some(b'#') {
                self.skip_comment();
            }
            let len = self.line_break();
            if len == 0 {
                return;
            }
            self.skip_line(len);
            if self.flow_level == 0 {
                self.simple_key_allowed = true;
            }
        }
    }

    /// Skips everything up to the end of the line.
    pub(super) fn skip_comment(&mut self) {
        let rest = &self.text[self.at..];
        let len = find(rest, |word| equal(word, b'\n')).unwrap_or(rest.len());
        self.at += if self.script.has_line_feeds_only {
            len
        } else {
            let mut ends = (0..len).filter(|&at| rest[at] == b'\r' || rest[at] >= 0xc2);
            ends.find(|&at| line_break(&rest[at..]) > 0).unwrap_or(len)
        };
    }
}

/// Returns the number of spaces at the start of a text. It compares eight at a time, because half of a definition is indentation.
pub(super) fn spaces(text: &[u8]) -> usize {
    const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
    let mut rest = text;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let other = u64::from_le_bytes(*word) ^ SPACES;
        if other != 0 {
            return text.len() - rest.len() + other.trailing_zeros() as usize / 8;
        }
        rest = behind;
    }
    let tail = rest.iter().take_while(|&&byte| byte == b' ');
    text.len() - rest.len() + tail.count()
}

/// Returns the place with line and column counted from 1. The line of a mark is correct; its column must be computed.
pub(super) fn place(text: &[u8], mark: Mark) -> Place {
    let before = &text[..mark.at.min(text.len())];
    let start = (0..before.len())
        .rev()
        .map(|at| (at, line_break(&before[at..])))
        .find(|&(_, len)| len > 0)
        .map_or(0, |(at, len)| at + len);
    Place {
        line: mark.line + 1,
        column: characters(&before[start..]) + 1,
    }
}

/// Returns the number of characters in a UTF-8 text.
pub(super) fn characters(text: &[u8]) -> usize {
    text.iter().filter(|&&b| b & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_counted_up_to_anything_else() {
        for count in 0..40 {
            let mut text = vec![b' '; count];
            assert_eq!(spaces(&text), count);
            for other in [0, b'\t', b'\n', 0x1f, b'!', b'a', 0xa0] {
                text.truncate(count);
                text.push(other);
                assert_eq!(spaces(&text), count);
                text.resize(count + 20, b' ');
                assert_eq!(spaces(&text), count);
            }
        }
    }
}
