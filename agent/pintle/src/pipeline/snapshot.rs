//! A revision with its files, wherever it is from.

use std::sync::Arc;

use pintle_core::{
    revision::Revision,
    tree::{Tree, TreePath},
};
use pintle_registry::{Archive, ArchiveError, Artifact};
use pintle_source::SourceError;

/// Why a folder of a revision cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The repository says why.
    #[error(transparent)]
    Git(#[from] SourceError),
    /// The archive is not taken.
    #[error("{revision} cannot be unpacked")]
    Archive {
        revision: String,
        source: ArchiveError,
    },
    /// There is no such folder in the archive.
    #[error("{revision} has no folder {path}")]
    NoFolder { revision: String, path: TreePath },
}

impl SnapshotError {
    /// Says whether the copy of the revision on this machine cannot be read: it is damaged or gone, and a fetch mends it.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self, Self::Git(SourceError::Tree(error)) if error.is_broken())
    }
}

/// One revision of a source. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Snapshot {
    /// A commit.
    Git(Arc<pintle_source::Snapshot>),
    /// A chart, or another archive of files.
    Archive(Arc<Unpackable>),
}

/// An archive that is unpacked when it is needed: packed, a thousand of them fit into memory.
#[derive(Debug)]
pub(crate) struct Unpackable {
    pub(crate) revision: Revision,
    pub(crate) archive: Archive,
}

impl Snapshot {
    /// Takes a commit.
    pub(crate) fn git(snapshot: pintle_source::Snapshot) -> Self {
        Self::Git(Arc::new(snapshot))
    }

    /// Takes what was fetched.
    pub(crate) fn of(artifact: &Artifact) -> Self {
        let place = artifact.place.to_string();
        let revision = Revision {
            commit: artifact.digest.to_string(),
            tree: artifact.archive.digest().to_string(),
            reference: artifact.version.clone(),
            time: artifact.created,
            author: String::new(),
            committer: String::new(),
            summary: place,
        };
        Self::Archive(Arc::new(Unpackable {
            revision,
            archive: artifact.archive.clone(),
        }))
    }

    /// Returns what it is a snapshot of.
    pub(crate) fn revision(&self) -> &Revision {
        match self {
            Self::Git(snapshot) => &snapshot.revision,
            Self::Archive(unpackable) => &unpackable.revision,
        }
    }

    /// Returns a folder of the revision. What is beside or above it is reached by links in a commit only.
    ///
    /// An archive is unpacked for it, unless somebody has its files still: that may take a while, and wait for others.
    pub(crate) async fn tree(&self, path: &TreePath) -> Result<Arc<dyn Tree>, SnapshotError> {
        match self {
            Self::Git(snapshot) => Ok(snapshot.tree(path)?),
            Self::Archive(unpackable) => {
                let revision = || unpackable.revision.short();
                let files = unpackable.archive.unpack().await;
                let files = files.map_err(|source| SnapshotError::Archive {
                    revision: revision(),
                    source,
                })?;
                files.folder(path).ok_or_else(|| SnapshotError::NoFolder {
                    revision: revision(),
                    path: path.clone(),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use bytes::Bytes;
    use futures::FutureExt as _;
    use pintle_registry::{Layout, Place};
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn an_archive_is_unpacked_where_that_holds_up_nobody_else() {
        let archive = Archive::new(Bytes::from_static(b"none"), Layout::Chart);
        let snapshot = Snapshot::of(&Artifact {
            place: Place::Chart {
                repository: "https://charts.example.com".to_owned(),
                name: "web".to_owned(),
            },
            version: "1.0.0".to_owned(),
            digest: archive.digest(),
            created: 0,
            archive,
        });
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(1).build().unwrap();
        let (release, is_released) = mpsc::channel::<()>();
        // The one thread for what blocks has something else to do.
        let busy = runtime.spawn_blocking(move || is_released.recv());
        runtime.block_on(async {
            let root = TreePath::root();
            assert!(snapshot.tree(&root).now_or_never().is_none());
            drop(release);
            assert!(busy.await.unwrap().is_err());
            let error = snapshot.tree(&root).await.unwrap_err();
            assert!(matches!(error, SnapshotError::Archive { .. }), "{error}");
        });
    }
}
