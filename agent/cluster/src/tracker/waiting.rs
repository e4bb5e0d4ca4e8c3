//! Waiting until an application's objects are healthy.

use std::{sync::Arc, time::Duration};

use pintle_core::{
    explanation::Explanation,
    health::{Assessment, Status},
    names::ApplicationName,
    object::ObjectId,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Tracker,
    checking::unanswered,
    state::{State, Verdict},
    until,
};

/// How long a health check may take before it is told that it is what is waited for. Most answer within milliseconds.
const MOMENT: Duration = Duration::from_secs(1);

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

/// An object that is waited for.
struct Awaited {
    object: Unsettled,
    /// Since when there is nothing to be said of it but that its check has not answered; nothing if there is.
    unanswered_since: Option<Instant>,
}

impl Awaited {
    /// Returns when it is told that it is waited for; nothing if that need not wait.
    fn told_at(&self) -> Option<Instant> {
        self.unanswered_since.map(|since| since + MOMENT)
    }
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
    /// What was said of an earlier state of an object counts neither for nor against it: its check has to answer about what it
    /// is now. `report` is told who is still on the way, at first and whenever that changes; that only the answer of a check is
    /// waited for, if it takes long.
    pub async fn wait(
        &self,
        application: &ApplicationName,
        ids: &[ObjectId],
        limit: Duration,
        cancel: &CancellationToken,
        report: &(dyn Fn(&Arc<[Unsettled]>) + Send + Sync),
    ) -> Waited {
        let label = application.label_value();
        let deadline = Instant::now() + limit;
        let mut told: Arc<[Unsettled]> = Arc::default();
        loop {
            // Taken before looking, so that no change in between is missed.
            let changes = self.inner.lock().changes_of(&label);
            let awaited = self.awaited(&label, ids);
            if awaited.is_empty() {
                return Waited::Healthy;
            }
            if awaited.iter().any(|one| has_failed(&one.object)) {
                return Waited::Failed(objects(awaited));
            }
            let (news, next) = news(&awaited, Instant::now());
            if !news.is_empty() && *told != *news {
                told = news.into();
                report(&told);
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
                () = until(next) => {}
                () = cancel.cancelled() => return Waited::Cancelled,
                () = tokio::time::sleep_until(deadline) => {
                    return Waited::TimedOut(objects(awaited));
                }
            }
        }
    }

    /// Says whether all of some objects are settled as far as their checks have answered. What was said of an earlier state of
    /// an object holds until then: that it has changed is no reason to think it another than it was.
    pub fn is_settled<'a>(
        &self,
        application: &ApplicationName,
        mut ids: impl Iterator<Item = &'a ObjectId>,
    ) -> bool {
        let label = application.label_value();
        let state = self.inner.lock();
        ids.all(|id| match state.observed(&label, id) {
            Some(observed) => observed.assessment.status.is_settled(),
            // What nobody watches for is not waited for.
            None => !state.is_watched(&label, id),
        })
    }

    /// Returns the objects of which no check says that they are settled as they are now, in the order of `ids`, those that
    /// failed first.
    fn awaited(&self, label: &str, ids: &[ObjectId]) -> Vec<Awaited> {
        let state = self.inner.lock();
        let mut awaited: Vec<Awaited> = ids
            .iter()
            .filter_map(|id| {
                let (assessment, unanswered_since) = match state.verdict(label, id) {
                    Some(Verdict::Now(said)) if said.status.is_settled() => return None,
                    Some(Verdict::Now(said)) => (said.clone(), None),
                    Some(Verdict::Unanswered { before, since }) => so_far(before, since),
                    None => (unseen(&state, label, id)?, None),
                };
                Some(Awaited {
                    object: object(id, assessment),
                    unanswered_since,
                })
            })
            .collect();
        awaited.sort_by_key(|one| !has_failed(&one.object));
        awaited
    }
}

/// Says how an object is that is not known; nothing if nobody watches for it.
fn unseen(state: &State, label: &str, id: &ObjectId) -> Option<Assessment> {
    let message = || {
        state.problem_of(label, id).map_or_else(
            || "it has not been seen in the cluster yet".to_owned(),
            |problem| format!("it cannot be watched: {problem}"),
        )
    };
    state
        .is_watched(label, id)
        .then(|| Assessment::new(Status::Progressing, message()))
}

/// Says how an object is whose check has not answered, and since when that is all there is to say.
fn so_far(before: Option<&Assessment>, since: Instant) -> (Assessment, Option<Instant>) {
    match before.map(|said| (said.status, said)) {
        // It is so until something else is known.
        Some((Status::Progressing | Status::Unknown, said)) => (said.clone(), None),
        // It may not have failed any more; but whoever was told that it had must not take it for healthy.
        Some((Status::Degraded, _)) => (unanswered(), None),
        Some((Status::Healthy | Status::Suspended, _)) | None => (unanswered(), Some(since)),
    }
}

fn object(id: &ObjectId, assessment: Assessment) -> Unsettled {
    Unsettled {
        id: id.clone(),
        assessment,
        explanation: None,
    }
}

fn has_failed(object: &Unsettled) -> bool {
    object.assessment.status == Status::Degraded
}

fn objects(awaited: Vec<Awaited>) -> Vec<Unsettled> {
    awaited.into_iter().map(|one| one.object).collect()
}

/// Returns what is to be told now, and when there will be more although nothing has changed.
fn news(awaited: &[Awaited], now: Instant) -> (Vec<Unsettled>, Option<Instant>) {
    let is_told = |one: &&Awaited| one.told_at().is_none_or(|time| time <= now);
    let news = awaited.iter().filter(is_told);
    let later = awaited.iter().filter_map(Awaited::told_at);
    (
        news.map(|one| one.object.clone()).collect(),
        later.filter(|time| *time > now).min(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaited(name: &str, unanswered_since: Option<Instant>) -> Awaited {
        let id = ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: None,
            name: name.into(),
        };
        Awaited {
            object: object(&id, unanswered()),
            unanswered_since,
        }
    }

    #[test]
    fn what_was_said_before_holds_only_for_what_was_on_its_way() {
        let start = Instant::now();
        let so_far = |status| {
            let before = Assessment::new(status, "before");
            let (said, since) = so_far(Some(&before), start);
            (said.status, said.message == "before", since.is_some())
        };
        for (before, now) in [
            (Status::Healthy, (Status::Progressing, false, true)),
            (Status::Suspended, (Status::Progressing, false, true)),
            (Status::Unknown, (Status::Unknown, true, false)),
            (Status::Progressing, (Status::Progressing, true, false)),
            (Status::Degraded, (Status::Progressing, false, false)),
        ] {
            assert_eq!(so_far(before), now, "{before}");
        }
    }

    #[test]
    fn that_a_check_is_waited_for_is_told_when_it_takes_long() {
        let start = Instant::now();
        let half = start + MOMENT / 2;
        let all = [
            awaited("a", Some(half)),
            awaited("b", None),
            awaited("c", Some(start)),
        ];
        let told = |after: Duration| {
            let (told, next) = news(&all, start + after);
            let names = told.into_iter().map(|one| one.id.name);
            (names.collect::<Vec<_>>().concat(), next)
        };
        assert_eq!(told(Duration::ZERO), ("b".into(), Some(start + MOMENT)));
        assert_eq!(told(MOMENT), ("bc".into(), Some(half + MOMENT)));
        assert_eq!(told(MOMENT * 2), ("abc".into(), None));
    }
}
