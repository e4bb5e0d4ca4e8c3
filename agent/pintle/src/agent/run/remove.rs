//! An Application that is deleted. Its objects are dealt with first.

use std::sync::Arc;

use pintle_cluster::{
    Application, Applying, InventoryStore as _, Kept, Prepared, Release, RemovalHooks, StatusStore,
};
use pintle_core::{
    application::{ApplicationSpec, ApplicationStatus, DeletionPolicy},
    causes::chain,
    check::{Approved, Checked},
    event::Reason,
    inventory::{Entry, Inventory},
    machine::{Outcome, Retry},
    names::ApplicationName,
    plan::{Depth, Plan, Summary},
    rendered::{Rendered, RenderedObject},
    revision::Revision,
};
use pintle_host::Context;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Stopped,
    apply::Judging,
    conclude,
    ending::{self, Parted},
    failures::again,
    release,
    slot::{Slot, resting},
    status_before, tell, unwritten,
};
use crate::{
    agent::{
        claims::RunClaims,
        job::{Job, Report},
        reasons,
        report::Learned,
        shared::Shared,
    },
    pipeline::check::Subject,
};

pub(super) async fn run(shared: Arc<Shared>, mut job: Job, cancel: CancellationToken) -> Report {
    // What is known of the application is forgotten when the watch reports that it is gone. By now, there may be another
    // application of its name.
    let outcome = Box::pin(remove(&shared, &mut job, &cancel)).await;
    Report::bare(shared, job, outcome)
}

async fn remove(shared: &Arc<Shared>, job: &mut Job, cancel: &CancellationToken) -> Outcome {
    let name = job.application.application_name();
    let Some(slot) = Slot::take(&shared.slots, &name.namespace, cancel).await else {
        return Outcome::Cancelled;
    };
    if !job.application.has_finalizer() {
        return Outcome::Done;
    }
    let notifiers = match (&job.memory, &job.application.spec) {
        (Some(memory), _) => memory.notifiers.clone(),
        (None, Ok(spec)) => spec.notifiers.clone(),
        (None, Err(_)) => Vec::new(),
    };
    let before = status_before(&job.application);
    let learned = Learned {
        attempted: before.revision.clone(),
        ..Learned::default()
    };
    let removed = match objects(shared, job, slot, cancel).await {
        Ok(removed) => removed,
        Err(stopped) => {
            let Some(verdict) = stopped.verdict else {
                return stopped.outcome;
            };
            let underway = ApplicationStatus::default();
            let store = match StatusStore::new(
                shared.applications.clone(),
                job.application.clone(),
                underway,
            ) {
                Ok(store) => store,
                Err(error) => {
                    tracing::error!(application = %name, error = %chain(&error), "it is not removed: its status cannot be read");
                    // Repairing the status changes nothing else that the watch would report.
                    return Outcome::Failed(Retry::Backoff);
                }
            };
            return match Box::pin(conclude(
                shared, store, &before, &learned, &verdict, &notifiers,
            ))
            .await
            {
                Ok(application) => {
                    job.application = application;
                    // A removal is retried until it is done.
                    Outcome::Failed(Retry::Backoff)
                }
                Err((_, error)) => unwritten(job, error),
            };
        }
    };
    let message = match removed {
        Removed::Deleted { summary, kept: 0 } => {
            format!("removed: {} objects deleted", summary.delete)
        }
        Removed::Deleted { summary, kept } => format!(
            "removed: {} objects deleted, {kept} stay because they are protected or ask for it",
            summary.delete
        ),
        Removed::WithNamespace(parted) => {
            // Reported before the Application goes, and if necessary twice: afterwards nobody knows of these objects any more.
            parted.tell(shared, &job.application).await;
            parted.message()
        }
        Removed::LetGo(why) => {
            format!("removed: its objects stay, and are no longer managed, because {why}")
        }
        Removed::Nothing => "removed: there are no objects of it".to_owned(),
    };
    let released = shared.applications.remove_finalizer(&job.application);
    let released = released.await;
    if let Err(error) = released {
        return unwritten(job, error);
    }
    tell(
        shared,
        &job.application,
        Reason::Removed,
        &message,
        &json!({}),
        &learned,
        &notifiers,
    )
    .await;
    Outcome::Done
}

/// What to do about the objects of an Application that is deleted.
#[derive(Debug, PartialEq)]
enum Due {
    /// There are no objects.
    Nothing,
    /// The objects stay, and nobody manages them any more.
    LetGo {
        inventory: Box<Inventory>,
        spec: Box<ApplicationSpec>,
        why: &'static str,
    },
    Delete(Box<ApplicationSpec>),
}

/// Returns why the objects of an Application stay when it is deleted, or `None` if they are deleted with it.
///
/// An explicit `Delete` counts for no more than one that nobody wrote, because the API server fills it in.
fn reason_to_let_go(spec: &ApplicationSpec) -> Option<&'static str> {
    if spec.deletion_policy == DeletionPolicy::Orphan {
        Some("the application's `deletionPolicy` is `Orphan`")
    } else if spec.suspend {
        Some("the application is suspended")
    } else if !spec.prune.enabled {
        Some("pruning is off for the application")
    } else {
        None
    }
}

/// Decides what to do, based on an Application. One that never got as far as creating objects is removed whatever is wrong with
/// it. One whose inventory cannot be read is not removed: its objects would be left without an owner.
fn due(application: &Application) -> Result<Due, Stopped> {
    let status = application
        .status
        .as_ref()
        .map_err(|error| Stopped::blocked(reasons::INVENTORY_UNUSABLE, error.to_string()))?;
    let Some(stored) = status.inventory.clone() else {
        return Ok(Due::Nothing);
    };
    let inventory = Inventory::restore(stored)
        .map_err(|error| Stopped::blocked(reasons::INVENTORY_UNUSABLE, error.to_string()))?;
    let release = inventory.release.as_ref();
    let has_hooks = release.is_some_and(|release| release.removal_hooks.is_some());
    if inventory.is_empty() && !has_hooks {
        return Ok(Due::Nothing);
    }
    let spec = application
        .spec
        .as_ref()
        .map_err(|error| Stopped::blocked(reasons::INVALID_SPEC, error.to_string()))?;
    let spec = Box::new(spec.clone());
    Ok(match reason_to_let_go(&spec) {
        Some(why) => Due::LetGo {
            inventory: Box::new(inventory),
            spec,
            why,
        },
        None => Due::Delete(spec),
    })
}

/// The result of a removal.
enum Removed {
    Nothing,
    /// The objects stay, for this reason.
    LetGo(&'static str),
    Deleted {
        summary: Summary,
        /// Objects that stay although they are no longer managed.
        kept: usize,
    },
    /// The namespace of the application is being deleted with everything in it.
    WithNamespace(Parted),
}

/// Deletes the objects or lets go of them, and returns what was done.
async fn objects(
    shared: &Arc<Shared>,
    job: &mut Job,
    slot: Slot,
    cancel: &CancellationToken,
) -> Result<Removed, Stopped> {
    let spec = match due(&job.application)? {
        Due::Nothing => return Ok(Removed::Nothing),
        Due::LetGo {
            inventory,
            spec,
            why,
        } => return let_go(shared, job, &inventory, &spec, why).await,
        Due::Delete(spec) => spec,
    };
    let before = status_before(&job.application);
    let revision = before.revision.clone().unwrap_or_default();
    // Deleting the Application is the confirmation. Protected objects still stay unless they have opted in.
    let release = release(shared, &job.application, &spec);
    let mut release = release.map_err(ending::with_way_out)?.for_removal();
    release.ending = ending::namespace(shared, &job.application, &spec).await?;
    let claims = RunClaims::new(&shared.claims, &release.application, None);
    release.claims = Some(Arc::clone(&claims) as _);
    let mut store = StatusStore::new(shared.applications.clone(), job.application.clone(), before)
        .map_err(|error| Stopped::blocked(reasons::INVENTORY_UNUSABLE, chain(&error)))?;
    let inventory = store.inventory().clone();
    let RemovalHooks {
        objects: hooks,
        are_unseen,
    } = removal_hooks(shared, &release, &inventory).await?;
    let hooks = Rendered::new(hooks, None, Vec::new(), &release.seed)
        .map_err(|error| Stopped::blocked(reasons::IMPOSSIBLE, error.to_string()))?;
    let prepared = shared
        .cluster
        .prepare(&hooks, &release)
        .await
        .map_err(|error| again(error.into()))?;
    let planning = shared
        .cluster
        .plan(&release, &prepared, &inventory, Depth::Local);
    let planned = resting(planning, &claims, &slot, cancel)
        .await?
        .map_err(ending::unplanned)?;
    if are_unseen {
        let judging = judge_unseen(
            shared,
            &job.application,
            &spec,
            &release,
            &prepared,
            revision,
            &planned.plan,
        );
        let approved = Box::pin(judging).await?;
        let name = &release.application;
        job.told.rollout.findings(name, approved.findings());
    }
    // Policies judge what git asks for, and have judged the hooks of this removal before they were kept. Deleting is the decision
    // of whoever may delete the Application.
    let checked = Checked::new(planned.plan, Vec::new())
        .map_err(|denied| Stopped::blocked(reasons::IMPOSSIBLE, denied.to_string()))?;
    let approved = Approved::without_gates(checked);
    let applying = Applying {
        release: &release,
        prepared: &prepared,
        progress: &slot,
        cancel,
    };
    let cluster = &shared.cluster;
    let applied = cluster.apply(&applying, &approved, planned.inventory, &mut store);
    let applied = Box::pin(applied).await;
    (job.application, job.is_unsure) = (store.application().clone(), store.is_unsure());
    let removed = if release.ending.is_some() {
        Removed::WithNamespace(Parted::of(applied, planned.kept, approved.plan())?)
    } else {
        let summary = applied.map_err(ending::unapplied)?.summary;
        job.told.left.left(&release.application, &planned.kept);
        Removed::Deleted {
            summary,
            kept: planned.kept.len(),
        }
    };
    shared
        .cluster
        .forget_removal_hooks(&release, &inventory)
        .await
        .map_err(|error| again(error.into()))?;
    Ok(removed)
}

/// Lets go of the objects, and reports each one that stays: afterwards nobody knows of them any more.
async fn let_go(
    shared: &Shared,
    job: &mut Job,
    inventory: &Inventory,
    spec: &ApplicationSpec,
    why: &'static str,
) -> Result<Removed, Stopped> {
    let name = job.application.application_name();
    let namespace = ending::namespace(shared, &job.application, spec).await?;
    forget_hooks(shared, &name, inventory).await?;
    let stays = |entry: &Entry| Kept {
        id: entry.id(),
        reason: why.to_owned(),
    };
    let staying: Vec<Kept> = inventory.entries().map(stays).collect();
    Ok(if let Some(namespace) = namespace {
        Removed::WithNamespace(Parted::let_go(staying, &namespace))
    } else {
        job.told.left.left(&name, &staying);
        Removed::LetGo(why)
    })
}

/// Asks the policies about hooks that an earlier version has kept without asking any. Deletions are not for policies to judge.
async fn judge_unseen(
    shared: &Shared,
    application: &Application,
    spec: &ApplicationSpec,
    release: &Release,
    prepared: &Prepared,
    commit: String,
    plan: &Plan,
) -> Result<Approved, Stopped> {
    let hooks = plan.changes().iter().filter(|change| change.is_hook());
    let hooks = Plan::new(plan.depth(), hooks.cloned().collect(), &release.seed);
    let name = &release.application;
    // The commit may be gone, and with it its author and its time.
    let revision = Revision {
        commit,
        ..Revision::default()
    };
    let context = Context {
        name: name.name.clone(),
        namespace: release.namespace.clone(),
        kube_version: shared.kube_version.clone(),
        api_versions: prepared.kinds().api_versions(),
        revision: revision.commit.clone(),
        revision_time: revision.time,
    };
    let judging = Judging {
        shared,
        release,
        subject: Subject {
            name,
            labels: &application.labels,
            source: spec.source.as_ref(),
            revision: &revision,
        },
        // Policies that the source has added may be gone with it.
        policies: &spec.policies,
        context: &context,
    };
    judging.of(hooks).await
}

/// Returns the hooks for the removal, as they were last applied.
async fn removal_hooks(
    shared: &Shared,
    release: &Release,
    inventory: &Inventory,
) -> Result<RemovalHooks, Stopped> {
    let hooks = shared.cluster.removal_hooks(release, inventory).await;
    let hooks = hooks.map_err(|error| again(error.into()))?;
    let mut hooks = hooks.unwrap_or_else(|| {
        // A removal must not wait for something that nobody can bring back.
        tracing::warn!(application = %release.application, "the hooks for its removal are lost, and are not run");
        RemovalHooks::default()
    });
    if let Some(ending) = &release.ending {
        // Nothing can be created in a namespace that is being deleted.
        let is_elsewhere =
            |hook: &RenderedObject| hook.object.id().namespace.as_ref() != Some(ending);
        hooks.objects.retain(is_elsewhere);
    }
    Ok(hooks)
}

/// Deletes the hooks that were kept for a removal, if the removal deletes nothing.
async fn forget_hooks(
    shared: &Shared,
    name: &ApplicationName,
    inventory: &Inventory,
) -> Result<(), Stopped> {
    let mut release = Release::new(name.clone(), shared.seeds.of(name));
    release.hooks_namespace = Some(shared.namespace.clone());
    let forgotten = shared.cluster.forget_removal_hooks(&release, inventory);
    forgotten.await.map_err(|error| again(error.into()))
}

#[cfg(test)]
mod tests {

    use serde_json::Value;

    use super::*;

    fn application(spec: Value, status: Value) -> Application {
        Application::read(json!({
            "metadata": {
                "namespace": "shops", "name": "shop", "generation": 1, "deletionTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": spec,
            "status": status,
        }))
    }

    fn reason(application: &Application) -> String {
        let verdict = due(application).err().and_then(|stopped| stopped.verdict);
        verdict.expect("it is not removed").reason
    }

    #[test]
    fn what_has_no_objects_goes_whatever_is_wrong_with_it() {
        let broken = application(json!({"source": 1}), json!({}));
        assert_eq!(due(&broken).ok(), Some(Due::Nothing));
    }

    #[test]
    fn what_may_have_objects_stays_until_that_is_known() {
        let spec = json!({"source": {"git": {"url": "https://git.example.com/shop"}}});
        let unreadable = application(spec.clone(), json!({"inventory": "lost"}));
        assert_eq!(reason(&unreadable), "InventoryUnusable");
        let newer = application(
            spec.clone(),
            json!({"inventory": {"format": 99, "entries": []}}),
        );
        assert_eq!(reason(&newer), "InventoryUnusable");
        let object =
            json!({"kind": "ConfigMap", "version": "v1", "namespace": "shops", "name": "web"});
        let status = json!({"inventory": {"format": 1, "entries": [object]}});
        assert_eq!(
            reason(&application(json!({"source": 1}), status.clone())),
            "InvalidSpec"
        );
        let deleted = due(&application(spec, status)).ok();
        assert!(matches!(deleted, Some(Due::Delete(_))), "{deleted:?}");
    }

    #[test]
    fn what_is_suspended_not_pruned_or_orphaned_is_let_go() {
        let object =
            json!({"kind": "ConfigMap", "version": "v1", "namespace": "shops", "name": "web"});
        let status = json!({"inventory": {"format": 1, "entries": [object]}});
        for (field, value, expected) in [
            (
                "deletionPolicy",
                json!("Orphan"),
                "the application's `deletionPolicy` is `Orphan`",
            ),
            ("suspend", json!(true), "the application is suspended"),
            (
                "prune",
                json!({"enabled": false}),
                "pruning is off for the application",
            ),
        ] {
            // As the API server fills it in.
            let mut spec = json!({
                "source": {"git": {"url": "https://git.example.com/shop"}}, "deletionPolicy": "Delete",
            });
            spec[field] = value;
            let due = due(&application(spec, status.clone())).ok();
            let Some(Due::LetGo { inventory, why, .. }) = due else {
                panic!("{field}: {due:?}")
            };
            assert_eq!((why, inventory.entries().count()), (expected, 1));
        }
    }
}
