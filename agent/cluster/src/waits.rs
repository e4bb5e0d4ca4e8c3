//! How long a render has been waited for, across runs that stop before it is done.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pintle_core::object::ObjectId;

use crate::tracker::LASTING;

/// The start times of the waits for what a render needs. All runs of one render share them: a run that is stopped leaves the
/// remaining time to the next. Otherwise a series of commits that change nothing would keep every timeout from ever expiring.
#[derive(Debug, Clone, Default)]
pub struct Waits(Arc<Mutex<Since>>);

#[derive(Debug, Default)]
struct Since {
    /// The start of the wait for all objects, once they are applied.
    all: Option<Instant>,
    /// The start of the wait for a hook, or for an object that others come after.
    one: BTreeMap<ObjectId, Instant>,
}

impl Waits {
    /// Returns how much time is left for all objects to become healthy. The time starts now if no wait for them is running.
    pub fn left_for_all(&self, limit: Duration, now: Instant) -> Duration {
        let since = *self.lock().all.get_or_insert(now);
        left(limit, since, now)
    }

    /// Returns how much time is left for a hook, or for an object that others come after. The time starts now if no wait for it
    /// is running.
    pub fn left_for(&self, id: &ObjectId, limit: Duration, now: Instant) -> Duration {
        let since = *self.lock().one.entry(id.clone()).or_insert(now);
        left(limit, since, now)
    }

    /// Records that all objects were healthy, or out of sight: a later wait for them starts anew.
    pub fn renew(&self) {
        self.lock().all = None;
    }

    /// Records that an object was written: from then on it has its full time, and so do all objects together.
    pub(crate) fn written(&self, id: &ObjectId) {
        let mut since = self.lock();
        since.all = None;
        since.one.remove(id);
    }

    /// Records that a hook or an object is no longer waited for, whatever the outcome.
    pub(crate) fn ended(&self, id: &ObjectId) {
        self.lock().one.remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, Since> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what is left of a limit, but at least long enough to see the current state: objects may have become healthy while no
/// one waited.
fn left(limit: Duration, since: Instant, now: Instant) -> Duration {
    let waited = now.saturating_duration_since(since);
    limit.saturating_sub(waited).max(LASTING.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(5);

    fn id(name: &str) -> ObjectId {
        ObjectId {
            group: "apps".into(),
            kind: "StatefulSet".into(),
            namespace: Some("shop".into()),
            name: name.into(),
        }
    }

    #[test]
    fn who_waits_again_has_what_is_left_and_time_to_look() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let waits = Waits::default();
        let next = waits.clone();
        assert_eq!(waits.left_for_all(LIMIT, start), LIMIT);
        assert_eq!(next.left_for_all(LIMIT, at(120)), Duration::from_mins(3));
        assert_eq!(next.left_for_all(LIMIT, at(299)), LASTING);
        assert_eq!(next.left_for_all(LIMIT, at(9999)), LASTING);
        let short = LASTING / 5;
        assert_eq!(next.left_for_all(short, at(9999)), short);
    }

    #[test]
    fn what_has_come_or_is_written_again_has_its_whole_time() {
        let start = Instant::now();
        let later = start + LIMIT / 2;
        let (web, db) = (id("web"), id("db"));
        let begun = || {
            let waits = Waits::default();
            waits.left_for_all(LIMIT, start);
            waits.left_for(&web, LIMIT, start);
            waits.left_for(&db, LIMIT, start);
            waits
        };
        let left = |waits: Waits| {
            [
                waits.left_for_all(LIMIT, later),
                waits.left_for(&web, LIMIT, later),
                waits.left_for(&db, LIMIT, later),
            ]
            .map(|left| left == LIMIT)
        };
        assert_eq!(left(begun()), [false, false, false]);
        let renewed = begun();
        renewed.renew();
        assert_eq!(left(renewed), [true, false, false]);
        let written = begun();
        written.written(&web);
        assert_eq!(left(written), [true, true, false]);
        let ended = begun();
        ended.ended(&db);
        assert_eq!(left(ended), [false, false, true]);
    }
}
