//! Builds the tests' Go programs, once for each state of their sources, and knows where build output is kept.
//!
//! This is apart from `pintle-harness` so that a test which needs one program and no Kubernetes client does not compile
//! the client.

pub mod cache;

mod programs;
mod progress;

pub use programs::{KUSTOMIZATION_CRD, Program};
pub use progress::{Progress, to_stderr};
