//! The text of a document, within the text that it was split from.

use std::{borrow::Cow, fmt, ops::Range};

use pintle_gotemplate::Text;

/// A part of a text. It holds the whole text, so nothing is copied.
#[derive(Clone)]
pub struct Part {
    whole: Text,
    range: Range<usize>,
}

impl Part {
    pub(super) fn new(whole: &Text, range: Range<usize>) -> Self {
        Self {
            whole: whole.clone(),
            range,
        }
    }

    /// Returns the start of the part in the whole text, in bytes.
    pub fn start(&self) -> usize {
        self.range.start
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.whole.as_bytes()[self.range.clone()]
    }

    /// Returns the text with each invalid byte sequence replaced by U+FFFD.
    pub fn to_str_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Part {}

impl fmt::Debug for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\"", self.as_bytes().escape_ascii())
    }
}
