//! What git would ignore.

use std::{
    collections::HashSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use gix::index::entry::Mode;

use crate::error::{SourceError, chain};

/// What git would ignore.
pub(super) struct Ignored<'a> {
    rules: Option<Rules<'a>>,
}

struct Rules<'a> {
    stack: gix::AttributeStack<'a>,
    root: &'a Path,
    /// Files that git knows, and their folders: they count even if a rule matches them.
    tracked: HashSet<PathBuf>,
}

impl<'a> Ignored<'a> {
    pub(super) fn new(
        repository: Option<&'a (gix::Repository, PathBuf)>,
        folder: &Path,
    ) -> Result<Self, SourceError> {
        let Some((repository, root)) = repository else {
            return Ok(Self { rules: None });
        };
        let failed = |error: gix::Error| SourceError::Url {
            url: folder.display().to_string(),
            reason: format!("its ignore rules cannot be read: {}", chain(&error)),
        };
        let index = repository.index_or_empty().map_err(failed)?;
        let stack = repository
            .excludes(
                &index,
                None,
                gix::worktree::stack::state::ignore::Source::default(),
            )
            .map_err(failed)?;
        let mut tracked = HashSet::new();
        for entry in index.entries() {
            let path = OsStr::from_bytes(entry.path(&index));
            let mut next = Some(Path::new(path));
            while let Some(path) = next.filter(|path| !path.as_os_str().is_empty()) {
                if !tracked.insert(path.to_owned()) {
                    break;
                }
                next = path.parent();
            }
        }
        let mut ignored = Self {
            rules: Some(Rules {
                stack,
                root,
                tracked,
            }),
        };
        // Who names an ignored folder wants what is in it.
        if folder != root && ignored.is(folder, true)? {
            ignored.rules = None;
        }
        Ok(ignored)
    }

    /// Says whether git would ignore what is at a path.
    pub(super) fn is(&mut self, path: &Path, folder: bool) -> Result<bool, SourceError> {
        let Some(rules) = &mut self.rules else {
            return Ok(false);
        };
        let Ok(within) = path.strip_prefix(rules.root) else {
            return Ok(false);
        };
        if rules.tracked.contains(within) {
            return Ok(false);
        }
        let mode = if folder { Mode::DIR } else { Mode::FILE };
        let found = rules
            .stack
            .at_path(within, Some(mode))
            .map_err(|error| SourceError::Url {
                url: path.display().to_string(),
                reason: format!("its ignore rules cannot be read: {}", chain(&error)),
            })?;
        Ok(found.is_excluded())
    }
}
