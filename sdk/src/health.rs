//! Health checks say how an object is.

use std::fmt;

use serde_json::Value;

use crate::{Failure, Plugin};

/// Which objects a health check judges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKind {
    /// Empty for the core group; `*` for any.
    pub group: String,
    /// `Deployment`; `*` for any.
    pub kind: String,
}

impl GroupKind {
    /// Names a kind; the group is empty for the core group.
    pub fn new(group: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            kind: kind.into(),
        }
    }
}

/// How an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// As it should be.
    Healthy,
    /// On its way.
    Progressing,
    /// Will not become healthy without a change.
    Degraded,
    /// Stopped on purpose.
    Suspended,
    /// Nothing can be said.
    Unknown,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Progressing => "progressing",
            Self::Degraded => "degraded",
            Self::Suspended => "suspended",
            Self::Unknown => "unknown",
        })
    }
}

/// How an object is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// How it is.
    pub status: Status,
    /// Why, in a fragment: `2 of 3 replicas are available`.
    pub message: String,
    /// Milliseconds after which the same object would be judged otherwise, because a deadline passes; absent if only a
    /// change of the object can change the verdict.
    pub recheck_after_ms: Option<u64>,
}

impl Assessment {
    /// Judges an object; the message is a lowercase fragment.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            recheck_after_ms: None,
        }
    }

    /// Says that the verdict may change at a time, in milliseconds since the epoch, although the object does not.
    #[must_use]
    pub fn until(mut self, deadline_ms: u64, now_ms: u64) -> Self {
        self.recheck_after_ms = Some(deadline_ms.saturating_sub(now_ms));
        self
    }
}

/// Says how an object is. Pure.
pub trait Health: Plugin {
    /// What this plugin judges; the most exact match wins over `*`.
    fn judges() -> Vec<GroupKind>;

    /// Judges one object as the cluster holds it; in place of each value of a Secret's data stands a keyed digest. `now_ms`,
    /// since the epoch, is for deadlines that the object states.
    fn assess(
        settings: &Self::Settings,
        object: &Value,
        now_ms: u64,
    ) -> Result<Assessment, Failure>;
}
