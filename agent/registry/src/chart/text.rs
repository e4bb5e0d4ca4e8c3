//! The text of an index on its way: in memory while it is small, and then on disk, in a file without a name.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use super::indexes::{MAX_WAITING, Share, Turn};
use crate::error::{Cause, Part};

/// What has come.
#[derive(Debug)]
pub(super) enum Text {
    /// In memory: a small one, or a large one that no disk takes, with the right to be there.
    Memory(Vec<u8>, Option<Turn>),
    /// On disk.
    Disk(Spool),
}

impl Text {
    /// Returns how much has come, in bytes.
    pub(super) const fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes, _) => bytes.len() as u64,
            Self::Disk(spool) => spool.size,
        }
    }

    /// Returns the turn that it has, if it has one.
    pub(super) fn turn(&mut self) -> Option<Turn> {
        match self {
            Self::Memory(_, turn) => turn.take(),
            Self::Disk(_) => None,
        }
    }

    /// Returns all that has come. Blocks.
    pub(super) fn read(self) -> Result<Vec<u8>, Cause> {
        match self {
            Self::Memory(bytes, _) => Ok(bytes),
            Self::Disk(mut spool) => {
                let read = spool.read();
                read.map_err(|error| failed(&spool.dir, &error))
            }
        }
    }
}

/// A file that goes with who has it, whatever becomes of him.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    /// Where it goes if the folder takes nothing, or no more.
    other: Option<PathBuf>,
    file: Option<File>,
    size: u64,
    share: Share,
}

impl Spool {
    /// Names the folder for a file, which is made if it is not there, and another one.
    pub(super) const fn new(dir: PathBuf, other: Option<PathBuf>, share: Share) -> Self {
        Self {
            dir,
            other,
            file: None,
            size: 0,
            share,
        }
    }

    /// Takes room for what came next, which is had until all has been read.
    pub(super) fn make_room(&mut self, bytes: usize) -> Result<(), Cause> {
        if self.share.grow(bytes) {
            return Ok(());
        }
        Err(Cause::Disk {
            part: Part::Index,
            dir: self.dir.clone(),
            reason: format!(
                "other large indexes come as well, or wait to be read, and leave too little of the {MAX_WAITING} bytes for all; \
                 try again when they have been read"
            ),
        })
    }

    /// Puts down what came next. If that fails, what was put down before stays. Blocks.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), Cause> {
        let mut written = self.write(bytes);
        if written.is_err()
            && let Some(other) = self.other.take()
        {
            written = self.move_to(other).and_then(|()| self.write(bytes));
        }
        written?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Cause> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => begin(&self.dir).map_err(|error| failed(&self.dir, &error))?,
        };
        let written = file.write_all(bytes);
        self.file = Some(file);
        written.map_err(|error| failed(&self.dir, &error))
    }

    /// Goes on in another folder, with all that was put down.
    fn move_to(&mut self, dir: PathBuf) -> Result<(), Cause> {
        let moved = self.copy_to(&dir);
        self.file = Some(moved.map_err(|error| failed(&dir, &error))?);
        self.dir = dir;
        Ok(())
    }

    fn copy_to(&mut self, dir: &Path) -> io::Result<File> {
        let mut copy = begin(dir)?;
        if let Some(file) = &mut self.file {
            file.rewind()?;
            // Behind it may be the start of what the disk took no more of.
            io::copy(&mut file.take(self.size), &mut copy)?;
        }
        Ok(copy)
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            bytes.reserve_exact(usize::try_from(self.size).unwrap_or_default());
            file.rewind()?;
            file.take(self.size).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }
}

/// Begins a file in a folder.
fn begin(dir: &Path) -> io::Result<File> {
    fs::create_dir_all(dir)?;
    tempfile::tempfile_in(dir)
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
    use super::{super::indexes::Indexes, *};

    fn spool(dir: PathBuf, other: Option<PathBuf>) -> Spool {
        Spool::new(dir, other, Indexes::default().share())
    }

    /// A folder that cannot be made.
    fn below_a_file(dir: &Path) -> PathBuf {
        let file = dir.join("file");
        fs::write(&file, "").unwrap();
        file.join("cache")
    }

    #[test]
    fn what_was_put_down_is_read_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("cache");
        let mut spool = spool(below.clone(), None);
        for part in ["a large", " index"] {
            spool.add(part.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_dir(&below).unwrap().count(), 0);
        let text = Text::Disk(spool);
        assert_eq!(text.size(), 13);
        assert_eq!(text.read().unwrap(), b"a large index");
    }

    #[test]
    fn what_one_folder_takes_no_more_of_goes_on_in_another() {
        let dir = tempfile::tempdir().unwrap();
        let other = || Some(dir.path().join("other"));
        let mut refused = spool(below_a_file(dir.path()), other());
        refused.add(b"a large").unwrap();
        let mut full = spool(dir.path().to_owned(), other());
        full.add(b"a large").unwrap();
        // It can be read and not be written any more.
        let path = dir.path().join("full");
        fs::write(&path, "a large and a part").unwrap();
        full.file = Some(File::open(&path).unwrap());
        for mut spool in [refused, full] {
            spool.add(b" index").unwrap();
            assert_eq!(spool.dir, dir.path().join("other"));
            assert_eq!(spool.size, 13);
            assert_eq!(spool.read().unwrap(), b"a large index");
        }
    }

    #[test]
    fn what_was_put_down_stays_when_no_folder_takes_more() {
        let dir = tempfile::tempdir().unwrap();
        let other = below_a_file(dir.path());
        let mut spool = spool(dir.path().to_owned(), Some(other));
        spool.add(b"a large").unwrap();
        let path = dir.path().join("full");
        fs::write(&path, "a large and a part").unwrap();
        spool.file = Some(File::open(&path).unwrap());
        spool.add(b" index").unwrap_err();
        assert_eq!(spool.read().unwrap(), b"a large");
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = spool(below_a_file(dir.path()), None);
        let error = spool.add(b"a large index").unwrap_err().to_string();
        let error = error.replace(&dir.path().display().to_string(), "DIR");
        insta::assert_snapshot!(error, @"the index cannot be put down in DIR/file/cache while it comes: Not a directory (os error 20)");
    }

    #[test]
    fn whoever_finds_no_room_is_told_why() {
        let mut spool = spool(PathBuf::from("/cache"), None);
        spool.make_room(MAX_WAITING / 2).unwrap();
        let error = spool.make_room(1).unwrap_err();
        assert!(error.is_retryable());
        insta::assert_snapshot!(error, @"the index cannot be put down in /cache while it comes: other large indexes come as well, or wait to be read, and leave too little of the 268435456 bytes for all; try again when they have been read");
    }
}
