//! What git's index knows about files.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use gix::{ObjectId, index::entry::Mode};

use crate::error::{SourceError, chain};

/// Files whose ids are known as long as they have not been touched.
#[derive(Default)]
pub(super) struct Indexed(HashMap<PathBuf, File>);

/// A file as recorded in the index.
struct File {
    id: ObjectId,
    mode: Mode,
    /// The size, and the seconds and nanoseconds of the last modification, truncated as the index truncates them.
    stat: (u32, u32, u32),
}

impl Indexed {
    /// Reads the index of a repository, which comes with its root.
    pub(super) fn of((repository, root): &(gix::Repository, PathBuf)) -> Result<Self, SourceError> {
        let index = repository
            .index_or_empty()
            .map_err(|error| SourceError::Url {
                url: root.display().to_string(),
                reason: format!("its index cannot be read: {}", chain(&error)),
            })?;
        let entries = index.entries().iter().map(|entry| {
            let path = root.join(OsStr::from_bytes(entry.path(&index)));
            let stat = entry.stat;
            let file = File {
                id: entry.id,
                mode: entry.mode,
                stat: (stat.size, stat.mtime.secs, stat.mtime.nsecs),
            };
            (path, file)
        });
        Ok(Self(entries.collect()))
    }

    /// Returns the id of a file that is still as the index has it.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the index keeps 32 bits of each"
    )]
    pub(super) fn untouched(&self, path: &Path, facts: &fs::Metadata) -> Option<ObjectId> {
        let now = (
            facts.len() as u32,
            facts.mtime() as u32,
            facts.mtime_nsec() as u32,
        );
        let file = self.0.get(path)?;
        (file.stat == now).then_some(file.id)
    }

    /// Returns the commit that the index has for a submodule.
    pub(super) fn submodule(&self, path: &Path) -> Option<ObjectId> {
        let file = self.0.get(path)?;
        (file.mode == Mode::COMMIT).then_some(file.id)
    }
}
