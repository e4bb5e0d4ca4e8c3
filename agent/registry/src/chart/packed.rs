//! Packed archives, and their files as long as somebody has them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

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
/// Whoever has it can unpack it: what has to make room in a cache meanwhile is still there for him.
#[derive(Debug, Clone)]
pub struct Archive {
    pub(super) packed: Arc<Packed>,
    /// Turns of all that are shared with it; one that is not shared is unpacked without.
    turns: Option<Arc<Semaphore>>,
}

/// What an archive is.
#[derive(Debug)]
pub(super) struct Packed {
    digest: Digest,
    layout: Layout,
    content: Content,
    unpacked: Mutex<Weak<Files>>,
    /// What a large one has of the room for all, and of the room for those that are held.
    _shares: Option<[Share; 2]>,
}

impl Packed {
    /// Takes the content of an archive, whose digest has been made.
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
            _shares: shares,
        }
    }
}

impl Archive {
    /// Takes an archive.
    pub fn new(bytes: Bytes, layout: Layout) -> Self {
        let digest = Digest::of(&bytes);
        let packed = Packed::new(digest, layout, Content::Memory(bytes), None);
        Self {
            packed: Arc::new(packed),
            turns: None,
        }
    }

    /// Takes one that is unpacked when it has a turn.
    pub(super) fn shared(packed: Arc<Packed>, turns: Arc<Semaphore>) -> Self {
        Self {
            packed,
            turns: Some(turns),
        }
    }

    /// Returns the digest over the packed bytes.
    pub fn digest(&self) -> Digest {
        self.packed.digest
    }

    /// Returns how many bytes it has, packed.
    pub(super) fn size(&self) -> u64 {
        self.packed.content.size()
    }

    /// Returns its files as [`Archive::files`] does, where that holds up nobody else, and after the archives that are being
    /// unpacked.
    pub async fn unpack(&self) -> Result<Arc<Files>, ArchiveError> {
        let turn = match &self.turns {
            // Nobody closes it: there is one in the end.
            Some(turns) => Arc::clone(turns).acquire_owned().await.ok(),
            None => None,
        };
        let archive = self.clone();
        blocking(move || {
            let files = archive.files();
            // The turn ends here, also if whoever waited for this is gone.
            drop(turn);
            files
        })
        .await
    }

    /// Returns its files; unpacks them, unless somebody has them still. Computes for as long as that takes.
    pub fn files(&self) -> Result<Arc<Files>, ArchiveError> {
        // Held while unpacking, so that who comes second waits rather than doing it again.
        let packed = &*self.packed;
        let known = packed.unpacked.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = known.upgrade() {
            return Ok(files);
        }
        let files = unpack(packed.content.reader(), packed.digest, packed.layout)?;
        let files = Arc::new(files);
        *known = Arc::downgrade(&files);
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn one_in_a_file_is_unpacked_as_often_as_somebody_wants_it() {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::none()));
        let text = vec![b'x'; 256 << 10];
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
        drop(file);

        let packed = Packed::new(Digest::of(&bytes), Layout::Chart, content, None);
        let archive = Archive::shared(Arc::new(packed), Arc::new(Semaphore::new(1)));
        for _ in 0..2 {
            let files = archive.files().unwrap();
            assert_eq!(files.size(), text.len() as u64);
        }
    }
}
