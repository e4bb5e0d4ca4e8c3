//! The end of a run: waiting until what was applied is healthy, and the result.

use std::time::Duration;

use pintle_cluster::{StatusStore, Unsettled, Waited};
use pintle_core::{
    application::{ApplicationStatus, Condition, ConditionStatus, Standing},
    event::Reason,
    history::{Ending, HistoryEntry, Trigger},
    inventory::Inventory,
    revision::short,
};
use serde_json::json;

use super::{
    Stopped,
    apply::Done,
    converge::{Ready, Run},
};
use crate::agent::{
    reasons::CONVERGED,
    report::{Verdict, object_document, sum_up},
    sight,
};

/// The events about an application that is not Ready. Whoever received one expects to learn when the trouble is over. It is not
/// over while an earlier revision runs.
const TROUBLES: [Reason; 10] = [
    Reason::SourceFailed,
    Reason::PluginFailed,
    Reason::RenderFailed,
    Reason::PolicyDenied,
    Reason::PruneRefused,
    Reason::InventoryTooLarge,
    Reason::ApplyFailed,
    Reason::HookFailed,
    Reason::Degraded,
    Reason::RolledBack,
];

/// Returns whether trouble of an application was reported, and its end was not.
fn was_in_trouble(before: &ApplicationStatus) -> bool {
    let Some(ready) = Condition::ready(&before.conditions) else {
        return false;
    };
    let is_told = || TROUBLES.iter().any(|told| ready.reason == told.camel());
    // It was cut short or suspended, or waits for others. The history has what was reported before that.
    let was_told = || before.history.iter().find_map(is_trouble).unwrap_or(false);
    match ready.status {
        ConditionStatus::True => false,
        ConditionStatus::False => is_told() || was_told(),
        ConditionStatus::Unknown => was_told(),
    }
}

/// Returns whether an entry is about trouble, or `None` if it was cut short before it had a result. A revision that was rolled
/// back to is healthy, but not the wanted one.
fn is_trouble(entry: &HistoryEntry) -> Option<bool> {
    match entry.ending {
        Ending::Healthy => Some(entry.trigger == Trigger::Rollback),
        Ending::Unhealthy | Ending::Failed => Some(true),
        Ending::Underway | Ending::Superseded => entry.message.is_some().then_some(true),
    }
}

impl Run {
    /// Waits for health, and returns the result of the run.
    pub(super) async fn wait(
        &mut self,
        ready: &Ready,
        done: &Done,
        store: &mut StatusStore,
    ) -> Result<Verdict, Stopped> {
        let ids = done.awaited();
        let timeout = ready.spec.timeout.get();
        let waited = self.follow(ready, &ids, store).await?;
        let commit = short(&ready.revision.commit);
        let verdict = match waited {
            Waited::Cancelled => return Err(Stopped::cancelled()),
            Waited::Healthy => {
                self.learned.unsettled = Some(Vec::new());
                self.found.healthy = Some(true);
                ready.release.waits.renew();
                self.converged(done, commit, ids.len())
            }
            // This was seen, whatever else was out of sight.
            Waited::Failed(unsettled) => {
                return Ok(self.degraded(unsettled, &done.inventory, commit, None));
            }
            Waited::TimedOut(unsettled) => {
                self.degraded(unsettled, &done.inventory, commit, Some(timeout))
            }
        };
        let Some(problem) = sight::problem(&self.shared.tracker, &self.job.application) else {
            return Ok(verdict);
        };
        self.found.is_unseen = true;
        // Nobody knows how long they have been in this state.
        ready.release.waits.renew();
        Ok(Verdict::failed(
            Standing::Retrying,
            Reason::ApplyFailed,
            format!("{commit} is applied, but {problem}"),
        ))
    }

    fn converged(&self, done: &Done, commit: &str, objects: usize) -> Verdict {
        let kept = match done.kept {
            0 => String::new(),
            kept => format!(", {kept} more stay although they left git"),
        };
        let drifted = match done.drifted.iter().filter(|one| one.is_left).count() {
            0 => String::new(),
            1 => ", 1 has drifted".to_owned(),
            drifted => format!(", {drifted} have drifted"),
        };
        let event = if was_in_trouble(&self.before) {
            Reason::Recovered
        } else {
            Reason::Converged
        };
        Verdict {
            standing: Standing::Ready,
            reason: CONVERGED.to_owned(),
            message: format!("{commit} is converged: {objects} objects are healthy{drifted}{kept}"),
            event: Some(event),
            details: json!({}),
        }
    }

    /// Returns whether the status already says that this very render is not healthy, whichever commit it is of.
    pub(super) fn is_told_degraded(&self) -> bool {
        let ready = Condition::ready(&self.before.conditions);
        ready.is_some_and(|ready| ready.reason == Reason::Degraded.camel())
            && self.before.rendered_digest == self.learned.rendered
    }

    fn degraded(
        &mut self,
        unsettled: Vec<Unsettled>,
        inventory: &Inventory,
        commit: &str,
        timeout: Option<Duration>,
    ) -> Verdict {
        let sum = sum_up(&unsettled);
        let message = match timeout {
            None => format!("{commit} is applied and failed: {sum}"),
            Some(timeout) => format!(
                "{commit} is applied and not healthy after {}: {sum}",
                pretty(timeout)
            ),
        };
        let objects: Vec<_> = unsettled
            .iter()
            .map(|object| {
                let version = inventory
                    .get(&object.id)
                    .map(|entry| entry.version.as_str());
                let mut document = object_document(&object.id, version);
                document["status"] = json!(object.assessment.status);
                document["message"] = json!(object.assessment.message);
                if let Some(explanation) = &object.explanation {
                    document["explanation"] = json!(explanation);
                }
                document
            })
            .collect();
        self.learned.unsettled = Some(unsettled);
        self.found.healthy = Some(false);
        let mut verdict = Verdict::failed(Standing::Stalled, Reason::Degraded, message);
        verdict.details = json!({ "objects": objects });
        verdict
    }
}

fn pretty(time: Duration) -> String {
    pintle_core::duration::Span::seconds(time.as_secs()).to_string()
}

#[cfg(test)]
mod tests {
    use pintle_core::history::{Attempt, record};

    use super::*;
    use crate::agent::reasons::{PROGRESSING, SUSPENDED, WAITS_FOR_OTHERS};

    fn status(standing: Standing, reason: &str) -> ApplicationStatus {
        ApplicationStatus {
            conditions: Condition::of(standing, reason, "why", Some(1), "t", &[]),
            ..ApplicationStatus::default()
        }
    }

    #[test]
    fn whatever_was_told_as_trouble_is_told_to_be_over() {
        for standing in [Standing::Retrying, Standing::Stalled] {
            for told in TROUBLES {
                let reason = told.camel();
                assert!(was_in_trouble(&status(standing, &reason)), "{reason}");
            }
            for other in [SUSPENDED, WAITS_FOR_OTHERS] {
                assert!(!was_in_trouble(&status(standing, other)), "{other}");
            }
        }
        assert!(!was_in_trouble(&status(Standing::Ready, CONVERGED)));
        assert!(!was_in_trouble(&ApplicationStatus::default()));
    }

    fn tried(before: &mut ApplicationStatus, revision: &str, trigger: Trigger, ending: Ending) {
        let is_trouble = matches!(ending, Ending::Unhealthy | Ending::Failed);
        let attempt = Attempt {
            revision: revision.to_owned(),
            reference: "main".to_owned(),
            author: String::new(),
            summary: String::new(),
            trigger,
            requested_by: None,
            reason: None,
            origin: None,
            rendered: None,
            plan: None,
            ending,
            message: is_trouble.then(|| "why".to_owned()),
        };
        record(&mut before.history, attempt, "t");
    }

    #[test]
    fn a_run_that_was_cut_short_ends_no_trouble() {
        let mut before = status(Standing::Working, PROGRESSING);
        assert!(!was_in_trouble(&before), "it is the first one");
        for (revision, ending, expected) in [
            ("1", Ending::Healthy, false),
            ("2", Ending::Underway, false),
            ("2", Ending::Unhealthy, true),
            ("3", Ending::Superseded, true),
            ("4", Ending::Underway, true),
            ("5", Ending::Failed, true),
            // Retried, and cut short each time.
            ("5", Ending::Underway, true),
            ("5", Ending::Superseded, true),
            ("6", Ending::Underway, true),
            ("6", Ending::Healthy, false),
            ("7", Ending::Superseded, false),
        ] {
            tried(&mut before, revision, Trigger::Revision, ending);
            assert_eq!(was_in_trouble(&before), expected, "{revision} {ending:?}");
        }
    }

    #[test]
    fn neither_does_a_suspension_nor_a_wait_for_others() {
        for reason in [SUSPENDED, WAITS_FOR_OTHERS] {
            let mut before = status(Standing::Stalled, reason);
            for (ending, expected) in [
                (Ending::Healthy, false),
                (Ending::Failed, true),
                (Ending::Underway, true),
            ] {
                tried(&mut before, "1", Trigger::Revision, ending);
                assert_eq!(was_in_trouble(&before), expected, "{reason} {ending:?}");
            }
        }
    }

    #[test]
    fn what_is_gone_back_to_ends_no_trouble_however_healthy_it_is() {
        let mut before = status(Standing::Working, PROGRESSING);
        for (revision, trigger, ending, expected) in [
            ("1", Trigger::Revision, Ending::Healthy, false),
            ("2", Trigger::Revision, Ending::Unhealthy, true),
            ("1", Trigger::Rollback, Ending::Healthy, true),
            ("3", Trigger::Revision, Ending::Superseded, true),
            ("4", Trigger::Revision, Ending::Healthy, false),
        ] {
            tried(&mut before, revision, trigger, ending);
            assert_eq!(was_in_trouble(&before), expected, "{revision} {trigger:?}");
        }
    }
}
