//! Folders of a revision, read by path without ever leaving it.

mod follow;
pub(crate) mod objects;
mod reach;
pub(crate) mod work;

use std::fmt;

use gix::ObjectId;
use pintle_core::tree::{ContentId, Entry, EntryKind, Stat, Tree, TreeError, TreePath};

pub(crate) use self::follow::LINKS;
use self::{
    follow::{Found, Place, Walker, straight},
    objects::{Folder, NodeKind, Objects},
    work::{Work, aside},
};
use crate::limits::Limits;

/// How a Git LFS pointer begins: <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
/// Pointers are smaller than this, by the same specification.
const LFS_POINTER_LIMIT: usize = 1024;
/// The most entries that are listed in passing: getting the sizes of so many files takes some milliseconds.
const FEW: usize = 1000;

/// A tree over objects, wherever they are.
///
/// Symbolic links are followed while they stay within the revision, even out of the folder that the tree is of. A link that
/// cannot be followed is listed as an empty file, so that nothing that exists is hidden, and is an error when it is read. A
/// submodule is listed as a folder, and is an error when it is entered. So neither gets in the way of a caller that does not
/// need it.
///
/// In a listing, the content id of a folder is git's id: it does not change with what links in the folder lead to. The content
/// id of the whole tree does.
pub(crate) struct SourceTree<O> {
    objects: O,
    /// The root of the revision.
    root: ObjectId,
    /// The folder that this is a tree of.
    base: Place,
    limits: Limits,
}

impl<O: Objects> SourceTree<O> {
    pub(crate) fn new(objects: O, root: ObjectId, limits: Limits) -> Self {
        Self {
            objects,
            root,
            base: Place::default(),
            limits,
        }
    }

    /// Returns where the path leads after following links, if that is a folder of this tree.
    pub(crate) fn place_of(&self, path: &TreePath) -> Result<Place, TreeError> {
        aside(|| {
            let work = Work::new();
            let mut walker = Walker::new(self, &work);
            folder(walker.resolve(path)?, path)?;
            Ok(walker.into_place())
        })
    }

    /// Turns this into the tree of a folder of the same revision.
    pub(crate) fn of_folder(self, base: Place) -> Self {
        Self { base, ..self }
    }

    /// Returns git's id of the folder that this is a tree of.
    pub(crate) fn folder_id(&self) -> ObjectId {
        self.base.id(self.root)
    }

    /// Returns a content id that covers what the folder holds and what its links lead to; `None` if that takes too long to find
    /// out.
    pub(crate) fn exact_content(&self) -> Option<ContentId> {
        aside(|| reach::content(self, &Work::new()))
    }

    fn find(&self, path: &TreePath, work: &Work) -> Result<Found, TreeError> {
        match straight(self, path, work) {
            Some(found) => Ok(found),
            None => aside(|| Walker::new(self, work).resolve(path)),
        }
    }

    fn entry(&self, name: &str, found: &Found, at: &TreePath, work: &Work) -> Stat {
        let (kind, size, content) = match found {
            Found::Folder(id) | Found::Submodule(id) => (EntryKind::Folder, 0, id),
            Found::File(id) => (EntryKind::File, self.objects.size(id, at, work)?, id),
            Found::Nothing { .. } => return Ok(None),
        };
        Ok(Some(Entry {
            name: name.to_owned(),
            kind,
            size,
            content: content.to_string(),
        }))
    }

    /// Reads a file whose size is known.
    fn bytes(
        &self,
        id: &ObjectId,
        size: u64,
        path: &TreePath,
        work: &Work,
    ) -> Result<Vec<u8>, TreeError> {
        if size > self.limits.file {
            return Err(TreeError::TooLarge {
                path: path.clone(),
                size,
                limit: self.limits.file,
                unit: "bytes",
            });
        }
        let bytes = self.objects.blob(id, path, work)?;
        if bytes.len() < LFS_POINTER_LIMIT && bytes.starts_with(LFS_POINTER) {
            return Err(unusable(
                path,
                "it is a Git LFS pointer, and LFS is not supported: commit the file itself, which `git lfs migrate export` does",
            ));
        }
        Ok(bytes)
    }

    fn list(&self, folder: &Folder, path: &TreePath, work: &Work) -> Result<Vec<Entry>, TreeError> {
        // Most folders have no links, and only links need the way here.
        let mut walker = None;
        let mut entries = Vec::with_capacity(folder.len());
        for node in folder.nodes() {
            let found = match node.kind {
                NodeKind::File => Found::File(node.id),
                NodeKind::Folder => Found::Folder(node.id),
                NodeKind::Submodule => Found::Submodule(node.id),
                NodeKind::Link => {
                    let here = match walker.take() {
                        Some(here) => here,
                        None => Walker::at(self, path, work)?,
                    };
                    walker.insert(here).listed(&node.name, path)?
                }
            };
            entries.push(
                self.entry(&node.name, &found, path, work)?
                    .unwrap_or_else(|| Entry {
                        name: node.name.clone(),
                        kind: EntryKind::File,
                        size: 0,
                        content: node.id.to_string(),
                    }),
            );
        }
        Ok(entries)
    }
}

impl<O: Objects> Tree for SourceTree<O> {
    fn stat(&self, path: &TreePath) -> Stat {
        let work = Work::new();
        let found = self.find(path, &work)?;
        self.entry(path.parts().last().unwrap_or_default(), &found, path, &work)
    }

    fn read(&self, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        let work = Work::new();
        let id = file(self.find(path, &work)?, path)?;
        let size = self.objects.size(&id, path, &work)?;
        self.bytes(&id, size, path, &work)
    }

    fn stat_and_read(&self, path: &TreePath) -> (Stat, Result<Vec<u8>, TreeError>) {
        let work = Work::new();
        let found = match self.find(path, &work) {
            Ok(found) => found,
            Err(error) => return (Err(error.clone()), Err(error)),
        };
        let stat = self.entry(path.parts().last().unwrap_or_default(), &found, path, &work);
        let size = match &stat {
            Ok(entry) => Ok(entry.as_ref().map_or(0, |entry| entry.size)),
            Err(error) => Err(error.clone()),
        };
        let bytes = file(found, path).and_then(|id| self.bytes(&id, size?, path, &work));
        (stat, bytes)
    }

    fn entries(&self, path: &TreePath) -> Result<Vec<Entry>, TreeError> {
        let work = Work::new();
        let id = folder(self.find(path, &work)?, path)?;
        let folder = self.objects.folder(&id, path, &work)?;
        if let Some(reason) = folder.refused() {
            return Err(unusable(path, reason));
        }
        if folder.len() > FEW || folder.has_links() {
            return aside(|| self.list(&folder, path, &work));
        }
        self.list(&folder, path, &work)
    }

    fn content(&self) -> Result<ContentId, TreeError> {
        Ok(self
            .exact_content()
            .unwrap_or_else(|| reach::of_revision(self)))
    }
}

impl<O> fmt::Debug for SourceTree<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceTree")
            .field("root", &self.root)
            .field("base", &self.base.names)
            .finish_non_exhaustive()
    }
}

/// Returns the id of what was found, if it is a folder.
fn folder(found: Found, path: &TreePath) -> Result<ObjectId, TreeError> {
    match found {
        Found::Folder(id) => Ok(id),
        Found::File(_) => Err(TreeError::WrongKind {
            path: path.clone(),
            expected: "folder",
        }),
        Found::Submodule(_) => Err(TreeError::Submodule { path: path.clone() }),
        Found::Nothing { link } => Err(missing(path, link)),
    }
}

/// Returns the id of what was found, if it is a file.
fn file(found: Found, path: &TreePath) -> Result<ObjectId, TreeError> {
    match found {
        Found::File(id) => Ok(id),
        Found::Folder(_) => Err(TreeError::WrongKind {
            path: path.clone(),
            expected: "file",
        }),
        Found::Submodule(_) => Err(TreeError::Submodule { path: path.clone() }),
        Found::Nothing { link } => Err(missing(path, link)),
    }
}

fn missing(path: &TreePath, link: Option<String>) -> TreeError {
    match link {
        None => TreeError::NotFound { path: path.clone() },
        Some(target) => unusable(
            path,
            &format!("it is a symbolic link to `{target}`, which does not exist"),
        ),
    }
}

/// Returns the error for something that the revision itself has wrong: another fetch would bring the same.
pub(crate) fn unusable(path: &TreePath, reason: &str) -> TreeError {
    TreeError::Unusable {
        path: path.clone(),
        reason: reason.to_owned(),
    }
}

pub(crate) fn broken(path: &TreePath, reason: &str) -> TreeError {
    TreeError::Broken {
        path: path.clone(),
        reason: reason.to_owned(),
    }
}
