//! The indexes of chart repositories that are in memory, and who reads them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use pintle_core::digest::Digest;

use super::index::Index;
use crate::error::Cause;

/// How long an index that nobody asks for stays in memory.
const KEPT: Duration = Duration::from_mins(1);

/// Indexes that are known, by repository and credentials.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    known: Mutex<HashMap<Digest, Arc<Slot>>>,
}

/// Whoever reads an index holds it; who wants it meanwhile waits.
pub(super) type Slot = tokio::sync::Mutex<Known>;

/// What came of the reads of one index.
#[derive(Debug, Default)]
pub(super) struct Known {
    held: Option<Held>,
    failed: Option<Failed>,
}

/// An index in memory.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// When its reading began.
    pub(super) started: Instant,
    /// The entity tag under which the repository gave it.
    pub(super) tag: Option<String>,
    pub(super) index: Arc<Index>,
}

/// The last read, if it gave nothing.
#[derive(Debug)]
struct Failed {
    ended: Instant,
    cause: Cause,
}

impl Indexes {
    pub(super) fn slot(&self, key: Digest) -> Arc<Slot> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody has asked for lately is only memory: it is on disk. Who waits for a slot is about to ask.
        known.retain(|_, slot| Arc::strong_count(slot) > 1 || is_recent(slot));
        Arc::clone(known.entry(key).or_default())
    }
}

fn is_recent(slot: &Slot) -> bool {
    let is_recent = |held: &Held| held.started.elapsed() < KEPT;
    slot.try_lock()
        .map_or(true, |known| known.held.as_ref().is_some_and(is_recent))
}

impl Known {
    /// Returns what answers a question without another read: an index whose reading began after it, since what was read
    /// before may have changed; or why a read failed that was under way. Those who waited for that one would see the same
    /// one after another, each for as long as it takes.
    pub(super) fn answer(&self, asked: Instant) -> Option<Result<Arc<Index>, Cause>> {
        if let Some(held) = &self.held
            && held.started >= asked
        {
            return Some(Ok(Arc::clone(&held.index)));
        }
        let failed = self.failed.as_ref()?;
        (failed.ended >= asked).then(|| Err(failed.cause.clone()))
    }

    /// Returns the index that was read last, which may have changed.
    pub(super) fn held(&self) -> Option<Held> {
        self.held.clone()
    }

    /// Keeps what came of a read, which has just ended, for those who wait for it.
    pub(super) fn keep(&mut self, read: Result<Held, Cause>) -> Result<Arc<Index>, Cause> {
        match read {
            Ok(held) => {
                let index = Arc::clone(&held.index);
                (self.held, self.failed) = (Some(held), None);
                Ok(index)
            }
            Err(cause) => {
                self.failed = Some(Failed {
                    ended: Instant::now(),
                    cause: cause.clone(),
                });
                Err(cause)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(started: Instant) -> Held {
        Held {
            started,
            tag: None,
            index: Arc::default(),
        }
    }

    fn failure() -> Cause {
        Cause::NotFound {
            host: "charts.example.com".to_owned(),
            part: "index.yaml",
            message: None,
        }
    }

    #[test]
    fn a_read_answers_who_asked_before_it_and_a_failure_who_waited_for_it() {
        let started = Instant::now();
        let mut known = Known::default();
        assert!(known.answer(started).is_none());
        known.keep(Ok(held(started))).unwrap();
        assert!(matches!(known.answer(started), Some(Ok(_))));
        let waited = started + Duration::from_nanos(1);
        assert!(known.answer(waited).is_none(), "it may have changed");

        known.keep(Err(failure())).unwrap_err();
        assert!(matches!(known.answer(waited), Some(Err(_))));
        let later = Instant::now() + Duration::from_mins(1);
        assert!(known.answer(later).is_none(), "it may have been mended");
        assert!(known.held().is_some(), "and may not have changed");

        known.keep(Ok(held(later))).unwrap();
        assert!(matches!(known.answer(waited), Some(Ok(_))));
    }

    #[test]
    fn slots_that_are_wanted_stay() {
        let indexes = Indexes::default();
        let [waited_for, recent, failed, old] =
            ["waited for", "recent", "failed", "old"].map(Digest::of);
        let is_known = |key: Digest| indexes.known.lock().unwrap().contains_key(&key);
        let waiting = indexes.slot(waited_for);
        let keep = |key: Digest, read: Result<Held, Cause>| {
            let slot = indexes.slot(key);
            let _ = slot.try_lock().unwrap().keep(read);
        };
        keep(failed, Err(failure()));
        keep(recent, Ok(held(Instant::now())));
        if let Some(long_ago) = Instant::now().checked_sub(2 * KEPT) {
            keep(old, Ok(held(long_ago)));
        }
        drop(indexes.slot(Digest::of("other")));
        assert!(is_known(waited_for) && is_known(recent));
        assert!(!is_known(failed) && !is_known(old));
        drop(waiting);
    }
}
