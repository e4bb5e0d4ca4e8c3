//! Reads YAML and JSON as Kubernetes does, and keeps the line and column of every value.
//!
//! `kubectl` and the API server turn YAML into JSON with `sigs.k8s.io/yaml`, which follows YAML 1.1: `yes` is a
//! boolean, `0777` is 511, `1_000` is 1000. A manifest must mean the same here, so scalars are resolved by the same
//! rules ([`scalar`](resolve_plain)), on the events of a YAML 1.2 parser. A differential test against the Go module
//! keeps the two equal, and lists where they differ on purpose. The points that matter:
//!
//! - A key that occurs twice is an error (the Go module silently keeps the last).
//! - A whole number is an integer: `1e3` and `1.0` give `1000` and `1`, as they do in the Go module.
//! - [`Limits`] bound the depth, the size and what aliases may expand to.
//!
//! Nothing here knows about Kubernetes objects: a document is a tree of [`Node`]s. [`read_yaml`] and [`read_json`] never
//! stop at the first error: a [`Stream`] holds every valid document, and every error and warning with its position.

mod compose;
mod error;
mod json;
mod mapping;
mod node;
mod path;
mod scalar;
mod text;

pub use error::{Error, ErrorKind, Warning, WarningKind};
pub use node::{Entry, Mapping, Mark, Node, Value, pointer};
pub use scalar::resolve_plain;

/// The limits on what one input may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The size of the input in bytes; 16 MiB.
    pub bytes: usize,
    /// The nesting depth of collections; 100. This is below the 128 at which most JSON readers stop.
    pub depth: usize,
    /// The number of values in one document, including what aliases expand to; 500,000.
    pub nodes: usize,
    /// The number of values that aliases add to one document; 100,000.
    pub alias_nodes: usize,
    /// The number of bytes of text that aliases add to one document; 4 MiB.
    pub alias_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 16 << 20,
            depth: 100,
            nodes: 500_000,
            alias_nodes: 100_000,
            alias_bytes: 4 << 20,
        }
    }
}

/// The contents of an input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// The documents without errors, in order. An empty document is a [`Value::Null`].
    pub documents: Vec<Node>,
    /// The errors, in order. After a syntax error, reading continues at the next `---`.
    pub errors: Vec<Error>,
    /// Warnings about values that are read as something their author may not expect, in order.
    pub warnings: Vec<Warning>,
}

/// Reads a stream of YAML documents: UTF-8, with or without a byte order mark, with any line endings.
pub fn read_yaml(bytes: &[u8], limits: &Limits) -> Stream {
    match text::decode(bytes, limits) {
        Ok(text) => compose::stream(text, limits),
        Err(error) => Stream {
            errors: vec![error],
            ..Stream::default()
        },
    }
}

/// Reads a stream of JSON documents: UTF-8, with or without a byte order mark.
pub fn read_json(bytes: &[u8], limits: &Limits) -> Stream {
    match text::decode(bytes, limits) {
        Ok(text) => json::stream(text, limits),
        Err(error) => Stream {
            errors: vec![error],
            ..Stream::default()
        },
    }
}
