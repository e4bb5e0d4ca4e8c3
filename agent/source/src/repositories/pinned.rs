//! Commits that are followed by their ids.

use std::{collections::HashMap, time::Instant};

use gix::ObjectId;

use super::FORGET_AFTER;

/// The most that are remembered. Each of them may take a fetch of its own when everything that is followed is fetched anew.
const MOST: usize = 64;

/// Commits that were asked for by their ids and found, each with the time of the last request.
///
/// Later requests for one are answered from the cache, without a conversation. After a restart none is known until it is asked
/// for again, which takes one poll.
#[derive(Debug, Default)]
pub(super) struct Pinned(HashMap<ObjectId, Instant>);

impl Pinned {
    /// Records a commit. If there are now too many, the least recently requested one is forgotten.
    pub(super) fn note(&mut self, id: ObjectId, now: Instant) {
        self.0.insert(id, now);
        if self.0.len() <= MOST {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, at)| **at);
        if let Some(oldest) = oldest.map(|(id, _)| *id) {
            self.0.remove(&oldest);
        }
    }

    /// Returns the commits that somebody may still follow, in the order of their ids.
    pub(super) fn recent(&self, now: Instant) -> Vec<ObjectId> {
        let is_recent = |at: Instant| now.duration_since(at) <= FORGET_AFTER;
        let recent = self.0.iter().filter(|(_, at)| is_recent(**at));
        let mut ids: Vec<ObjectId> = recent.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_nobody_asks_for_is_forgotten_and_so_is_the_oldest_of_too_many() {
        let id = |byte| ObjectId::from_bytes_or_panic(&[byte; 20]);
        let start = Instant::now();
        let mut pinned = Pinned::default();
        pinned.note(id(2), start);
        pinned.note(id(1), start);
        assert_eq!(pinned.recent(start + FORGET_AFTER), [id(1), id(2)]);
        let second = Duration::from_secs(1);
        let later = start + FORGET_AFTER + second;
        pinned.note(id(2), later);
        assert_eq!(pinned.recent(later), [id(2)]);

        let mut pinned = Pinned::default();
        let mut now = start;
        for byte in (0..=64).chain([1, 65]) {
            now += second;
            pinned.note(id(byte), now);
        }
        let kept = pinned.recent(now);
        assert_eq!(kept.len(), MOST);
        assert!(kept.contains(&id(1)), "it was asked for again");
        assert!(!kept.contains(&id(0)) && !kept.contains(&id(2)));
    }
}
