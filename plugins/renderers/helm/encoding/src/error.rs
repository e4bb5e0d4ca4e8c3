//! What can go wrong when values are written.

use pintle_gotemplate::{Kind, value::MAX_NESTING};
use thiserror::Error;

/// A value that a format cannot hold; the texts are those of the Go libraries where they have one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    /// JSON (and so YAML, which is written from JSON) has no such number.
    #[error("json: unsupported value: {0}")]
    Number(&'static str),
    /// Functions and the like, in JSON (and so in the YAML that is written from it).
    #[error("json: unsupported type: {go_type}")]
    Type {
        /// As Go prints it.
        go_type: String,
    },
    /// Functions and the like, where go-yaml 3 writes, which panics.
    #[error("cannot marshal type: {go_type}")]
    Marshal {
        /// As Go prints it.
        go_type: String,
    },
    /// Functions and the like, within what is written as TOML.
    #[error("unsupported type: {0}")]
    Kind(Kind),
    /// Functions and the like in place of a TOML document.
    #[error("unsupported type for key '': {0}")]
    Document(Kind),
    /// The value holds itself, or is nested deeper than any template needs.
    #[error("value holds itself or is nested more than {MAX_NESTING} deep")]
    Depth,
    /// A string with characters that the YAML reader refuses, through which each value goes once on its way to YAML.
    #[error("yaml: control characters are not allowed")]
    Control,
    /// A key of more than 1024 characters in its JSON form, or with a line break inside.
    #[error("yaml: did not find expected ',' or '}}'")]
    Key,
    /// A line break of Unicode (U+0085) and then `---` or `...`, which the YAML reader takes for the end.
    #[error("yaml: found unexpected document indicator")]
    DocumentIndicator,
    /// The TOML encoder stops in any case where there is no value at all.
    #[error("reflect: call of reflect.Value.Type on zero Value")]
    NoValue,
    /// TOML documents are tables.
    #[error("toml: top-level values must be Go maps or structs")]
    NoTable,
    /// TOML has no null inside arrays.
    #[error("toml: cannot encode array with nil element")]
    NilElement,
}
