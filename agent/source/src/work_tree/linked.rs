//! What the links of a folder lead to, outside the folder.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use pintle_core::tree::TreePath;

use super::listing::{Entry, Lister, Seen, What};
use crate::{error::SourceError, tree::LINKS};

/// A folder, and what its links lead to below a root. Nothing else outside the folder is looked at, so that a chart in a large
/// repository takes no longer than one in a small repository.
pub(super) struct Linked<'a, 'b> {
    lister: &'a mut Lister<'b>,
    root: &'a Path,
    folder: PathBuf,
    /// The contents of the folder, and of the folders that links lead to, by their paths from the root.
    whole: BTreeMap<PathBuf, Vec<Entry>>,
    /// What else is on the way of links.
    passed: BTreeMap<PathBuf, What>,
}

impl<'a, 'b> Linked<'a, 'b> {
    pub(super) fn new(
        lister: &'a mut Lister<'b>,
        root: &'a Path,
        folder: &TreePath,
    ) -> Result<Self, SourceError> {
        let depth = folder.parts().count();
        let folder = PathBuf::from(folder.as_str());
        let path = if is_root(&folder) {
            root.to_owned()
        } else {
            root.join(&folder)
        };
        let entries = lister.folder(&path, &TreePath::root(), depth)?;
        Ok(Self {
            lister,
            root,
            whole: BTreeMap::from([(folder.clone(), entries)]),
            folder,
            passed: BTreeMap::new(),
        })
    }

    /// Follows all links, and returns what is below the root.
    pub(super) fn entries(mut self) -> Result<Vec<Entry>, SourceError> {
        // If the folder is the root, no link leads to anything outside it.
        while !is_root(&self.folder)
            && let Some((link, target)) = self.lister.next_link()
        {
            let from = link.parent().and_then(|at| at.strip_prefix(self.root).ok());
            if let Some(from) = from {
                self.follow(from.to_owned(), &target)?;
            }
        }
        let mut entries = Vec::new();
        for (path, what) in self.passed {
            put(&mut entries, &way(&path), what);
        }
        // A folder is put in place after those within it, as it has everything that they have.
        for (path, within) in self.whole.into_iter().rev() {
            put(&mut entries, &way(&path), What::Folder(within));
        }
        Ok(entries)
    }

    /// Follows a link the way a tree does, and takes what is on the way.
    fn follow(&mut self, mut place: PathBuf, target: &[u8]) -> Result<(), SourceError> {
        if target.starts_with(b"/") {
            return Ok(());
        }
        let mut links = 1;
        let mut open = parts(target);
        while let Some(part) = open.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." if place.pop() => continue,
                b".." | b".git" => return Ok(()),
                name => place.push(OsStr::from_bytes(name)),
            }
            match self.pass(&place)? {
                Some(Seen::Folder) => {}
                Some(Seen::Link(target)) if links < LINKS && !target.starts_with(b"/") => {
                    links += 1;
                    place.pop();
                    open.extend(parts(&target));
                }
                Some(Seen::Link(_) | Seen::File(_) | Seen::Submodule(_) | Seen::Special) | None => {
                    return Ok(());
                }
            }
        }
        self.take_whole(place)
    }

    /// Returns what is at a place, and takes it.
    fn pass(&mut self, place: &Path) -> Result<Option<Seen>, SourceError> {
        let (path, at) = (self.root.join(place), tree_path(place));
        let seen = self.lister.look(&path, &at)?;
        if !matches!(seen, Some(Seen::Folder)) {
            self.lister.note(&path);
        }
        if let Some(seen) = &seen
            && !self.is_known(place)
            && !self.passed.contains_key(place)
        {
            let what = self.lister.take(seen.clone(), &path, &at);
            self.passed.insert(place.to_owned(), what);
        }
        Ok(seen)
    }

    /// Takes a folder with everything below it. Folders above the scanned one are never entered.
    fn take_whole(&mut self, place: PathBuf) -> Result<(), SourceError> {
        if self.is_known(&place) || self.folder.starts_with(&place) {
            return Ok(());
        }
        let depth = place.components().count();
        let path = self.root.join(&place);
        let entries = self.lister.folder(&path, &tree_path(&place), depth)?;
        if entries.is_empty() {
            // A folder without files is not part of the tree, as in git.
            self.passed.remove(&place);
        } else {
            self.whole.insert(place, entries);
        }
        Ok(())
    }

    fn is_known(&self, place: &Path) -> bool {
        self.whole.keys().any(|whole| place.starts_with(whole))
    }
}

fn is_root(folder: &Path) -> bool {
    folder.as_os_str().is_empty()
}

/// Returns the parts of a link's target, the last one first.
pub(super) fn parts(target: &[u8]) -> Vec<Vec<u8>> {
    let parts = target.split(|byte| *byte == b'/').rev();
    parts.map(<[u8]>::to_vec).collect()
}

/// Returns a path for messages.
fn tree_path(place: &Path) -> TreePath {
    let text = place.to_str().unwrap_or_default();
    TreePath::parse(text).unwrap_or_default()
}

fn way(path: &Path) -> Vec<&OsStr> {
    path.iter().collect()
}

/// Puts something below a folder, with the folders on the way to it.
fn put(entries: &mut Vec<Entry>, way: &[&OsStr], what: What) {
    let Some((name, rest)) = way.split_first() else {
        if let What::Folder(within) = what {
            *entries = within;
        }
        return;
    };
    let name = name.as_bytes();
    let known = entries.iter().position(|entry| entry.name == name);
    let index = known.unwrap_or(entries.len());
    if known.is_none() {
        entries.push(Entry {
            name: name.to_vec(),
            at: TreePath::root(),
            what: What::Folder(Vec::new()),
        });
    }
    let entry = &mut entries[index];
    match &mut entry.what {
        What::Folder(within) if !rest.is_empty() => put(within, rest, what),
        here => *here = what,
    }
}
