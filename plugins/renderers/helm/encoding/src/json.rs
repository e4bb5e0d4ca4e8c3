//! JSON as Go's `encoding/json` reads and writes it.

mod read;
mod write;

pub use read::{JsonError, read, read_first};
pub(crate) use read::{Partial, expect, read_as};
pub use write::{Layout, write};
pub(crate) use write::{not_a_number, write_string, write_valid_string};
