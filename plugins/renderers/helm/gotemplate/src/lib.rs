//! Go's text/template language with its values and printing, without Helm.
//!
//! A [`Set`] holds templates that can call each other. The parts: [`value`] defines what templates compute with (Go's types as
//! far as a template can tell them apart), [`function`] defines how functions are declared, found and called, and [`print`] turns
//! values into text.
//!
//! ```
//! use std::rc::Rc;
//! use pintle_gotemplate::{Functions, Map, Options, Set, Value};
//!
//! let mut set = Set::new("example", Functions::default());
//! set.parse("greeting", "Hello {{ range $i, $name := .names }}{{ if $i }}, {{ end }}{{ $name }}{{ end }}!")?;
//! let names = Value::list(vec!["Ann".into(), "Bob".into()]);
//! let data: Map = [("names", names)].into_iter().collect();
//! let out = Rc::new(set).execute("greeting", &data.into(), &Options::default())?;
//! assert_eq!(out, b"Hello Ann, Bob!");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This crate has no access to a clock, files, the network or randomness. A template's output follows from its text, its data and
//! the functions it is given.

mod builtin;
mod complex;
mod exec;
pub mod function;
pub mod print;
pub mod rune;
mod set;
mod syntax;
pub mod value;

pub use exec::{ExecError, ExecuteError, Failure, Limit, Limits, Options, Output, Separator};
pub use function::{Args, Call, Function, FunctionError, Functions, Place, Standalone, State};
pub use set::{MissingKey, Set};
pub use syntax::{Delimiters, ParseError};
pub use value::{Int, IntKind, Kind, List, Map, Named, Object, Text, Type, Value};
