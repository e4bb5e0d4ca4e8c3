//! The end of a run: waiting until what was applied is healthy, and what it came to.

use std::time::Duration;

use pintle_cluster::{StatusStore, Unsettled, Waited};
use pintle_core::{
    application::{Condition, Standing},
    event::Reason,
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

impl Run {
    /// Waits for health, and says what the run came to.
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
            // That was seen, whatever else was not.
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
        // Nobody knows how long they have been what they are.
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
        let mut verdict = Verdict {
            standing: Standing::Ready,
            reason: CONVERGED.to_owned(),
            message: format!("{commit} is converged: {objects} objects are healthy{drifted}{kept}"),
            event: Some(Reason::Converged),
            details: json!({}),
        };
        if self.was_degraded() {
            verdict.event = Some(Reason::Recovered);
        }
        verdict
    }

    fn was_degraded(&self) -> bool {
        let ready = Condition::ready(&self.before.conditions);
        ready.is_some_and(|ready| ready.reason == Reason::Degraded.camel())
            && self.before.revision == self.learned.applied
    }

    /// Says whether the status tells already that this very render is not healthy, of whichever commit it is.
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
