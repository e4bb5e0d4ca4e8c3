//! Problems, and why a call has no result.

use std::fmt;

/// A position in a source file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The path relative to the rendered folder, with `/` between its parts.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
}

impl Position {
    /// Creates a position. Line and column count from 1.
    pub fn new(file: impl Into<String>, line: u32, column: u32) -> Self {
        Self {
            file: file.into(),
            line,
            column,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A problem, described so that a person can fix it.
///
/// ```
/// use pintle_sdk::{Position, Problem};
///
/// let problem = Problem::new("replicas is not a number")
///     .pointer("/spec/replicas")
///     .position(Position::new("web.yaml", 7, 13))
///     .hint("write a whole number, such as 3");
/// assert_eq!(
///     problem.to_string(),
///     "web.yaml:7:13: /spec/replicas: replicas is not a number (write a whole number, such as 3)",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The message: a lowercase fragment without a final period.
    pub message: String,
    /// The RFC 6901 pointer into the settings or the object that the problem is about.
    pub pointer: Option<String>,
    /// The position in the sources.
    pub position: Option<Position>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// Creates a problem with a message: a lowercase fragment without a final period.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            pointer: None,
            position: None,
            hint: None,
        }
    }

    /// Sets the RFC 6901 pointer into the settings or the object.
    #[must_use]
    pub fn pointer(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// Sets the position in a source file.
    #[must_use]
    pub fn position(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// Sets the hint: what to do about the problem.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        if let Some(pointer) = self
            .pointer
            .as_deref()
            .filter(|pointer| !pointer.is_empty())
        {
            write!(f, "{pointer}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// The reason why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The input is not acceptable and will not be until it changes.
    Refused(Vec<Problem>),
    /// Something outside did not answer; the same call may succeed later.
    Unavailable {
        /// The reason: a lowercase fragment without a final period.
        reason: String,
        /// Milliseconds after which the host may call again. Without it the host chooses.
        retry_after_ms: Option<u64>,
    },
}

impl Failure {
    /// Refuses the input for one reason.
    pub fn refused(message: impl Into<String>) -> Self {
        Problem::new(message).into()
    }

    /// Reports that something outside did not answer; the host chooses when to call again.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            retry_after_ms: None,
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Refused(vec![problem])
    }
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Refused(problems)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(problems) => {
                f.write_str("refused")?;
                for (index, problem) in problems.iter().enumerate() {
                    f.write_str(if index == 0 { ": " } else { "; " })?;
                    problem.fmt(f)?;
                }
                Ok(())
            }
            Self::Unavailable {
                reason,
                retry_after_ms: None,
            } => write!(f, "unavailable: {reason}"),
            Self::Unavailable {
                reason,
                retry_after_ms: Some(ms),
            } => {
                write!(f, "unavailable: {reason} (again after {ms} ms)")
            }
        }
    }
}

impl std::error::Error for Failure {}
