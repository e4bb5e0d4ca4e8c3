//! Errors of reading TOML.

use pintle_gotemplate::{Text, print};
use thiserror::Error;

use crate::toml::text::write_path;

/// Why a text cannot be read. `Display` gives the library's message.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("toml: line {line}{last_key}: {problem}")]
pub struct TomlError {
    /// The line, from 1.
    line: usize,
    /// ` (last key "a.b")`, or empty.
    last_key: String,
    problem: String,
}

impl TomlError {
    pub(super) fn new(line: usize, context: &[Text], key: Option<&Text>, problem: String) -> Self {
        let mut path = Vec::new();
        write_path(context, &mut path);
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            if !context.is_empty() {
                path.push(b'.');
            }
            path.extend_from_slice(key);
        }
        let last_key = if path.is_empty() {
            String::new()
        } else {
            let quoted = print::quote(&path);
            format!(" (last key {})", String::from_utf8_lossy(&quoted))
        };
        Self {
            line,
            last_key,
            problem,
        }
    }

    /// Returns the line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}
