//! Waits until an application's objects are healthy.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use pintle_core::{
    explanation::Explanation,
    health::{Assessment, Status},
    names::ApplicationName,
    object::ObjectId,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Tracker,
    checking::unanswered,
    state::{State, Verdict},
    until,
};

/// How long a health check may take before it is reported as what is waited for. Most answer within milliseconds.
const MOMENT: Duration = Duration::from_secs(1);
/// How long an object has to be degraded without interruption to count as failed. A controller that has just seen a new spec may
/// first repeat what it said about the previous one: that of Deployments does so until a replica set has responded, a moment
/// later. The new spec may be what repairs the object.
pub(crate) const LASTING: Duration = Duration::from_secs(5);
/// For each object that is waited for, how long to let further changes arrive before all objects are examined: no report of a
/// watch is taken up during the examination. If there are thousands, each has two or three changes.
const GATHERING: Duration = Duration::from_micros(50);

/// An object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// The object.
    pub id: ObjectId,
    /// Its state, and the reason.
    pub assessment: Assessment,
    /// What its pods and the events about it say, if they were asked.
    pub explanation: Option<Box<Explanation>>,
}

/// An object that is waited for.
struct Awaited {
    object: Unsettled,
    /// Since when the only thing to say about it is that its check has not answered; `None` if there is more to say.
    unanswered_since: Option<Instant>,
    /// Whether its check's last verdict, on any state of it, is that it is degraded.
    is_failing: bool,
}

impl Awaited {
    /// Returns when to report that it is waited for; `None` if that need not be delayed.
    fn told_at(&self) -> Option<Instant> {
        self.unanswered_since.map(|since| since + MOMENT)
    }
}

/// Since when objects have been degraded without interruption. A pending check of a newer state is not an interruption.
#[derive(Debug, Default)]
struct Failing(BTreeMap<ObjectId, Instant>);

impl Failing {
    /// Records the current state of objects.
    fn see(&mut self, awaited: &[Awaited], now: Instant) {
        let failing = awaited.iter().filter(|one| one.is_failing);
        let failing: BTreeSet<&ObjectId> = failing.map(|one| &one.object.id).collect();
        self.0.retain(|id, _| failing.contains(id));
        for one in degraded(awaited) {
            self.0.entry(one.object.id.clone()).or_insert(now);
        }
    }

    /// Returns when the first of the degraded objects will count as failed.
    fn over_at(&self, awaited: &[Awaited]) -> Option<Instant> {
        let since = degraded(awaited).filter_map(|one| self.0.get(&one.object.id));
        since.map(|since| *since + LASTING).min()
    }
}

/// How waiting ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// All objects are healthy, or deliberately at rest.
    Healthy,
    /// Some objects have been degraded for a while, or are degraded at the timeout: waiting would not help.
    Failed(Vec<Unsettled>),
    /// The wait timed out.
    TimedOut(Vec<Unsettled>),
    /// It was asked to stop.
    Cancelled,
}

impl Tracker {
    /// Waits until all of an application's objects are healthy, one has failed, or the wait times out. No request is made.
    ///
    /// An object has failed when it has been degraded for a while: at first, the verdict may be about the previous spec, which
    /// this one repairs.
    ///
    /// A verdict on an earlier state of an object counts neither for nor against it: its check has to answer for its current
    /// state. `report` gets the objects that are still in progress, at first and whenever that changes. If only the answer of a
    /// check is missing, that is reported only when it takes long.
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
        let mut failing = Failing::default();
        loop {
            // Subscribed before looking, so that no change in between is missed.
            let changes = self.inner.lock().changes_of(&label);
            let awaited = self.awaited(&label, ids);
            if awaited.is_empty() {
                return Waited::Healthy;
            }
            let now = Instant::now();
            failing.see(&awaited, now);
            let over_at = failing.over_at(&awaited);
            if over_at.is_some_and(|time| time <= now) {
                return Waited::Failed(objects(awaited));
            }
            let (news, told_at) = news(&awaited, now);
            let next = [told_at, over_at].into_iter().flatten().min();
            if !news.is_empty() && *told != *news {
                told = news.into();
                report(&told);
            }
            tokio::select! {
                () = changed(changes, ids.len()) => {}
                () = until(next) => {}
                () = cancel.cancelled() => return Waited::Cancelled,
                () = tokio::time::sleep_until(deadline) => return over(awaited),
            }
        }
    }

    /// Returns whether all of the objects are settled as far as their checks have answered. Until a check answers, the verdict on
    /// an earlier state holds: a change of an object is no reason to assume that its health is different.
    pub fn is_settled<'a>(
        &self,
        application: &ApplicationName,
        mut ids: impl Iterator<Item = &'a ObjectId>,
    ) -> bool {
        let label = application.label_value();
        let state = self.inner.lock();
        ids.all(|id| match state.observed(&label, id) {
            Some(observed) => observed.assessment.status.is_settled(),
            // An object that no watch covers is not waited for.
            None => !state.is_watched(&label, id),
        })
    }

    /// Returns the objects that no check reports as settled in their current state, in the order of `ids`, with failed objects
    /// first.
    fn awaited(&self, label: &str, ids: &[ObjectId]) -> Vec<Awaited> {
        let state = self.inner.lock();
        let mut awaited: Vec<Awaited> = ids
            .iter()
            .filter_map(|id| {
                let verdict = state.verdict(label, id);
                let is_failing = verdict.as_ref().is_some_and(is_failing);
                let (assessment, unanswered_since) = match verdict {
                    Some(Verdict::Now(said)) if said.status.is_settled() => return None,
                    Some(Verdict::Now(said)) => (said.clone(), None),
                    Some(Verdict::Unanswered { before, since }) => so_far(before, since),
                    None => (unseen(&state, label, id)?, None),
                };
                Some(Awaited {
                    object: object(id, assessment),
                    unanswered_since,
                    is_failing,
                })
            })
            .collect();
        awaited.sort_by_key(|one| !is_degraded(&one.object));
        awaited
    }
}

/// Waits until something has changed, and a while longer if many objects are waited for.
async fn changed(changes: Option<watch::Receiver<u64>>, objects: usize) {
    let Some(mut changes) = changes else {
        // The application is not observed: nothing will ever change.
        return std::future::pending().await;
    };
    // The sender is gone once the application is forgotten, which is a change, too.
    let _ = changes.changed().await;
    tokio::time::sleep(gathering(objects)).await;
}

fn gathering(objects: usize) -> Duration {
    let objects = u32::try_from(objects).unwrap_or(u32::MAX);
    GATHERING.saturating_mul(objects)
}

/// Returns the state of an object that is not known; `None` if no watch covers it.
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

/// Returns the state of an object whose check has not answered, and since when that is all there is to say.
fn so_far(before: Option<&Assessment>, since: Instant) -> (Assessment, Option<Instant>) {
    match before.map(|said| (said.status, said)) {
        // This holds until something else is known.
        Some((Status::Progressing | Status::Unknown, said)) => (said.clone(), None),
        // It may no longer be failed. But a caller that was told of the failure must not take it for healthy.
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

fn is_degraded(object: &Unsettled) -> bool {
    object.assessment.status == Status::Degraded
}

/// Returns the objects that are degraded in their current state.
fn degraded(awaited: &[Awaited]) -> impl Iterator<Item = &Awaited> {
    awaited.iter().filter(|one| is_degraded(&one.object))
}

/// Returns whether a check's last verdict is that its object is degraded.
fn is_failing(verdict: &Verdict<'_>) -> bool {
    let said = match verdict {
        Verdict::Now(said) => Some(*said),
        Verdict::Unanswered { before, .. } => *before,
    };
    said.is_some_and(|said| said.status == Status::Degraded)
}

/// Returns how waiting ended at the timeout.
fn over(awaited: Vec<Awaited>) -> Waited {
    let has_failed = degraded(&awaited).next().is_some();
    let unsettled = objects(awaited);
    if has_failed {
        Waited::Failed(unsettled)
    } else {
        Waited::TimedOut(unsettled)
    }
}

fn objects(awaited: Vec<Awaited>) -> Vec<Unsettled> {
    awaited.into_iter().map(|one| one.object).collect()
}

/// Returns what to report now, and when there will be more to report even if nothing changes.
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
            is_failing: false,
        }
    }

    /// Returns an object that its check last called degraded. `is_answered` is whether that check was of its current state.
    fn failing(name: &str, is_answered: bool) -> Awaited {
        let mut failing = awaited(name, None);
        failing.is_failing = true;
        if is_answered {
            failing.object.assessment = Assessment::new(Status::Degraded, "it is down");
        }
        failing
    }

    #[test]
    fn what_is_degraded_for_a_moment_has_not_failed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut known = Failing::default();
        let mut over_at = |seconds, awaited: &[Awaited]| {
            known.see(awaited, at(seconds));
            known.over_at(awaited)
        };
        assert_eq!(over_at(0, &[failing("a", true)]), Some(start + LASTING));
        assert_eq!(over_at(1, &[awaited("a", None)]), None, "it is on its way");
        let again = at(2) + LASTING;
        assert_eq!(over_at(2, &[failing("a", true)]), Some(again));
        assert_eq!(over_at(3, &[failing("a", false)]), None, "who knows");
        let both = [failing("a", true), failing("b", true)];
        assert_eq!(over_at(4, &both), Some(again), "it has not ended between");
        assert_eq!(over_at(5, &both[1..]), Some(at(4) + LASTING));
    }

    #[test]
    fn changes_of_many_objects_are_looked_at_together_and_of_few_at_once() {
        assert!(gathering(3) < Duration::from_millis(1));
        assert!(gathering(3000) > Duration::from_millis(100));
        assert!(gathering(8192) < LASTING);
    }

    #[test]
    fn what_is_degraded_when_the_time_is_over_has_failed() {
        let is_failed = |awaited| matches!(over(awaited), Waited::Failed(_));
        assert!(is_failed(vec![awaited("a", None), failing("b", true)]));
        assert!(!is_failed(vec![awaited("a", None), failing("b", false)]));
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
