//! Links of a folder outside any repository, followed wherever they lead.
//!
//! What a link leads to takes the link's place, as in Helm (its `internal/sympath`). In Helm, the whole chart fails on a link
//! that leads to nothing or back to a folder around it, on anything that may not be read, and on anything that is not a file,
//! link or folder. Here, each is an error only for the caller that reads it.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use pintle_core::tree::TreePath;

use super::{Lister, Seen, What};
use crate::{error::SourceError, tree::LINKS, work_tree::linked::parts};

/// The state for following links.
#[derive(Default)]
pub(super) struct Anywhere {
    /// The real paths of the folders that are being listed, from the outermost to the innermost.
    open: Vec<PathBuf>,
    /// The numbers of the files that were listed, by their real paths, so that what many links lead to is read once.
    numbers: HashMap<PathBuf, usize>,
    /// The outermost link whose folder is being listed.
    link: Option<TreePath>,
}

impl Anywhere {
    pub(super) fn enter(&mut self, folder: &Path) {
        self.open.push(folder.to_owned());
    }

    pub(super) fn leave(&mut self) {
        self.open.pop();
    }

    /// Returns the outermost link whose folder is being listed.
    pub(super) fn link(&self) -> Option<&TreePath> {
        self.link.as_ref()
    }

    pub(super) fn number(&self, file: &Path) -> Option<usize> {
        self.numbers.get(file).copied()
    }

    pub(super) fn remember(&mut self, file: &Path, number: usize) {
        self.numbers.insert(file.to_owned(), number);
    }

    /// Returns whether a folder is one of those that are being listed, or contains one of them. No walk comes to a folder a
    /// second time without first entering such a folder through a link.
    fn leads_back(&self, folder: &Path) -> bool {
        self.open.iter().any(|open| open.starts_with(folder))
    }
}

impl Lister<'_> {
    /// Lists what a link leads to, as if it were in the link's place.
    pub(super) fn behind(
        &mut self,
        link: &Path,
        target: &[u8],
        at: &TreePath,
        depth: usize,
    ) -> Result<Option<What>, SourceError> {
        let refused = |reason: &str| {
            let target = String::from_utf8_lossy(target);
            let target = target.escape_debug();
            What::Refused(format!("it is a symbolic link to `{target}`, {reason}"))
        };
        let end = match self.end_of(link, target) {
            Ok(end) => end,
            Err(reason) => return Ok(Some(refused(&reason))),
        };
        let leads_back = |anywhere: &Anywhere| anywhere.leads_back(&end);
        match self.look(&end, at)? {
            None => Ok(None),
            Some(Seen::Folder) if self.anywhere.as_ref().is_some_and(leads_back) => {
                Ok(Some(refused(
                    "which leads back to a folder around it: let it lead to what is needed of that",
                )))
            }
            Some(Seen::Folder) => self.through(&end, at, depth),
            Some(seen) => Ok(Some(self.take(seen, &end, at))),
        }
    }

    /// Lists the folder at the end of a link.
    fn through(
        &mut self,
        end: &Path,
        at: &TreePath,
        depth: usize,
    ) -> Result<Option<What>, SourceError> {
        let around = self.anywhere.as_mut().and_then(|anywhere| {
            let around = anywhere.link.clone();
            anywhere.link.get_or_insert_with(|| at.clone());
            around
        });
        let within = self.within(end, at, depth);
        if let Some(anywhere) = &mut self.anywhere {
            anywhere.link = around;
        }
        within
    }

    /// Finds where a link really ends. The error says why it does not end anywhere.
    fn end_of(&mut self, link: &Path, target: &[u8]) -> Result<PathBuf, String> {
        let mut place = link.parent().unwrap_or(link).to_owned();
        let mut open = set_out(&mut place, target);
        let mut links = 1;
        while let Some(part) = open.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    place.pop();
                    continue;
                }
                name => place.push(OsStr::from_bytes(name)),
            }
            let facts = fs::symlink_metadata(&place);
            if !facts.as_ref().is_ok_and(fs::Metadata::is_dir) {
                self.note(&place);
            }
            let facts = facts.map_err(|error| why(&error))?;
            if facts.is_symlink() {
                links += 1;
                if links > LINKS {
                    return Err("which never ends".to_owned());
                }
                let target = fs::read_link(&place).map_err(|error| why(&error))?;
                place.pop();
                open.extend(set_out(&mut place, target.as_os_str().as_bytes()));
            } else if !facts.is_dir() && !open.is_empty() {
                // `file/` is not a file, as for the operating system.
                return Err(ABSENT.to_owned());
            }
        }
        Ok(place)
    }
}

/// Moves to where the path of a link begins, and returns the parts of the path, the last one first.
fn set_out(place: &mut PathBuf, target: &[u8]) -> Vec<Vec<u8>> {
    if target.starts_with(b"/") {
        *place = PathBuf::from("/");
    }
    parts(target)
}

const ABSENT: &str = "which does not exist";

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => ABSENT.to_owned(),
        _ => format!("which cannot be followed: {error}"),
    }
}
