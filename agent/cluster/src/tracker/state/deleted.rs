//! Which objects are gone, so that an answer that is late brings none of them back.

use std::collections::VecDeque;

/// How many are remembered.
const REMEMBERED: usize = 1024;

/// Unique ids of objects that are gone, the latest last.
#[derive(Debug, Default)]
pub(super) struct Deleted(VecDeque<Box<str>>);

impl Deleted {
    pub(super) fn remember(&mut self, uid: &str) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(uid.into());
    }

    /// Takes note that a watch tells of an object. One that has lost its label is gone for a watch that asks for that, and is
    /// there again when somebody puts it back.
    pub(super) fn seen(&mut self, uid: &str) {
        self.0.retain(|gone| **gone != *uid);
    }

    pub(super) fn contains(&self, uid: &str) -> bool {
        self.0.iter().any(|gone| **gone == *uid)
    }
}
