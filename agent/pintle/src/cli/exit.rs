//! Exit codes, the same for all commands.

use std::process::ExitCode;

use pintle_cluster::ConnectError;
use pintle_core::{
    causes::chain,
    check::Denied,
    plugin::{Fault, PluginError, Stage},
    tree::TreeError,
};
use pintle_host::{LoadError, Unloadable};
use pintle_registry::SetupError;

use crate::pipeline::{
    catalog::CatalogError, check::CheckError, remotes::RemotesError, render::RenderError,
    settings::SettingsError,
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

/// An error that the user can fix by calling the command differently.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

impl Usage {
    /// Marks an error as caused by what was typed, and keeps its whole text.
    pub(crate) fn of(error: impl Into<anyhow::Error>) -> Self {
        let error: anyhow::Error = error.into();
        Self(chain(&*error))
    }
}

/// Marks errors about flags, and the files that they name, as caused by what was typed. Errors about the source that they are for
/// are not marked.
pub(crate) fn of_flags(error: anyhow::Error) -> anyhow::Error {
    if error.chain().any(<dyn std::error::Error>::is::<TreeError>) {
        error
    } else {
        Usage::of(error).into()
    }
}

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

/// Returns whether an error is a denial. The denial may be inside the error of its stage, which has the same text.
fn is_denied(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<Denied>() || matches!(cause.downcast_ref(), Some(CheckError::Denied(_)))
    })
}

/// Returns whether an error is about what was typed, or about what settings say. Each stage presents the text of the previous
/// stage's error as its own, so the inner error has to be looked for there.
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
    if let Some(error) = cause.downcast_ref::<LoadError>() {
        return is_no_component(error);
    }
    if let Some(error) = cause.downcast_ref::<RemotesError>() {
        return is_of_arguments(error);
    }
    if let Some(error) = cause.downcast_ref::<ConnectError>() {
        return is_no_cluster(error);
    }
    cause.is::<Usage>()
}

fn is_of_settings(error: &RenderError) -> bool {
    match error {
        RenderError::Settings { .. } => true,
        RenderError::Catalog(error) => is_no_plugin(error),
        RenderError::Plugin(error) => are_settings_refused(error),
        RenderError::Remotes(error) => is_of_arguments(error),
        _ => false,
    }
}

/// Returns whether a renderer has rejected only its settings, which include flags. If something is wrong with a file, the
/// renderer names the place in the file.
fn are_settings_refused(error: &PluginError) -> bool {
    let Fault::Refused(problems) = &error.fault else {
        return false;
    };
    matches!(error.stage, Stage::Inputs | Stage::Render)
        && problems
            .iter()
            .all(|problem| problem.pointer.is_some() && problem.position.is_none())
}

/// Returns whether a name, a file or a reference does not stand for a usable plugin.
fn is_no_plugin(error: &CatalogError) -> bool {
    match error {
        CatalogError::Unknown { .. }
        | CatalogError::File { .. }
        | CatalogError::Reference { .. }
        | CatalogError::Kind(_) => true,
        CatalogError::Load(error) => is_no_component(error),
        CatalogError::Remotes(error) => is_of_arguments(error),
        _ => false,
    }
}

/// Returns whether what was named as a plugin is not one that this version accepts. A failure to compile it here says nothing
/// about it.
fn is_no_component(error: &LoadError) -> bool {
    matches!(
        error,
        LoadError::Component { reason, .. }
            if !matches!(
                reason,
                Unloadable::Compile(_) | Unloadable::Interrupted | Unloadable::Unfinished(_)
            )
    )
}

/// Returns whether the file of `--registry-ca` is unusable.
fn is_of_arguments(error: &RemotesError) -> bool {
    matches!(
        error,
        RemotesError::Authority { .. }
            | RemotesError::Setup(
                SetupError::NoCertificate { .. } | SetupError::Certificate { .. }
            )
    )
}

/// Returns whether no cluster was named that could be asked.
fn is_no_cluster(error: &ConnectError) -> bool {
    matches!(
        error,
        ConnectError::Kubeconfig { .. } | ConnectError::NotConfigured { .. }
    )
}

#[cfg(test)]
mod tests {
    use pintle_core::{
        digest::Digest,
        plan::{Depth, Plan},
        plugin::{Kind, PluginId},
        problem::{Position, Problem},
        readset::ReadSet,
        seed::Seed,
        tree::{TreePath, memory::MemoryTree},
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

    fn set() -> Problem {
        Problem::new("key \"a\" has no value").pointer("/set/0")
    }

    fn refused(stage: Stage, problems: &[Problem]) -> RenderError {
        let plugin = PluginId {
            name: "helm".to_owned(),
            digest: Digest::of(""),
            kind: Kind::Renderer,
        };
        RenderError::Plugin(PluginError {
            plugin: Box::new(plugin),
            stage,
            fault: Fault::Refused(problems.to_vec()),
            looked_up: ReadSet::default(),
        })
    }

    #[test]
    fn flags_that_cannot_be_used_are_told_with_all_that_is_known() {
        let error = anyhow::anyhow!("Is a directory").context("values cannot be read");
        let usage = of_flags(error);
        assert_eq!(of(&usage), Exit::Usage);
        assert_eq!(usage.to_string(), "values cannot be read: Is a directory");
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
        let no_wasm = || LoadError::Component {
            name: "./notes.txt".to_owned(),
            digest: Digest::of(""),
            reason: Unloadable::Empty,
        };
        let authority = || RemotesError::Authority {
            path: "ca.crt".into(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        let kubeconfig = ConnectError::Kubeconfig {
            path: None,
            detail: String::new(),
        };
        let no_cluster = ConnectError::NotConfigured {
            detail: String::new(),
        };
        let errors: [anyhow::Error; 17] = [
            unknown().into(),
            RenderError::from(unknown()).into(),
            CheckError::from(unknown()).into(),
            settings.into(),
            SettingsError::NoFile("prod".to_owned()).into(),
            SettingsError::Misnamed { is_second: false }.into(),
            anyhow::Error::new(RenderError::from(unknown())).context("while it was rendered"),
            refused(Stage::Render, &[set()]).into(),
            refused(Stage::Inputs, &[set(), set()]).into(),
            no_wasm().into(),
            CatalogError::from(no_wasm()).into(),
            RenderError::from(CatalogError::from(no_wasm())).into(),
            authority().into(),
            RenderError::from(authority()).into(),
            CatalogError::from(authority()).into(),
            kubeconfig.into(),
            no_cluster.into(),
        ];
        for error in errors {
            assert_eq!(of(&error), Exit::Usage, "{error}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_chart_or_on_this_machine_is_a_failure() {
        let in_a_file = || {
            Problem::new("no").position(Position {
                file: "templates/a.yaml".to_owned(),
                line: 1,
                column: 1,
            })
        };
        let uncompiled = LoadError::Component {
            name: "./mine.wasm".to_owned(),
            digest: Digest::of(""),
            reason: Unloadable::Interrupted,
        };
        let errors: [anyhow::Error; 6] = [
            refused(Stage::Render, &[Problem::new("no")]).into(),
            refused(Stage::Render, &[set(), in_a_file()]).into(),
            refused(Stage::Render, &[in_a_file().pointer("/spec")]).into(),
            // A policy's pointer may point into an object.
            refused(Stage::Evaluate, &[set()]).into(),
            uncompiled.into(),
            of_flags(
                TreeError::NotFound {
                    path: TreePath::root(),
                }
                .into(),
            ),
        ];
        for error in errors {
            assert_eq!(of(&error), Exit::Failed, "{error}");
        }
        let unrecognised = Unrecognised::new(Vec::new(), &MemoryTree::default());
        let unrecognised = RenderError::Unrecognised(unrecognised);
        assert_eq!(of(&unrecognised.into()), Exit::Failed);
    }
}
