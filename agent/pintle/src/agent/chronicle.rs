//! What a run adds to its application's history.

use pintle_core::{
    application::Standing,
    digest::Digest,
    event::Reason,
    history::{Attempt, Ending, HistoryEntry, Trigger, record},
    machine::Cause,
    names::RECONCILE_REQUEST_ANNOTATION,
    request::PersonRequest,
    revision::Revision,
};

use super::{
    job::Job,
    reasons::{SUPERSEDED, SUSPENDED, WAITS_FOR_OTHERS},
    report::{Learned, Verdict},
};
use crate::pipeline::now_text;

/// The revision that a run works on, and who asked for it.
#[derive(Debug, Clone)]
pub(crate) struct Tried {
    revision: Revision,
    origin: Option<Digest>,
    trigger: Trigger,
    requested_by: Option<String>,
    reason: Option<String>,
}

impl Tried {
    pub(crate) fn of(job: &Job, cause: Cause, revision: &Revision) -> Self {
        if let Some(rollback) = job
            .rollback
            .as_ref()
            .filter(|one| one.to == revision.commit)
        {
            return Self {
                revision: revision.clone(),
                origin: job.origin,
                trigger: Trigger::Rollback,
                requested_by: rollback.by.clone(),
                reason: Some(rollback.reason.clone()),
            };
        }
        let asked = (cause == Cause::Request).then(|| asked_by(job)).flatten();
        let (requested_by, reason) = match asked {
            Some(request) => (Some(request.by), request.reason),
            None => (None, None),
        };
        let status = job.application.status.as_ref().ok();
        let newest = status.and_then(|status| status.history.first());
        let is_untried = newest.is_none_or(|newest| newest.revision != revision.commit);
        Self {
            revision: revision.clone(),
            origin: job.origin,
            trigger: trigger(cause, is_untried),
            requested_by,
            reason,
        }
    }
}

/// Returns why a revision is rolled out. One that was not the last to be tried is a new commit, or the first one, whatever else
/// has changed with it: it may have arrived while the application was suspended, or before its spec was read.
fn trigger(cause: Cause, is_untried: bool) -> Trigger {
    match cause {
        Cause::Request => Trigger::Request,
        Cause::Settings if !is_untried => Trigger::Settings,
        Cause::Drift | Cause::Retry if !is_untried => Trigger::Other,
        Cause::Revision | Cause::Settings | Cause::Drift | Cause::Retry => Trigger::Revision,
    }
}

/// Returns who asked for the reconciliation that the job does, if the annotation says who.
fn asked_by(job: &Job) -> Option<PersonRequest> {
    let text = job
        .application
        .annotations
        .get(RECONCILE_REQUEST_ANNOTATION)?;
    let request = PersonRequest::read(text)?;
    // An older annotation belongs to an older request.
    (job.requested.as_ref() == Some(&request.id)).then_some(request)
}

/// Records the result of a run in a history.
pub(crate) fn write(history: &mut Vec<HistoryEntry>, learned: &Learned, verdict: &Verdict) {
    let Some(tried) = &learned.tried else { return };
    let Some(ending) = ending(verdict) else {
        return;
    };
    let is_trouble = matches!(ending, Ending::Unhealthy | Ending::Failed);
    let attempt = Attempt {
        revision: tried.revision.commit.clone(),
        reference: tried.revision.reference.clone(),
        author: tried.revision.author.clone(),
        summary: tried.revision.summary.clone(),
        trigger: tried.trigger,
        requested_by: tried.requested_by.clone(),
        reason: tried.reason.clone(),
        origin: tried.origin,
        rendered: learned.rendered,
        plan: learned.plan,
        ending,
        message: is_trouble.then(|| verdict.message.clone()),
    };
    record(history, attempt, &now_text());
}

fn ending(verdict: &Verdict) -> Option<Ending> {
    Some(match verdict.standing {
        // Nothing was tried. That is also so where it waits for itself by way of others.
        _ if verdict.reason == WAITS_FOR_OTHERS => return None,
        Standing::Ready => Ending::Healthy,
        // It goes on with this revision later, or another one supersedes it.
        Standing::Stalled if verdict.reason == SUSPENDED => Ending::Underway,
        // The revision that was rolled back to is healthy, although it is not the wanted one.
        Standing::Stalled if verdict.event == Some(Reason::RolledBack) => Ending::Healthy,
        Standing::Working if verdict.reason == SUPERSEDED => Ending::Superseded,
        Standing::Working => Ending::Underway,
        Standing::Retrying | Standing::Stalled if verdict.event == Some(Reason::Degraded) => {
            Ending::Unhealthy
        }
        Standing::Retrying | Standing::Stalled => Ending::Failed,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_revision_that_was_not_tried_before_is_new_whatever_else_is() {
        for (cause, untried, tried) in [
            (Cause::Revision, Trigger::Revision, Trigger::Revision),
            (Cause::Settings, Trigger::Revision, Trigger::Settings),
            (Cause::Retry, Trigger::Revision, Trigger::Other),
            (Cause::Drift, Trigger::Revision, Trigger::Other),
            (Cause::Request, Trigger::Request, Trigger::Request),
        ] {
            let told = [true, false].map(|is_untried| trigger(cause, is_untried));
            assert_eq!(told, [untried, tried], "{cause:?}");
        }
    }

    #[test]
    fn what_waits_for_others_is_no_attempt() {
        let ending = |standing, reason: &str| {
            ending(&Verdict {
                standing,
                reason: reason.to_owned(),
                message: "waiting".to_owned(),
                event: None,
                details: Value::Null,
            })
        };
        // Those that wait for each other are stalled.
        for standing in [Standing::Working, Standing::Stalled] {
            assert_eq!(ending(standing, WAITS_FOR_OTHERS), None);
        }
        let applying = ending(Standing::Working, "Applying");
        assert_eq!(applying, Some(Ending::Underway));
        let invalid = ending(Standing::Stalled, "InvalidSpec");
        assert_eq!(invalid, Some(Ending::Failed));
    }
}
