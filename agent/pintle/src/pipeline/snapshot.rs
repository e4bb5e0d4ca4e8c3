//! A revision with its files, whatever its source.

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
    /// The repository reports an error.
    #[error(transparent)]
    Git(#[from] SourceError),
    /// The archive is not accepted.
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
    /// Returns whether this machine's copy of the revision cannot be read: it is damaged or gone, and a fetch repairs it.
    pub(crate) fn is_broken(&self) -> bool {
        match self {
            Self::Git(SourceError::Tree(error)) => error.is_broken(),
            Self::Archive { source, .. } => *source == ArchiveError::Lost,
            Self::Git(_) | Self::NoFolder { .. } => false,
        }
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

/// An archive that is unpacked when it is needed. In packed form it takes little memory: a large one is in a file.
#[derive(Debug)]
pub(crate) struct Unpackable {
    pub(crate) revision: Revision,
    pub(crate) archive: Archive,
}

impl Snapshot {
    /// Creates a snapshot of a commit.
    pub(crate) fn git(snapshot: pintle_source::Snapshot) -> Self {
        Self::Git(Arc::new(snapshot))
    }

    /// Creates a snapshot of a fetched artifact.
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

    /// Returns whether this machine's copy was found to be damaged, so that another fetch must not give it again.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            // The repository replaces a broken copy itself.
            Self::Git(_) => false,
            Self::Archive(unpackable) => unpackable.archive.is_lost(),
        }
    }

    /// Returns the revision.
    pub(crate) fn revision(&self) -> &Revision {
        match self {
            Self::Git(snapshot) => &snapshot.revision,
            Self::Archive(unpackable) => &unpackable.revision,
        }
    }

    /// Returns a folder of the revision. Only in a commit can links reach what is beside or above it.
    ///
    /// An archive is unpacked for it, unless somebody still has its files. That may take a while, and may have to wait for
    /// others.
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
        // The only thread for blocking work is busy.
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
