//! From a template's text to its tree.

pub(crate) mod lex;
pub(crate) mod literal;
pub(crate) mod node;
pub(crate) mod number;
pub(crate) mod parse;
mod show;

pub(crate) use show::{find, text};

use thiserror::Error;

/// The marks around actions; `{{` and `}}` unless something else is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delimiters {
    pub(crate) left: Vec<u8>,
    pub(crate) right: Vec<u8>,
}

impl Delimiters {
    /// Marks of one's own; an empty one stands for the usual one.
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

/// How many line breaks a text has.
#[expect(clippy::naive_bytecount, reason = "a crate for this would not pay")]
pub(crate) fn count_lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// A template's text breaks the language's rules; printed as Go prints it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("template: {template}:{line}: {reason}")]
pub struct ParseError {
    /// The name under which the text was parsed.
    pub template: String,
    /// The line from 1.
    pub line: usize,
    /// What is wrong, in Go's words.
    pub reason: String,
}
