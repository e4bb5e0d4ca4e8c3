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
    unwritten,
};
use crate::agent::{
    reasons::{SUPERSEDED, SUSPENDED},
    report::Verdict,
};

impl Run {
    /// Ends a run that came to no store of its own.
    pub(super) async fn stop(&mut self, stopped: Stopped) -> Outcome {
        let outcome = stopped.outcome;
        let Some(verdict) = stopped.verdict.or_else(|| self.left_underway(outcome)) else {
            return outcome;
        };
        let store = StatusStore::new(
            self.shared.applications.clone(),
            self.job.application.clone(),
            ApplicationStatus::default(),
        );
        match store {
            Ok(store) => Box::pin(self.finish(store, &verdict, outcome)).await,
            Err(error) => {
                let name = self.job.application.application_name();
                tracing::error!(application = %name, error = %chain(&error), "its status cannot be written");
                outcome
            }
        }
    }

    pub(super) async fn stop_with(&mut self, store: StatusStore, stopped: Stopped) -> Outcome {
        let is_suspended = self.is_suspended();
        if stopped.verdict.is_none() && is_suspended && !self.has_begun {
            // All is as it was before.
            return self.stop(stopped).await;
        }
        // Without a verdict a change came in between; what was applied is recorded all the same.
        let verdict = stopped.verdict.unwrap_or_else(|| {
            if is_suspended {
                self.cut_short()
            } else {
                working(SUPERSEDED, "a change came in between".to_owned())
            }
        });
        Box::pin(self.finish(store, &verdict, stopped.outcome)).await
    }

    /// Says whether nobody goes on with what this run leaves.
    fn is_suspended(&self) -> bool {
        self.job.is_suspended.load(Ordering::Relaxed)
    }

    /// Says that what was begun is not ended.
    fn cut_short(&self) -> Verdict {
        let revision = self.learned.attempted.as_deref().map_or("it", short);
        let message = format!(
            "suspended while {revision} was rolled out: it may be applied in part, and whether it is healthy is not known"
        );
        Verdict::blocked(SUSPENDED, message)
    }

    /// Says what becomes of what earlier runs were at, if a suspension has stopped this one before it came to anything: nothing,
    /// although the status tells that it goes on.
    fn left_underway(&self, outcome: Outcome) -> Option<Verdict> {
        if outcome != Outcome::Cancelled || !self.is_suspended() {
            return None;
        }
        let told = Verdict::as_told(&self.before.conditions)?;
        let goes_on = matches!(told.standing, Standing::Working | Standing::Retrying);
        let message = || format!("suspended; until then: {}", told.message);
        goes_on.then(|| Verdict::blocked(SUSPENDED, message()))
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
