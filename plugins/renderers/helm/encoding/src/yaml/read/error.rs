//! Why a text is no YAML, or YAML that JSON cannot hold.

use thiserror::Error;

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

/// Why YAML is not read. `Display` gives the text of the Go library, with the line that the library names, which for
/// some errors is the one before; [`YamlError::place`] is the true one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{text}")]
pub struct YamlError {
    text: String,
    place: Option<Place>,
    stage: Stage,
}

/// Who refuses a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The reader of YAML.
    Yaml,
    /// Whoever makes JSON of what was read.
    Json,
}

impl YamlError {
    /// An error of the library itself.
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

    /// An error of whoever makes JSON of the tree.
    pub(super) fn json(text: String, place: Option<Place>) -> Self {
        Self {
            text,
            place,
            stage: Stage::Json,
        }
    }

    /// Whether a reader of YAML alone would have no objection here.
    pub(super) fn is_json(&self) -> bool {
        self.stage == Stage::Json
    }

    /// Where it is, if that is known.
    pub fn place(&self) -> Option<Place> {
        self.place
    }
}
