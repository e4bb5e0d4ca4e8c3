//! What failures of the stages mean for an application: a reason for its conditions, and when to retry.

use std::sync::Arc;

use pintle_cluster::{
    ApplyError, ClusterError, ObjectFailure, PlanError, PrepareError, StoreError, WriteError,
};
use pintle_core::{
    application::{ApplicationSpec, Source},
    causes::chain,
    event::Reason,
    machine::Retry,
    names::CONFIRM_PRUNE_ANNOTATION,
    object::ObjectId,
    tree::{Tree, TreePath},
};

use super::Stopped;
use crate::{
    agent::reasons,
    pipeline::{
        render::{RenderError, is_defect},
        settings::SettingsError,
        snapshot::{Snapshot, SnapshotError},
    },
};

/// Returns the application's folder in a revision, and its path.
pub(super) async fn folder(
    spec: &ApplicationSpec,
    snapshot: &Snapshot,
) -> Result<(TreePath, Arc<dyn Tree>), Stopped> {
    let path = spec.source.as_ref().map(Source::path).unwrap_or_default();
    let Some(path) = TreePath::parse(path) else {
        let message =
            format!("the path {path} leaves the source: expected a relative path without `..`");
        return Err(Stopped::blocked(reasons::INVALID_SPEC, message));
    };
    let tree = snapshot.tree(&path).await.map_err(unreadable)?;
    Ok((path, tree))
}

/// Handles a folder that does not exist, or a copy of the revision on this machine that cannot be read.
fn unreadable(error: SnapshotError) -> Stopped {
    unread(Reason::SourceFailed, error.is_broken(), chain(&error))
}

/// Handles settings from the source, in addition to the spec, that cannot be used.
pub(super) fn settings_failed(error: SettingsError) -> Stopped {
    let is_broken = matches!(&error, SettingsError::Tree(error) if error.is_broken());
    unread(Reason::RenderFailed, is_broken, chain(&error))
}

/// Handles a revision that could not be read. Its contents never change, but a copy that is only broken here is fetched again.
fn unread(reason: Reason, copy_is_broken: bool, message: String) -> Stopped {
    let retry = if copy_is_broken {
        Retry::Backoff
    } else {
        Retry::OnChange
    };
    Stopped {
        copy_is_broken,
        ..Stopped::failed(reason, retry, message)
    }
}

/// Handles a plugin that refused, crashed, or could not be found.
pub(super) fn plugin_failed(error: RenderError) -> Stopped {
    let retry = if error.is_retryable() {
        Retry::Backoff
    } else {
        Retry::OnChange
    };
    let reason = match &error {
        RenderError::Cancelled => return Stopped::cancelled(),
        RenderError::Catalog(_) | RenderError::Settings { .. } => Reason::PluginFailed,
        RenderError::Plugin(plugin) if is_defect(plugin) => Reason::PluginFailed,
        _ => Reason::RenderFailed,
    };
    Stopped {
        copy_is_broken: error.copy_is_broken(),
        ..Stopped::failed(reason, retry, chain(&error))
    }
}

/// Handles rendered objects that do not fit the cluster, or each other.
pub(super) fn prepare_failed(error: PrepareError) -> Stopped {
    let retry = if error.is_retryable() {
        Retry::Backoff
    } else {
        Retry::OnChange
    };
    Stopped::failed(Reason::ApplyFailed, retry, chain(&error))
}

/// Handles a plan that failed because the server would refuse something, or could not be asked.
pub(super) fn plan_failed(error: ClusterError<PlanError>) -> Stopped {
    match error {
        ClusterError::Failed(PlanError::TooManyDeletions(refused)) => {
            let confirmation = refused.confirmation;
            let message = refused.told(&format!(
                "the annotation {CONFIRM_PRUNE_ANNOTATION}={confirmation}"
            ));
            Stopped::failed(Reason::PruneRefused, Retry::OnChange, message)
        }
        ClusterError::Failed(error) => {
            let retry = error.retry();
            Stopped::failed(Reason::ApplyFailed, retry, chain(&error))
        }
        ClusterError::Connect(error) => {
            Stopped::failed(Reason::ApplyFailed, Retry::Backoff, chain(&error))
        }
    }
}

/// Handles a plan whose objects could not all be recorded.
pub(super) fn too_large(error: StoreError) -> Stopped {
    let message = chain(&error);
    Stopped::failed(Reason::InventoryTooLarge, Retry::OnChange, message)
}

/// Returns the objects for which a plan was refused because other applications have them.
pub(super) fn contested(error: &ClusterError<PlanError>) -> impl Iterator<Item = &ObjectId> {
    let failures = match error {
        ClusterError::Failed(PlanError::Objects(failures)) => failures.as_slice(),
        _ => &[],
    };
    of_others(failures)
}

/// Returns the objects for which an apply was refused because other applications have them.
pub(super) fn contested_apply(error: &ClusterError<ApplyError>) -> impl Iterator<Item = &ObjectId> {
    of_others(not_written(error))
}

/// Returns the objects that the account may not write.
pub(super) fn forbidden(error: &ClusterError<ApplyError>) -> impl Iterator<Item = &ObjectId> {
    let failures = not_written(error).iter();
    let forbidden = failures.filter(|failure| is_forbidden(failure));
    forbidden.map(|failure| &failure.id)
}

fn not_written(error: &ClusterError<ApplyError>) -> &[ObjectFailure] {
    match error {
        ClusterError::Failed(error) => error.failures.as_slice(),
        ClusterError::Connect(_) => &[],
    }
}

fn of_others(failures: &[ObjectFailure]) -> impl Iterator<Item = &ObjectId> {
    let of_others = failures
        .iter()
        .filter(|failure| belongs_to_another(failure));
    of_others.map(|failure| &failure.id)
}

/// Returns whether the account lacks the right to what failed.
pub(super) fn is_forbidden(failure: &ObjectFailure) -> bool {
    matches!(failure.error, WriteError::Forbidden { .. })
}

/// Returns whether the cluster has refused objects. A cluster that does not answer says nothing against them.
pub(super) fn is_refused(error: &ClusterError<ApplyError>) -> bool {
    matches!(error, ClusterError::Failed(error) if error.failures.iter().any(is_refusal))
}

/// Returns whether the cluster has refused objects before any was written.
pub(super) fn is_refused_plan(error: &ClusterError<PlanError>) -> bool {
    matches!(error, ClusterError::Failed(PlanError::Objects(failures)) if failures.iter().any(is_refusal))
}

fn is_refusal(failure: &ObjectFailure) -> bool {
    !matches!(
        failure.error,
        WriteError::Request(_) | WriteError::CameAndWent
    )
}

fn belongs_to_another(failure: &ObjectFailure) -> bool {
    matches!(
        failure.error,
        WriteError::Foreign { .. } | WriteError::Unanswered { .. } | WriteError::Contested { .. }
    )
}

/// Returns the objects for whose health others wait in vain.
pub(super) fn unhealthy(error: &ApplyError) -> Vec<ObjectId> {
    let failures = error.failures.iter();
    failures
        .filter(|failure| matches!(failure.error, WriteError::NotHealthy { .. }))
        .map(|failure| failure.id.clone())
        .collect()
}

/// Handles an apply that did not write everything.
pub(super) fn apply_failed(error: ClusterError<ApplyError>) -> Stopped {
    match error {
        ClusterError::Failed(error)
            if error.cancelled && error.failures.is_empty() && error.store.is_none() =>
        {
            Stopped::cancelled()
        }
        // The error is about the record of the application, and says nothing about the objects of the revision.
        ClusterError::Failed(error)
            if error.failures.is_empty() && error.retry() == Retry::OnChange =>
        {
            Stopped::blocked(reasons::INVENTORY_UNUSABLE, chain(&error))
        }
        ClusterError::Failed(error) => {
            let retry = error.retry();
            let is_hook =
                |failure: &ObjectFailure| matches!(failure.error, WriteError::HookFailed { .. });
            let unhealthy = unhealthy(&error).len();
            let reason = if error.failures.iter().any(is_hook) {
                Reason::HookFailed
            } else if unhealthy > 0 && unhealthy == error.failures.len() {
                Reason::Degraded
            } else {
                Reason::ApplyFailed
            };
            Stopped::failed(reason, retry, chain(&error))
        }
        ClusterError::Connect(error) => {
            Stopped::failed(Reason::ApplyFailed, Retry::Backoff, chain(&error))
        }
    }
}

/// Handles a failed request to the API server that was not part of the apply. It is retried.
pub(super) fn again(error: anyhow::Error) -> Stopped {
    Stopped::failed(Reason::ApplyFailed, Retry::Backoff, chain(&*error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pintle_cluster::{Refusal, RequestError, StoreError};
    use pintle_core::{
        digest::Digest,
        inventory::Inventory,
        machine::Outcome,
        plugin::{Fault, Kind, PluginError, PluginId, Stage},
        problem::Problem,
        readset::ReadSet,
        tree::TreeError,
    };
    use pintle_registry::ArchiveError;
    use pintle_source::SourceError;

    use super::{super::rollback::is_failed_rollout, *};

    fn refused(code: u16) -> RequestError {
        RequestError::Refused(Box::new(Refusal {
            request: "PATCH /x".to_owned(),
            is_read: false,
            code,
            reason: String::new(),
            message: String::new(),
            object: None,
            causes: Vec::new(),
            is_unsure: false,
        }))
    }

    /// Returns the result of an apply that failed: whether it is retried on its own, and whether the revision is to blame.
    fn came_to(failure: Option<WriteError>, store: Option<RequestError>) -> (Outcome, bool) {
        let id = ObjectId {
            group: String::new(),
            kind: "ConfigMap".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        };
        let failure = failure.map(|error| ObjectFailure {
            id,
            position: None,
            error,
        });
        let store = store.map(|error| {
            Box::new(StoreError::Request {
                place: "the status of Application shop/web".to_owned(),
                error,
            })
        });
        let stopped = apply_failed(ClusterError::Failed(ApplyError {
            failures: failure.into_iter().collect(),
            store,
            cancelled: false,
            inventory: Inventory::default(),
        }));
        let verdict = stopped.verdict.expect("it was not asked to stop");
        (stopped.outcome, is_failed_rollout(&verdict, false))
    }

    #[test]
    fn only_a_refusal_of_its_objects_is_a_failed_rollout() {
        let (again, stalled) = (
            Outcome::Failed(Retry::Backoff),
            Outcome::Failed(Retry::OnChange),
        );
        let invalid = WriteError::Invalid(Vec::new());
        assert_eq!(came_to(Some(invalid), None), (stalled, true));
        for code in [401, 404, 408] {
            let passing = WriteError::Request(refused(code));
            assert_eq!(came_to(Some(passing), None), (again, false), "{code}");
        }
        assert_eq!(came_to(None, Some(refused(401))), (again, false));
        assert_eq!(came_to(None, Some(refused(413))), (stalled, false));
    }

    #[test]
    fn a_broken_copy_is_fetched_anew_and_what_is_not_in_the_revision_waits_for_another() {
        let broken = || TreeError::Broken {
            path: TreePath::root(),
            reason: "object 1 is not there".to_owned(),
        };
        let pointer = || TreeError::Unusable {
            path: TreePath::root(),
            reason: "it is a Git LFS pointer".to_owned(),
        };
        let link = || TreeError::Link {
            path: TreePath::root(),
        };
        let rendered = |fault: Fault| {
            RenderError::Plugin(PluginError {
                plugin: Box::new(PluginId {
                    name: "helm".to_owned(),
                    digest: Digest::of(""),
                    kind: Kind::Renderer,
                }),
                stage: Stage::Render,
                fault,
                looked_up: ReadSet::default(),
            })
        };
        let in_git = |error: TreeError| SnapshotError::Git(SourceError::Tree(error));
        let in_archive = |source| SnapshotError::Archive {
            revision: "1.0.0".to_owned(),
            source,
        };
        for broken in [
            unreadable(in_git(broken())),
            unreadable(in_archive(ArchiveError::Lost)),
            settings_failed(SettingsError::Tree(broken())),
            plugin_failed(rendered(Fault::Unreadable(broken().to_string()))),
        ] {
            assert_eq!(broken.outcome, Outcome::Failed(Retry::Backoff));
            assert!(broken.copy_is_broken);
        }
        for wrong in [
            unreadable(in_git(link())),
            unreadable(in_archive(ArchiveError::NotGzip)),
            settings_failed(SettingsError::Tree(link())),
            unreadable(in_git(pointer())),
            settings_failed(SettingsError::Tree(pointer())),
            plugin_failed(rendered(Fault::Refused(vec![Problem::new(
                pointer().to_string(),
            )]))),
        ] {
            assert_eq!(wrong.outcome, Outcome::Failed(Retry::OnChange));
            assert!(!wrong.copy_is_broken);
        }
        // A service elsewhere that is unavailable comes back on its own.
        let away = plugin_failed(rendered(Fault::Unavailable {
            reason: "too many instances of plugins are running".to_owned(),
            retry_after: None,
        }));
        assert_eq!(away.outcome, Outcome::Failed(Retry::Backoff));
        assert!(!away.copy_is_broken);
    }

    #[test]
    fn that_the_server_does_not_answer_is_no_refusal() {
        let failures = |errors: Vec<WriteError>| -> Vec<ObjectFailure> {
            let failure = |error| ObjectFailure {
                id: ObjectId {
                    group: String::new(),
                    kind: "ConfigMap".to_owned(),
                    namespace: Some("shop".to_owned()),
                    name: "web".to_owned(),
                },
                position: None,
                error,
            };
            errors.into_iter().map(failure).collect()
        };
        let of = |errors: Vec<WriteError>| {
            let planned = PlanError::Objects(failures(errors.clone()));
            let applied = is_refused(&ClusterError::Failed(ApplyError {
                failures: failures(errors),
                store: None,
                cancelled: false,
                inventory: Inventory::default(),
            }));
            assert_eq!(is_refused_plan(&ClusterError::Failed(planned)), applied);
            applied
        };
        let silence = || {
            WriteError::Request(RequestError::Timeout {
                request: "PATCH /x".to_owned(),
                limit: Duration::from_secs(1),
            })
        };
        assert!(!of(vec![silence(), WriteError::CameAndWent]));
        assert!(of(vec![
            silence(),
            WriteError::NamespaceMissing("shop".to_owned())
        ]));
    }
}
