//! A state of a source: a commit or an artifact.

use serde::{Deserialize, Serialize};

/// A commit or an artifact that was fetched, with what plugins and people need to know about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The full commit id in hexadecimal; for an artifact its digest, `sha256:…`; for a working tree, `dev:` and a digest of its
    /// files.
    pub commit: String,
    /// The object id of the commit's whole tree; for an artifact, the digest of the archive.
    pub tree: String,
    /// The branch, tag or version that led to the commit, as it was requested.
    pub reference: String,
    /// The committer time, or the time when the artifact was created, in seconds since the epoch.
    pub time: i64,
    /// The author as `Name <address>`.
    pub author: String,
    /// The committer as `Name <address>`.
    pub committer: String,
    /// The first line of the message.
    pub summary: String,
}

impl Revision {
    /// Returns a short form for people, such as `main@1a2b3c4d5e6f`.
    pub fn short(&self) -> String {
        let id = short(&self.commit);
        if self.reference.is_empty() {
            return id.to_owned();
        }
        format!("{}@{id}", self.reference)
    }
}

/// Returns the first twelve digits of a commit or digest, for people.
pub fn short(commit: &str) -> &str {
    let id = commit.strip_prefix("sha256:").unwrap_or(commit);
    let end = id
        .char_indices()
        .nth(12)
        .map_or(id.len(), |(index, _)| index);
    &id[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_digest_is_not_what_tells_revisions_apart() {
        assert_eq!(short("0123456789abcdef"), "0123456789ab");
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short("dev:1"), "dev:1");
    }
}
