//! The text of an index on its way: in memory while it is small, and then on disk, in a file without a name.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use crate::error::{Cause, Part};

/// What came.
#[derive(Debug)]
pub(super) enum Text {
    /// All of it, in memory.
    Small(Vec<u8>),
    /// All of it, on disk.
    Large(Spool),
}

impl Text {
    /// Returns how much came, in bytes.
    pub(super) const fn size(&self) -> u64 {
        match self {
            Self::Small(bytes) => bytes.len() as u64,
            Self::Large(spool) => spool.size,
        }
    }

    /// Returns all that came. Blocks.
    pub(super) fn read(self) -> Result<Vec<u8>, Cause> {
        match self {
            Self::Small(bytes) => Ok(bytes),
            Self::Large(mut spool) => {
                let read = spool.take();
                read.map_err(|error| failed(&spool.dir, &error))
            }
        }
    }
}

/// A file that goes with who has it, whatever becomes of him.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    file: File,
    size: u64,
}

impl Spool {
    /// Begins a file in a folder, which is made if it is not there. Blocks.
    pub(super) fn new(dir: PathBuf) -> Result<Self, Cause> {
        let file = fs::create_dir_all(&dir).and_then(|()| tempfile::tempfile_in(&dir));
        match file {
            Ok(file) => Ok(Self { dir, file, size: 0 }),
            Err(error) => Err(failed(&dir, &error)),
        }
    }

    /// Puts down what came next. Blocks.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), Cause> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| failed(&self.dir, &error))?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Returns how much was put down, in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    fn take(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.reserve_exact(usize::try_from(self.size).unwrap_or_default());
        self.file.rewind()?;
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn failed(dir: &Path, error: &io::Error) -> Cause {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": make room on its volume, or give it a larger one"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ": let the user as whom this runs write there"
        }
        _ => "",
    };
    Cause::Disk {
        part: Part::Index,
        dir: dir.to_owned(),
        reason: format!("{error}{advice}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_down_is_read_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("cache");
        let mut spool = Spool::new(below.clone()).unwrap();
        for part in ["a large", " index"] {
            spool.add(part.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_dir(&below).unwrap().count(), 0);
        let text = Text::Large(spool);
        assert_eq!(text.size(), 13);
        assert_eq!(text.read().unwrap(), b"a large index");
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Spool::new(file).unwrap_err().to_string();
        let error = error.replace(&dir.path().display().to_string(), "DIR");
        insta::assert_snapshot!(error, @"the index cannot be put down in DIR/file while it comes: File exists (os error 17)");
    }
}
