//! A revision with its files.

use std::sync::Arc;

use gix::ObjectId;
use pintle_core::{
    revision::Revision,
    tree::{EntryKind, Tree, TreeError, TreePath},
};

use crate::{
    error::SourceError,
    limits::Limits,
    refs::{closest, list},
    store::{Commit, GitObjects, Store},
    tree::SourceTree,
};

/// One commit of a repository, whose files can be read without the network.
///
/// It is cheap to clone. While one exists, Pintle itself does not remove what it reads from the cache.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The revision that it is a snapshot of.
    pub revision: Revision,
    store: Arc<Store>,
    root: ObjectId,
    limits: Limits,
}

impl Snapshot {
    pub(crate) fn new(
        store: Arc<Store>,
        commit: Commit,
        reference: String,
        limits: Limits,
    ) -> Self {
        let root = commit.tree;
        let revision = Revision {
            commit: commit.id.to_string(),
            tree: root.to_string(),
            reference,
            time: commit.time,
            author: commit.author,
            committer: commit.committer,
            summary: commit.summary,
        };
        Self {
            revision,
            store,
            root,
            limits,
        }
    }

    /// Returns a folder of the revision. What is beside or above the folder is reachable only through links in it.
    ///
    /// The path itself may lead through symbolic links within the revision.
    pub fn tree(&self, path: &TreePath) -> Result<Arc<dyn Tree>, SourceError> {
        Ok(Arc::new(self.folder(path)?))
    }

    /// Returns the folder as the type with the methods that only this crate needs.
    pub(crate) fn folder(&self, path: &TreePath) -> Result<SourceTree<GitObjects>, SourceError> {
        let objects = GitObjects::new(Arc::clone(&self.store));
        let whole = SourceTree::new(objects, self.root, self.limits);
        match whole.place_of(path) {
            Ok(place) => Ok(whole.of_folder(place)),
            Err(TreeError::NotFound { .. }) => Err(self.no_folder(&whole, path)),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the error that says how far the path goes, and what there is instead.
    fn no_folder(&self, whole: &dyn Tree, path: &TreePath) -> SourceError {
        let mut deepest = TreePath::root();
        let mut offer = String::new();
        for part in path.parts() {
            let Some(next) = TreePath::parse(part).map(|part| deepest.join(&part)) else {
                break;
            };
            if !matches!(whole.stat(&next), Ok(Some(entry)) if entry.kind == EntryKind::Folder) {
                let folders: Vec<String> = whole
                    .entries(&deepest)
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|entry| entry.kind == EntryKind::Folder)
                    .map(|entry| entry.name)
                    .collect();
                offer = match closest(part, &folders) {
                    Some(close) => format!(
                        "; did you mean `{}`?",
                        TreePath::parse(close)
                            .map_or_else(TreePath::root, |close| deepest.join(&close))
                    ),
                    None => format!(
                        "; of `{deepest}`{}",
                        list("folders", folders.iter()).trim_start_matches(';')
                    ),
                };
                break;
            }
            deepest = next;
        }
        SourceError::NoFolder {
            revision: self.revision.short(),
            path: path.to_string(),
            offer,
        }
    }
}
