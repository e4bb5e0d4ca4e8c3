//! Since when a render is waited for, over runs that are stopped before it has come.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pintle_core::object::ObjectId;

use crate::tracker::LASTING;

/// Since when that is waited for which a render needs. The runs of one render share it: one that is stopped leaves to the next what
/// is left of the time. Otherwise commits that change nothing, one after the other, would let nothing ever take too long.
#[derive(Debug, Clone, Default)]
pub struct Waits(Arc<Mutex<Since>>);

#[derive(Debug, Default)]
struct Since {
    /// For all objects, when they are applied.
    all: Option<Instant>,
    /// For a hook, or an object that others come after.
    one: BTreeMap<ObjectId, Instant>,
}

impl Waits {
    /// Returns what is left of the time in which all objects may become healthy. It begins now if nobody waits for them yet.
    pub fn left_for_all(&self, limit: Duration, now: Instant) -> Duration {
        let since = *self.lock().all.get_or_insert(now);
        left(limit, since, now)
    }

    /// Returns what is left of the time that a hook may take, or an object that others come after. It begins now if nobody waits
    /// for it yet.
    pub fn left_for(&self, id: &ObjectId, limit: Duration, now: Instant) -> Duration {
        let since = *self.lock().one.entry(id.clone()).or_insert(now);
        left(limit, since, now)
    }

    /// Takes note that all objects were healthy, or out of sight: if they are waited for again, that is another time.
    pub fn renew(&self) {
        self.lock().all = None;
    }

    /// Takes note that an object was written: it has its whole time from then on, and all of them have.
    pub(crate) fn written(&self, id: &ObjectId) {
        let mut since = self.lock();
        since.all = None;
        since.one.remove(id);
    }

    /// Takes note that a hook or an object is not waited for any more, whatever came of it.
    pub(crate) fn ended(&self, id: &ObjectId) {
        self.lock().one.remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, Since> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what is left of a limit: enough to see how things are, at least, as they may have come while nobody waited.
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
