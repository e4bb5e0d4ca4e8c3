//! One state of a source: a commit.

use serde::{Deserialize, Serialize};

/// A commit that was fetched, with what plugins and people want to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Full commit id in hexadecimal; for a working tree, `dev:` and a digest of its files.
    pub commit: String,
    /// Object id of the commit's whole tree.
    pub tree: String,
    /// The branch, tag or version that led to the commit, as it was asked for.
    pub reference: String,
    /// Committer time, in seconds since the epoch.
    pub time: i64,
    /// `Name <address>` of the author.
    pub author: String,
    /// `Name <address>` of the committer.
    pub committer: String,
    /// The first line of the message.
    pub summary: String,
}

impl Revision {
    /// Returns `main@1a2b3c4d5e6f`, for people.
    pub fn short(&self) -> String {
        let end = self
            .commit
            .char_indices()
            .nth(12)
            .map_or(self.commit.len(), |(index, _)| index);
        if self.reference.is_empty() {
            return self.commit[..end].to_owned();
        }
        format!("{}@{}", self.reference, &self.commit[..end])
    }
}
