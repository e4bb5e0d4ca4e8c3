//! Go's text/template language, its values and its printing, without Helm.
//!
//! A [`Set`] holds templates that can call each other. The parts: [`value`] is what templates compute with (Go's types
//! as far as a template can tell them apart), [`function`] is how functions are declared, found and called, and
//! [`print`] turns values into text.
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
//! Nothing here knows a clock, a file, the network or randomness: a template's output follows from its text, its data
//! and the functions it is given.

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
