//! The fast path to a tree, for what most documents are: blocks that contain scalars.
//!
//! The token path treats each scalar as a possible key, keeps a queue for that purpose, and goes through a state for each token.
//! On the fast path, the column of a line determines what the line belongs to. The same code reads scalars and flow collections
//! on both paths. Anything else (properties, aliases, directives, `?`, tabs as indentation, any error) ends the fast path without
//! a result, and the document is read again by its tokens. The fast path therefore need not report errors, and both produce the
//! same tree, which tests verify.

use super::{Bytes, Kind, Mark, OPEN, Parser, State};

/// A longer key may be too long to be one. The token path counts its characters.
const MAX_KEY: usize = 1024;

/// The position of a node, which determines what the node may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the beginning of a line, or after `- `. The node may be a block.
    Free,
    /// After a key on the same line.
    BehindKey,
}

/// What comes next in a line of a block.
enum Next {
    /// A node was read, and the next line begins.
    Line,
    /// The block that was entered last waits for a node. If none comes, an empty node is at that place.
    Pending(Mark),
}

impl Parser<'_> {
    /// Reads the first document; None if it must be read by its tokens.
    pub(super) fn blocks(&mut self) -> Option<()> {
        self.scanner.skip_to_token();
        if self.scanner.at_document_indicator() && self.scanner.byte(0) == Some(b'-') {
            let line = self.scanner.line;
            self.scanner.at += 3;
            self.scanner.simple_key_allowed = false;
            self.scanner.skip_to_token();
            if self.scanner.line == line || self.scanner.byte(0).is_none() {
                return None;
            }
        }
        if self.scanner.byte(0).is_none() {
            return Some(());
        }
        self.check_start()?;
        let mut next = self.block_node(Place::Free)?;
        loop {
            let Some(byte) = self.scanner.byte(0) else {
                if let Next::Pending(mark) = next {
                    self.empty(mark);
                }
                while !self.open.is_empty() {
                    self.close();
                }
                return Some(());
            };
            self.check_start()?;
            let column = self.scanner.column().cast_signed();
            let is_entry = byte == b'-' && self.scanner.is_blank_or_end(1);
            if let Next::Pending(mark) = next {
                if column > self.scanner.indent {
                    next = self.block_node(Place::Free)?;
                    continue;
                }
                let in_map = matches!(self.open.last()?.state, State::BlockMappingKey);
                if is_entry && in_map && column == self.scanner.indent {
                    let mark = self.scanner.mark();
                    let list = self.push(Kind::Sequence(OPEN), mark);
                    self.enter(list, State::IndentlessSequence, column)?;
                } else {
                    self.empty(mark);
                }
            }
            while self.scanner.indent > column {
                self.leave();
            }
            if self.scanner.indent != column {
                return None;
            }
            next = match self.open.last()?.state {
                State::BlockMappingKey if !is_entry => self.entry_of_map()?,
                State::BlockSequence | State::IndentlessSequence if is_entry => {
                    self.entry_of_list()?
                }
                State::IndentlessSequence => {
                    self.leave();
                    self.entry_of_map()?
                }
                _ => return None,
            };
        }
    }

    /// Returns None for a line that begins or ends a document.
    fn check_start(&self) -> Option<()> {
        let scanner = &self.scanner;
        let at_line_start = scanner.at == scanner.line_start;
        let ends =
            at_line_start && (scanner.byte(0) == Some(b'%') || scanner.at_document_indicator());
        (!ends).then_some(())
    }

    /// Enters a block with that indentation.
    fn enter(&mut self, node: usize, state: State, column: isize) -> Option<()> {
        let mark = self.tree.nodes[node].mark;
        self.open(node, state, mark).ok()?;
        self.scanner.indents.push(self.scanner.indent);
        self.scanner.indent = column;
        Some(())
    }

    /// Leaves the innermost block.
    fn leave(&mut self) {
        self.close();
        self.scanner.indent = self.scanner.indents.pop().unwrap_or(-1);
    }

    /// Reads an entry that begins with a `-`.
    fn entry_of_list(&mut self) -> Option<Next> {
        let mark = self.scanner.mark();
        self.scanner.at += 1;
        self.scanner.simple_key_allowed = true;
        self.scanner.skip_to_token();
        if self.scanner.line == mark.line && self.scanner.byte(0).is_some() {
            return self.block_node(Place::Free);
        }
        Some(Next::Pending(mark))
    }

    /// Reads a key, and what follows it.
    fn entry_of_map(&mut self) -> Option<Next> {
        let mark = self.scanner.mark();
        let (text, plain) = self.text()?;
        if !self.ends_key(mark) {
            return None;
        }
        self.add_text(text, plain, mark);
        self.behind_key()
    }

    /// Reads what follows a key, from its colon on.
    fn behind_key(&mut self) -> Option<Next> {
        let mark = self.scanner.mark();
        self.scanner.at += 1;
        self.scanner.simple_key_allowed = false;
        self.scanner.skip_to_token();
        if self.scanner.line == mark.line && self.scanner.byte(0).is_some() {
            return self.block_node(Place::BehindKey);
        }
        Some(Next::Pending(mark))
    }

    /// Reads a node that begins here: a scalar, a flow collection, or the first entry of a block.
    fn block_node(&mut self, place: Place) -> Option<Next> {
        let mark = self.scanner.mark();
        match self.scanner.byte(0)? {
            b'-' if self.scanner.is_blank_or_end(1) => {
                if place == Place::BehindKey {
                    return None;
                }
                let column = self.scanner.column().cast_signed();
                let list = self.push(Kind::Sequence(OPEN), mark);
                self.enter(list, State::BlockSequence, column)?;
                return self.entry_of_list();
            }
            literal @ (b'|' | b'>') => {
                let text = self.scanner.scan_block_scalar(literal == b'|').ok()?;
                self.add_text(text.into(), false, mark);
                self.scanner.simple_key_allowed = true;
                self.scanner.skip_to_token();
                return Some(Next::Line);
            }
            b'[' | b'{' => {
                // The collection is not a key, or the fast path does not apply.
                self.scanner.simple_key_allowed = false;
                let around = self.open.len();
                self.node(super::Context::Block).ok()?;
                while self.open.len() > around {
                    let innermost = *self.open.last()?;
                    self.step(innermost).ok()?;
                }
                return self.end_of_line(false);
            }
            _ => {}
        }
        let column = self.scanner.column().cast_signed();
        let (text, plain) = self.text()?;
        if self.ends_key(mark) {
            if place == Place::BehindKey {
                return None;
            }
            let map = self.push(Kind::Mapping(OPEN), mark);
            self.enter(map, State::BlockMappingKey, column)?;
            self.add_text(text, plain, mark);
            return self.behind_key();
        }
        self.add_text(text, plain, mark);
        self.end_of_line(self.scanner.simple_key_allowed)
    }

    /// Moves to the next line. A plain scalar may already have reached it; otherwise only a comment may follow here.
    fn end_of_line(&mut self, reached: bool) -> Option<Next> {
        let line = self.scanner.line;
        self.scanner.skip_to_token();
        let is_next = reached || self.scanner.line > line || self.scanner.byte(0).is_none();
        is_next.then_some(Next::Line)
    }

    /// Returns whether a colon turns the last scalar, which began at `start`, into a key.
    fn ends_key(&mut self, start: Mark) -> bool {
        while matches!(self.scanner.byte(0), Some(b' ' | b'\t')) {
            self.scanner.at += 1;
        }
        self.scanner.line == start.line
            && self.scanner.byte(0) == Some(b':')
            && self.scanner.is_blank_or_end(1)
            && self.scanner.at - start.at <= MAX_KEY
    }
}

impl<'a> Parser<'a> {
    /// Reads a scalar that is not a block scalar.
    fn text(&mut self) -> Option<(Bytes<'a>, bool)> {
        let byte = self.scanner.byte(0)?;
        self.scanner.simple_key_allowed = false;
        match byte {
            b'\'' | b'"' => Some((self.scanner.scan_quoted(byte).ok()?, false)),
            b'?' | b':' if self.scanner.is_blank_or_end(1) => None,
            _ if self.scanner.starts_plain(byte) => Some((self.scanner.scan_plain().ok()?, true)),
            _ => None,
        }
    }

    fn add_text(&mut self, text: Bytes<'a>, plain: bool, mark: Mark) {
        let implicit = plain;
        self.push(Kind::Scalar { text, implicit }, mark);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Document;

    /// Compares both paths. Returns whether the fast one was taken.
    #[track_caller]
    fn check(text: &[u8]) -> bool {
        let document = Document::new(text);
        let Some(short) = document.tree_of_blocks() else {
            return false;
        };
        let text = String::from_utf8_lossy(text);
        match document.tree_of_tokens() {
            Ok(long) => assert_eq!(short, long, "{text}"),
            Err(error) => panic!("{text}\nhas no tree: {error}"),
        }
        true
    }

    #[test]
    fn what_is_usual_takes_the_short_way() {
        for text in [
            "",
            "# nothing\n",
            "a",
            "a: 1\nb:\n  c: 'd'\n  e: \"f\"\n",
            "---\n# a\na: b # c\n",
            "a:\n- b\n- c: d\n  e: f\n-\n- - g\n  - h\ni:\n  - j\n",
            "a: |\n  b\n\n  c\nd: >-\n  e\n  f\ng: |2\n    h\n",
            "a: b\n   c\n   d\ne: 'f\n  g'\n",
            "a: {b: c, d: [e, 'f']}\ng: []\nh: [\n  i,\n  j\n]\n",
            "a:\nb:\n\nc: \n",
            "- a\n-\n  b: c\n",
            "\"a\" : b\nc : d\n",
            "é: ü\nö: ä\u{a0}b\n",
            "a: b\r\nc:\r\n  - d\r\n",
        ] {
            assert!(check(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_not_takes_the_long_one() {
        for text in [
            "a: &b c\nd: *b\n",
            "a: !!str 1\n",
            "? a\n: b\n",
            "%YAML 1.1\n---\na: b\n",
            "a: b\n---\nc: d\n",
            "a: b\n...\n",
            "a:\n\tb: c\n",
            "a: b: c\n",
            "a: - b\n",
            "a\nb: c\n",
            "a: b\n  c: d\n",
            "a:\n   b: c\n  d: e\n",
            "- a\nb: c\n",
            "[a]: b\n",
            "a: [b\n",
            "a: \x01\n",
            "--- a\n",
        ] {
            assert!(!check(text.as_bytes()), "{text}");
        }
        let long_key = "a".repeat(1025) + ": b\n";
        assert!(!check(long_key.as_bytes()));
    }

    const PIECES: &[&str] = &[
        "a", "b", "c d", "a:", "b: ", ": ", ":", "- ", "-", "-\n", "\n", "\n", "\n", "  ", "  ",
        "    ", " ", "#", " # e", "'f'", "\"g\"", "'", "\"", "|\n", ">\n", "|-", ">+", "|2", "[",
        "]", "{", "}", ", ", "\t", "---", "---\n", "...", "&h ", "*h", "!i ", "!!str ", "?", "? ",
        "%", "<<: ", "é", "\u{85}", "\u{2028}", "\r\n", "~", "\\", "@", "1", "\u{feff}",
    ];

    /// Generates a line of a document that is mostly valid.
    fn line() -> impl Strategy<Value = String> {
        let indent = 0..4usize;
        let dashes = prop::sample::select(&["", "", "", "- ", "- - ", "-   "][..]);
        let key = prop::sample::select(
            &[
                "", "a: ", "b:", "'c': ", "\"d\" : ", "e :", "f:  ", "a b: ", "a:b", "a:\t",
            ][..],
        );
        let value = prop::sample::select(
            &[
                "",
                "",
                "",
                "x",
                "x y",
                "'x'",
                "\"x\"",
                "x # y",
                "# z",
                "|",
                ">-",
                "|+",
                "[]",
                "{}",
                "[x, y]",
                "{x: y}",
                "{x: [y]} # z",
                "'x",
                "x'",
                "[x",
                "y]",
                "-x",
                "x:y",
                "x: y",
                "é",
                "- x",
                "&x y",
                "*x",
                "!x y",
                "? x",
                "\t",
                " ",
                "---",
                "%x",
            ][..],
        );
        (indent, dashes, key, value).prop_map(|(indent, dashes, key, value)| {
            format!("{}{dashes}{key}{value}\n", "  ".repeat(indent))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn both_ways_give_one_tree(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24)) {
            check(pieces.concat().as_bytes());
        }

        #[test]
        fn both_ways_give_one_tree_of_lines(lines in prop::collection::vec(line(), 0..10)) {
            check(lines.concat().as_bytes());
        }
    }
}
