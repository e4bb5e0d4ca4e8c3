//! Compares with the Go libraries: the same bytes out, the same values in.
//!
//! Requires Go 1.25 or newer.

#![cfg(test)]

mod oracle;
mod reading;
mod toml;
mod values;
mod writing;
