//! Builds the tests' Go programs, once for each state of their sources, and knows where build output is cached.
//!
//! This is separate from `pintle-harness` so that a test that needs one program and no Kubernetes client does not have to compile
//! the client.

pub mod cache;

mod programs;
mod progress;

pub use programs::{KUSTOMIZATION_CRD, Program};
pub use progress::{Progress, to_stderr};
