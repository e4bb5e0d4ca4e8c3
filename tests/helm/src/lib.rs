//! Runs charts and template expressions through Helm and through the renderer `helm`, and compares the results.
//!
//! [`oracle`] is Helm: a Go program built from the Helm library that answers questions. [`generate`] generates expressions for
//! every function and for the language, the same ones on each run. [`compare`] determines how two answers differ.
//!
//! What is compared, and what is excluded and why, is in `tests/helm/README.md`.

pub mod chartfile;
pub mod compare;
pub mod expressions;
pub mod generate;
pub mod judge;
pub mod known;
pub mod oracle;
pub mod ours;
pub mod switches;
