//! One run of an application: from a revision to a healthy cluster, and its report.

mod adopt;
mod apply;
mod claimed;
mod concluding;
mod converge;
mod dependencies;
mod drift;
mod ending;
mod failures;
mod guard;
mod health;
mod hooks;
mod inputs;
mod memory;
mod remove;
mod rollback;
mod rollout;
mod slot;
mod targets;

use std::{collections::BTreeSet, sync::Arc};

use pintle_cluster::{Application, Release, StatusError, StatusStore, Weight};
use pintle_core::{
    application::{ApplicationSpec, ApplicationStatus, NotifierUse, Standing},
    brief,
    causes::chain,
    event::{EventSeverity, Reason},
    machine::{Outcome, Retry},
    names::CONFIRM_PRUNE_ANNOTATION,
    rollback::Rollback,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub(crate) use self::slot::Slots;
use super::{
    job::{Job, Report, Work},
    notify, reasons,
    report::{self, Learned, Verdict},
    shared::Shared,
};
use crate::pipeline::now_ms;

/// Why a run stopped before its end, and what that means.
pub(super) struct Stopped {
    pub(super) outcome: Outcome,
    /// `None` if the run was only asked to stop.
    pub(super) verdict: Option<Verdict>,
    /// Whether this machine's copy of the revision was the problem. It may be damaged or gone, and a fetch repairs it.
    pub(super) copy_is_broken: bool,
}

impl Stopped {
    pub(super) fn failed(reason: Reason, retry: Retry, message: impl Into<String>) -> Self {
        let standing = match retry {
            Retry::Backoff => Standing::Retrying,
            Retry::OnChange => Standing::Stalled,
        };
        let verdict = Verdict::failed(standing, reason, message);
        Self::with(Outcome::Failed(retry), Some(verdict))
    }

    pub(super) fn blocked(reason: &str, message: impl Into<String>) -> Self {
        let verdict = Verdict::blocked(reason, message);
        Self::with(Outcome::Failed(Retry::OnChange), Some(verdict))
    }

    pub(super) fn cancelled() -> Self {
        Self::with(Outcome::Cancelled, None)
    }

    pub(super) fn with(outcome: Outcome, verdict: Option<Verdict>) -> Self {
        Self {
            outcome,
            verdict,
            copy_is_broken: false,
        }
    }
}

/// Runs a job to its end.
pub(super) async fn run(shared: Arc<Shared>, mut job: Job, cancel: CancellationToken) -> Report {
    if job.is_unsure
        && let Err(outcome) = read_again(&shared, &mut job).await
    {
        return Report::bare(shared, job, outcome);
    }
    match job.work {
        Work::Converge { .. } | Work::Guard { .. } | Work::Tell => {
            Box::pin(converge::run(shared, job, cancel)).await
        }
        Work::Rest => Box::pin(concluding::rest(shared, job)).await,
        Work::Remove => Box::pin(remove::run(shared, job, cancel)).await,
    }
}

/// Reads an Application again whose status may differ from the known one. With an old inventory, objects would be created that
/// the inventory in the cluster does not list, and the watch may report the newer one too late.
async fn read_again(shared: &Shared, job: &mut Job) -> Result<(), Outcome> {
    let known = &job.application;
    let found = shared
        .applications
        .get(known.namespace.as_deref(), &known.name)
        .await;
    match found {
        Ok(Some(found)) if found.uid == known.uid => {
            (job.application, job.is_unsure) = (found, false);
            Ok(())
        }
        // There is nothing to do. The watch will report that.
        Ok(_) => Err(Outcome::Done),
        Err(error) => {
            let name = known.application_name();
            tracing::warn!(application = %name, error = %chain(&error), "it cannot be read");
            Err(Outcome::Failed(Retry::Backoff))
        }
    }
}

/// Returns what the cluster part of the pipeline needs to know about an application.
fn release(
    shared: &Shared,
    application: &Application,
    spec: &ApplicationSpec,
) -> Result<Release, Stopped> {
    let name = application.application_name();
    let account = shared
        .accounts
        .of(&name, spec.service_account_name.as_deref())
        .map_err(|error| Stopped::blocked(reasons::NO_SERVICE_ACCOUNT, error.to_string()))?;
    let account = targets::account(shared, application, spec, account)?;
    let mut release = Release::new(name.clone(), shared.seeds.of(&name));
    release.namespace = spec.namespace.clone().unwrap_or(name.namespace);
    release.account = account;
    release.prune = spec.prune.clone();
    release.hook_timeout = spec.timeout;
    release.hooks_namespace = Some(shared.namespace.clone());
    release.confirmed_deletions = application
        .annotations
        .get(CONFIRM_PRUNE_ANNOTATION)
        .and_then(|digest| digest.parse().ok());
    Ok(release)
}

/// Returns the status before the run, or the default if there is none that can be read.
fn status_before(application: &Application) -> ApplicationStatus {
    application.status.as_ref().cloned().unwrap_or_default()
}

/// Returns the verdict to report. It says that the run was about a revision other than the wanted one, and what can be done,
/// however long the message is.
fn said(learned: &Learned, verdict: &Verdict) -> Verdict {
    let is_earlier = |one: &&Rollback| learned.attempted.as_ref() == Some(&one.to);
    match learned.rollback.as_ref().filter(is_earlier) {
        Some(rollback) => rollback::told(rollback, verdict.clone()),
        None => ending::in_brief(verdict.clone()),
    }
}

/// Ends a run: writes the status with the inventory and, if there is news, informs everybody who should know.
async fn conclude(
    shared: &Arc<Shared>,
    store: StatusStore,
    before: &ApplicationStatus,
    learned: &Learned,
    verdict: &Verdict,
    notifiers: &[NotifierUse],
) -> Result<Application, (Box<Application>, StatusError)> {
    let application = store.application().clone();
    let (whole, verdict) = (&verdict.message, said(learned, verdict));
    let status = report::status(before, application.generation, learned, &verdict);
    let verdict = learned.shown(&verdict);
    let is_news = is_news(before, &status);
    let is_new_text = text(before) != text(&status);
    let application = store
        .finish(status)
        .await
        .map_err(|error| (Box::new(application), error))?;
    let told = verdict.event.filter(|_| is_news);
    // The status has to say other things, too, and may hold no more than the beginning of this text. A failure that is retried
    // is reported once, and its text may differ each time.
    let is_logged = told.is_some() && verdict.message == *whole;
    if is_new_text && whole.len() > brief::MESSAGE_BYTES / 2 && !is_logged {
        let name = application.application_name();
        tracing::info!(application = %name, reason = verdict.reason, message = whole, "in full");
    }
    if let Some(reason) = told {
        tell(
            shared,
            &application,
            reason,
            &verdict.message,
            &verdict.details,
            learned,
            notifiers,
        )
        .await;
    }
    Ok(application)
}

/// Returns the message of a status for people.
fn text(status: &ApplicationStatus) -> Option<String> {
    Verdict::as_told(&status.conditions).map(|told| told.message)
}

/// Returns whether a status is news. The same state for the same reason is reported once, however often a run comes to it.
fn is_news(before: &ApplicationStatus, after: &ApplicationStatus) -> bool {
    let told = Verdict::as_told(&before.conditions);
    let (Some(told), Some(now)) = (told, Verdict::as_told(&after.conditions)) else {
        return true;
    };
    let was_ready = told.standing == Standing::Ready;
    let is_same_state = was_ready == (now.standing == Standing::Ready) && told.reason == now.reason;
    // Each retry may fail with a different text, such as the port of a connection. The condition has the newest text.
    let is_next_try = told.standing == Standing::Retrying
        && now.standing == Standing::Retrying
        && before.attempted_revision == after.attempted_revision
        && before.observed_generation == after.observed_generation;
    // After a rollback was reported, later commits that leave it in force are not reported.
    let went_back = |status: &ApplicationStatus| {
        let rollback = status.rollback.as_ref();
        rollback.map(|rollback| (rollback.to.clone(), rollback.since.clone()))
    };
    let is_still_back =
        now.reason == Reason::RolledBack.camel() && went_back(before) == went_back(after);
    let is_same =
        is_same_state && (was_ready || is_next_try || is_still_back || told.message == now.message);
    if before.revision == after.revision {
        !is_same
    } else {
        !is_same_trouble(before, after)
    }
}

/// Returns whether the same objects of the same render are unhealthy, only for another commit: then its name is all that is new
/// in the text.
fn is_same_trouble(before: &ApplicationStatus, after: &ApplicationStatus) -> bool {
    let is_degraded = |status: &ApplicationStatus| {
        let told = Verdict::as_told(&status.conditions);
        told.is_some_and(|told| {
            told.standing == Standing::Stalled && told.reason == Reason::Degraded.camel()
        })
    };
    let objects = |status: &ApplicationStatus| -> BTreeSet<String> {
        let objects = status.problems.iter().map(|one| one.object.clone());
        objects.collect()
    };
    is_degraded(before)
        && is_degraded(after)
        && before.rendered_digest == after.rendered_digest
        && before.observed_generation == after.observed_generation
        && objects(before) == objects(after)
}

/// Sends an event to notifiers, and also to the cluster if it is an Event there. The log gets its message unchanged.
async fn tell(
    shared: &Arc<Shared>,
    application: &Application,
    reason: Reason,
    message: &str,
    details: &Value,
    learned: &Learned,
    notifiers: &[NotifierUse],
) {
    let name = application.application_name();
    let event = report::event(&name, reason, message, details, learned, now_ms());
    let weight = if event.severity == EventSeverity::Info {
        Weight::Normal
    } else {
        Weight::Warning
    };
    tracing::info!(application = %name, reason = reason.name(), message, "told");
    notify::deliver(shared, application, notifiers, &event);
    if !reason.is_kubernetes_event() {
        return;
    }
    shared
        .events
        .emit(
            application,
            "Application",
            weight,
            &reason.camel(),
            "Converge",
            message,
        )
        .await;
}

/// Handles a status that was not written, or may not have been. The next run reads the status from the cluster.
fn unwritten(job: &mut Job, error: StatusError) -> Outcome {
    match error {
        // There is nothing left to report.
        StatusError::Gone { .. } => Outcome::Done,
        error => {
            job.is_unsure = true;
            let name = job.application.application_name();
            tracing::warn!(application = %name, error = %chain(&error), "the status was not written");
            Outcome::Failed(Retry::Backoff)
        }
    }
}

#[cfg(test)]
mod tests {
    use pintle_cluster::Unsettled;
    use pintle_core::{
        digest::Digest,
        health::{Assessment, Status},
        object::ObjectId,
    };

    use super::*;

    /// Returns the status after a run that has tried a revision for a generation of the spec.
    fn tried(
        before: &ApplicationStatus,
        revision: &str,
        generation: i64,
        verdict: &Verdict,
    ) -> ApplicationStatus {
        let learned = Learned {
            attempted: Some(revision.to_owned()),
            ..Learned::default()
        };
        report::status(before, generation, &learned, verdict)
    }

    #[test]
    fn a_failure_that_is_tried_again_is_told_once_whatever_its_text() {
        let from = |port: u16, reason| {
            let message = format!("a webhook failed: 10.0.0.1:{port}: connection reset");
            Verdict::failed(Standing::Retrying, reason, message)
        };
        let reset = |port| from(port, Reason::ApplyFailed);
        let nothing = ApplicationStatus::default();
        let first = tried(&nothing, "1", 1, &reset(40_001));
        assert!(is_news(&nothing, &first));
        let second = tried(&first, "1", 1, &reset(40_002));
        assert!(!is_news(&first, &second));
        assert_eq!(second.conditions[0].message, reset(40_002).message);

        let another_revision = tried(&second, "2", 1, &reset(40_003));
        assert!(is_news(&second, &another_revision));
        let another_spec = tried(&second, "1", 2, &reset(40_003));
        assert!(is_news(&second, &another_spec));
        let another_reason = tried(&second, "1", 1, &from(40_003, Reason::HookFailed));
        assert!(is_news(&second, &another_reason));
    }

    #[test]
    fn what_waits_for_a_change_is_told_with_each_text() {
        let failed = |standing, text: &str| Verdict::failed(standing, Reason::ApplyFailed, text);
        let refused = |text: &str| failed(Standing::Stalled, text);
        let first = tried(&ApplicationStatus::default(), "1", 1, &refused("a"));
        assert!(!is_news(&first, &tried(&first, "1", 1, &refused("a"))));
        assert!(is_news(&first, &tried(&first, "1", 1, &refused("b"))));

        let again = tried(&first, "1", 1, &failed(Standing::Retrying, "b"));
        assert!(is_news(&first, &again));
        assert!(is_news(&again, &tried(&again, "1", 1, &refused("c"))));
    }

    #[test]
    fn what_is_not_healthy_is_told_once_for_a_render() {
        let degraded =
            |before: &ApplicationStatus, revision: &str, rendered: &str, object: &str| {
                let unhealthy = Unsettled {
                    id: ObjectId {
                        group: String::new(),
                        kind: "Pod".into(),
                        namespace: None,
                        name: object.into(),
                    },
                    assessment: Assessment::new(Status::Progressing, "it is on its way"),
                    explanation: None,
                };
                let learned = Learned {
                    attempted: Some(revision.to_owned()),
                    applied: Some(revision.to_owned()),
                    rendered: Some(Digest::of(rendered)),
                    unsettled: Some(vec![unhealthy]),
                    ..Learned::default()
                };
                let text = format!("{revision} is applied and not healthy");
                let verdict = Verdict::failed(Standing::Stalled, Reason::Degraded, text);
                report::status(before, 1, &learned, &verdict)
            };
        let first = degraded(&ApplicationStatus::default(), "1", "a", "web");
        assert!(!is_news(&first, &degraded(&first, "2", "a", "web")));
        assert!(is_news(&first, &degraded(&first, "2", "b", "web")));
        assert!(is_news(&first, &degraded(&first, "2", "a", "db")));
        let superseded = tried(&first, "2", 1, &Verdict::blocked("Superseded", "a change"));
        assert!(is_news(
            &superseded,
            &degraded(&superseded, "2", "a", "web")
        ));
    }

    #[test]
    fn a_rollback_that_outlives_a_commit_is_told_once() {
        let back = |instead_of: &str, since: &str| {
            let rollback = Rollback {
                to: "a".to_owned(),
                instead_of: instead_of.to_owned(),
                by: None,
                reason: "web is not healthy".to_owned(),
                since: since.to_owned(),
                left_digest: None,
            };
            let learned = Learned {
                attempted: Some("a".to_owned()),
                applied: Some("a".to_owned()),
                rollback: Some(rollback),
                ..Learned::default()
            };
            let ready = Verdict::failed(Standing::Ready, Reason::Converged, "a is converged");
            let verdict = said(&learned, &ready);
            report::status(&ApplicationStatus::default(), 1, &learned, &verdict)
        };
        let first = back("b1", "t1");
        assert!(!is_news(&first, &back("b2", "t1")));
        assert!(is_news(&first, &back("c", "t2")));
    }

    #[test]
    fn what_goes_well_is_told_once_for_a_revision() {
        let converged = |revision: &str, text: &str| {
            let learned = Learned {
                applied: Some(revision.to_owned()),
                ..Learned::default()
            };
            let verdict = Verdict::failed(Standing::Ready, Reason::Converged, text);
            report::status(&ApplicationStatus::default(), 1, &learned, &verdict)
        };
        let first = converged("1", "3 objects are healthy");
        assert!(!is_news(&first, &converged("1", "4 objects are healthy")));
        assert!(is_news(&first, &converged("2", "3 objects are healthy")));
    }
}
