//! Errors of reading YAML, or of converting it to JSON.

use thiserror::Error;

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

/// Why YAML cannot be read. `Display` gives the Go library's message with the line that the library names, which for some errors
/// is the one before. [`YamlError::place`] is the true location.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{text}")]
pub struct YamlError {
    text: String,
    place: Option<Place>,
    stage: Stage,
}

/// The stage that refuses a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The reader of YAML.
    Yaml,
    /// The conversion to JSON.
    Json,
}

impl YamlError {
    /// Creates an error of the library itself.
    pub(super) fn yaml(line: Option<usize>, problem: &str, place: Option<Place>) -> Self {
        let text = match line {
            Some(line) => format!("yaml: line {line}: {problem}"),
            None => format!("yaml: {problem}"),
        };
        Self {
            text,
            place,
            stage: Stage::Yaml,
        }
    }

    /// Creates an error of the conversion to JSON.
    pub(super) fn json(text: String, place: Option<Place>) -> Self {
        Self {
            text,
            place,
            stage: Stage::Json,
        }
    }

    /// Returns whether a YAML reader alone would accept the document at this point.
    pub(super) fn is_json(&self) -> bool {
        self.stage == Stage::Json
    }

    /// Returns the place of the error, if known.
    pub fn place(&self) -> Option<Place> {
        self.place
    }
}
