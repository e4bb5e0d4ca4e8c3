//! The health of an object and of a whole application.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::object::ObjectId;

/// The health of an object or an application. Ordered from best to worst for [`overall`].
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// The object is as it should be.
    Healthy,
    /// The object is deliberately at rest: a paused Deployment, a suspended Job.
    Suspended,
    /// The health cannot be determined.
    Unknown,
    /// The object is on its way to being healthy.
    Progressing,
    /// The object has failed, and waiting will not help.
    Degraded,
}

impl Status {
    /// Returns whether a wait for health ends here with success.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Healthy | Self::Suspended)
    }

    /// Returns the name used in statuses and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Suspended => "suspended",
            Self::Unknown => "unknown",
            Self::Progressing => "progressing",
            Self::Degraded => "degraded",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The health of an object, and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// The health.
    pub status: Status,
    /// The reason, as a sentence fragment: `2 of 3 replicas are available`.
    pub message: String,
    /// The time after which the same object would be judged differently, or after which a check that could not be asked may be
    /// asked again. Absent if only a change of the object can change the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recheck_after: Option<Duration>,
}

impl Assessment {
    /// Creates an assessment.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            recheck_after: None,
        }
    }
}

/// A group and kind that a health plugin judges.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKind {
    /// The group. Empty for the core group; `*` for any.
    pub group: String,
    /// The kind. `*` for any.
    pub kind: String,
}

impl GroupKind {
    /// Returns how exactly this matches an object's kind: 3 for both parts, 2 for the group, 1 for the kind, 0 for neither, and
    /// `None` if it does not match.
    pub fn specificity(&self, id: &ObjectId) -> Option<u8> {
        let part = |pattern: &str, value: &str, weight: u8| match pattern {
            "*" => Some(0),
            exact if exact == value => Some(weight),
            _ => None,
        };
        Some(part(&self.group, &id.group, 2)? + part(&self.kind, &id.kind, 1)?)
    }
}

/// Returns the worst of all statuses, or healthy if there are none.
pub fn overall(statuses: impl IntoIterator<Item = Status>) -> Status {
    statuses.into_iter().max().unwrap_or(Status::Healthy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts() {
        use Status::*;
        assert_eq!(overall([]), Healthy);
        assert_eq!(overall([Healthy, Suspended, Healthy]), Suspended);
        assert_eq!(overall([Progressing, Degraded, Healthy]), Degraded);
        assert_eq!(overall([Unknown, Progressing]), Progressing);
    }

    #[test]
    fn the_most_exact_pattern_wins() {
        let id = ObjectId {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: None,
            name: "a".into(),
        };
        let specificity = |group: &str, kind: &str| {
            GroupKind {
                group: group.into(),
                kind: kind.into(),
            }
            .specificity(&id)
        };
        assert_eq!(specificity("apps", "Deployment"), Some(3));
        assert_eq!(specificity("apps", "*"), Some(2));
        assert_eq!(specificity("*", "Deployment"), Some(1));
        assert_eq!(specificity("*", "*"), Some(0));
        assert_eq!(specificity("", "Deployment"), None);
    }
}
