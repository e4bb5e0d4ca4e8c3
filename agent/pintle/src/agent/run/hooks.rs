//! The end of a release: hooks after it is healthy, and tests that somebody asked for.

use pintle_cluster::{Applying, InventoryStore as _, Progress, Purpose, Silent, StatusStore};
use pintle_core::{application::TestResult, event::Reason, names::TEST_ANNOTATION, plan::Depth};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Stopped,
    converge::{Ready, Run},
    failures::{apply_failed, plan_failed},
    tell,
};
use crate::pipeline::results::TestResults;

impl Ready {
    pub(super) fn applying<'a>(
        &'a self,
        progress: &'a dyn Progress,
        cancel: &'a CancellationToken,
    ) -> Applying<'a> {
        Applying {
            release: &self.release,
            prepared: &self.prepared,
            progress,
            cancel,
        }
    }
}

impl Run {
    /// Ends a release that is healthy.
    pub(super) async fn complete(
        &mut self,
        ready: &Ready,
        store: &mut StatusStore,
    ) -> Result<(), Stopped> {
        let inventory = store.inventory().clone();
        let applying = ready.applying(&Silent, &self.cancel);
        let completed = self
            .shared
            .cluster
            .complete(&applying, inventory, store)
            .await;
        self.found.inventory = Some(store.inventory().clone());
        completed.map_err(|error| self.not_written(ready, error))?;
        self.test(ready, store).await
    }

    /// Returns whether the objects are still needed after they are applied: tests need another plan.
    pub(super) fn needs_objects(&self) -> bool {
        self.asked_tests().is_some()
    }

    /// Returns the request for tests that was not handled yet.
    fn asked_tests(&self) -> Option<&String> {
        let asked = self.job.application.annotations.get(TEST_ANNOTATION);
        asked.filter(|asked| self.before.last_handled_test.as_ref() != Some(asked))
    }

    /// Runs the tests, if somebody has asked for them since their last run.
    async fn test(&mut self, ready: &Ready, store: &mut StatusStore) -> Result<(), Stopped> {
        let Some(attempt) = self.asked_tests().cloned() else {
            return Ok(());
        };
        let mut release = ready.release.clone();
        release.purpose = Purpose::Test;
        let inventory = store.inventory().clone();
        let cluster = &self.shared.cluster;
        let planned = cluster
            .plan(&release, &ready.prepared, &inventory, Depth::Local)
            .await
            .map_err(plan_failed)?;
        let approved = self.check(ready, planned.plan).await?;
        let name = &ready.release.application;
        self.job.told.tests.findings(name, approved.findings());
        let results = TestResults::telling(&Silent);
        let applying = Applying {
            release: &release,
            prepared: &ready.prepared,
            progress: &results,
            cancel: &self.cancel,
        };
        let tested = cluster
            .test(&applying, &approved, &attempt, inventory, store)
            .await;
        self.found.inventory = Some(store.inventory().clone());
        let results = results.into_all();
        let failed = results.iter().find(|result| !result.passed).cloned();
        match (tested, failed) {
            // A test that fails is a result, and says nothing against what is applied.
            (Err(_), Some(failed)) => self.tell_failed_test(store, &failed).await,
            (tested, _) => {
                tested.map_err(apply_failed)?;
            }
        }
        self.learned.tests = Some((attempt, results));
        Ok(())
    }

    async fn tell_failed_test(&self, store: &StatusStore, failed: &TestResult) {
        let why = failed.message.as_deref().unwrap_or_default();
        let message = format!("the test {} failed: {why}", failed.object);
        tell(
            &self.shared,
            store.application(),
            Reason::TestFailed,
            &message,
            &json!({ "error": message }),
            &self.learned,
            &self.notifiers,
        )
        .await;
    }
}
