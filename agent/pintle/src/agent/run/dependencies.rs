//! Runs that wait until other applications are Ready. Only what is new waits, and not what runs already.

use pintle_cluster::PreparedObject;
use pintle_core::{
    application::Standing,
    dependencies::Obstacle,
    digest::Digest,
    inventory::Inventory,
    machine::{Outcome, Retry},
    object::ObjectId,
};
use serde_json::Value;

use super::{
    Stopped,
    converge::{Ready, Run},
};
use crate::agent::{reasons::WAITS_FOR_OTHERS, report::Verdict};

impl Run {
    /// Returns what holds up the prepared objects, if anything does. A rollout that has begun waits for nobody any more, whatever
    /// the run is for.
    pub(super) fn held_up(&mut self, ready: &Ready) -> Option<Stopped> {
        let verdict = waiting(&self.job.waits_for)?;
        let recorded = self.before.recorded();
        let objects = ready.prepared.objects().iter().map(PreparedObject::id);
        if has_begun(recorded.as_ref(), ready.prepared.rendered(), objects) {
            return None;
        }
        self.found.is_held = true;
        // The status shows what is in the cluster, and not what waits.
        self.learned.rendered = None;
        let outcome = Outcome::Failed(Retry::OnChange);
        Some(Stopped::with(outcome, Some(verdict)))
    }

    /// Returns what holds up a revision whose objects could not be prepared. What is wrong with the revision is reported when its
    /// turn has come: the others may bring what is missing. Until then, only the log has it. A revision that already runs needs
    /// nothing from them.
    pub(super) fn held_up_as_well(&mut self, stopped: Stopped) -> Stopped {
        let runs = self.before.revision == self.learned.attempted;
        let (Some(wrong), false) = (&stopped.verdict, runs) else {
            return stopped;
        };
        let Some(verdict) = waiting(&self.job.waits_for) else {
            return stopped;
        };
        tracing::info!(
            application = %self.job.application.application_name(),
            reason = wrong.reason,
            message = wrong.message,
            "it waits for others, and has no objects to apply"
        );
        self.found.is_held = true;
        self.learned.rendered = None;
        let outcome = match stopped.outcome {
            // One of the others brings a kind that the cluster does not have. Each change of theirs causes another look.
            Outcome::Failed(_) if self.is_refused => Outcome::Failed(Retry::OnChange),
            outcome => outcome,
        };
        Stopped {
            outcome,
            verdict: Some(verdict),
            copy_is_broken: stopped.copy_is_broken,
        }
    }
}

/// Describes the obstacles, or returns `None` if there are none. They are checked again when one of the others changes, and not
/// on a timer.
fn waiting(obstacles: &[Obstacle]) -> Option<Verdict> {
    if obstacles.is_empty() {
        return None;
    }
    let passes = obstacles.iter().all(Obstacle::may_pass);
    let texts: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
    Some(Verdict {
        standing: if passes {
            Standing::Working
        } else {
            Standing::Stalled
        },
        reason: WAITS_FOR_OTHERS.to_owned(),
        message: format!("waiting: {}", texts.join("; ")),
        event: None,
        details: Value::Null,
    })
}

/// Returns whether a render is the one that was begun last, with no new objects. Objects that were never tried are missing from
/// the inventory before everything is done. After that, objects are missing because the spec places them elsewhere.
fn has_begun<'a>(
    recorded: Option<&Inventory>,
    rendered: Digest,
    mut objects: impl Iterator<Item = &'a ObjectId>,
) -> bool {
    let Some(inventory) = recorded else {
        return false;
    };
    let last = inventory.release.as_ref();
    last.filter(|last| last.rendered == rendered)
        .is_some_and(|last| !last.completed || objects.all(|id| inventory.get(id).is_some()))
}

#[cfg(test)]
mod tests {
    use pintle_core::{
        inventory::Entry,
        release::{Candidate, ReleaseRecord},
    };

    use super::*;

    fn id(namespace: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: Some(namespace.into()),
            name: "web".into(),
        }
    }

    fn inventory(rendered: &str, completed: bool, listed: &[ObjectId]) -> Inventory {
        let mut inventory = Inventory::default();
        for id in listed {
            inventory.insert(Entry::intended(id, "v1"));
        }
        let render = Candidate {
            rendered: Digest::of(rendered),
            tells_rollbacks: false,
        };
        let mut record = ReleaseRecord::next(None, false, render);
        record.completed = completed;
        inventory.release = Some(record);
        inventory
    }

    #[test]
    fn what_was_begun_runs_and_all_else_is_new() {
        let (web, elsewhere) = (id("shop"), id("elsewhere"));
        let has_begun = |recorded: Option<&Inventory>, rendered: &str, wanted: &ObjectId| {
            has_begun(recorded, Digest::of(rendered), [wanted].into_iter())
        };
        assert!(!has_begun(None, "1", &web));
        assert!(!has_begun(Some(&Inventory::default()), "1", &web));

        let done = inventory("1", true, std::slice::from_ref(&web));
        assert!(has_begun(Some(&done), "1", &web));
        assert!(!has_begun(Some(&done), "2", &web));
        assert!(!has_begun(Some(&done), "1", &elsewhere));

        // It failed before it reached this object.
        let partly = inventory("1", false, &[]);
        assert!(has_begun(Some(&partly), "1", &web));
    }
}
