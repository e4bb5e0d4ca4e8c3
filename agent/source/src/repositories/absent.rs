//! Commits that a repository does not have.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use gix::ObjectId;

/// How long a missing commit is not asked for again, as long as no branch or tag has moved.
///
/// The commit may arrive without that: under a reference that is not listed, such as that of a pull request, or on a replica
/// that lagged behind the others.
const RECENT: Duration = Duration::from_mins(5);

/// Commits that were asked for in vain, each with the time of the last attempt.
#[derive(Debug, Default)]
pub(super) struct Absent(HashMap<ObjectId, Instant>);

impl Absent {
    pub(super) fn note(&mut self, id: ObjectId, now: Instant) {
        self.0.insert(id, now);
    }

    pub(super) fn contains(&self, id: &ObjectId) -> bool {
        self.0.contains_key(id)
    }

    /// Returns whether a commit need not be asked for now.
    pub(super) fn is_recent(&self, id: &ObjectId, now: Instant) -> bool {
        let last = self.0.get(id);
        last.is_some_and(|at| now.duration_since(*at) < RECENT)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_there_is_asked_for_again_after_a_while() {
        let id = |byte| ObjectId::from_bytes_or_panic(&[byte; 20]);
        let start = Instant::now();
        let mut absent = Absent::default();
        assert!(!absent.is_recent(&id(1), start));
        absent.note(id(1), start);
        assert!(absent.is_recent(&id(1), start) && !absent.is_recent(&id(2), start));
        assert!(absent.is_recent(&id(1), start + RECENT / 2));
        let later = start + RECENT;
        assert!(!absent.is_recent(&id(1), later) && absent.contains(&id(1)));
        absent.note(id(1), later);
        assert!(absent.is_recent(&id(1), later));
        absent.clear();
        assert!(!absent.is_recent(&id(1), later) && !absent.contains(&id(1)));
    }
}
