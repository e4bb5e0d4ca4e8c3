//! Pending events, in virtual time.

use pintle_core::machine::{Millis, RunId};

use crate::server::{Answer, Notice, Request};

#[derive(Clone, Debug)]
pub(crate) enum What {
    Act(usize),
    /// The faults stop.
    Calm,
    Fetch,
    Watch(Notice),
    /// The watches are connected again, and list everything.
    Relist,
    Woke(usize),
    /// A request reaches the server.
    Arrive(usize, RunId, Request, u8),
    Answered(usize, RunId, Request, Answer, u8),
    Start,
    /// The lease may be free.
    Claim,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Millis,
    pub(crate) number: u64,
    /// The replica, and in which of its lives.
    pub(crate) replica: usize,
    pub(crate) life: u32,
    /// The connection of its watches.
    pub(crate) epoch: u32,
    pub(crate) what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
