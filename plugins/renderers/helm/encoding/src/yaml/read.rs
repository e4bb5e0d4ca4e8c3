//! Reads YAML 1.1 as go-yaml 2 does.
//!
//! The stages: [`input`] turns bytes into text, [`scan`] turns it into tokens, [`parse`] builds a tree of nodes, [`decode`]
//! produces values from it, and [`write_json`] JSON. Only the first document of a stream is read, as in Go's `Unmarshal`.

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
