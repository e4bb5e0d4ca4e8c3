//! Remembers which objects are gone, so that a late response brings none of them back.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

/// How many objects are remembered.
const REMEMBERED: usize = 1024;

/// The uids of objects that are gone.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    /// A set, because each event of a watch looks here.
    uids: HashSet<Arc<str>>,
    /// The latest is last.
    order: VecDeque<Arc<str>>,
}

impl Deleted {
    pub(super) fn remember(&mut self, uid: &str) {
        if self.uids.contains(uid) {
            return;
        }
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.uids.remove(&oldest);
        }
        let uid: Arc<str> = uid.into();
        self.uids.insert(Arc::clone(&uid));
        self.order.push_back(uid);
    }

    /// Records that a watch reports an object. An object that has lost its label is gone for a watch that selects the label, and
    /// exists again when someone puts the label back.
    pub(super) fn seen(&mut self, uid: &str) {
        if self.uids.remove(uid) {
            self.order.retain(|gone| **gone != *uid);
        }
    }

    pub(super) fn contains(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_may_be_are_remembered_and_each_once() {
        let mut deleted = Deleted::default();
        deleted.remember("first");
        for _ in 0..REMEMBERED {
            deleted.remember("again");
        }
        assert!(deleted.contains("first") && deleted.contains("again"));
        deleted.seen("again");
        assert!(deleted.contains("first") && !deleted.contains("again"));
        for number in 1..REMEMBERED {
            deleted.remember(&number.to_string());
        }
        assert!(deleted.contains("first"));
        deleted.remember("one more");
        assert!(!deleted.contains("first") && deleted.contains("1"));
        assert_eq!(deleted.uids.len(), REMEMBERED);
        assert_eq!(deleted.order.len(), REMEMBERED);
    }
}
