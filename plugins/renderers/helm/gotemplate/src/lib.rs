//! Go's text/template language, its values and its printing, without Helm.
//!
//! The parts: [`value`] is what templates compute with (Go's types as far as a template can tell them apart), and
//! [`function`] is how functions are declared, found and called.
//!
//! Nothing here knows a clock, a file, the network or randomness: a template's output follows from its text, its data
//! and the functions it is given.

mod complex;
pub mod function;
pub mod print;
pub mod rune;
pub mod value;

pub use function::{Args, Call, Function, FunctionError, Functions, Place, Standalone, State};
pub use value::{Int, IntKind, Kind, List, Map, Named, Object, Text, Type, Value};
