//! Plans: what is about to be done to the cluster.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::{HookEvent, ObjectId, Position};

/// What happens to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The object is created.
    Create,
    /// The object is changed in place.
    Update,
    /// The object is deleted and created again.
    Replace,
    /// The object is deleted.
    Delete,
    /// Nothing happens to the object.
    Unchanged,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Unchanged => "unchanged",
        })
    }
}

/// An object of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The identity of the object.
    pub id: ObjectId,
    /// What happens to it.
    pub action: Action,
    /// The position that the desired object comes from.
    pub source: Option<Position>,
    /// The events at which the object runs if it is a hook; empty for every other object.
    ///
    /// The events of a removal occur long after the plan. The plan keeps the hook until then, and no policy is asked again.
    pub hook: BTreeSet<HookEvent>,
}

/// An owned field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// RFC 6901 pointer into the object.
    pub pointer: String,
    /// The value in the cluster; absent where the field is added.
    pub before: Option<Value>,
    /// The desired value; absent where the field is removed.
    pub after: Option<Value>,
}

/// The whole of what is about to be done to the cluster, before any write.
///
/// Documents are passed only when asked for.
pub trait Plan {
    /// Returns the digest of the plan, `sha256:...`, to which approvals are bound.
    fn digest(&self) -> String;

    /// Returns the application: name, namespace, labels, source, revision, author and committer.
    ///
    /// What is not known is empty: labels and source on the command line, and author and committer if the revision is not
    /// a commit.
    fn application(&self) -> Value;

    /// Returns every object of the plan, including unchanged objects and deletions.
    fn changes(&self) -> Vec<Change>;

    /// Returns the desired object by its index into [`changes`](Self::changes); `None` for a deletion.
    fn desired(&self, index: usize) -> Option<Value>;

    /// Returns the object in the cluster by its index into [`changes`](Self::changes); `None` for a creation.
    fn live(&self, index: usize) -> Option<Value>;

    /// Returns the owned fields that differ, sorted by pointer, for the object with that index into
    /// [`changes`](Self::changes).
    fn differences(&self, index: usize) -> Vec<Difference>;
}
