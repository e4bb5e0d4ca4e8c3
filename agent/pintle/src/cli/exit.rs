//! Exit codes, the same for all commands.

use std::process::ExitCode;

use pintle_core::check::Denied;

use crate::pipeline::check::CheckError;

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
    if is_denied(error) {
        Exit::Denied
    } else if error.chain().any(<dyn std::error::Error>::is::<Usage>) {
        Exit::Usage
    } else {
        Exit::Failed
    }
}

/// A denial may come inside the error of its stage, which passes its text on as its own.
fn is_denied(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<Denied>() || matches!(cause.downcast_ref(), Some(CheckError::Denied(_)))
    })
}

#[cfg(test)]
mod tests {
    use pintle_core::{
        plan::{Depth, Plan},
        seed::Seed,
    };

    use super::*;

    #[test]
    fn a_denial_is_told_apart_wherever_it_comes_from() {
        let plan = Plan::new(Depth::Local, Vec::new(), &Seed::from_text("s"));
        let denied = Denied {
            plan: Box::new(plan),
            findings: Vec::new(),
        };
        assert_eq!(of(&denied.clone().into()), Exit::Denied);
        assert_eq!(of(&CheckError::Denied(denied).into()), Exit::Denied);
        assert_eq!(of(&Usage("no".to_owned()).into()), Exit::Usage);
        assert_eq!(of(&anyhow::anyhow!("no")), Exit::Failed);
    }
}
