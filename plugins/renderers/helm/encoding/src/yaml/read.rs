//! Reads YAML 1.1 as go-yaml 2 does.
//!
//! The stages: [`input`] takes bytes for text, [`scan`] makes tokens of it, [`parse`] a tree of nodes, [`decode`] values of
//! that, and [`write_json`] JSON. Only the first document of a stream is read, as by Go's `Unmarshal`.

mod aliases;
mod decode;
mod error;
mod go_syntax;
mod input;
mod lines;
mod parse;
mod scalars;
mod scan;
mod tags;
mod texts;
mod token;
mod write_json;

pub use decode::Numbers;
pub use error::{Place, YamlError};
pub use parse::Document;
