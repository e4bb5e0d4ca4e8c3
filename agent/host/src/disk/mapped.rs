//! Files that are mapped into memory rather than read: megabytes of native code, of which a call uses only a part.
//!
//! Such a file holds only its content. Its seal is in a separate file next to it, together with the state that the file had when
//! the two were last compared. That state is what the file system reports about the file, including the time of its last change
//! of any kind, which nobody can set at will. While the state is the same, so is the content, and its digest is not computed
//! again. After a change of any kind it is, and also for a file that was copied from elsewhere.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use pintle_core::digest::Digest;

use super::{SealedFolder, invalid, is_due, room::remove, seal};

/// The beginning of a seal: the format's name and version.
const MAGIC: &[u8; 16] = b"pintle-mapped/1\n";

/// What the file system reports about a file: its location, its size, its last modification, its last change of any kind.
type State = [u8; 56];

/// The seal of a file, and its state when the two were last compared.
struct Record {
    seal: Digest,
    state: State,
}

impl Record {
    fn new(seal: Digest, metadata: &Metadata) -> Self {
        let state = state(metadata);
        Self { seal, state }
    }

    fn parts(&self) -> [&[u8]; 3] {
        [MAGIC, self.seal.as_bytes(), &self.state]
    }
}

impl SealedFolder {
    /// Opens the file that was written under a key, if it exists and is intact. Its path may refer to another file by now.
    pub(crate) fn mapped(&self, key: Digest) -> Option<File> {
        let path = self.content_file(key);
        match self.open_mapped(&path, key) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a cache file is not as it was written, and is deleted");
                self.forget_mapped(key);
                None
            }
        }
    }

    /// Writes a file under a key and makes room for it.
    pub(crate) fn write_mapped(&self, key: Digest, content: &[u8]) -> io::Result<()> {
        let metadata = self.place(key, &self.content_file(key), &[content])?;
        let record = Record::new(seal(key, content), &metadata);
        self.place(key, &self.seal_file(key), &record.parts())?;
        self.make_room(key);
        Ok(())
    }

    /// Deletes what was written under a key.
    pub(crate) fn forget_mapped(&self, key: Digest) {
        // A file without its seal is never used, and is deleted when room is made.
        for path in [self.seal_file(key), self.content_file(key)] {
            let _ = remove(&path);
        }
    }

    fn open_mapped(&self, path: &Path, key: Digest) -> io::Result<File> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        self.check_owner(&metadata)?;
        let record = self.read_record(key)?;
        if record.state == state(&metadata) {
            self.note_use(key, &record, &file, &metadata);
            return Ok(file);
        }
        let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        file.read_to_end(&mut content)?;
        if seal(key, &content) != record.seal {
            return Err(invalid("its digest differs"));
        }
        self.note(key, record.seal, &file.metadata()?);
        Ok(file)
    }

    /// Keeps a file in use from being deleted first, without a write at each start.
    fn note_use(&self, key: Digest, record: &Record, file: &File, metadata: &Metadata) {
        let now = SystemTime::now();
        if is_due(metadata, now)
            && file.set_modified(now).is_ok()
            && let Ok(metadata) = file.metadata()
        {
            // That was a change, which would make the next start compute the digest again.
            self.note(key, record.seal, &metadata);
        }
    }

    /// Records the state in which a file was found intact. If that fails, the file is checked again next time. Other files would
    /// take longer to recreate, so none of them is deleted to make room for this.
    fn note(&self, key: Digest, seal: Digest, metadata: &Metadata) {
        let record = Record::new(seal, metadata);
        let _ = self.place_whole(&self.seal_file(key), &record.parts());
    }

    fn read_record(&self, key: Digest) -> io::Result<Record> {
        let mut file = File::open(self.seal_file(key))?;
        self.check_owner(&file.metadata()?)?;
        let mut bytes = [0; MAGIC.len() + 32 + size_of::<State>()];
        file.read_exact(&mut bytes)
            .map_err(|_| invalid("its seal is cut off"))?;
        let (magic, rest) = bytes.split_at(MAGIC.len());
        let (seal, state) = rest.split_at(32);
        match (<[u8; 32]>::try_from(seal), State::try_from(state)) {
            (Ok(seal), Ok(state)) if magic == MAGIC => Ok(Record {
                seal: Digest::from_bytes(seal),
                state,
            }),
            _ => Err(invalid("its seal is of another format")),
        }
    }

    fn content_file(&self, key: Digest) -> PathBuf {
        self.path.join(format!("{}.native", key.hex()))
    }

    fn seal_file(&self, key: Digest) -> PathBuf {
        self.path.join(format!("{}.seal", key.hex()))
    }
}

fn state(metadata: &Metadata) -> State {
    let parts = [
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        metadata.mtime().cast_unsigned(),
        metadata.mtime_nsec().cast_unsigned(),
        metadata.ctime().cast_unsigned(),
        metadata.ctime_nsec().cast_unsigned(),
    ];
    let mut state: State = [0; 56];
    for (place, part) in state.chunks_exact_mut(8).zip(parts) {
        place.copy_from_slice(&part.to_be_bytes());
    }
    state
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Seek as _, os::unix::fs::PermissionsExt};

    use super::*;

    fn folder(limit: u64) -> (tempfile::TempDir, SealedFolder) {
        let root = tempfile::tempdir().unwrap();
        let folder = SealedFolder::open(&root.path().join("a/b"), limit).unwrap();
        (root, folder)
    }

    /// Reads a file that was opened and may have been read for a check.
    fn content(mut file: File) -> Vec<u8> {
        let mut content = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut content).unwrap();
        content
    }

    /// Reads the state in the record without checking anything.
    fn recorded(folder: &SealedFolder, key: Digest) -> State {
        folder.read_record(key).unwrap().state
    }

    #[test]
    fn gives_back_what_was_written() {
        let (_root, folder) = folder(1 << 20);
        let key = Digest::of("k");
        assert!(folder.mapped(key).is_none());
        for written in [&b"one"[..], b"two"] {
            folder.write_mapped(key, written).unwrap();
            assert_eq!(content(folder.mapped(key).unwrap()), written);
        }
        folder.forget_mapped(key);
        assert!(folder.mapped(key).is_none());
    }

    #[test]
    fn what_was_checked_is_what_is_given_though_another_takes_its_place() {
        let (root, folder) = folder(1 << 20);
        let key = Digest::of("k");
        folder.write_mapped(key, b"content").unwrap();
        let file = folder.mapped(key).unwrap();
        fs::rename(&folder.path, root.path().join("aside")).unwrap();
        fs::create_dir(&folder.path).unwrap();
        fs::write(folder.content_file(key), b"another").unwrap();
        assert_eq!(content(file), b"content");
    }

    #[test]
    fn a_change_is_found_and_what_is_the_same_after_all_stands() {
        let (_root, folder) = folder(1 << 20);
        let key = Digest::of("k");
        folder.write_mapped(key, b"content").unwrap();
        let path = folder.content_file(key);
        let before = recorded(&folder, key);
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"content").unwrap();
        assert!(folder.mapped(key).is_some(), "it has the same digest");
        assert_ne!(recorded(&folder, key), before);
        fs::write(&path, b"another").unwrap();
        assert!(folder.mapped(key).is_none());
        assert!(!path.exists());
    }

    #[test]
    fn whatever_is_not_as_it_was_written_is_deleted() {
        let key = Digest::of("k");
        let spoil: [fn(&SealedFolder, Digest); 7] = [
            |folder, key| fs::write(folder.content_file(key), b"conten").unwrap(),
            |folder, key| fs::write(folder.seal_file(key), b"short").unwrap(),
            |folder, key| {
                let mut bytes = fs::read(folder.seal_file(key)).unwrap();
                bytes[0] ^= 1;
                fs::write(folder.seal_file(key), bytes).unwrap();
            },
            |folder, key| {
                let open = fs::Permissions::from_mode(0o666);
                fs::set_permissions(folder.content_file(key), open).unwrap();
            },
            |folder, key| {
                let open = fs::Permissions::from_mode(0o666);
                fs::set_permissions(folder.seal_file(key), open).unwrap();
            },
            |folder, key| {
                fs::remove_file(folder.content_file(key)).unwrap();
                fs::create_dir(folder.content_file(key)).unwrap();
            },
            |folder, key| {
                fs::remove_file(folder.seal_file(key)).unwrap();
                fs::create_dir(folder.seal_file(key)).unwrap();
            },
        ];
        for (case, spoil) in spoil.into_iter().enumerate() {
            let (_root, folder) = folder(1 << 20);
            folder.write_mapped(key, b"content").unwrap();
            spoil(&folder, key);
            assert!(folder.mapped(key).is_none(), "case {case}");
            assert!(!folder.content_file(key).exists(), "case {case}");
            folder.write_mapped(key, b"content").unwrap();
            assert!(folder.mapped(key).is_some(), "case {case}");
        }
    }

    #[test]
    fn content_under_another_key_is_not_believed() {
        let (_root, folder) = folder(1 << 20);
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        folder.write_mapped(a, b"content").unwrap();
        fs::rename(folder.content_file(a), folder.content_file(b)).unwrap();
        assert!(folder.mapped(b).is_none(), "there is no seal");
        fs::rename(folder.seal_file(a), folder.seal_file(b)).unwrap();
        assert!(folder.mapped(b).is_none(), "the seal is another key's");
    }

    #[test]
    fn what_was_just_written_stays_however_large_it_is() {
        let (_root, folder) = folder(10);
        let (key, other) = (Digest::of("k"), Digest::of("other"));
        folder.write_mapped(key, &[7; 80]).unwrap();
        assert!(folder.mapped(key).is_some());
        // A file that belongs to it is written later.
        folder.write(key, b"a description").unwrap();
        assert!(folder.mapped(key).is_some());
        assert!(folder.read(key).is_some());
        folder.write_mapped(other, &[8; 80]).unwrap();
        assert!(folder.mapped(key).is_none());
        assert!(folder.read(key).is_none());
        assert!(folder.mapped(other).is_some());
    }

    #[test]
    fn a_use_is_noted_once_a_day_and_costs_no_digest() {
        let (_root, folder) = folder(1 << 20);
        let key = Digest::of("k");
        folder.write_mapped(key, b"content").unwrap();
        let path = folder.content_file(key);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        folder.mapped(key).unwrap();
        folder.mapped(key).unwrap();
        let used = fs::metadata(&path).unwrap().modified().unwrap();
        assert!(used > SystemTime::UNIX_EPOCH);
        let known = recorded(&folder, key);
        assert_eq!(known, state(&fs::metadata(&path).unwrap()));
        folder.mapped(key).unwrap();
        assert_eq!(recorded(&folder, key), known);
    }

    #[test]
    fn what_is_read_takes_no_room_from_others() {
        let (_root, mut folder) = folder(1 << 20);
        let [other, key] = ["other", "k"].map(Digest::of);
        for key in [other, key] {
            folder.write_mapped(key, b"content").unwrap();
        }
        let path = folder.content_file(key);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        folder.mapped(key).unwrap();
        let known = recorded(&folder, key);
        assert_eq!(known, state(&fs::metadata(&path).unwrap()));
        folder.create = |_: &Path| Err(io::ErrorKind::StorageFull.into());
        // First the use has to be recorded, and then that the file is unchanged after that.
        for _ in 0..2 {
            assert!(folder.mapped(key).is_some());
            assert_eq!(recorded(&folder, key), known, "there is no room");
            assert!(folder.content_file(other).exists());
            assert!(folder.seal_file(other).exists());
        }
        assert_ne!(known, state(&fs::metadata(&path).unwrap()));
        // Written content, in contrast, does make room.
        folder.write_mapped(key, b"content").unwrap_err();
        assert!(!folder.content_file(other).exists());
    }
}
