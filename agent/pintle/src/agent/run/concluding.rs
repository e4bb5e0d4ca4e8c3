//! How a run ends: its verdict goes into the status, and the controller learns whether a rollout has failed.

use std::sync::Arc;

use pintle_cluster::StatusStore;
use pintle_core::{application::ApplicationStatus, machine::Outcome, rollback::Rollback};

use super::{
    Stopped, conclude,
    converge::{Run, working},
    rollback, unwritten,
};
use crate::{
    agent::{chronicle::SUPERSEDED, report::Verdict},
    cli::output,
};

impl Run {
    /// Ends a run that came to no store of its own.
    pub(super) async fn stop(&mut self, stopped: Stopped) -> Outcome {
        let Some(verdict) = stopped.verdict else {
            return stopped.outcome;
        };
        let store = StatusStore::new(
            self.shared.applications.clone(),
            self.job.application.clone(),
            ApplicationStatus::default(),
        );
        match store {
            Ok(store) => Box::pin(self.finish(store, &verdict, stopped.outcome)).await,
            Err(error) => {
                let name = self.job.application.application_name();
                tracing::error!(application = %name, error = %output::chain(&error.into()), "its status cannot be written");
                stopped.outcome
            }
        }
    }

    pub(super) async fn stop_with(&mut self, store: StatusStore, stopped: Stopped) -> Outcome {
        // Without a verdict a change came in between; what was applied is recorded all the same.
        let superseded = || working(SUPERSEDED, "a change came in between".to_owned());
        let verdict = stopped.verdict.unwrap_or_else(superseded);
        Box::pin(self.finish(store, &verdict, stopped.outcome)).await
    }

    pub(super) async fn finish(
        &mut self,
        store: StatusStore,
        verdict: &Verdict,
        outcome: Outcome,
    ) -> Outcome {
        let shared = Arc::clone(&self.shared);
        self.learn_failure(verdict);
        let rollback = self.learned.rollback.as_ref();
        let is_earlier = |one: &&Rollback| self.learned.attempted.as_ref() == Some(&one.to);
        let verdict = match rollback.filter(is_earlier) {
            Some(rollback) => rollback::told(rollback, verdict.clone()),
            None => verdict.clone(),
        };
        let is_unsure = store.is_unsure();
        let concluding = conclude(
            &shared,
            store,
            &self.before,
            &self.learned,
            &verdict,
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
