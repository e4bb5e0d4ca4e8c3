//! The parts of Go's standard library that sprig's functions wrap thinly, on byte strings.
//!
//! Each follows the documented behaviour of the Go package of the same name, including error messages.

pub(crate) mod base;
pub(crate) mod duration;
pub(crate) mod float;
pub(crate) mod layout;
pub(crate) mod number;
pub(crate) mod panic;
pub(crate) mod parse_time;
pub(crate) mod path;
pub(crate) mod strings;
pub(crate) mod time;
pub(crate) mod unicode;
pub(crate) mod zone;
