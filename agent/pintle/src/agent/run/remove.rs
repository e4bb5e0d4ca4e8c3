//! An Application that is deleted: its objects are dealt with first.

use std::sync::Arc;

use pintle_cluster::{Applying, InventoryStore as _, Release, StatusStore};
use pintle_core::{
    application::{ApplicationStatus, DeletionPolicy},
    check::{Approved, Checked},
    event::Reason,
    inventory::Inventory,
    machine::{Outcome, Retry},
    plan::{Depth, Summary},
    rendered::{Rendered, RenderedObject},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Stopped, conclude,
    failures::{apply_failed, plan_failed},
    hooks::{Slot, resting},
    release, status_before, tell, unwritten,
};
use crate::{
    agent::{
        claims::RunClaims,
        job::{Job, Report},
        report::Learned,
        shared::Shared,
    },
    cli::output,
};

pub(super) async fn run(shared: Arc<Shared>, mut job: Job, cancel: CancellationToken) -> Report {
    // What is known of the application is forgotten when the watch tells that it is gone: by now there may be another one
    // of its name.
    let outcome = Box::pin(remove(&shared, &mut job, &cancel)).await;
    Report::bare(job, outcome)
}

async fn remove(shared: &Arc<Shared>, job: &mut Job, cancel: &CancellationToken) -> Outcome {
    let Ok(slot) = shared.slots.acquire().await else {
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
    let removed = match objects(shared, job, Slot::new(slot), cancel).await {
        Ok(removed) => removed,
        Err(stopped) => {
            let Some(verdict) = stopped.verdict else {
                return stopped.outcome;
            };
            let underway = ApplicationStatus::default();
            let Ok(store) = StatusStore::new(
                shared.applications.clone(),
                job.application.clone(),
                underway,
            ) else {
                return stopped.outcome;
            };
            return match Box::pin(conclude(
                shared, store, &before, &learned, &verdict, &notifiers,
            ))
            .await
            {
                Ok(application) => {
                    job.application = application;
                    // A removal is tried until it is done.
                    Outcome::Failed(Retry::Backoff)
                }
                Err((_, error)) => unwritten(job, error),
            };
        }
    };
    let message = match removed {
        Some(Removed { summary, kept: 0 }) => {
            format!("removed: {} objects deleted", summary.delete)
        }
        Some(Removed { summary, kept }) => format!(
            "removed: {} objects deleted, {kept} stay because they are protected or ask for it",
            summary.delete
        ),
        None => "removed: its objects stay, and are no longer managed".to_owned(),
    };
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
    match shared.applications.remove_finalizer(&job.application).await {
        Ok(()) => Outcome::Done,
        Err(error) => unwritten(job, error),
    }
}

/// What a removal came to.
struct Removed {
    summary: Summary,
    /// Objects that stay although they are no longer managed.
    kept: usize,
}

/// Deletes the objects, or lets them be; returns what was done, if something was to be.
async fn objects(
    shared: &Arc<Shared>,
    job: &mut Job,
    slot: Slot<'_>,
    cancel: &CancellationToken,
) -> Result<Option<Removed>, Stopped> {
    let spec = match &job.application.spec {
        Ok(spec) => spec.clone(),
        Err(error) => return Err(Stopped::blocked("InvalidSpec", error.to_string())),
    };
    let before = status_before(&job.application);
    let has_objects = before
        .inventory
        .as_ref()
        .is_some_and(|inventory| !inventory.entries.is_empty());
    if spec.deletion_policy == DeletionPolicy::Orphan || !has_objects {
        return Ok(None);
    }
    // Deleting the Application is the confirmation; what is protected stays without its opt-in all the same.
    let mut release = release(shared, &job.application, &spec)?.for_removal();
    let claims = RunClaims::new(&shared.claims, &release.application, None);
    release.claims = Some(Arc::clone(&claims) as _);
    let mut store = StatusStore::new(shared.applications.clone(), job.application.clone(), before)
        .map_err(|error| Stopped::blocked("InventoryUnusable", output::chain(&error.into())))?;
    let inventory = store.inventory().clone();
    let hooks = removal_hooks(shared, &release, &inventory).await?;
    let hooks = Rendered::new(hooks, None, Vec::new(), &release.seed)
        .map_err(|error| Stopped::blocked("Impossible", error.to_string()))?;
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
        .map_err(plan_failed)?;
    // Policies judge what git asks for; this is a decision of whoever may delete the Application.
    let checked = Checked::new(planned.plan.clone(), Vec::new())
        .map_err(|denied| Stopped::blocked("Impossible", denied.to_string()))?;
    let approved = Approved::without_gates(checked);
    let applying = Applying {
        release: &release,
        prepared: &prepared,
        progress: &slot,
        cancel,
    };
    let applied = shared
        .cluster
        .apply(&applying, &approved, planned.inventory, &mut store)
        .await;
    (job.application, job.is_unsure) = (store.application().clone(), store.is_unsure());
    let applied = applied.map_err(apply_failed)?;
    shared
        .cluster
        .forget_removal_hooks(&release, &inventory)
        .await
        .map_err(|error| again(error.into()))?;
    Ok(Some(Removed {
        summary: applied.summary,
        kept: planned.kept.len(),
    }))
}

/// Returns the hooks for the removal, as they were applied last.
async fn removal_hooks(
    shared: &Shared,
    release: &Release,
    inventory: &Inventory,
) -> Result<Vec<RenderedObject>, Stopped> {
    let hooks = shared.cluster.removal_hooks(release, inventory).await;
    Ok(hooks
        .map_err(|error| again(error.into()))?
        .unwrap_or_else(|| {
            // A removal must not wait for what nobody can bring back.
            tracing::warn!(application = %release.application, "the hooks for its removal are lost, and are not run");
            Vec::new()
        }))
}

fn again(error: anyhow::Error) -> Stopped {
    Stopped::failed(Reason::ApplyFailed, Retry::Backoff, output::chain(&error))
}
