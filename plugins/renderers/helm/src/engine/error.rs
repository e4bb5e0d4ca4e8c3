//! What Helm says when templates fail.

use pintle_gotemplate::{ExecError, ExecuteError, Failure, FunctionError, ParseError};
use thiserror::Error;

/// Templates gave nothing. The texts are Helm's.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RenderError {
    /// A template's text breaks the rules of the language.
    #[error("parse error at ({file}:{line}): {reason}")]
    Parse {
        /// The template.
        file: String,
        /// The line from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// `fail` or `required` has refused the values: the text is the chart's author's.
    #[error("execution error at ({file}:{line}:{column}): {message}")]
    Refused {
        /// The template that was being rendered.
        file: String,
        /// The line from 1 in it.
        line: usize,
        /// The column from 0 in it.
        column: usize,
        /// What the chart says.
        message: String,
    },
    /// An expression or function has failed. The text shows the way there, one template after the other.
    #[error("{trace}")]
    Failed {
        /// The template that was being rendered.
        file: String,
        /// The line from 1 in it.
        line: usize,
        /// The column from 0 in it.
        column: usize,
        /// Where, and what.
        trace: String,
    },
    /// The values of a template are nil, so that nothing can be put into them.
    #[error("the values for the template {file} cannot be changed")]
    Values {
        /// The template.
        file: String,
    },
}

impl RenderError {
    /// The template, and the line in it if it is known.
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
        // Helm shows what stands after the last colon.
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

/// What `fail` or `required` said, however deep.
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

/// One template after the other, from the file to the failed expression. Helm does so only if all of them were reached
/// by `include`; where a function or `tpl` has failed, it shows Go's text.
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
