//! The contents of a folder, before any of its files is read.

mod anywhere;

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use gix::ObjectId;
use pintle_core::{
    digest::Digester,
    tree::{TreeError, TreePath, WALK_LIMIT},
};

use self::anywhere::Anywhere;
use super::{ignored::Ignored, indexed::Indexed, linked::Linked};
use crate::{error::SourceError, limits::Limits, tree::broken};

/// The contents of a folder, and what its links lead to.
pub(super) struct Listing {
    /// Everything below the root that belongs to either.
    pub(super) entries: Vec<Entry>,
    /// All files, including those of the folders within.
    pub(super) files: Vec<ListedFile>,
    /// The newest modification of a file, in seconds of Unix time.
    pub(super) modified: i64,
    /// The places where a change of a file changes the listing: folders, and what links led to.
    pub(super) places: BTreeSet<PathBuf>,
    /// Whether a file that cannot be read is an error for the caller that reads it, and not for the scan.
    pub(super) tolerates_unreadable: bool,
}

/// An entry of a folder.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    /// Its path, for messages.
    pub(super) at: TreePath,
    pub(super) what: What,
}

pub(super) enum What {
    /// A folder that is not empty.
    Folder(Vec<Entry>),
    File {
        /// Its index among all files.
        number: usize,
        is_executable: bool,
    },
    /// A symbolic link, with its target.
    Link(Vec<u8>),
    /// A submodule, with its commit, which is null if not known.
    Submodule(ObjectId),
    /// Something that cannot be read, with the reason.
    Refused(String),
    /// A folder that cannot be listed, with the reason.
    Closed(String),
}

/// What is at a path, before it is taken into a listing.
#[derive(Clone)]
pub(super) enum Seen {
    Folder,
    File(fs::Metadata),
    Link(Vec<u8>),
    Submodule(ObjectId),
    /// A pipe, a socket or a device.
    Special,
}

/// A file that was found.
pub(super) struct ListedFile {
    pub(super) path: PathBuf,
    pub(super) at: TreePath,
    pub(super) size: u64,
    /// Its id, if that takes no reading.
    pub(super) id: Option<ObjectId>,
}

/// A lister of a folder and of what is below it.
pub(super) struct Lister<'a> {
    limits: Limits,
    ignored: Ignored<'a>,
    indexed: Indexed,
    /// The most files and folders.
    most: usize,
    count: usize,
    files: Vec<ListedFile>,
    /// The links of the folders that were listed, with their targets.
    links: Vec<(PathBuf, Vec<u8>)>,
    /// The state for following links right away; `None` where they are followed afterwards, below a root.
    anywhere: Option<Anywhere>,
    modified: i64,
    places: BTreeSet<PathBuf>,
}

impl<'a> Lister<'a> {
    pub(super) fn new(ignored: Ignored<'a>, limits: Limits) -> Self {
        Self {
            limits,
            ignored,
            indexed: Indexed::default(),
            most: WALK_LIMIT,
            count: 0,
            files: Vec::new(),
            links: Vec::new(),
            anywhere: None,
            modified: 0,
            places: BTreeSet::new(),
        }
    }

    /// Follows links wherever they lead, and lists what cannot be read, which includes anything that is not a file, link or
    /// folder. This is for folders outside any repository, which have no revision that a link could leave.
    pub(super) fn leading_anywhere(self) -> Self {
        Self {
            anywhere: Some(Anywhere::default()),
            ..self
        }
    }

    /// Takes files for unchanged if they are as the index has them, and lists no more than `most` files and folders.
    pub(super) fn compared_with(self, indexed: Indexed, most: usize) -> Self {
        Self {
            indexed,
            most,
            ..self
        }
    }

    /// Lists the folder at a path below a root, with what its links lead to below the same root.
    pub(super) fn list(mut self, root: &Path, folder: &TreePath) -> Result<Listing, SourceError> {
        let entries = Linked::new(&mut self, root, folder)?.entries()?;
        Ok(Listing {
            entries,
            files: self.files,
            modified: self.modified,
            places: self.places,
            tolerates_unreadable: self.anywhere.is_some(),
        })
    }

    /// Records a place that a link led to.
    pub(super) fn note(&mut self, place: &Path) {
        self.places.insert(place.to_owned());
    }

    /// Returns a link that was listed, with its target, each one once.
    pub(super) fn next_link(&mut self) -> Option<(PathBuf, Vec<u8>)> {
        self.links.pop()
    }

    /// Lists a folder that is `depth` levels below the root.
    pub(super) fn folder(
        &mut self,
        folder: &Path,
        at: &TreePath,
        depth: usize,
    ) -> Result<Vec<Entry>, SourceError> {
        if depth > self.limits.depth {
            let (size, limit) = (depth as u64, self.limits.depth as u64);
            return Err(TreeError::TooLarge {
                path: at.clone(),
                size,
                limit,
                unit: "levels",
            }
            .into());
        }
        self.note(folder);
        if let Some(anywhere) = &mut self.anywhere {
            anywhere.enter(folder);
        }
        let entries = self.entries(folder, at, depth);
        if let Some(anywhere) = &mut self.anywhere {
            anywhere.leave();
        }
        entries
    }

    fn entries(
        &mut self,
        folder: &Path,
        at: &TreePath,
        depth: usize,
    ) -> Result<Vec<Entry>, SourceError> {
        let failed = |error| unreadable(at, &error);
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().as_bytes().to_vec();
            if name == b".git" {
                continue;
            }
            let within = match std::str::from_utf8(&name).ok().and_then(TreePath::parse) {
                Some(name) => at.join(&name),
                None => at.clone(),
            };
            let Some(what) = self.what(&entry.path(), &within, depth)? else {
                continue;
            };
            self.count()?;
            if entries.len() >= self.limits.entries {
                let size = entries.len() + 1;
                return Err(too_many(at, size, self.limits.entries, "entries"));
            }
            entries.push(Entry {
                name,
                at: within,
                what,
            });
        }
        Ok(entries)
    }

    /// Counts a file or folder.
    fn count(&mut self) -> Result<(), SourceError> {
        self.count += 1;
        if self.count <= self.most {
            return Ok(());
        }
        let link = self.anywhere.as_ref().and_then(Anywhere::link);
        Err(match link {
            // The link leads to more than whoever made it thought of.
            Some(link) => {
                let unit = "entries, with all that was listed before it";
                too_many(link, self.count, self.most, unit)
            }
            None => too_many(&TreePath::root(), self.count, self.most, "entries"),
        })
    }

    /// Lists what is at a path; returns `None` if that is not part of the tree.
    fn what(
        &mut self,
        path: &Path,
        at: &TreePath,
        depth: usize,
    ) -> Result<Option<What>, SourceError> {
        match self.look(path, at)? {
            None => Ok(None),
            Some(Seen::Folder) => self.within(path, at, depth),
            Some(Seen::Link(target)) if self.anywhere.is_some() => {
                self.behind(path, &target, at, depth)
            }
            Some(seen) => {
                if let Seen::Link(target) = &seen {
                    self.links.push((path.to_owned(), target.clone()));
                }
                Ok(Some(self.take(seen, path, at)))
            }
        }
    }

    /// Lists a folder that is in another one. A folder without files is not part of the tree, as in git. One that cannot be
    /// listed stays a folder, so that no walk takes it for empty.
    fn within(
        &mut self,
        folder: &Path,
        at: &TreePath,
        depth: usize,
    ) -> Result<Option<What>, SourceError> {
        match self.folder(folder, at, depth + 1) {
            Ok(entries) if entries.is_empty() => {
                // Links may lead to it again and again.
                self.count()?;
                Ok(None)
            }
            Ok(entries) => Ok(Some(What::Folder(entries))),
            Err(SourceError::Tree(TreeError::Broken { reason, .. })) if self.anywhere.is_some() => {
                let reason = format!("{}: {reason}", folder.display());
                Ok(Some(What::Closed(reason)))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns what is at a path; `None` if that is not part of the tree.
    pub(super) fn look(&mut self, path: &Path, at: &TreePath) -> Result<Option<Seen>, SourceError> {
        let facts = match fs::symlink_metadata(path) {
            Ok(facts) => facts,
            // It existed when the folder was listed, and is gone now: treat it as if it had never been there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(at, &error)),
        };
        if self.ignored.is(path, facts.is_dir())? {
            return Ok(None);
        }
        if facts.is_dir() && self.anywhere.is_some() {
            // Outside a repository there are no submodules: a repository in the folder is a folder like any other.
            return Ok(Some(Seen::Folder));
        }
        if facts.is_dir() {
            let submodule = self.indexed.submodule(path);
            if submodule.is_some() || path.join(".git").exists() {
                let unknown = ObjectId::null(gix::hash::Kind::Sha1);
                return Ok(Some(Seen::Submodule(submodule.unwrap_or(unknown))));
            }
            return Ok(Some(Seen::Folder));
        }
        if facts.is_symlink() {
            let target = fs::read_link(path).map_err(|error| unreadable(at, &error))?;
            return Ok(Some(Seen::Link(target.as_os_str().as_bytes().to_vec())));
        }
        if facts.is_file() {
            return Ok(Some(Seen::File(facts)));
        }
        // git knows nothing of this kind.
        Ok(self.anywhere.is_some().then_some(Seen::Special))
    }

    /// Takes what is at a path into the listing, and a folder without its contents.
    pub(super) fn take(&mut self, seen: Seen, path: &Path, at: &TreePath) -> What {
        match seen {
            Seen::Folder => What::Folder(Vec::new()),
            Seen::File(facts) => self.file(path, at, &facts),
            Seen::Link(target) => What::Link(target),
            Seen::Submodule(commit) => What::Submodule(commit),
            Seen::Special => What::Refused(
                "it is a pipe, a socket or a device: expected a file or a folder".to_owned(),
            ),
        }
    }

    fn file(&mut self, path: &Path, at: &TreePath, facts: &fs::Metadata) -> What {
        let is_executable = facts.permissions().mode() & 0o111 != 0;
        let known = self.anywhere.as_ref();
        if let Some(number) = known.and_then(|anywhere| anywhere.number(path)) {
            return What::File {
                number,
                is_executable,
            };
        }
        let number = self.files.len();
        if let Some(anywhere) = &mut self.anywhere {
            anywhere.remember(path, number);
        }
        self.modified = self.modified.max(facts.mtime());
        let id = match self.indexed.untouched(path, facts) {
            // It can never be read, so its bytes are not read here either.
            None if facts.len() > self.limits.file => Some(stand_in(path, facts)),
            known => known,
        };
        self.files.push(ListedFile {
            path: path.to_owned(),
            at: at.clone(),
            size: facts.len(),
            id,
        });
        What::File {
            number,
            is_executable,
        }
    }
}

pub(super) fn unreadable(at: &TreePath, error: &io::Error) -> SourceError {
    broken(at, &error.to_string()).into()
}

fn too_many(path: &TreePath, size: usize, limit: usize, unit: &'static str) -> SourceError {
    let (size, limit) = (size as u64, limit as u64);
    SourceError::Tree(TreeError::TooLarge {
        path: path.clone(),
        size,
        limit,
        unit,
    })
}

/// Returns an id for a file that is too large to be read, a different one whenever the file changes.
fn stand_in(path: &Path, facts: &fs::Metadata) -> ObjectId {
    let digest = Digester::new("unread-file/v1")
        .part(path.as_os_str().as_bytes())
        .part(facts.len().to_be_bytes())
        .part(facts.mtime().to_be_bytes())
        .part(facts.mtime_nsec().to_be_bytes())
        .finish();
    ObjectId::from_bytes_or_panic(&digest.as_bytes()[..20])
}
