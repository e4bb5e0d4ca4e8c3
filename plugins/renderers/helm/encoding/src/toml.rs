//! TOML as `BurntSushi/toml` reads and writes it.

mod datetime;
mod read;
mod text;
mod write;

pub use datetime::{DateTime, Offset};
pub use read::{TomlError, read};
pub use write::write;
