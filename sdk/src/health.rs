//! Health checks, which assess the health of objects.

use std::fmt;

use serde_json::Value;

use crate::{Failure, Plugin};

/// A kind of object that a health check assesses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKind {
    /// The API group: empty for the core group, `*` for any.
    pub group: String,
    /// The kind, such as `Deployment`; `*` for any.
    pub kind: String,
}

impl GroupKind {
    /// Creates a `GroupKind`. The group is empty for the core group.
    pub fn new(group: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            kind: kind.into(),
        }
    }
}

/// The health of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The object is as it should be.
    Healthy,
    /// The object is on its way to being healthy.
    Progressing,
    /// The object will not become healthy without a change.
    Degraded,
    /// The object is stopped on purpose.
    Suspended,
    /// Nothing can be said about the object.
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

/// The health of an object, and the reason for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// The health.
    pub status: Status,
    /// The reason, as a fragment: `2 of 3 replicas are available`.
    pub message: String,
    /// Milliseconds after which the same object would be assessed differently, because a deadline passes. Absent if
    /// only a change to the object can change the assessment.
    pub recheck_after_ms: Option<u64>,
}

impl Assessment {
    /// Creates an assessment. The message is a lowercase fragment.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            recheck_after_ms: None,
        }
    }

    /// Sets the time at which the assessment may change although the object does not. Both times are in milliseconds
    /// since the epoch.
    #[must_use]
    pub fn until(mut self, deadline_ms: u64, now_ms: u64) -> Self {
        self.recheck_after_ms = Some(deadline_ms.saturating_sub(now_ms));
        self
    }
}

/// A plugin that assesses the health of objects. Pure.
pub trait Health: Plugin {
    /// Returns the kinds that this plugin assesses. A more exact match wins over `*`.
    fn judges() -> Vec<GroupKind>;

    /// Assesses one object as the cluster holds it, except that a keyed digest replaces each value of a Secret's data.
    ///
    /// `now_ms`, in milliseconds since the epoch, is for deadlines that the object states.
    fn assess(
        settings: &Self::Settings,
        object: &Value,
        now_ms: u64,
    ) -> Result<Assessment, Failure>;
}
