//! Waiting until an application's objects are healthy.

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

/// How long a health check may take before it is told that it is what is waited for. Most answer within milliseconds.
const MOMENT: Duration = Duration::from_secs(1);
/// How long an object has to be degraded without a break to have failed. A controller that has just seen a new spec may first
/// repeat what it said of the one before: that of Deployments does until a replica set has answered it, a moment later. The new spec
/// may be what mends the object.
pub(crate) const LASTING: Duration = Duration::from_secs(5);
/// For each object that is waited for, how long further changes are let come before all are looked at: nothing that a watch tells is
/// taken up meanwhile. Of thousands each has two or three changes.
const GATHERING: Duration = Duration::from_micros(50);

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
    /// Whether its check has said last that it is degraded, of whatever state of it.
    is_failing: bool,
}

impl Awaited {
    /// Returns when it is told that it is waited for; nothing if that need not wait.
    fn told_at(&self) -> Option<Instant> {
        self.unanswered_since.map(|since| since + MOMENT)
    }
}

/// Since when objects have been degraded without a break. That a check has yet to answer about a newer state is none.
#[derive(Debug, Default)]
struct Failing(BTreeMap<ObjectId, Instant>);

impl Failing {
    /// Takes up how objects are now.
    fn see(&mut self, awaited: &[Awaited], now: Instant) {
        let failing = awaited.iter().filter(|one| one.is_failing);
        let failing: BTreeSet<&ObjectId> = failing.map(|one| &one.object.id).collect();
        self.0.retain(|id, _| failing.contains(id));
        for one in degraded(awaited) {
            self.0.entry(one.object.id.clone()).or_insert(now);
        }
    }

    /// Returns when the first of the objects that are degraded will have failed.
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
    /// Some have been degraded for a while, or are so when the time is over: waiting would not help.
    Failed(Vec<Unsettled>),
    /// The time is over.
    TimedOut(Vec<Unsettled>),
    /// It was asked to stop.
    Cancelled,
}

impl Tracker {
    /// Waits until all of an application's objects are healthy, one has failed, or the time is over. No request is made.
    ///
    /// An object has failed when it has been degraded for a while: at first, that may be said of the spec before, which this one
    /// mends.
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
        let mut failing = Failing::default();
        loop {
            // Taken before looking, so that no change in between is missed.
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

/// Waits until something has changed, and a while for more where many objects are waited for.
async fn changed(changes: Option<watch::Receiver<u64>>, objects: usize) {
    let Some(mut changes) = changes else {
        // The application is not observed: nothing will ever change.
        return std::future::pending().await;
    };
    // Nobody tells of changes any more when the application is forgotten, which is one.
    let _ = changes.changed().await;
    tokio::time::sleep(gathering(objects)).await;
}

fn gathering(objects: usize) -> Duration {
    let objects = u32::try_from(objects).unwrap_or(u32::MAX);
    GATHERING.saturating_mul(objects)
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

fn is_degraded(object: &Unsettled) -> bool {
    object.assessment.status == Status::Degraded
}

/// Returns the objects that are degraded as they are now.
fn degraded(awaited: &[Awaited]) -> impl Iterator<Item = &Awaited> {
    awaited.iter().filter(|one| is_degraded(&one.object))
}

/// Says whether a check has said last that its object is degraded.
fn is_failing(verdict: &Verdict<'_>) -> bool {
    let said = match verdict {
        Verdict::Now(said) => Some(*said),
        Verdict::Unanswered { before, .. } => *before,
    };
    said.is_some_and(|said| said.status == Status::Degraded)
}

/// Says how waiting has ended when the time is over.
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
            is_failing: false,
        }
    }

    /// One whose check has said last that it is degraded, and has answered about what it is now, or not.
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
