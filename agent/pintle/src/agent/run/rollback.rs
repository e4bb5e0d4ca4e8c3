//! When a revision is gone back from, and what a run tells while an earlier one runs than the one that the source gives.

use std::time::Duration;

use pintle_cluster::{ApplyError, ClusterError};
use pintle_core::{
    application::{ApplicationStatus, Standing},
    digest::Digest,
    event::Reason,
    machine::Millis,
    revision::short,
    rollback::Rollback,
};
use serde_json::json;

use super::{
    Stopped,
    converge::{Ready, Run},
    failures::{apply_failed, is_refused},
};
use crate::{
    agent::{job::Trial, report::Verdict},
    pipeline::now_ms,
};

/// Says in every verdict that it is about another revision than the one that is wanted. Healthy as it may be, the
/// application is not what its source says: it is not Ready.
pub(super) fn told(rollback: &Rollback, verdict: Verdict) -> Verdict {
    let (to, wanted) = (short(&rollback.to), short(&rollback.instead_of));
    let who = match &rollback.by {
        Some(by) => format!("{by} went back"),
        None => "the agent went back".to_owned(),
    };
    let because = format!("{who}: {}", rollback.reason);
    if verdict.standing == Standing::Ready {
        return Verdict {
            standing: Standing::Stalled,
            reason: Reason::RolledBack.camel(),
            message: format!(
                "running {to} instead of {wanted}, because {because}. A new commit supersedes this; `pintle reconcile` tries {wanted} again"
            ),
            event: Some(Reason::RolledBack),
            details: json!({ "rollback": rollback }),
        };
    }
    Verdict {
        message: format!(
            "{} (instead of {wanted}, because {because})",
            verdict.message
        ),
        ..verdict
    }
}

/// Says whether a verdict means that the revision does not work in the cluster: what was not tried, or may work in a
/// moment, does not, and neither does a refusal that is not about its objects, which is tried again. What waits for an object
/// that is not healthy is tried again as well, as a hook is, and yet the revision does not work.
pub(super) fn is_failed_rollout(verdict: &Verdict, is_overdue: bool) -> bool {
    match verdict.event {
        Some(Reason::Degraded | Reason::HookFailed) => true,
        Some(Reason::ApplyFailed) => verdict.standing == Standing::Stalled || is_overdue,
        _ => false,
    }
}

/// Says whether the cluster has refused a revision for that long, as far as the status before this attempt tells: no longer
/// than since these objects were begun with, nor than without a rest or an end in between.
fn is_overdue(
    before: &ApplicationStatus,
    revision: &str,
    rendered: Option<Digest>,
    limit: Duration,
    now: Millis,
) -> bool {
    let condition = |kind: &str| before.conditions.iter().find(|one| one.kind == kind);
    let refused = Reason::ApplyFailed.camel();
    let was_refused = condition("Ready").is_some_and(|ready| ready.reason == refused);
    let begun = before
        .history
        .first()
        .filter(|newest| newest.revision == revision && newest.rendered_digest == rendered)
        .and_then(|newest| milliseconds(&newest.started));
    let tried =
        condition("Reconciling").and_then(|tried| milliseconds(&tried.last_transition_time));
    let has_lasted = |(begun, tried): (Millis, Millis)| {
        Duration::from_millis(now.saturating_sub(begun.max(tried))) >= limit
    };
    was_refused && begun.zip(tried).is_some_and(has_lasted)
}

/// Reads a time, RFC 3339.
fn milliseconds(text: &str) -> Option<Millis> {
    let time: jiff::Timestamp = text.parse().ok()?;
    time.as_millisecond().try_into().ok()
}

impl Run {
    /// Says what it means that objects were not written, and remembers if they are refused for longer than they may take to
    /// become healthy.
    pub(super) fn not_written(
        &mut self,
        ready: &Ready,
        error: ClusterError<ApplyError>,
    ) -> Stopped {
        let is_refused = is_refused(&error);
        self.is_refused |= is_refused;
        self.is_overdue = is_refused
            && is_overdue(
                &self.before,
                &ready.commit,
                self.learned.rendered,
                ready.spec.timeout.get(),
                now_ms(),
            );
        apply_failed(error)
    }

    /// Remembers that the revision does not work, if the verdict says so and anything of it was written: it may be gone back
    /// from. What puts right an earlier one attempts none, and says nothing against any.
    pub(super) fn learn_failure(&mut self, verdict: &Verdict) {
        if let (Some(revision), Some(rendered)) = (&self.learned.attempted, self.learned.rendered)
            && self.has_begun
            && is_failed_rollout(verdict, self.is_overdue)
        {
            self.trial = Some(Trial::Failed {
                revision: revision.clone(),
                rendered,
                reason: verdict.message.clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pintle_core::{
        application::Condition,
        history::{Attempt, Ending, Trigger, record},
    };

    fn rollback(by: Option<&str>) -> Rollback {
        Rollback {
            to: "aaaaaaaaaaaaaaaaaaaa".into(),
            instead_of: "bbbbbbbbbbbbbbbbbbbb".into(),
            by: by.map(ToOwned::to_owned),
            reason: "web is not healthy".into(),
            since: "t".into(),
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
        insta::assert_snapshot!(verdict.message, @"running aaaaaaaaaaaa instead of bbbbbbbbbbbb, because the agent went back: web is not healthy. A new commit supersedes this; `pintle reconcile` tries bbbbbbbbbbbb again");
        assert!(!is_failed_rollout(&verdict, true));
        let degraded = Verdict::failed(
            Standing::Stalled,
            Reason::Degraded,
            "aaaaaaaaaaaa is applied and failed",
        );
        insta::assert_snapshot!(told(&rollback(Some("ada")), degraded).message, @"aaaaaaaaaaaa is applied and failed (instead of bbbbbbbbbbbb, because ada went back: web is not healthy)");
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

    #[test]
    fn a_refusal_counts_when_it_has_lasted() {
        let ms = |time: &str| milliseconds(&format!("2026-01-01T{time}Z")).unwrap();
        let (rendered, limit) = (Digest::of("objects"), Duration::from_mins(5));
        let status = |reason: Reason, begun: &str, tried: &str| {
            let mut history = Vec::new();
            let attempt = Attempt {
                revision: "b".to_owned(),
                reference: String::new(),
                author: String::new(),
                summary: String::new(),
                trigger: Trigger::Revision,
                requested_by: None,
                reason: None,
                origin: None,
                rendered: Some(rendered),
                plan: None,
                ending: Ending::Failed,
                message: None,
            };
            record(&mut history, attempt, &format!("2026-01-01T{begun}Z"));
            let (reason, tried) = (reason.camel(), format!("2026-01-01T{tried}Z"));
            ApplicationStatus {
                conditions: Condition::of(Standing::Retrying, &reason, "", None, &tried, &[]),
                history,
                ..ApplicationStatus::default()
            }
        };
        let of = |status: &ApplicationStatus, revision: &str, rendered, now: &str| {
            is_overdue(status, revision, Some(rendered), limit, ms(now))
        };
        // The commit before failed already, and this one came while that was tried.
        let refused = status(Reason::ApplyFailed, "10:10:00", "10:00:00");
        assert!(!of(&refused, "b", rendered, "10:14:59"));
        assert!(of(&refused, "b", rendered, "10:15:00"));
        assert!(!of(&refused, "c", rendered, "10:15:00"));
        assert!(!of(&refused, "b", Digest::of("others"), "10:15:00"));
        // It waited for a confirmation, and was begun with when it had come.
        let confirmed = status(Reason::ApplyFailed, "10:00:00", "10:10:00");
        assert!(!of(&confirmed, "b", rendered, "10:14:59"));
        assert!(of(&confirmed, "b", rendered, "10:15:00"));
        let unrendered = status(Reason::RenderFailed, "10:00:00", "10:00:00");
        assert!(!of(&unrendered, "b", rendered, "10:15:00"));
        assert!(!of(
            &ApplicationStatus::default(),
            "b",
            rendered,
            "10:15:00"
        ));
    }
}
