//! Repositories on this machine, read in place without a copy or another process.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use gix::refs::TargetRef;
use pintle_core::{application::Reference, tree::TreePath};

use crate::{
    error::{SourceError, chain},
    limits::Limits,
    refs::{Found, Head, Refs},
    snapshot::Snapshot,
    store::{ObjectError, Store, open_options},
};

/// A folder within a repository on this machine.
#[derive(Debug, Clone)]
pub struct Local {
    /// The commit that HEAD names. It does not contain uncommitted changes.
    pub snapshot: Snapshot,
    /// The folder's path within the repository.
    pub path: TreePath,
    /// The folder of the working tree that holds the repository.
    pub root: PathBuf,
}

/// Finds the repository that contains a path of this machine, and opens it at its HEAD.
///
/// Returns [`SourceError::NotARepository`] if there is none, and [`SourceError::Empty`] if it has no commit.
pub fn local(path: &Path, limits: Limits) -> Result<Local, SourceError> {
    let (repository, root) = discover(path, limits)?;
    let real = real_path(path)?;
    let within = real
        .strip_prefix(&root)
        .map_err(|_| SourceError::NotARepository {
            path: path.to_owned(),
        })?;
    let within = within
        .to_str()
        .and_then(TreePath::parse)
        .ok_or_else(|| cannot(path, "its name is not UTF-8 or holds a `\\`"))?;
    let store = Arc::new(Store::new(repository, limits, None, Arc::default()));
    let url = root.display().to_string();
    let refs = refs(&store, &url)?;
    let snapshot = snapshot(&store, &refs, &url, &Reference::Default, limits)?;
    Ok(Local {
        snapshot,
        path: within,
        root,
    })
}

/// Returns whether a folder of this machine is a bare repository. Its files are git's own, and not meant to be used.
pub fn is_bare(path: &Path) -> bool {
    path.is_dir() && !path.join(".git").exists() && gix::discover::is_git(path).is_ok()
}

/// Returns git's own folder in which new commits of the repository around a path show up. For a linked working tree it is that
/// of the main repository, which has the refs.
pub fn git_folder(path: &Path) -> Option<PathBuf> {
    let (repository, _) = discover(path, Limits::default()).ok()?;
    let repository = repository.to_thread_local();
    repository.common_dir().canonicalize().ok()
}

/// Opens the repository around a path, and returns it with the folder that it belongs to.
pub(crate) fn discover(
    path: &Path,
    limits: Limits,
) -> Result<(gix::ThreadSafeRepository, PathBuf), SourceError> {
    let real = real_path(path)?;
    let none = || SourceError::NotARepository {
        path: path.to_owned(),
    };
    let mut folder = Some(real.as_path());
    while let Some(candidate) = folder {
        // A bare repository has no folder of files that a path could be in.
        if candidate.join(".git").exists() {
            let repository = open_options(limits)
                .open(candidate)
                .map_err(|error| cannot(candidate, &chain(&error)))?;
            return Ok((repository, candidate.to_owned()));
        }
        folder = candidate.parent();
    }
    Err(none())
}

fn real_path(path: &Path) -> Result<PathBuf, SourceError> {
    path.canonicalize()
        .map_err(|error| cannot(path, &error.to_string()))
}

fn cannot(path: &Path, reason: &str) -> SourceError {
    SourceError::Url {
        url: path.display().to_string(),
        reason: reason.to_owned(),
    }
}

/// Opens the repository at exactly this path, bare or not, and reads its references.
pub(crate) fn open(path: &Path, limits: Limits) -> Result<(Arc<Store>, Refs), SourceError> {
    if !path.exists() {
        return Err(SourceError::NotFound {
            url: path.display().to_string(),
            given: false,
        });
    }
    let store = Store::open(path, limits, None, Arc::default()).map_err(|error| {
        if error.is_not_found()
            || gix::discover::is_git(path).is_err() && !path.join(".git").exists()
        {
            SourceError::NotARepository {
                path: path.to_owned(),
            }
        } else {
            cannot(path, &chain(&error))
        }
    })?;
    let store = Arc::new(store);
    let refs = refs(&store, &path.display().to_string())?;
    Ok((store, refs))
}

/// Returns the snapshot of a reference in a repository that needs no fetch.
pub(crate) fn snapshot(
    store: &Arc<Store>,
    refs: &Refs,
    url: &str,
    reference: &Reference,
    limits: Limits,
) -> Result<Snapshot, SourceError> {
    let tip = refs.tip(url, reference)?;
    match store.commit(tip.id) {
        Ok(Some(commit)) => Ok(Snapshot::new(Arc::clone(store), commit, tip.name, limits)),
        Ok(None) if matches!(reference, Reference::Commit(_)) => Err(SourceError::NoCommit {
            url: url.to_owned(),
            commit: tip.id.to_string(),
        }),
        Ok(None) => Err(SourceError::Objects {
            url: url.to_owned(),
            reason: format!("commit {} or its tree is not there", tip.id),
        }),
        Err(error) => Err(object_error(url, &tip.name, error)),
    }
}

pub(crate) fn object_error(url: &str, reference: &str, error: ObjectError) -> SourceError {
    let url = url.to_owned();
    match error {
        ObjectError::NotACommit(kind) => SourceError::NotACommit {
            url,
            reference: reference.to_owned(),
            kind,
        },
        ObjectError::Malformed(reason) | ObjectError::Damaged(reason) => {
            SourceError::Objects { url, reason }
        }
    }
}

fn refs(store: &Store, url: &str) -> Result<Refs, SourceError> {
    let repository = store.repository();
    let broken = |error: gix::Error| SourceError::Objects {
        url: url.to_owned(),
        reason: chain(&error),
    };
    let mut found = Found::default();
    for reference in repository
        .references()
        .map_err(broken)?
        .all()
        .map_err(broken)?
    {
        let Ok(reference) = reference else {
            // One malformed file below refs/ hides its own name, and no others.
            continue;
        };
        let TargetRef::Object(id) = reference.target() else {
            continue;
        };
        let Ok(name) = std::str::from_utf8(reference.name().as_bstr()) else {
            continue;
        };
        if let Some(branch) = name.strip_prefix("refs/heads/") {
            found.branches.push((branch.to_owned(), id.to_owned()));
        } else if let Some(tag) = name.strip_prefix("refs/tags/") {
            found.tags.push((tag.to_owned(), id.to_owned()));
        }
    }
    let mut refs = Refs::from(found);
    let head = repository.head().map_err(broken)?;
    refs.default = match head.referent_name() {
        Some(name) => std::str::from_utf8(name.as_bstr()).ok().and_then(|name| {
            let branch = name.strip_prefix("refs/heads/")?.to_owned();
            let commit = refs.branches.get(&branch)?;
            Some(Head {
                branch: Some(branch),
                commit,
            })
        }),
        None => head.id().map(|id| Head {
            branch: None,
            commit: id.detach(),
        }),
    };
    Ok(refs)
}
