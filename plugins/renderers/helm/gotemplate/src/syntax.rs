//! Turns the text of a template into its tree.

pub(crate) mod lex;
pub(crate) mod literal;
pub(crate) mod node;
pub(crate) mod number;
pub(crate) mod parse;
mod show;

pub(crate) use show::{find, text};

use thiserror::Error;

/// The marks around actions; `{{` and `}}` unless others are requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delimiters {
    pub(crate) left: Vec<u8>,
    pub(crate) right: Vec<u8>,
}

impl Delimiters {
    /// Creates custom marks. An empty mark stands for the usual one.
    pub fn new(left: &str, right: &str) -> Self {
        let or = |mark: &str, usual: &str| {
            let chosen = if mark.is_empty() { usual } else { mark };
            chosen.as_bytes().to_vec()
        };
        Self {
            left: or(left, "{{"),
            right: or(right, "}}"),
        }
    }
}

impl Default for Delimiters {
    fn default() -> Self {
        Self::new("", "")
    }
}

/// Returns the number of line breaks in a text.
#[expect(clippy::naive_bytecount, reason = "a crate for this would not pay")]
pub(crate) fn count_lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// The text of a template violates the syntax of the language. The error prints as in Go.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("template: {template}:{line}: {reason}")]
pub struct ParseError {
    /// The name under which the text was parsed.
    pub template: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, in Go's words.
    pub reason: String,
}
