//! Errors of writing values.

use pintle_gotemplate::{Kind, value::MAX_NESTING};
use thiserror::Error;

/// A value that a format cannot hold. The messages are those of the Go libraries where they have one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    /// JSON has no such number, and neither does YAML, which is written from JSON.
    #[error("json: unsupported value: {0}")]
    Number(&'static str),
    /// Functions and the like, in JSON (and in YAML, which is written from it).
    #[error("json: unsupported type: {go_type}")]
    Type {
        /// The type as Go prints it.
        go_type: String,
    },
    /// Functions and the like, where go-yaml 3 is the writer. It panics.
    #[error("cannot marshal type: {go_type}")]
    Marshal {
        /// The type as Go prints it.
        go_type: String,
    },
    /// Functions and the like inside a value that is written as TOML.
    #[error("unsupported type: {0}")]
    Kind(Kind),
    /// Functions and the like in place of a TOML document.
    #[error("unsupported type for key '': {0}")]
    Document(Kind),
    /// The value contains itself, or is nested deeper than any template needs.
    #[error("value holds itself or is nested more than {MAX_NESTING} deep")]
    Depth,
    /// A string with characters that the YAML reader refuses. Each value passes through that reader once on its way to YAML.
    #[error("yaml: control characters are not allowed")]
    Control,
    /// A key of more than 1024 characters in its JSON form, or with a line break inside.
    #[error("yaml: did not find expected ',' or '}}'")]
    Key,
    /// A Unicode line break (U+0085) followed by `---` or `...`, which the YAML reader considers the end.
    #[error("yaml: found unexpected document indicator")]
    DocumentIndicator,
    /// There is no value at all, which always stops the TOML encoder.
    #[error("reflect: call of reflect.Value.Type on zero Value")]
    NoValue,
    /// The value is not a table, but TOML documents are tables.
    #[error("toml: top-level values must be Go maps or structs")]
    NoTable,
    /// An array contains null, which TOML does not have inside arrays.
    #[error("toml: cannot encode array with nil element")]
    NilElement,
}
