//! Drift while something newer waits for a change or is being retried. What was last applied is repaired, and nothing else is
//! done.
//!
//! The status still shows what is wrong with the newer revision, and nothing is added to the history: the application does not
//! move.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pintle_cluster::{Drift, Planned, Release};
use pintle_core::{
    drift::DriftedObject,
    event::Reason,
    inventory::Inventory,
    machine::{Outcome, Retry},
    object::ObjectId,
    plan::Action,
    rendered::Rendered,
};

use super::{
    Stopped,
    apply::SYNC,
    converge::{Ready, Run},
    drift::{by_id, documents, is_told, statuses, tell_unrepaired},
    release,
    slot::Slot,
    tell,
};
use crate::agent::{
    awaited::Awaited,
    claims::RunClaims,
    drift::{DriftReport, left_unseen, sights},
    job::{Applied, Work},
    reasons,
    report::{Stands, Verdict},
};

/// The reason of a run that may not repair anything. Nobody reads it.
const UNGUARDED: &str = "Unguarded";

impl Run {
    /// Repairs drift, or reports it where it cannot be repaired.
    pub(super) async fn guard(&mut self, slot: Slot) -> Outcome {
        let Work::Guard {
            repairs, applied, ..
        } = &self.job.work
        else {
            return Outcome::Done;
        };
        let (repairs, applied) = (*repairs, applied.clone());
        self.learned.stands = Verdict::as_told(&self.before.conditions).map(Stands::Waits);
        let Some(inventory) = self.before.recorded() else {
            let message = "what is recorded of its objects cannot be read";
            return self
                .stop(Stopped::failed(
                    Reason::ApplyFailed,
                    Retry::Backoff,
                    message,
                ))
                .await;
        };
        let mut stopped = if repairs {
            match Box::pin(self.ready_again(applied, &inventory)).await {
                Ok((ready, rendered)) => {
                    return Box::pin(self.converge(ready, rendered, slot)).await;
                }
                Err(stopped) => stopped,
            }
        } else {
            let message = "a repair has failed, and nothing has changed since";
            Stopped {
                outcome: Outcome::Done,
                ..Stopped::blocked(UNGUARDED, message)
            }
        };
        drop(slot);
        if Box::pin(self.look_as_recorded(&inventory)).await {
            // Nothing has drifted after all, and later drift may be repaired.
            stopped.outcome = Outcome::Done;
        }
        Box::pin(self.leave_drift(&inventory, &stopped)).await;
        self.stop(stopped).await
    }

    /// Looks at the objects again by the rules by which they were recorded, if a plan that was not carried out has used other
    /// rules. Nobody has changed the fields that those rules ignore, or no longer ignore. Returns whether it turns out that
    /// nothing has drifted.
    async fn look_as_recorded(&mut self, inventory: &Inventory) -> bool {
        let Some(rules) = self.job.rules.recorded_otherwise().cloned() else {
            return false;
        };
        let Ok(kinds) = self.shared.cluster.discovery().kinds().await else {
            return false;
        };
        let kinds: BTreeSet<_> = kinds.recorded(inventory).cloned().collect();
        let name = self.job.application.application_name();
        let mut release = Release::new(name.clone(), self.shared.seeds.of(&name));
        release.drift = rules;
        let tracker = &self.shared.tracker;
        tracker.observe(&release, &kinds);
        tracker.reserve(&name, inventory.ids());
        if let Err(unsynced) = tracker.synced(&name, SYNC).await {
            tracing::warn!(application = %name, ?unsynced, "watches are not in sync: drift is not seen");
        }
        let is_as_recorded = tracker.drift(&name, inventory).is_empty();
        self.job.rules.watched = Some(release.drift);
        is_as_recorded
    }

    /// Prepares what was last applied. Only what was applied for the current spec counts: who may write, and where, is not taken
    /// from another one.
    async fn ready_again(
        &mut self,
        applied: Option<Arc<Applied>>,
        inventory: &Inventory,
    ) -> Result<(Ready, Rendered), Stopped> {
        let unguarded = |message: &str| Stopped::blocked(UNGUARDED, message);
        let application = &self.job.application;
        let applied = applied
            .filter(|applied| applied.memory.generation == application.generation)
            .ok_or_else(|| unguarded("what was applied for this spec is not known"))?;
        let spec = application.spec.as_ref();
        let spec =
            spec.map_err(|error| Stopped::blocked(reasons::INVALID_SPEC, error.to_string()))?;
        let mut release = release(&self.shared, application, spec)?;
        let claims = RunClaims::new(&self.shared.claims, &release.application, None);
        release.claims = Some(Arc::clone(&claims) as _);
        let rendered = applied.memory.rendered.unpack();
        let rendered = rendered.ok_or_else(|| unguarded("its render cannot be read again"))?;
        // What it writes gets its full time again. That also holds for the runs that roll it out later.
        let awaited = self.awaited.as_ref();
        release.waits = Awaited::waits(awaited, rendered.digest(), application.generation);
        let context = self.context(&release, &applied.revision);
        let context = context.await?;
        let spec = applied.memory.spec.clone();
        let revision = applied.revision.clone();
        let ready = self
            .ready(release, spec, &rendered, context, revision)
            .await?;
        // A newer release is recorded with the first of its objects that is written, even if that is a hook.
        let last = inventory.release.as_ref();
        if last.is_none_or(|last| last.rendered != ready.prepared.rendered()) {
            let message = "something newer was begun, and is not taken back by a repair";
            return Err(unguarded(message));
        }
        self.claims = Some(claims);
        Ok((ready, rendered))
    }

    /// Reports drift that stays, because it may not be repaired before something changes or the newer revision is retried, or
    /// because the cluster refuses the repair: that may take days. Drift that may be repaired in a moment is not reported before.
    pub(super) async fn leave_drift(&mut self, inventory: &Inventory, stopped: &Stopped) {
        let is_repaired_again = stopped.outcome == Outcome::Failed(Retry::Backoff);
        if stopped.outcome == Outcome::Cancelled || (is_repaired_again && !self.is_refused) {
            return;
        }
        let tracker = self.shared.tracker.clone();
        let name = self.job.application.application_name();
        let seen = tracker.drift(&name, inventory);
        let left: Vec<DriftedObject> = seen.iter().map(left_as_it_is).collect();
        let fights = &self.job.disputed.fights;
        let mut told = statuses(&left, fights);
        for (told, seen) in told.iter_mut().zip(&seen) {
            told.managers.clone_from(&seen.managers);
        }
        let news: Vec<&DriftedObject> = left
            .iter()
            .filter(|one| !is_told(&self.before.drift, &self.job.disputed.told, one))
            .collect();
        let why = stopped.verdict.as_ref();
        let why = why.map_or("", |verdict| verdict.message.as_str());
        let why = if is_repaired_again {
            format!("the repair is refused, and tried again: {why}")
        } else {
            why.to_owned()
        };
        let is_tried_again = matches!(
            self.job.work,
            Work::Guard {
                is_tried_again: true,
                ..
            }
        );
        if let Some(message) = tell_unrepaired(&news, is_tried_again, &why) {
            tell(
                &self.shared,
                &self.job.application,
                Reason::DriftDetected,
                &message,
                &documents(&news),
                &self.learned,
                &self.notifiers,
            )
            .await;
        }
        let gone = left_unseen(&left, &tracker, &name);
        let managed = inventory.managed();
        let is_healthy = tracker.is_settled(&name, managed.filter(|id| !gone.contains(*id)));
        self.found.healthy = Some(is_healthy);
        self.found.drift = Some(DriftReport {
            repaired: Vec::new(),
            left: sights(&seen),
            told: by_id(&left),
            // Nobody has checked.
            cleared: BTreeMap::new(),
            gone,
            fights: fights.iter().map(|fight| fight.id.clone()).collect(),
            // Nobody has looked for it, and nobody will before something changes.
            out_of_sight: tracker.out_of_sight(&name, inventory.ids()),
        });
        self.learned.drift = Some(told);
    }
}

fn left_as_it_is(drift: &Drift) -> DriftedObject {
    DriftedObject {
        id: drift.id.clone(),
        is_gone: drift.is_gone,
        fields: Vec::new(),
        is_left: true,
    }
}

/// Rejects a plan that does more than repair drift: a repair is not a rollout.
pub(super) fn repairs_only(planned: &Planned) -> Result<(), Stopped> {
    let drifted: BTreeSet<&ObjectId> = planned.drifted.iter().map(|one| &one.id).collect();
    let mut changes = planned.plan.changes().iter();
    let more = changes.find(|change| {
        change.action != Action::Unchanged && (change.is_hook() || !drifted.contains(&change.id))
    });
    more.map_or(Ok(()), |change| {
        let message = format!(
            "{} is not as it was applied, and a repair would do more than to put it right",
            change.id
        );
        Err(Stopped::blocked(UNGUARDED, message))
    })
}
