//! The errors that Helm reports when templates fail.

use pintle_gotemplate::{ExecError, ExecuteError, Failure, FunctionError, ParseError};
use thiserror::Error;

/// The templates could not be rendered. The messages are Helm's.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RenderError {
    /// The text of a template violates the syntax of the language.
    #[error("parse error at ({file}:{line}): {reason}")]
    Parse {
        /// The template.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// `fail` or `required` refused the values. The message is the chart author's.
    #[error("execution error at ({file}:{line}:{column}): {message}")]
    Refused {
        /// The template that was being rendered.
        file: String,
        /// The line in it, from 1.
        line: usize,
        /// The column in it, from 0.
        column: usize,
        /// The message from the chart.
        message: String,
    },
    /// An expression or function failed. The message shows the path to it, one template after another.
    #[error("{trace}")]
    Failed {
        /// The template that was being rendered.
        file: String,
        /// The line in it, from 1.
        line: usize,
        /// The column in it, from 0.
        column: usize,
        /// Where the error occurred and what it is.
        trace: String,
    },
    /// The values of a template are nil, so nothing can be stored in them.
    #[error("the values for the template {file} cannot be changed")]
    Values {
        /// The template.
        file: String,
    },
}

impl RenderError {
    /// Returns the template, and the line in it if known.
    pub fn place(&self) -> (&str, Option<usize>) {
        match self {
            Self::Parse { file, line, .. }
            | Self::Refused { file, line, .. }
            | Self::Failed { file, line, .. } => (file, Some(*line)),
            Self::Values { file } => (file, None),
        }
    }

    pub(super) fn values(file: &str) -> Self {
        Self::Values {
            file: file.to_owned(),
        }
    }

    pub(super) fn parse(error: ParseError) -> Self {
        // Helm shows only the part after the last colon.
        let reason = error.reason.rsplit(": ").next().unwrap_or_default();
        Self::Parse {
            reason: reason.to_owned(),
            file: error.template,
            line: error.line,
        }
    }

    pub(super) fn execution(error: ExecuteError) -> Self {
        let error = match error {
            ExecuteError::Failed(error) => error,
            ExecuteError::Missing { name, .. } => return Self::values(&name),
        };
        let (file, line, column) = (error.source_name.clone(), error.line, error.column);
        match refusal(&error) {
            Some(message) => Self::Refused {
                file,
                line,
                column,
                message: message.to_owned(),
            },
            None => Self::Failed {
                trace: trace(&error),
                file,
                line,
                column,
            },
        }
    }
}

/// Returns the message of `fail` or `required`, however deeply it is nested.
fn refusal(error: &ExecError) -> Option<&str> {
    match &error.failure {
        Failure::Call { error, .. } => match error {
            FunctionError::Refused(message) => Some(message),
            FunctionError::Template { error, .. } => refusal(error),
            _ => None,
        },
        _ => None,
    }
}

/// Lists one template after another, from the file to the failed expression. Helm does this only if all of them were reached
/// through `include`. If a function or `tpl` failed, it shows Go's text.
fn trace(outermost: &ExecError) -> String {
    let mut levels = Vec::new();
    let mut current = outermost;
    loop {
        let (message, inner) = match &current.failure {
            Failure::Call { function, error } => match error {
                FunctionError::Template { prefix, error } if prefix.is_empty() => {
                    (format!("error calling {function}:"), Some(error))
                }
                FunctionError::NoTemplate { .. } => {
                    let message = format!("error calling {function}:");
                    levels.push(level(current, &message));
                    levels.push(error.to_string());
                    return finish(&levels);
                }
                _ => return outermost.to_string(),
            },
            other => (other.to_string(), None),
        };
        let level = level(current, &message);
        if levels.last() != Some(&level) {
            levels.push(level);
        }
        match inner {
            Some(inner) => current = inner,
            None => return finish(&levels),
        }
    }
}

fn level(error: &ExecError, message: &str) -> String {
    format!(
        "{}:{}:{}\n  executing {:?} at <{}>:\n    {message}\n",
        error.source_name, error.line, error.column, error.template, error.expression,
    )
}

fn finish(levels: &[String]) -> String {
    levels.concat().trim().to_owned()
}
