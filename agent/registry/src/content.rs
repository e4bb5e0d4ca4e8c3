//! The bytes of an archive: in memory for a small one, and in a file for a larger one.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::FileExt as _,
};

use bytes::Bytes;
use pintle_core::digest::Digest;
use sha2::{Digest as _, Sha256};

/// The largest archive that is in memory in addition to all others, in bytes. Most archives are smaller.
pub(crate) const SMALL: u64 = 64 << 10;
/// The number of bytes that are read at once.
const PIECE: usize = 64 << 10;

/// The bytes of an archive.
#[derive(Debug)]
pub(crate) enum Content {
    /// In memory: a small archive, or a large one that no disk accepts.
    Memory(Bytes),
    /// In a file, with its size. The file is open, so its content remains available whatever happens to its name.
    File(File, u64),
}

impl Content {
    /// Creates it from a file, which is read into memory if it is small. Blocks.
    pub(crate) fn of(file: File, size: u64) -> io::Result<Self> {
        if size > SMALL {
            return Ok(Self::File(file, size));
        }
        let mut bytes = Vec::new();
        FromStart::new(&file, size).read_to_end(&mut bytes)?;
        Ok(Self::Memory(without_spare(bytes)))
    }

    /// Returns the number of bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, size) => *size,
        }
    }

    /// Computes the digest of all bytes. Blocks.
    pub(crate) fn digest(&self) -> io::Result<Digest> {
        read_digest(self.reader())
    }

    /// Returns a reader that starts at the first byte, independent of all other readers.
    pub(crate) fn reader(&self) -> Box<dyn BufRead + '_> {
        match self {
            Self::Memory(bytes) => Box::new(&bytes[..]),
            Self::File(file, size) => {
                let bytes = FromStart::new(file, *size);
                Box::new(BufReader::with_capacity(PIECE, bytes))
            }
        }
    }
}

/// Converts a vector into bytes without spare capacity, which would not be counted anywhere.
pub(crate) fn without_spare(bytes: Vec<u8>) -> Bytes {
    Bytes::from(bytes.into_boxed_slice())
}

/// Computes the digest of everything that a reader returns, without holding all of it in memory. Blocks.
pub(crate) fn read_digest(mut reader: impl Read) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    io::copy(&mut reader, &mut hasher)?;
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

/// A reader of a file from its start up to a given size, without a position that is shared with others.
pub(crate) struct FromStart<'a> {
    file: &'a File,
    at: u64,
    size: u64,
}

impl<'a> FromStart<'a> {
    pub(crate) const fn new(file: &'a File, size: u64) -> Self {
        Self { file, at: 0, size }
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let end = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..end], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    #[test]
    fn a_file_can_be_read_by_many_and_without_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive");
        let size = 3 * PIECE + 1;
        let bytes: Vec<u8> = (0..u8::MAX).cycle().take(size).collect();
        let mut file = File::create_new(&path).unwrap();
        file.write_all(&bytes).unwrap();
        file.write_all(b"more than belongs to it").unwrap();
        let content = Content::of(File::open(&path).unwrap(), size as u64).unwrap();
        fs::remove_file(&path).unwrap();

        let mut readers = [content.reader(), content.reader()];
        let mut read = [Vec::new(), Vec::new()];
        for _ in 0..=size / 1000 {
            for (reader, read) in readers.iter_mut().zip(&mut read) {
                reader.take(1000).read_to_end(read).unwrap();
            }
        }
        assert!(read.iter().all(|read| *read == bytes));
        assert_eq!(content.digest().unwrap(), Digest::of(&bytes));
    }

    #[test]
    fn small_ones_are_in_memory() {
        for (size, is_small) in [(SMALL, true), (SMALL + 1, false)] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(size).unwrap();
            let content = Content::of(file, size).unwrap();
            assert_eq!(matches!(content, Content::Memory(_)), is_small);
            assert_eq!(content.size(), size);
        }
    }
}
