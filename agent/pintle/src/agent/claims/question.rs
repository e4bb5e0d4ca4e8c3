//! What one replica asks the others, and what they answer. Both are written into Leases.

use std::{collections::BTreeMap, fmt, str::FromStr as _};

use pintle_core::{
    digest::{Digest, Digester},
    object::ObjectId,
    sharding::ShardSet,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tokio::sync::oneshot;

/// An object in a cluster, as eight bytes of a digest. They are enough to tell objects apart, and an identity is far longer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(u64);

impl Key {
    /// Returns the key of an object. An empty cluster name is the agent's own cluster.
    pub(crate) fn of(cluster: &str, id: &ObjectId) -> Self {
        let digest = Digester::new("claim")
            .part(cluster)
            .part(id.to_string())
            .finish();
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest.as_bytes()[..8]);
        Self(u64::from_be_bytes(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = u64::from_str_radix(&text, 16).map_err(D::Error::custom)?;
        Ok(Self(number))
    }
}

/// The question which applications claim some objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    /// The label of the application that is about to delete the objects, or wants them.
    pub(crate) by: String,
    /// The cluster of the objects.
    pub(crate) cluster: String,
    pub(crate) objects: Vec<Key>,
    /// The source that they have left, and its revision. Applications that follow this source answer once they have rendered that
    /// revision, too.
    pub(crate) source: Option<(Digest, String)>,
    /// If set, only the application with this label is asked, and only for what it knows now.
    pub(crate) owner: Option<String>,
}

/// The claims on some objects among the applications of some shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub(crate) shards: ShardSet,
    /// The labels of the applications that claim them.
    pub(crate) claims: BTreeMap<Key, String>,
    /// Whether the owner is one of these applications, and has rendered something.
    pub(crate) knows_owner: bool,
    /// Whether the owner is one of these applications, and may still render something. Earlier versions do not set it.
    #[serde(default)]
    pub(crate) has_owner: bool,
    /// Whether the owner may render something for the first time at any moment. Earlier versions do not set it.
    #[serde(default)]
    pub(crate) is_owner_beginning: bool,
}

impl Answer {
    /// Returns whether all applications have answered.
    pub(crate) fn is_complete(&self) -> bool {
        self.shards == ShardSet::ALL
    }

    /// Combines two answers into one for the applications of both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.shards = self.shards.or(other.shards);
        self.claims.extend(other.claims);
        self.knows_owner |= other.knows_owner;
        self.has_owner |= other.has_owner;
        self.is_owner_beginning |= other.is_owner_beginning;
        self
    }
}

/// A question for the other replicas.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) question: Question,
    /// The shards for which the answer is already known.
    pub(crate) own: ShardSet,
    /// Receives the others' answers. There may be too few of them: then the question is asked again.
    pub(crate) reply: oneshot::Sender<Vec<Answer>>,
}

/// A question from another replica.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) reply: oneshot::Sender<Answer>,
}

fn as_text<S: Serializer>(shards: &ShardSet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(shards)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ShardSet, D::Error> {
    let text = String::deserialize(deserializer)?;
    ShardSet::from_str(&text).map_err(D::Error::custom)
}
