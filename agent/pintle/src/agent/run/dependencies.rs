//! What waits until other applications are Ready: what a run has to roll out that does not run yet.

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
    /// Says what holds up what was made ready, if anything does. What was begun once waits for nobody any more, whatever the
    /// run is for.
    pub(super) fn held_up(&mut self, ready: &Ready) -> Option<Stopped> {
        let verdict = waiting(&self.job.waits_for)?;
        let recorded = self.before.recorded();
        let objects = ready.prepared.objects().iter().map(PreparedObject::id);
        if has_begun(recorded.as_ref(), ready.prepared.rendered(), objects) {
            return None;
        }
        self.found.is_held = true;
        // What is in the cluster is told, and not what waits.
        self.learned.rendered = None;
        let outcome = Outcome::Failed(Retry::OnChange);
        Some(Stopped::with(outcome, Some(verdict)))
    }

    /// Says what holds up a revision that came to no objects. What is wrong with it is told when its time has come: it may be
    /// what the others bring. Until then only the log has it. A revision that runs already needs nothing of them.
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
            "it waits for others, and came to no objects"
        );
        self.found.is_held = true;
        self.learned.rendered = None;
        let outcome = match stopped.outcome {
            // A kind that the cluster does not have comes with one of the others: each change of theirs is another look.
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

/// Says what is in the way; nothing if nothing is. It is looked at again when one of the others changes, not by time.
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

/// Says whether a render is the one that was begun last, and nothing of it is new. Objects that were never tried are not listed
/// before all is done; after that they are there because the spec puts them elsewhere.
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

        // It failed before it came to this object.
        let partly = inventory("1", false, &[]);
        assert!(has_begun(Some(&partly), "1", &web));
    }
}
