//! Packed archives, and their files for as long as they are in use.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use pintle_core::digest::Digest;
use tokio::sync::Semaphore;

use super::{
    archive::{ArchiveError, Layout, unpack},
    files::Files,
};
use crate::{content::Content, registry::blocking, room::Share};

/// A packed archive (tar, gzip) whose digest is known. Cheap to clone; clones share what is unpacked.
///
/// It can be unpacked for as long as it is held, even after it was evicted from the cache.
#[derive(Debug, Clone)]
pub struct Archive {
    pub(super) packed: Arc<Packed>,
    /// The turns that it shares with other archives. An archive that is not shared is unpacked without a turn.
    turns: Option<Arc<Semaphore>>,
}

/// The contents of an archive, which all its clones share.
#[derive(Debug)]
pub(super) struct Packed {
    digest: Digest,
    layout: Layout,
    content: Content,
    unpacked: Mutex<Weak<Files>>,
    /// Whether its file was found to be damaged after it was verified.
    is_lost: AtomicBool,
    /// Its shares, if it is large: one of the room for all archives, and one of the room for those that are held.
    _shares: Option<[Share; 2]>,
}

impl Packed {
    /// Creates it from contents whose digest has been computed.
    pub(super) fn new(
        digest: Digest,
        layout: Layout,
        content: Content,
        shares: Option<[Share; 2]>,
    ) -> Self {
        Self {
            digest,
            layout,
            content,
            unpacked: Mutex::default(),
            is_lost: AtomicBool::new(false),
            _shares: shares,
        }
    }

    /// Returns whether its file was found to be damaged. Such an archive is not given to others.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    /// Returns the reason why it could not be unpacked. Its bytes were verified, so if they have changed since, that is the
    /// reason, and not what the publisher packed.
    fn explain(&self, error: ArchiveError) -> ArchiveError {
        let is_intact = match &self.content {
            Content::Memory(_) => true,
            Content::File(..) => self
                .content
                .digest()
                .is_ok_and(|found| found == self.digest),
        };
        if is_intact {
            return error;
        }
        self.is_lost.store(true, Ordering::Relaxed);
        ArchiveError::Lost
    }
}

impl Archive {
    /// Creates an archive from its packed bytes.
    pub fn new(bytes: Bytes, layout: Layout) -> Self {
        let digest = Digest::of(&bytes);
        let packed = Packed::new(digest, layout, Content::Memory(bytes), None);
        Self {
            packed: Arc::new(packed),
            turns: None,
        }
    }

    /// Creates an archive that waits for a turn before it is unpacked.
    pub(super) fn shared(packed: Arc<Packed>, turns: Arc<Semaphore>) -> Self {
        Self {
            packed,
            turns: Some(turns),
        }
    }

    /// Returns the digest of the packed bytes.
    pub fn digest(&self) -> Digest {
        self.packed.digest
    }

    /// Returns the size of the packed archive, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.packed.content.size()
    }

    /// Returns whether its file on this machine was found to be damaged after it was verified. To repair that, fetch the archive
    /// again.
    pub fn is_lost(&self) -> bool {
        self.packed.is_lost()
    }

    /// Waits for a turn, and returns its files as [`Archive::files`] does, on a thread where blocking is fine.
    pub async fn unpack(&self) -> Result<Arc<Files>, ArchiveError> {
        let turn = match &self.turns {
            // The semaphore is never closed, so there will be a turn.
            Some(turns) => Arc::clone(turns).acquire_owned().await.ok(),
            None => None,
        };
        let archive = self.clone();
        blocking(move || {
            let files = archive.files();
            // The turn ends here, even if the caller is gone.
            drop(turn);
            files
        })
        .await
    }

    /// Returns its files. Unpacks them unless they are still in use, and blocks for as long as that takes.
    pub fn files(&self) -> Result<Arc<Files>, ArchiveError> {
        // Locked while unpacking, so that a second caller waits instead of unpacking again.
        let packed = &*self.packed;
        let known = packed.unpacked.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = known.upgrade() {
            return Ok(files);
        }
        let files = unpack(packed.content.reader(), packed.digest, packed.layout);
        let files = Arc::new(files.map_err(|error| packed.explain(error))?);
        *known = Arc::downgrade(&files);
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// The size of the only file.
    const SIZE: usize = 256 << 10;

    /// Packs a large chart, and returns it with its file.
    fn in_a_file() -> (Archive, tempfile::NamedTempFile) {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::none()));
        let text = vec![b'x'; SIZE];
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, "web/x", text.as_slice())
            .unwrap();
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        let open = fs::File::open(file.path()).unwrap();
        let content = Content::of(open, bytes.len() as u64).unwrap();
        assert!(matches!(content, Content::File(..)));
        let packed = Packed::new(Digest::of(&bytes), Layout::Chart, content, None);
        let turns = Arc::new(Semaphore::new(1));
        (Archive::shared(Arc::new(packed), turns), file)
    }

    #[test]
    fn one_in_a_file_is_unpacked_as_often_as_somebody_wants_it() {
        let (archive, file) = in_a_file();
        drop(file);
        for _ in 0..2 {
            assert_eq!(archive.files().unwrap().size(), SIZE as u64);
        }
    }

    #[test]
    fn a_file_that_is_damaged_later_is_told_from_a_bad_archive() {
        let (archive, file) = in_a_file();
        let files = archive.files().unwrap();
        file.as_file().set_len(100 << 10).unwrap();
        archive.files().expect("they are unpacked already");
        assert!(!archive.is_lost());
        drop(files);
        assert_eq!(archive.files().unwrap_err(), ArchiveError::Lost);
        assert!(archive.is_lost());
    }
}
