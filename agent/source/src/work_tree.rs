//! The files of a folder as they are now, for `--dev`.

mod contents;
mod excludes;
mod ignored;
mod indexed;
mod linked;
mod listing;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use pintle_core::{
    revision::Revision,
    tree::{Tree, TreeError, TreePath},
};

use self::{
    contents::Contents,
    excludes::of_process,
    ignored::Ignored,
    indexed::Indexed,
    listing::{Lister, Listing},
};
use crate::{
    error::SourceError,
    limits::Limits,
    local::{self, Local},
    tree::{SourceTree, objects::check_name},
};

/// A folder of files as they were when it was scanned, whether committed or not.
///
/// In a repository, the scan leaves out what git would ignore, by the repository's rules or by the user's own, and anything
/// that is not a file, link or folder; links are followed within the repository. Outside a repository there is nothing that a
/// link could leave: links are followed wherever they lead, and what they lead to takes their place.
///
/// Each file has the id that git would give to its bytes, so that a file that has not changed since a commit has the same id as
/// there; git's own conversions of line ends are not made. A file that changed after the scan is read as it was. If it is a
/// large one, the change is an error instead: scan again.
#[derive(Debug, Clone)]
pub struct WorkTree {
    /// The scanned revision. Its commit is `dev:` and the id of its content. Its time is that of HEAD or, without one, the time
    /// at which a file was last modified.
    pub revision: Revision,
    /// The places where a change of a file changes the result, with no links in any path: the folders that were listed, and
    /// each file and link that a link led to, whether it exists or not.
    pub places: BTreeSet<PathBuf>,
    tree: Arc<SourceTree<Contents>>,
}

impl WorkTree {
    /// Scans a folder, which need not be in a repository. Outside a repository, nothing but `.git` is ignored, and a link that
    /// leads to nothing is listed as an empty file, as is anything that is not a file, link or folder. Whatever cannot be read
    /// below the folder is then an error for the caller that reads it.
    pub fn scan(path: &Path, limits: Limits) -> Result<Self, SourceError> {
        let folder = path.canonicalize().map_err(|error| SourceError::Url {
            url: path.display().to_string(),
            reason: error.to_string(),
        })?;
        let (repository, head) = match local::discover(&folder, limits) {
            Ok((repository, root)) => {
                let head = local::local(&folder, limits)
                    .ok()
                    .map(|local| local.snapshot.revision);
                (Some((repository.to_thread_local(), root)), head)
            }
            Err(SourceError::NotARepository { .. }) => (None, None),
            Err(error) => return Err(error),
        };
        let ignored = Ignored::new(repository.as_ref(), &folder, &of_process)?;
        let (root, within) = bound(&folder, repository.as_ref());
        let lister = Lister::new(ignored, limits);
        let lister = match repository {
            Some(_) => lister,
            None => lister.leading_anywhere(),
        };
        let mut listing = lister.list(root, &within)?;
        let places = std::mem::take(&mut listing.places);
        let modified = listing.modified;
        let tree = tree(listing, &within, limits)?;
        let revision = revision(&tree, head, modified)?;
        let tree = Arc::new(tree);
        Ok(Self {
            revision,
            places,
            tree,
        })
    }

    /// Scans another folder, named as seen from a folder: relative to that folder or, with a leading `/`, to the root of its
    /// repository. From a folder outside any repository, a leading `/` means a path of this machine, as for Helm.
    pub fn beside(folder: &Path, path: &str, limits: Limits) -> Result<Self, SourceError> {
        if !path.starts_with('/') {
            return Self::scan(&folder.join(path), limits);
        }
        match local::discover(folder, limits) {
            Ok((_, root)) => Self::scan(&root.join(path.trim_start_matches('/')), limits),
            Err(SourceError::NotARepository { .. }) => Self::scan(Path::new(path), limits),
            Err(error) => Err(error),
        }
    }

    /// Returns whether the files of a folder, and those that its links lead to, differ from those of its commit; `None` if
    /// there are so many that finding out would take long.
    ///
    /// Like git, it takes a file for unchanged if its size and time are those in the index.
    pub fn differs(
        path: &Path,
        local: &Local,
        limits: Limits,
    ) -> Result<Option<bool>, SourceError> {
        let committed = local.snapshot.folder(&local.path)?;
        let folder = path.canonicalize().map_err(|error| SourceError::Url {
            url: path.display().to_string(),
            reason: error.to_string(),
        })?;
        let (repository, root) = local::discover(&folder, limits)?;
        let repository = (repository.to_thread_local(), root);
        let ignored = Ignored::new(Some(&repository), &folder, &of_process)?;
        let (root, within) = bound(&folder, Some(&repository));
        let listed = Lister::new(ignored, limits)
            .compared_with(Indexed::of(&repository)?, COMPARED)
            .list(root, &within);
        match listed.and_then(|listing| tree(listing, &within, limits)) {
            Ok(now) if now.folder_id() != committed.folder_id() => Ok(Some(true)),
            Ok(now) => {
                let contents = now.exact_content().zip(committed.exact_content());
                Ok(contents.map(|(now, committed)| now != committed))
            }
            Err(SourceError::Tree(TreeError::TooLarge { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the scanned folder.
    pub fn tree(&self) -> Arc<dyn Tree> {
        Arc::clone(&self.tree) as Arc<dyn Tree>
    }
}

/// Returns the folder within which links are followed, and the scanned folder's path from there. That folder is the root of the
/// repository, unless the path from the root has a name that no tree may have.
fn bound<'a>(
    folder: &'a Path,
    repository: Option<&'a (gix::Repository, PathBuf)>,
) -> (&'a Path, TreePath) {
    let way = |root: &Path| {
        let way = TreePath::parse(folder.strip_prefix(root).ok()?.to_str()?)?;
        let is_named = way.parts().all(|part| check_name(part.into()).is_ok());
        is_named.then_some(way)
    };
    let root = repository.map(|(_, root)| root.as_path());
    root.and_then(|root| Some((root, way(root)?)))
        .unwrap_or_else(|| (folder, TreePath::root()))
}

/// Reads the files of a listing, and returns the tree of the folder that it is of.
fn tree(
    listing: Listing,
    folder: &TreePath,
    limits: Limits,
) -> Result<SourceTree<Contents>, SourceError> {
    let (contents, root) = Contents::read(listing)?;
    let whole = SourceTree::new(contents, root, limits);
    let place = whole.place_of(folder)?;
    Ok(whole.of_folder(place))
}

fn revision(
    tree: &SourceTree<Contents>,
    head: Option<Revision>,
    modified: i64,
) -> Result<Revision, SourceError> {
    let summary = match &head {
        Some(head) => format!("files that may differ from {}", head.short()),
        None => "files that are not committed".to_owned(),
    };
    let known = head.unwrap_or(Revision {
        commit: String::new(),
        tree: String::new(),
        reference: String::new(),
        time: modified,
        author: String::new(),
        committer: String::new(),
        summary: String::new(),
    });
    Ok(Revision {
        commit: format!("dev:{}", tree.content()?),
        tree: tree.folder_id().to_string(),
        summary,
        ..known
    })
}

/// The most files of a folder that is compared with its commit: a hint must not take longer than what it is about.
const COMPARED: usize = 10_000;
