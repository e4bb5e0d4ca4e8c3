//! Exit codes, the same for all commands.

use std::process::ExitCode;

use pintle_core::check::Denied;

use crate::pipeline::{
    catalog::CatalogError, check::CheckError, render::RenderError, settings::SettingsError,
};

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
    } else if error.chain().any(is_usage) {
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

/// Says whether an error is about what was typed, or what settings say. Each stage passes the text of the one before it on as
/// its own, so what is inside of its error has to be looked for there.
fn is_usage(cause: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<SettingsError>() {
        return !matches!(error, SettingsError::Tree(_));
    }
    if let Some(CheckError::Policy(error)) = cause.downcast_ref::<CheckError>() {
        return is_of_settings(error);
    }
    if let Some(error) = cause.downcast_ref::<RenderError>() {
        return is_of_settings(error);
    }
    if let Some(error) = cause.downcast_ref::<CatalogError>() {
        return is_no_plugin(error);
    }
    cause.is::<Usage>()
}

fn is_of_settings(error: &RenderError) -> bool {
    match error {
        RenderError::Settings { .. } => true,
        RenderError::Catalog(error) => is_no_plugin(error),
        _ => false,
    }
}

/// Says whether a name, a file or a reference stands for no plugin that could be used there.
fn is_no_plugin(error: &CatalogError) -> bool {
    matches!(
        error,
        CatalogError::Unknown { .. }
            | CatalogError::File { .. }
            | CatalogError::Reference { .. }
            | CatalogError::Kind(_)
    )
}

#[cfg(test)]
mod tests {
    use pintle_core::{
        plan::{Depth, Plan},
        seed::Seed,
        tree::memory::MemoryTree,
    };

    use super::*;
    use crate::pipeline::render::Unrecognised;

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

    #[test]
    fn what_can_be_mended_by_typing_something_else_is_told_apart_as_well() {
        let unknown = || CatalogError::Unknown {
            name: "nosuch".to_owned(),
            built_in: Vec::new(),
            resources: None,
        };
        let settings = RenderError::Settings {
            plugin: "renderer `manifests`".to_owned(),
            problems: Vec::new(),
        };
        let errors: [anyhow::Error; 7] = [
            unknown().into(),
            RenderError::from(unknown()).into(),
            CheckError::from(unknown()).into(),
            settings.into(),
            SettingsError::NoFile("prod".to_owned()).into(),
            SettingsError::Misnamed { is_second: false }.into(),
            anyhow::Error::new(RenderError::from(unknown())).context("while it was rendered"),
        ];
        for error in errors {
            assert_eq!(of(&error), Exit::Usage, "{error}");
        }
        let unrecognised = Unrecognised::new(Vec::new(), &MemoryTree::default());
        let unrecognised = RenderError::Unrecognised(unrecognised);
        assert_eq!(of(&unrecognised.into()), Exit::Failed);
    }
}
