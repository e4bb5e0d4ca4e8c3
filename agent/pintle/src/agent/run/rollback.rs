//! When to roll back from a revision, and what a run reports while an earlier revision runs than the one that the source gives.

use pintle_cluster::{ApplyError, ClusterError, StatusStore};
use pintle_core::{
    application::Standing, brief, causes::chain, event::Reason, machine::Retry, revision::short,
    rollback::Rollback,
};
use serde_json::json;

use super::{
    Stopped,
    converge::{Ready, Run},
    failures::{apply_failed, is_refused},
};
use crate::{
    agent::{
        job::{Memory, Trial},
        refused::Refused,
        report::Verdict,
    },
    pipeline::steady_ms,
};

/// The maximum length of the reason why an earlier revision runs, beside everything else. The status has more of it.
const REASON_BYTES: usize = 512;

/// Adds to a verdict that it is about a revision other than the wanted one. Even if it is healthy, the application is not what
/// its source says: it is not Ready.
pub(super) fn told(rollback: &Rollback, verdict: Verdict) -> Verdict {
    let (to, wanted) = (short(&rollback.to), short(&rollback.instead_of));
    let who = match &rollback.by {
        Some(by) => format!("{by} went back"),
        None => "the agent went back".to_owned(),
    };
    let because = brief::cut_to(&rollback.reason, REASON_BYTES);
    let because = format!("{who}: {because}");
    if verdict.standing == Standing::Ready {
        return Verdict {
            standing: Standing::Stalled,
            reason: Reason::RolledBack.camel(),
            message: format!(
                "running {to} instead of {wanted}, because {because}. A new commit that changes something supersedes this; `pintle reconcile` tries {wanted} again"
            ),
            event: Some(Reason::RolledBack),
            details: json!({ "rollback": rollback }),
        };
    }
    let instead = format!(" (instead of {wanted}, because {because})");
    Verdict {
        message: brief::cut_before(&verdict.message, &instead),
        ..verdict
    }
}

/// Returns whether a verdict means that the revision does not work in the cluster. That is not so for what was not tried, for
/// what may work in a moment, and for a refusal that is retried and not about its objects. What waits for an object that is not
/// healthy is retried as well, as a hook is, and yet the revision does not work.
pub(super) fn is_failed_rollout(verdict: &Verdict, is_overdue: bool) -> bool {
    match verdict.event {
        Some(Reason::Degraded | Reason::HookFailed) => true,
        Some(Reason::ApplyFailed) => verdict.standing == Standing::Stalled || is_overdue,
        _ => false,
    }
}

impl Run {
    /// Records whether an earlier revision is to run before anything of this one is written, if the status says otherwise. If the
    /// agent restarted halfway, it would otherwise roll out once more what was rolled back from.
    pub(super) async fn record_course(
        &self,
        ready: &Ready,
        store: &mut StatusStore,
    ) -> Result<(), Stopped> {
        if !self.is_rollout() || self.learned.rollback == self.before.rollback {
            return Ok(());
        }
        let written = store.write(self.underway(ready)).await;
        written.map_err(|error| {
            let revision = short(&ready.revision.commit);
            let message = format!(
                "nothing of {revision} is written before the status says that it is to run: {}",
                chain(&error)
            );
            Stopped::failed(Reason::ApplyFailed, Retry::Backoff, message)
        })
    }

    /// Returns what it means that objects were not written, and remembers if they have been refused for longer than they may take
    /// to become healthy.
    pub(super) fn not_written(
        &mut self,
        ready: &Ready,
        error: ClusterError<ApplyError>,
    ) -> Stopped {
        if is_refused(&error) {
            let now = steady_ms();
            let refused = Refused {
                rendered: self.learned.rendered,
                generation: self.job.application.generation,
                since: now,
            };
            let refused = refused.after(self.refused.take());
            self.is_overdue = refused.has_lasted(ready.spec.timeout.get(), now);
            (self.is_refused, self.refused) = (true, Some(refused));
        }
        apply_failed(error)
    }

    /// Records the digest of the revision's result, now that it is rendered.
    pub(super) fn learn_render(&mut self) {
        let whole = self.found.memory.as_deref().map(Memory::whole);
        self.found.came_to = self.learned.attempted.clone().zip(whole);
    }

    /// Returns whether the revision has the same result as the one that was rolled back from. In that case the rollback stays in
    /// force, and nothing is done for the revision. A revision with another result supersedes the rollback.
    pub(super) fn is_as_left(&mut self) -> bool {
        let Some(left) = self.job.left else {
            return false;
        };
        let whole = self.found.came_to.as_ref().map(|(_, whole)| *whole);
        if whole == Some(left) {
            self.found.trial = self.learned.attempted.clone().map(Trial::SameAsLeft);
            return true;
        }
        self.learned.rollback = None;
        self.found.has_superseded = true;
        false
    }

    /// Records that the revision does not work, if the verdict says so and any of it was written: it may be rolled back from. A
    /// repair of an earlier revision attempts none, and says nothing against any.
    pub(super) fn learn_failure(&mut self, verdict: &Verdict) {
        if let (Some(revision), Some(rendered)) = (&self.learned.attempted, self.learned.rendered)
            && self.has_begun
            && is_failed_rollout(verdict, self.is_overdue)
        {
            self.found.trial = Some(Trial::Failed {
                revision: revision.clone(),
                rendered,
                reason: brief::cut(&verdict.message).into_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollback(by: Option<&str>) -> Rollback {
        Rollback {
            to: "aaaaaaaaaaaaaaaaaaaa".into(),
            instead_of: "bbbbbbbbbbbbbbbbbbbb".into(),
            by: by.map(ToOwned::to_owned),
            reason: "web is not healthy".into(),
            since: "t".into(),
            left_digest: None,
        }
    }

    #[test]
    fn it_is_loud_however_well_the_earlier_revision_runs() {
        let healthy = Verdict {
            standing: Standing::Ready,
            reason: "Converged".into(),
            message: "aaaaaaaaaaaa is converged".into(),
            event: Some(Reason::Converged),
            details: json!({}),
        };
        let verdict = told(&rollback(None), healthy);
        assert_eq!(
            (verdict.standing, verdict.reason.as_str()),
            (Standing::Stalled, "RolledBack")
        );
        insta::assert_snapshot!(verdict.message, @"running aaaaaaaaaaaa instead of bbbbbbbbbbbb, because the agent went back: web is not healthy. A new commit that changes something supersedes this; `pintle reconcile` tries bbbbbbbbbbbb again");
        assert!(!is_failed_rollout(&verdict, true));
        let degraded = Verdict::failed(
            Standing::Stalled,
            Reason::Degraded,
            "aaaaaaaaaaaa is applied and failed",
        );
        insta::assert_snapshot!(told(&rollback(Some("ada")), degraded).message, @"aaaaaaaaaaaa is applied and failed (instead of bbbbbbbbbbbb, because ada went back: web is not healthy)");
    }

    #[test]
    fn what_can_be_done_is_told_however_long_the_reasons_are() {
        let lines = "Deployment.apps shop/web is not healthy\n".repeat(200);
        let long = Rollback {
            reason: lines.clone(),
            ..rollback(None)
        };
        let runs = |standing, text: &str| {
            let verdict = Verdict::failed(standing, Reason::Converged, text);
            told(&long, verdict).message
        };
        let well = runs(Standing::Ready, "it is converged");
        let end = " more. A new commit that changes something supersedes this; `pintle reconcile` tries bbbbbbbbbbbb again";
        assert!(well.ends_with(end), "{well}");
        let ill = runs(Standing::Stalled, &lines);
        let begin = " more (instead of bbbbbbbbbbbb, because the agent went back: Deployment.apps";
        assert!(ill.contains(begin) && ill.ends_with(" more)"), "{ill}");
        for message in [well, ill] {
            assert!(!brief::is_long(&message), "{}", message.len());
        }
    }

    #[test]
    fn what_does_not_work_is_told_from_what_may_in_a_moment() {
        let of = |reason, standing, is_overdue| {
            is_failed_rollout(&Verdict::failed(standing, reason, "why"), is_overdue)
        };
        let both = [Standing::Retrying, Standing::Stalled];
        for reason in [Reason::Degraded, Reason::HookFailed] {
            assert!(both.iter().all(|standing| of(reason, *standing, false)));
        }
        assert!(of(Reason::ApplyFailed, Standing::Stalled, false));
        assert!(of(Reason::ApplyFailed, Standing::Retrying, true));
        assert!(!of(Reason::ApplyFailed, Standing::Retrying, false));
        for reason in [Reason::PolicyDenied, Reason::RenderFailed] {
            assert!(!both.iter().any(|standing| of(reason, *standing, true)));
        }
    }
}
