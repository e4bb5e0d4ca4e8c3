//! Why a template gave nothing.

use thiserror::Error;

use super::TEMPLATE_LEVELS;
use crate::function::FunctionError;

/// No template was executed to its end.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ExecuteError {
    /// The set has no such template.
    #[error("template: no template {name:?} associated with template {set:?}")]
    Missing {
        /// What was asked for.
        name: String,
        /// The set's name.
        set: String,
    },
    /// The template has failed.
    #[error(transparent)]
    Failed(#[from] Box<ExecError>),
}

/// A template has failed; printed as Go prints it, with what a called template says at the end.
#[derive(Clone, Debug, Error, PartialEq)]
#[error(
    "template: {source_name}:{line}:{column}: executing {template:?} at <{expression}>: {failure}"
)]
pub struct ExecError {
    /// The name under which the text was parsed: a file, mostly.
    pub source_name: String,
    /// The line from 1.
    pub line: usize,
    /// The column in bytes from 0, as Go counts.
    pub column: usize,
    /// The name of the template: that of the text, or of a `define` in it.
    pub template: String,
    /// The expression that failed, as Go writes it.
    pub expression: String,
    /// What happened.
    pub failure: Failure,
}

/// What happened in a template that failed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Failure {
    /// The expression cannot be evaluated; in Go's words.
    #[error("{0}")]
    Expression(String),
    /// A function or method has failed.
    #[error("error calling {function}: {error}")]
    Call {
        /// Its name.
        function: String,
        /// What it says.
        error: FunctionError,
    },
    /// The execution has used up what it may use.
    #[error(transparent)]
    Limit(#[from] Limit),
}

/// What an execution has used up; see [`Limits`](super::Limits).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Limit {
    /// Actions and calls.
    #[error("the template does not come to an end: too many actions were executed")]
    Steps,
    /// Bytes of output.
    #[error("the template gives too much output")]
    Output,
    /// Bytes that functions asked for.
    #[error("a function asks for too much memory")]
    Memory,
    /// Templates, blocks and parentheses inside each other: more than so many levels.
    #[error(
        "exceeded maximum template depth ({0}): templates, each of which counts for {TEMPLATE_LEVELS}, blocks and parentheses stand too deep inside each other, or without end"
    )]
    Depth(usize),
}
