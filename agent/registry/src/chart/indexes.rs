//! The indexes of chart repositories that are in memory, and the turns to read them.

use std::{
    cmp::Reverse,
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use pintle_core::digest::Digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    incoming::{Kind, Spool},
    index::Index,
};
use crate::{error::Cause, room::Room};

/// How long an index stays in memory when nobody asks for it.
const KEPT: Duration = Duration::from_mins(1);
/// The maximum size of the indexes that stay in memory, in bytes. The largest known one takes about 5 MiB.
const MAX_HELD: usize = 128 << 20;
/// The largest text of an index that is read without a turn, and that stays in memory while it is received, in bytes. Most are
/// smaller.
pub(super) const SMALL: u64 = 1 << 20;
/// The number of larger indexes that are read at the same time. Each takes its text, which may have 96 MiB, and about as much
/// again for the index parsed from it.
const LARGE_AT_ONCE: usize = 2;
/// The room on disk for the texts of larger indexes while they are received and wait to be read, in bytes.
pub(super) const MAX_WAITING: u64 = 256 << 20;

/// The known indexes of chart repositories.
///
/// All callers that use the same URL and credentials, and trust the same authorities, share one request and one copy.
#[derive(Debug)]
pub(crate) struct Indexes {
    known: Mutex<HashMap<Digest, Arc<Slot>>>,
    large: Turns,
    /// The room for the texts of larger indexes.
    room: Room,
}

impl Default for Indexes {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            large: Turns(Arc::new(Semaphore::new(LARGE_AT_ONCE))),
            room: Room::new(MAX_WAITING),
        }
    }
}

/// The right to read a large index. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// The source of these rights.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    /// Waits for a turn.
    pub(super) async fn take(&self) -> Turn {
        let permit = Arc::clone(&self.0).acquire_owned().await;
        Turn {
            _permit: permit.expect("nobody closes it"),
        }
    }
}

/// The lock on one index. The caller that reads the index holds it, and others that want the index wait.
pub(super) type Slot = tokio::sync::Mutex<Known>;

/// The results of the reads of one index.
#[derive(Debug, Default)]
pub(super) struct Known {
    held: Option<Held>,
    failed: Option<Failed>,
}

/// An index in memory.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// When the read that fetched or last confirmed it began.
    pub(super) started: Instant,
    /// The entity tag that the repository gave it.
    pub(super) tag: Option<String>,
    pub(super) index: Arc<Index>,
    /// How much memory it takes, in bytes.
    size: usize,
}

/// The last read, if it failed.
#[derive(Debug)]
struct Failed {
    ended: Instant,
    cause: Cause,
}

impl Held {
    /// Creates it from an index. Goes through the whole index to determine its size.
    pub(super) fn new(started: Instant, tag: Option<String>, index: Index) -> Self {
        Self {
            started,
            tag,
            size: index.size(),
            index: Arc::new(index),
        }
    }

    /// Returns the same index after the repository has said that it is unchanged.
    pub(super) fn confirmed(self, started: Instant) -> Self {
        Self { started, ..self }
    }
}

impl Indexes {
    pub(super) fn slot(&self, key: Digest) -> Arc<Slot> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // An index that nobody has asked for lately only takes memory: it is also on disk. A caller that waits for a slot is
        // about to ask.
        known.retain(|_, slot| Arc::strong_count(slot) > 1 || is_recent(slot));
        let slot = Arc::clone(known.entry(key).or_default());
        let mut held: Vec<_> = known.iter().filter_map(idle).collect();
        held.sort_unstable_by_key(|(started, ..)| Reverse(*started));
        let mut left = MAX_HELD;
        for (_, size, key) in held {
            match left.checked_sub(size) {
                Some(rest) => left = rest,
                None => drop(known.remove(&key)),
            }
        }
        slot
    }

    /// Waits for the right to read a text of this size, in bytes. Returns `None` if the text does not need one.
    pub(super) async fn turn(&self, size: u64) -> Option<Turn> {
        if size <= SMALL {
            return None;
        }
        Some(self.large.take().await)
    }

    /// Returns the spool for the text of a large index, which goes to the first folder that accepts it.
    pub(super) fn spool(&self, dir: PathBuf, other: Option<PathBuf>) -> Spool {
        let kind = Kind::Index(self.large.clone());
        Spool::new(kind, dir, other, self.room.share())
    }
}

/// Returns the start time, size and key of an index that nobody is asking for now.
fn idle((key, slot): (&Digest, &Arc<Slot>)) -> Option<(Instant, usize, Digest)> {
    if Arc::strong_count(slot) > 1 {
        return None;
    }
    let known = slot.try_lock().ok()?;
    let held = known.held.as_ref()?;
    Some((held.started, held.size, *key))
}

fn is_recent(slot: &Slot) -> bool {
    let is_recent = |held: &Held| held.started.elapsed() < KEPT;
    slot.try_lock()
        .map_or(true, |known| known.held.as_ref().is_some_and(is_recent))
}

impl Known {
    /// Returns the result that answers a request without another read, if there is one. That is an index whose read began after
    /// the request, since anything read before may be outdated, or the cause of a read that failed in the meantime. Otherwise,
    /// callers that waited for that read would run into the same failure one after another, each for as long as it takes.
    pub(super) fn answer(&self, asked: Instant) -> Option<Result<Arc<Index>, Cause>> {
        if let Some(held) = &self.held
            && held.started >= asked
        {
            return Some(Ok(Arc::clone(&held.index)));
        }
        let failed = self.failed.as_ref()?;
        (failed.ended >= asked).then(|| Err(failed.cause.clone()))
    }

    /// Returns the index that was read last, which may be outdated.
    pub(super) fn held(&self) -> Option<Held> {
        self.held.clone()
    }

    /// Keeps the result of a read that has just ended, for the callers that wait for it.
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
            size: 1,
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

    #[test]
    fn what_is_held_is_bounded() {
        let indexes = Indexes::default();
        let now = Instant::now();
        let keys = ["first", "second", "third", "small"].map(Digest::of);
        let sizes = [MAX_HELD / 2, MAX_HELD / 2, MAX_HELD / 2, 1];
        for (number, (key, size)) in (0..).zip(keys.into_iter().zip(sizes)) {
            let started = now + Duration::from_nanos(number);
            let slot = indexes.slot(key);
            let read = Held {
                size,
                ..held(started)
            };
            slot.try_lock().unwrap().keep(Ok(read)).unwrap();
        }
        drop(indexes.slot(Digest::of("other")));
        let known = indexes.known.lock().unwrap();
        let stays = keys.map(|key| known.contains_key(&key));
        assert_eq!(stays, [false, false, true, true], "the newest");
    }

    #[tokio::test]
    async fn large_indexes_wait_for_each_other_and_small_ones_for_nobody() {
        let indexes = Indexes::default();
        let mut turns = Vec::new();
        for _ in 0..LARGE_AT_ONCE {
            turns.push(indexes.turn(SMALL + 1).await.unwrap());
        }
        assert!(indexes.turn(SMALL).await.is_none());
        assert_eq!(indexes.large.0.available_permits(), 0);
        turns.clear();
        assert!(indexes.turn(SMALL + 1).await.is_some());
    }
}
