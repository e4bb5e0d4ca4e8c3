//! How a run ends: its verdict goes into the status, and the controller learns whether a rollout has failed.

use std::sync::{Arc, atomic::Ordering};

use pintle_cluster::StatusStore;
use pintle_core::{
    application::{ApplicationStatus, Standing},
    causes::chain,
    machine::Outcome,
    revision::short,
};

use super::{
    Stopped, conclude,
    converge::{Run, working},
    status_before, unwritten,
};
use crate::agent::{
    job::{Job, Report},
    reasons::{SUPERSEDED, SUSPENDED},
    report::{Learned, Verdict},
    shared::Shared,
};

/// Reports that no work continues on a suspended application, where its status says otherwise.
pub(super) async fn rest(shared: Arc<Shared>, mut job: Job) -> Report {
    let outcome = put_to_rest(&shared, &mut job).await;
    Report::bare(shared, job, outcome)
}

async fn put_to_rest(shared: &Arc<Shared>, job: &mut Job) -> Outcome {
    let before = status_before(&job.application);
    let Some(verdict) = resting(&before) else {
        return Outcome::Done;
    };
    let learned = Learned {
        requested: job.requested.clone(),
        rollback: job.rollback.clone(),
        rollback_answer: job.rollback_answer.clone(),
        ..Learned::default()
    };
    let Some(store) = store_of(shared, job) else {
        return Outcome::Done;
    };
    match Box::pin(conclude(shared, store, &before, &learned, &verdict, &[])).await {
        Ok(application) => {
            job.application = application;
            Outcome::Done
        }
        Err((application, error)) => {
            job.application = *application;
            unwritten(job, error)
        }
    }
}

/// Returns the store that writes only a verdict. If there is none, logs that and returns `None`.
fn store_of(shared: &Shared, job: &Job) -> Option<StatusStore> {
    let (applications, application) = (shared.applications.clone(), job.application.clone());
    match StatusStore::new(applications, application, ApplicationStatus::default()) {
        Ok(store) => Some(store),
        Err(error) => {
            let name = job.application.application_name();
            tracing::error!(application = %name, error = %chain(&error), "its status cannot be written");
            None
        }
    }
}

/// Returns the verdict for a suspended application whose status says that work continues, or `None` if the status does not say
/// that.
fn resting(before: &ApplicationStatus) -> Option<Verdict> {
    let told = Verdict::as_told(&before.conditions)?;
    let goes_on = matches!(told.standing, Standing::Working | Standing::Retrying);
    let message = || format!("suspended; until then: {}", told.message);
    goes_on.then(|| Verdict::blocked(SUSPENDED, message()))
}

impl Run {
    /// Ends a run that has no store of its own.
    pub(super) async fn stop(&mut self, stopped: Stopped) -> Outcome {
        let outcome = stopped.outcome;
        let Some(verdict) = stopped.verdict.or_else(|| self.left_underway(outcome)) else {
            return outcome;
        };
        match store_of(&self.shared, &self.job) {
            Some(store) => Box::pin(self.finish(store, &verdict, outcome)).await,
            None => outcome,
        }
    }

    pub(super) async fn stop_with(&mut self, store: StatusStore, stopped: Stopped) -> Outcome {
        let is_suspended = self.is_suspended();
        if stopped.verdict.is_none() && is_suspended && !self.has_begun {
            // Everything is as it was before.
            return self.stop(stopped).await;
        }
        // If there is no verdict, a change came in between. What was applied is recorded all the same.
        let verdict = stopped.verdict.unwrap_or_else(|| {
            if is_suspended {
                self.cut_short()
            } else {
                working(SUPERSEDED, "a change came in between".to_owned())
            }
        });
        Box::pin(self.finish(store, &verdict, stopped.outcome)).await
    }

    /// Returns whether the application is suspended, so that nobody continues what this run leaves.
    pub(super) fn is_suspended(&self) -> bool {
        self.job.is_suspended.load(Ordering::Relaxed)
    }

    /// Returns the verdict for a rollout that was begun and not finished.
    fn cut_short(&self) -> Verdict {
        let revision = self.learned.attempted.as_deref().map_or("it", short);
        let message = format!(
            "suspended while {revision} was rolled out: it may be applied in part, and whether it is healthy is not known"
        );
        Verdict::blocked(SUSPENDED, message)
    }

    /// Returns the verdict for the work of earlier runs, if a suspension has stopped this one before it had any result.
    fn left_underway(&self, outcome: Outcome) -> Option<Verdict> {
        if outcome != Outcome::Cancelled || !self.is_suspended() {
            return None;
        }
        resting(&self.before)
    }

    pub(super) async fn finish(
        &mut self,
        store: StatusStore,
        verdict: &Verdict,
        outcome: Outcome,
    ) -> Outcome {
        let shared = Arc::clone(&self.shared);
        self.learn_failure(verdict);
        let is_unsure = store.is_unsure();
        let concluding = conclude(
            &shared,
            store,
            &self.before,
            &self.learned,
            verdict,
            &self.notifiers,
        );
        match Box::pin(concluding).await {
            Ok(application) => {
                (self.job.application, self.job.is_unsure) = (application, is_unsure);
                outcome
            }
            Err((application, error)) => {
                self.job.application = *application;
                unwritten(&mut self.job, error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pintle_core::application::Condition;

    use super::*;

    #[test]
    fn of_what_is_suspended_nothing_says_that_it_goes_on() {
        let rests = |standing| {
            let conditions =
                Condition::of(standing, "ApplyFailed", "no answer", Some(1), "t1", &[]);
            let status = ApplicationStatus {
                conditions,
                ..ApplicationStatus::default()
            };
            resting(&status)
        };
        for standing in [Standing::Working, Standing::Retrying] {
            let verdict = rests(standing).unwrap();
            assert_eq!(verdict.standing, Standing::Stalled);
            assert_eq!(verdict.reason, SUSPENDED);
            assert_eq!(verdict.message, "suspended; until then: no answer");
        }
        for standing in [Standing::Ready, Standing::Stalled] {
            assert_eq!(rests(standing), None);
        }
        assert_eq!(resting(&ApplicationStatus::default()), None);
    }
}
