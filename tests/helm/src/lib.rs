//! Runs charts and template expressions through Helm and through the renderer `helm`, and compares.
//!
//! [`oracle`] is Helm: a Go program of the Helm library that answers questions. [`generate`] makes expressions for every
//! function and for the language, the same ones on each run. [`compare`] says in which way two answers differ.
//!
//! What is compared, what is excepted and why is in `tests/helm/README.md`.

pub mod chartfile;
pub mod compare;
pub mod expressions;
pub mod generate;
pub mod judge;
pub mod known;
pub mod oracle;
pub mod ours;
pub mod switches;
