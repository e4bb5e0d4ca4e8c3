//! The errors of an execution.

use thiserror::Error;

use super::TEMPLATE_LEVELS;
use crate::function::FunctionError;

/// A template was not executed to its end.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ExecuteError {
    /// The set has no such template.
    #[error("template: no template {name:?} associated with template {set:?}")]
    Missing {
        /// The name of the requested template.
        name: String,
        /// The name of the set.
        set: String,
    },
    /// The template failed.
    #[error(transparent)]
    Failed(#[from] Box<ExecError>),
}

/// A template failed. The error prints as in Go, with the error of a called template at the end.
#[derive(Clone, Debug, Error, PartialEq)]
#[error(
    "template: {source_name}:{line}:{column}: executing {template:?} at <{expression}>: {failure}"
)]
pub struct ExecError {
    /// The name under which the text was parsed, usually a file.
    pub source_name: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes from 0, as in Go.
    pub column: usize,
    /// The name of the template: the name of the text, or of a `define` in it.
    pub template: String,
    /// The expression that failed, as Go writes it.
    pub expression: String,
    /// The cause.
    pub failure: Failure,
}

/// The cause of a template's failure.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Failure {
    /// The expression cannot be evaluated. The message is Go's.
    #[error("{0}")]
    Expression(String),
    /// A function or method failed.
    #[error("error calling {function}: {error}")]
    Call {
        /// The name of the function.
        function: String,
        /// The function's error.
        error: FunctionError,
    },
    /// The execution exceeded a limit.
    #[error(transparent)]
    Limit(#[from] Limit),
}

/// The limit that an execution exceeded; see [`Limits`](super::Limits).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Limit {
    /// The number of actions and calls.
    #[error("the template does not come to an end: too many actions were executed")]
    Steps,
    /// The bytes of output.
    #[error("the template gives too much output")]
    Output,
    /// The bytes that functions requested.
    #[error("a function asks for too much memory")]
    Memory,
    /// The nesting depth of templates, blocks and parentheses, with the limit in levels.
    #[error(
        "exceeded maximum template depth ({0}): templates, each of which counts for {TEMPLATE_LEVELS}, blocks and parentheses are nested too deeply, or without end"
    )]
    Depth(usize),
}
