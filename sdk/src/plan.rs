//! What is about to be done to the cluster.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::{HookEvent, ObjectId, Position};

/// What happens to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is deleted and made again.
    Replace,
    /// It is deleted.
    Delete,
    /// Nothing.
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

/// One object of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which object.
    pub id: ObjectId,
    /// What happens to it.
    pub action: Action,
    /// Where the desired object comes from.
    pub source: Option<Position>,
    /// The events at which it is run, if it is a hook; empty for every other object. Those of a removal come long after the
    /// plan: it keeps the hook until then, and nobody is asked again.
    pub hook: BTreeSet<HookEvent>,
}

/// One owned field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// RFC 6901 pointer into the object.
    pub pointer: String,
    /// The value in the cluster; absent where the field is added.
    pub before: Option<Value>,
    /// The desired value; absent where the field is removed.
    pub after: Option<Value>,
}

/// What is about to be done to the cluster, whole, before any write. Documents cross only when asked for.
pub trait Plan {
    /// `sha256:...`; approvals bind to it.
    fn digest(&self) -> String;

    /// The application: name, namespace, labels, source, revision, author and committer. What is not known is empty: labels and
    /// source on the command line, author and committer of what is no commit.
    fn application(&self) -> Value;

    /// Every object of the plan, the unchanged ones and the deletions included.
    fn changes(&self) -> Vec<Change>;

    /// The desired object by index into [`changes`](Self::changes); none for a deletion.
    fn desired(&self, index: usize) -> Option<Value>;

    /// The object in the cluster by index into [`changes`](Self::changes); none for a creation.
    fn live(&self, index: usize) -> Option<Value>;

    /// The owned fields that differ by index into [`changes`](Self::changes), sorted by pointer.
    fn differences(&self, index: usize) -> Vec<Difference>;
}
