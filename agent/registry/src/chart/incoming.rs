//! Downloads in progress that may be large: in memory while they are small, and on disk from then on.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use pintle_core::digest::Digest;
use reqwest::Response;
use tempfile::TempPath;

use super::indexes::{self, MAX_WAITING, Turn, Turns};
use crate::{
    cache,
    content::{self, Content, FromStart},
    error::{Cause, Part},
    registry::blocking,
    room::Share,
    transport::Transport,
};

/// What has been received.
#[derive(Debug)]
pub(super) enum Incoming {
    /// In memory: a small download, or a large one that no disk accepts, with its right to be there.
    Memory(Vec<u8>, Option<Right>),
    /// On disk.
    Disk(Spool),
}

/// The right of a large download to be in memory.
#[derive(Debug)]
pub(super) enum Right {
    /// For an index, which is read next.
    Turn(Turn),
    /// For an archive.
    Share(Share),
}

/// A completely received archive.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) content: Content,
    /// The name of its file, if it has one. Dropping it removes the file.
    pub(super) name: Option<TempPath>,
    /// A large archive's share of the room for all archives.
    pub(super) share: Option<Share>,
}

impl Incoming {
    /// Receives a response until it ends or exceeds the limit, and returns whether it has ended. A large download goes to disk:
    /// memory is for what is being read, and hosts can be slow.
    pub(super) async fn take(
        transport: &Transport,
        mut response: Response,
        limit: u64,
        spool: Spool,
    ) -> Result<(Self, bool), Cause> {
        let mut bytes = Vec::new();
        let announced = response.content_length();
        if announced.is_some_and(|size| size > limit) {
            return Ok((Self::Memory(bytes, None), false));
        }
        let small = spool.kind.small();
        let start = transport.read_on(&mut response, &mut bytes, small.min(limit));
        if start.await? {
            return Ok((Self::Memory(bytes, None), true));
        }
        let mut incoming = Self::Disk(spool);
        let mut has_ended = false;
        while incoming.size() + bytes.len() as u64 <= limit {
            incoming = incoming.put_down(bytes).await?;
            if has_ended {
                return Ok((incoming, true));
            }
            bytes = Vec::new();
            let piece = transport.read_on(&mut response, &mut bytes, small);
            has_ended = piece.await?;
        }
        Ok((incoming, false))
    }

    /// Stores the next bytes of a large download. If no disk accepts them, they are kept in memory: an index then takes
    /// its turn to be read at once instead of later, and an archive has its share of the room for all anyway.
    async fn put_down(self, bytes: Vec<u8>) -> Result<Self, Cause> {
        let mut spool = match self {
            Self::Disk(spool) => spool,
            Self::Memory(mut all, mut right) => {
                if let Some(Right::Share(share)) = &mut right
                    && !share.grow(bytes.len() as u64)
                {
                    return Err(no_room(share));
                }
                all.extend_from_slice(&bytes);
                return Ok(Self::Memory(all, right));
            }
        };
        spool.make_room(bytes.len())?;
        let add = move || {
            let added = spool.add(&bytes);
            (spool, bytes, added)
        };
        let (spool, bytes, added) = blocking(add).await;
        let Err(cause) = added else {
            return Ok(Self::Disk(spool));
        };
        tracing::warn!(part = %spool.kind.part(), %cause, "a large download is kept in memory");
        let turn = match &spool.kind {
            Kind::Index(turns) => Some(turns.take().await),
            Kind::Archive { .. } => None,
        };
        blocking(move || {
            let mut all = spool.read()?;
            all.extend_from_slice(&bytes);
            let right = turn.map_or(Right::Share(spool.share), Right::Turn);
            Ok(Self::Memory(all, Some(right)))
        })
        .await
    }

    /// Returns the number of bytes received.
    pub(super) const fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes, _) => bytes.len() as u64,
            Self::Disk(spool) => spool.size,
        }
    }

    /// Takes the turn of an index, if it has one.
    pub(super) fn turn(&mut self) -> Option<Turn> {
        match self {
            Self::Memory(_, right) => match right.take()? {
                Right::Turn(turn) => Some(turn),
                Right::Share(_) => None,
            },
            Self::Disk(_) => None,
        }
    }

    /// Returns everything received. Blocks.
    pub(super) fn read(self) -> Result<Vec<u8>, Cause> {
        match self {
            Self::Memory(bytes, _) => Ok(bytes),
            Self::Disk(spool) => spool.read(),
        }
    }

    /// Returns the download, and the digest of everything received. Waits for the disk.
    pub(super) async fn digest(self) -> Result<(Self, Digest), Cause> {
        blocking(move || {
            let digest = match &self {
                Self::Memory(bytes, _) => Digest::of(bytes),
                Self::Disk(spool) => spool.digest()?,
            };
            Ok((self, digest))
        })
        .await
    }

    /// Converts a completely received archive.
    pub(super) fn arrived(self) -> Arrived {
        let (bytes, share) = match self {
            Self::Memory(bytes, Some(Right::Share(share))) => (bytes, Some(share)),
            Self::Memory(bytes, _) => (bytes, None),
            Self::Disk(spool) => match spool.file {
                Some(Begun { file, name }) => {
                    return Arrived {
                        content: Content::File(file, spool.size),
                        name,
                        share: Some(spool.share),
                    };
                }
                None => (Vec::new(), None),
            },
        };
        Arrived {
            content: Content::Memory(content::without_spare(bytes)),
            name: None,
            share,
        }
    }
}

/// The kind of a download.
#[derive(Debug)]
pub(super) enum Kind {
    /// The index of a chart repository, with the turns that allow one to be in memory.
    Index(Turns),
    /// An archive. If it may be kept, its file has a name in the first folder, which is the cache's.
    Archive { may_be_kept: bool },
}

impl Kind {
    const fn part(&self) -> Part {
        match self {
            Self::Index(_) => Part::Index,
            Self::Archive { .. } => Part::Archive,
        }
    }

    /// Returns how many bytes stay in memory while they are received.
    const fn small(&self) -> u64 {
        match self {
            Self::Index(_) => indexes::SMALL,
            Self::Archive { .. } => content::SMALL,
        }
    }
}

/// A file that goes away with its owner, whatever happens to the owner.
#[derive(Debug)]
pub(super) struct Spool {
    kind: Kind,
    dir: PathBuf,
    /// The folder to use if the first one accepts nothing, or no more.
    other: Option<PathBuf>,
    file: Option<Begun>,
    size: u64,
    share: Share,
}

impl Spool {
    /// Creates a spool for a file in a folder, which is created if it does not exist, with another folder to fall back on.
    pub(super) const fn new(
        kind: Kind,
        dir: PathBuf,
        other: Option<PathBuf>,
        share: Share,
    ) -> Self {
        Self {
            kind,
            dir,
            other,
            file: None,
            size: 0,
            share,
        }
    }

    /// Takes room for the next bytes. An index has it until it is read, and an archive for as long as anybody holds it.
    fn make_room(&mut self, bytes: usize) -> Result<(), Cause> {
        if self.share.grow(bytes as u64) {
            return Ok(());
        }
        Err(match &self.kind {
            Kind::Index(_) => Cause::Disk {
                part: Part::Index,
                dir: self.dir.clone(),
                reason: format!(
                    "other large indexes come as well, or wait to be read, and leave too little of the {MAX_WAITING} bytes for all; \
                     try again when they have been read"
                ),
            },
            Kind::Archive { .. } => no_room(&self.share),
        })
    }

    /// Writes the next bytes. If that fails, what was written before remains. Blocks.
    fn add(&mut self, bytes: &[u8]) -> Result<(), Cause> {
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
        let mut begun = match self.file.take() {
            Some(begun) => begun,
            None => self.begin().map_err(|error| self.failed(&error))?,
        };
        let written = begun.file.write_all(bytes);
        self.file = Some(begun);
        written.map_err(|error| self.failed(&error))
    }

    fn begin(&self) -> io::Result<Begun> {
        if let Kind::Archive { may_be_kept: true } = self.kind {
            Begun::with_name(&self.dir)
        } else {
            Begun::without_name(&self.dir)
        }
    }

    /// Continues in another folder, with everything written so far.
    fn move_to(&mut self, dir: PathBuf) -> Result<(), Cause> {
        self.dir = dir;
        let moved = self.copy().map_err(|error| self.failed(&error))?;
        self.file = Some(moved);
        Ok(())
    }

    /// Copies everything written so far to the folder to continue in.
    fn copy(&self) -> io::Result<Begun> {
        let mut copy = Begun::without_name(&self.dir)?;
        if let Some(mut written) = self.written() {
            io::copy(&mut written, &mut copy.file)?;
        }
        Ok(copy)
    }

    fn read(&self) -> Result<Vec<u8>, Cause> {
        let mut bytes = Vec::new();
        if let Some(mut written) = self.written() {
            bytes.reserve_exact(usize::try_from(self.size).unwrap_or_default());
            let read = written.read_to_end(&mut bytes);
            read.map_err(|error| self.failed(&error))?;
        }
        Ok(bytes)
    }

    fn digest(&self) -> Result<Digest, Cause> {
        let digest = match self.written() {
            Some(written) => content::read_digest(written),
            None => Ok(Digest::of("")),
        };
        digest.map_err(|error| self.failed(&error))
    }

    /// Returns a reader of what was written. The file may end with part of a write that the disk did not accept in full.
    fn written(&self) -> Option<FromStart<'_>> {
        let begun = self.file.as_ref()?;
        Some(FromStart::new(&begun.file, self.size))
    }

    fn failed(&self, error: &io::Error) -> Cause {
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
            part: self.kind.part(),
            dir: self.dir.clone(),
            reason: format!("{error}{advice}"),
        }
    }
}

/// A file that is being written.
#[derive(Debug)]
struct Begun {
    file: File,
    /// Its name, if it has one. Dropping it removes the file.
    name: Option<TempPath>,
}

impl Begun {
    fn with_name(dir: &Path) -> io::Result<Self> {
        let (file, name) = cache::begin(dir)?.into_parts();
        Ok(Self {
            file,
            name: Some(name),
        })
    }

    fn without_name(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self {
            file: tempfile::tempfile_in(dir)?,
            name: None,
        })
    }
}

/// Creates the error for an archive that other archives leave too little room for.
pub(super) fn no_room(share: &Share) -> Cause {
    Cause::NoRoom {
        part: Part::Archive,
        limit: share.limit(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{archives::Archives, indexes::Indexes},
        *,
    };
    use crate::options::Options;

    fn spool(dir: PathBuf, other: Option<PathBuf>) -> Spool {
        Indexes::default().spool(dir, other)
    }

    /// Returns a folder that cannot be created.
    fn below_a_file(dir: &Path) -> PathBuf {
        let file = dir.join("file");
        fs::write(&file, "").unwrap();
        file.join("cache")
    }

    /// Returns a file that can be read but no longer written, and has more bytes than were stored.
    fn full(dir: &Path) -> Begun {
        let path = dir.join("full");
        fs::write(&path, "a large and a part").unwrap();
        let file = File::open(&path).unwrap();
        Begun { file, name: None }
    }

    fn files(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn what_was_put_down_is_read_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("cache");
        let mut spool = spool(below.clone(), None);
        for part in ["a large", " index"] {
            spool.add(part.as_bytes()).unwrap();
        }
        assert_eq!(files(&below), 0);
        let incoming = Incoming::Disk(spool);
        assert_eq!(incoming.size(), 13);
        assert_eq!(incoming.read().unwrap(), b"a large index");
    }

    #[test]
    fn what_one_folder_takes_no_more_of_goes_on_in_another() {
        let dir = tempfile::tempdir().unwrap();
        let other = || Some(dir.path().join("other"));
        let mut refused = spool(below_a_file(dir.path()), other());
        refused.add(b"a large").unwrap();
        let mut stopped = spool(dir.path().to_owned(), other());
        stopped.add(b"a large").unwrap();
        stopped.file = Some(full(dir.path()));
        for mut spool in [refused, stopped] {
            spool.add(b" index").unwrap();
            assert_eq!(spool.dir, dir.path().join("other"));
            assert_eq!(spool.size, 13);
            assert_eq!(spool.digest().unwrap(), Digest::of("a large index"));
            assert_eq!(spool.read().unwrap(), b"a large index");
        }
    }

    #[test]
    fn what_was_put_down_stays_when_no_folder_takes_more() {
        let dir = tempfile::tempdir().unwrap();
        let other = below_a_file(dir.path());
        let mut spool = spool(dir.path().to_owned(), Some(other));
        spool.add(b"a large").unwrap();
        spool.file = Some(full(dir.path()));
        spool.add(b" index").unwrap_err();
        assert_eq!(spool.read().unwrap(), b"a large");
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = spool(below_a_file(dir.path()), None);
        let error = spool.add(b"a large index").unwrap_err().to_string();
        let error = error.replace(&dir.path().display().to_string(), "DIR");
        insta::assert_snapshot!(error, @"the index cannot be stored in DIR/file/cache during its download: Not a directory (os error 20)");
    }

    #[test]
    fn whoever_finds_no_room_is_told_why() {
        let mut spool = spool(PathBuf::from("/cache"), None);
        let half = usize::try_from(MAX_WAITING / 2).unwrap();
        spool.make_room(half).unwrap();
        let error = spool.make_room(1).unwrap_err();
        assert!(error.is_retryable());
        insta::assert_snapshot!(error, @"the index cannot be stored in /cache during its download: other large indexes come as well, or wait to be read, and leave too little of the 268435456 bytes for all; try again when they have been read");

        let mut spool = Archives::default().spool(None);
        spool.make_room(100 << 20).unwrap();
        let error = spool.make_room(100 << 20).unwrap_err();
        assert!(error.is_retryable());
        insta::assert_snapshot!(error, @"there is no room for the archive: those in use and those being downloaded share 268435456 bytes, a quarter of which is reserved for downloads; use fewer or smaller ones, or, for an agent, set a larger `--cache-size`");
    }

    #[tokio::test]
    async fn what_no_disk_takes_is_kept_in_memory_with_the_right_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let below = below_a_file(dir.path());
        let (indexes, archives) = (Indexes::default(), Archives::default());
        let index = indexes.spool(below.clone(), None);
        let archive = Spool {
            dir: below,
            other: None,
            ..archives.spool(None)
        };
        for spool in [index, archive] {
            let is_index = matches!(spool.kind, Kind::Index(_));
            let mut incoming = Incoming::Disk(spool);
            for part in ["a large ", "text"] {
                incoming = incoming.put_down(part.into()).await.unwrap();
            }
            match &incoming {
                Incoming::Memory(_, Some(Right::Turn(_))) => assert!(is_index),
                Incoming::Memory(_, Some(Right::Share(_))) => assert!(!is_index),
                other => panic!("{other:?}"),
            }
            assert_eq!(incoming.read().unwrap(), b"a large text");
        }
    }

    #[tokio::test]
    async fn what_finds_no_room_goes_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let indexes = Indexes::default();
        let spool = || indexes.spool(dir.path().to_owned(), None);
        let mut others = spool();
        while others.make_room(1 << 20).is_ok() {}
        let refused = Incoming::Disk(spool()).put_down(vec![0; 80 << 20]).await;
        assert!(matches!(refused, Err(Cause::Disk { .. })), "{refused:?}");
        drop(others);
        let text = Incoming::Disk(spool()).put_down(vec![0; 1 << 20]).await;
        assert!(matches!(text, Ok(Incoming::Disk(_))), "{text:?}");
    }

    /// Receives an archive of this many bytes.
    async fn take(archives: &Archives, dir: &Path, size: usize, limit: usize) -> (Incoming, bool) {
        let options = Options::default();
        let transport = Transport::new(options, crate::turns::Turns::default()).unwrap();
        let response = Response::from(axum::http::Response::new(vec![b'x'; size]));
        let spool = archives.spool(Some(dir.to_owned()));
        let taken = Incoming::take(&transport, response, limit as u64, spool);
        taken.await.unwrap()
    }

    #[tokio::test]
    async fn a_large_archive_goes_to_the_disk_and_leaves_nothing_unless_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let archives = Archives::default();
        let small = usize::try_from(content::SMALL).unwrap();
        for (size, limit, is_large, has_ended) in [
            (small, small, false, true),
            (small + 1, small + 1, true, true),
            (3 * small, 4 * small, true, true),
            (3 * small, 2 * small, false, false),
        ] {
            let (incoming, ended) = take(&archives, dir.path(), size, limit).await;
            assert_eq!(ended, has_ended);
            if !has_ended {
                continue;
            }
            let (incoming, digest) = incoming.digest().await.unwrap();
            assert_eq!(digest, Digest::of(vec![b'x'; size]));
            let arrived = incoming.arrived();
            assert_eq!(arrived.content.size(), size as u64);
            assert_eq!(arrived.name.is_some(), is_large);
            assert_eq!(files(dir.path()), usize::from(is_large));
            drop(arrived.name);
            assert_eq!(files(dir.path()), 0);
            assert_eq!(arrived.content.digest().unwrap(), digest, "it is open");
        }
    }
}
