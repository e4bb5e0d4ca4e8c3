//! What is known about live objects without asking the server.

use pintle_core::{digest::Digest, object::ObjectId};

/// What is known about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Nothing is known: the server has to be asked.
    Unknown,
    /// It does not exist, or no longer carries the application's label.
    Missing,
    /// It exists.
    Present {
        /// Its uid, as assigned by the server.
        uid: String,
        /// The digest over the fields that the application owns; `None` if it owns none.
        stored: Option<Digest>,
    },
}

/// A source of facts, such as a [`Tracker`](crate::Tracker) with open watches.
pub trait Facts: Send + Sync {
    /// Returns what is known about an object.
    fn of(&self, id: &ObjectId) -> Fact;
}

/// Knows nothing, so that the server is asked about each object.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFacts;

impl Facts for NoFacts {
    fn of(&self, _: &ObjectId) -> Fact {
        Fact::Unknown
    }
}
