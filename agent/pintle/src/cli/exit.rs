//! Exit codes, the same for all commands.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; for `diff` and `plan`: nothing differs.
    Done = 0,
    /// Something failed.
    Failed = 1,
    /// The arguments or the settings make no sense.
    Usage = 2,
    /// There are differences.
    Different = 3,
    /// A policy refused the plan.
    Denied = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that the caller of the command can mend by calling it differently.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Returns the exit code for an error.
pub(crate) fn of(error: &anyhow::Error) -> Exit {
    if error
        .chain()
        .any(<dyn std::error::Error>::is::<pintle_core::check::Denied>)
    {
        Exit::Denied
    } else if error.chain().any(<dyn std::error::Error>::is::<Usage>) {
        Exit::Usage
    } else {
        Exit::Failed
    }
}
