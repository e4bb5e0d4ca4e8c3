//! Waiting until an application's objects are healthy.

use std::time::Duration;

use pintle_core::{
    explanation::Explanation,
    health::{Assessment, Status},
    names::ApplicationName,
    object::ObjectId,
};
use tokio_util::sync::CancellationToken;

use super::Tracker;

/// An object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// Which object.
    pub id: ObjectId,
    /// How it is, and why.
    pub assessment: Assessment,
    /// What its pods and the events about it say, if somebody has asked them.
    pub explanation: Option<Box<Explanation>>,
}

/// How waiting ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// All objects are healthy, or deliberately at rest.
    Healthy,
    /// Some have failed, and waiting would not help.
    Failed(Vec<Unsettled>),
    /// The time is over.
    TimedOut(Vec<Unsettled>),
    /// It was asked to stop.
    Cancelled,
}

impl Tracker {
    /// Waits until all of an application's objects are healthy, one has failed, or the time is over. No request is made.
    ///
    /// `report` is told who is still on the way, at first and whenever that changes.
    pub async fn wait(
        &self,
        application: &ApplicationName,
        ids: &[ObjectId],
        limit: Duration,
        cancel: &CancellationToken,
        report: &(dyn Fn(&[Unsettled]) + Send + Sync),
    ) -> Waited {
        let label = application.label_value();
        let deadline = tokio::time::Instant::now() + limit;
        let mut told: Option<Vec<Unsettled>> = None;
        loop {
            // Taken before looking, so that no change in between is missed.
            let changes = self.inner.lock().changes_of(&label);
            let unsettled = self.unsettled(application, ids);
            if unsettled.is_empty() {
                return Waited::Healthy;
            }
            if unsettled
                .iter()
                .any(|object| object.assessment.status == Status::Degraded)
            {
                return Waited::Failed(unsettled);
            }
            if told.as_ref() != Some(&unsettled) {
                report(&unsettled);
                told = Some(unsettled.clone());
            }
            let change = async {
                match changes {
                    Some(mut changes) => drop(changes.changed().await),
                    // The application is not observed: nothing will ever change.
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = change => {}
                () = cancel.cancelled() => return Waited::Cancelled,
                () = tokio::time::sleep_until(deadline) => return Waited::TimedOut(unsettled),
            }
        }
    }

    /// Returns the objects that are not settled, in the order of `ids`, those that failed first.
    pub fn unsettled(&self, application: &ApplicationName, ids: &[ObjectId]) -> Vec<Unsettled> {
        let label = application.label_value();
        let state = self.inner.lock();
        let mut unsettled: Vec<Unsettled> = ids
            .iter()
            .filter_map(|id| {
                let assessment = match state.observed(&label, id) {
                    Some(observed) => observed.assessment.clone(),
                    None if !state.is_watched(&label, id) => return None,
                    None => Assessment::new(
                        Status::Progressing,
                        state.problem_of(&label, id).map_or_else(
                            || "it has not been seen in the cluster yet".to_owned(),
                            |problem| format!("it cannot be watched: {problem}"),
                        ),
                    ),
                };
                (!assessment.status.is_settled()).then(|| Unsettled {
                    id: id.clone(),
                    assessment,
                    explanation: None,
                })
            })
            .collect();
        unsettled.sort_by_key(|object| object.assessment.status != Status::Degraded);
        unsettled
    }
}
