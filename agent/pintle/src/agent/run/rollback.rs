//! When a revision is gone back from, and what a run tells while an earlier one runs than the one that the source gives.

use pintle_core::{application::Standing, event::Reason, revision::short, rollback::Rollback};
use serde_json::json;

use super::converge::Run;
use crate::agent::{job::Trial, report::Verdict};

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
/// moment, does not. What waits for an object that is not healthy is tried again, and yet the revision does not work.
fn is_failed_rollout(verdict: &Verdict) -> bool {
    match verdict.event {
        Some(Reason::Degraded) => true,
        Some(Reason::HookFailed | Reason::ApplyFailed) => verdict.standing == Standing::Stalled,
        _ => false,
    }
}

impl Run {
    /// Remembers that the revision does not work, if the verdict says so and anything of it was written: it may be gone back
    /// from.
    pub(super) fn learn_failure(&mut self, verdict: &Verdict) {
        if let (Some(revision), Some(rendered)) = (&self.learned.attempted, self.learned.rendered)
            && self.has_begun
            && is_failed_rollout(verdict)
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
        assert!(!is_failed_rollout(&verdict));
        let degraded = Verdict::failed(
            Standing::Stalled,
            Reason::Degraded,
            "aaaaaaaaaaaa is applied and failed",
        );
        assert!(is_failed_rollout(&degraded));
        insta::assert_snapshot!(told(&rollback(Some("ada")), degraded).message, @"aaaaaaaaaaaa is applied and failed (instead of bbbbbbbbbbbb, because ada went back: web is not healthy)");
        let later = Verdict::failed(
            Standing::Retrying,
            Reason::ApplyFailed,
            "the server is busy",
        );
        assert!(!is_failed_rollout(&later));
        let waiting = Verdict::failed(
            Standing::Retrying,
            Reason::Degraded,
            "what comes after it waits until it is healthy",
        );
        assert!(is_failed_rollout(&waiting));
    }
}
