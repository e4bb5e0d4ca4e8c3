//! The time between an apply and the end of the run. What the run waits for is reported while it waits.

use std::{sync::Arc, time::Duration};

use pintle_cluster::{
    ApplyError, ClusterError, Explainer, Patience, StatusStore, Unsettled, Waited, Weight,
};
use pintle_core::{causes::chain, object::ObjectId};
use tokio::{sync::watch, time::Instant};

use super::{
    Stopped,
    converge::{Ready, Run, working},
    failures::unhealthy,
};
use crate::agent::{
    reasons,
    report::{self, sum_up},
};

/// A rollout that is healthy within this time is written once, at its end.
const QUICK: Duration = Duration::from_secs(1);
/// The time between two statuses of a rollout in progress. Each is a write, and news to everybody who watches.
const PAUSE: Duration = Duration::from_secs(3);
/// How long an object may be progressing before it is asked why: most images are there by then.
const MOMENT: Duration = Duration::from_secs(5);

impl Run {
    /// Finds out why objects are not healthy for which others have waited in vain, so that the status can say it.
    pub(super) async fn explain(&mut self, ready: &Ready, error: &ClusterError<ApplyError>) {
        let ClusterError::Failed(error) = error else {
            return;
        };
        let ids = unhealthy(error);
        let account = ready.release.account.as_ref();
        let Ok(mut explainer) = Explainer::new(&self.shared.cluster, account) else {
            return;
        };
        let name = &ready.release.application;
        // The wait is over already. Now only the state of the objects matters.
        let at_once = Patience {
            limit: Duration::ZERO,
            moment: Duration::ZERO,
        };
        let waited = explainer
            .wait(
                &self.shared.tracker,
                name,
                &ids,
                at_once,
                &self.cancel,
                &|_| {},
            )
            .await;
        if let Waited::Failed(unsettled) | Waited::TimedOut(unsettled) = waited {
            self.learned.unsettled = Some(unsettled);
        }
    }

    /// Waits until what was applied is healthy, and keeps the status up to date with what it waits for.
    pub(super) async fn follow(
        &mut self,
        ready: &Ready,
        ids: &[ObjectId],
        store: &mut StatusStore,
    ) -> Result<Waited, Stopped> {
        let (tell, mut told) = watch::channel::<Arc<[Unsettled]>>(Arc::default());
        let report = |unsettled: &Arc<[Unsettled]>| {
            tell.send_replace(Arc::clone(unsettled));
        };
        let tracker = self.shared.tracker.clone();
        let account = ready.release.account.as_ref();
        let explainer = Explainer::new(&self.shared.cluster, account);
        let mut explainer = explainer
            .map_err(|error| Stopped::blocked(reasons::INVALID_SERVICE_ACCOUNT, chain(&error)))?;
        let limit = ready.spec.timeout.get();
        let now = Instant::now().into_std();
        let left = ready.release.waits.left_for_all(limit, now);
        // What is already reported stays so while it is checked once more.
        let is_told = left < limit && self.is_told_degraded();
        let patience = Patience {
            limit: left,
            moment: MOMENT,
        };
        let (name, cancel) = (ready.release.application.clone(), self.cancel.clone());
        let waiting = explainer.wait(&tracker, &name, ids, patience, &cancel, &report);
        let mut waiting = std::pin::pin!(waiting);
        let mut next = Instant::now() + QUICK;
        let (mut is_news, mut is_explained) = (false, false);
        loop {
            tokio::select! {
                waited = &mut waiting => return Ok(waited),
                // The sender lives as long as this function.
                Ok(()) = told.changed() => is_news = true,
                () = tokio::time::sleep_until(next), if is_news && !is_told => {
                    let unsettled = told.borrow_and_update().clone();
                    if !is_explained {
                        is_explained = Box::pin(self.tell_first_trouble(store, &unsettled)).await;
                    }
                    Box::pin(self.tell_progress(store, unsettled.to_vec())).await;
                    next = Instant::now() + PAUSE;
                    is_news = false;
                }
            }
        }
    }

    /// Writes what the run waits for, and with it what was applied.
    async fn tell_progress(&mut self, store: &mut StatusStore, unsettled: Vec<Unsettled>) {
        let verdict = working(
            reasons::PROGRESSING,
            format!("waiting for {}", sum_up(&unsettled)),
        );
        self.learned.unsettled = Some(unsettled);
        let generation = self.job.application.generation;
        let status = report::status(&self.before, generation, &self.learned, &verdict);
        if let Err(error) = store.write(status).await {
            let name = self.job.application.application_name();
            tracing::warn!(application = %name, error = %chain(&error), "the status was not written");
        }
    }

    /// Reports in an Event, once in a rollout, why it does not progress: its timeout may be far away. Returns whether there was
    /// something to report.
    async fn tell_first_trouble(&self, store: &StatusStore, unsettled: &[Unsettled]) -> bool {
        let mut explained = unsettled.iter().filter_map(|object| {
            let explanation = object.explanation.as_ref()?;
            explanation.cause.as_ref()?;
            Some((object, explanation))
        });
        let Some((object, explanation)) = explained.next() else {
            return false;
        };
        let note = format!(
            "{}: {}\n{explanation}",
            object.id, object.assessment.message
        );
        self.shared
            .events
            .emit(
                store.application(),
                "Application",
                Weight::Warning,
                reasons::NOT_READY,
                "Converge",
                &note,
            )
            .await;
        true
    }
}
