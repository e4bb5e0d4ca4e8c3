//! The host with real components, including hostile ones.
//!
//! The guests in `tests/guests` are built once for all tests. Smaller ones are written in WAT where no language offers what is
//! needed (growing a table, lying about a pointer).
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
