//! The host against real components, hostile ones among them.
//!
//! The guests in `tests/guests` are built once for all tests; smaller ones are written in WAT where no language gives
//! what is needed (growing a table, lying about a pointer).
#![expect(clippy::unwrap_used, reason = "tests")]

mod cache;
mod components;
mod concurrency;
mod coverage;
mod health;
mod helm;
mod load;
mod notifier;
mod policy;
mod renderer;
mod reuse;
mod support;
mod wasi;
