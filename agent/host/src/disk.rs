//! Files that only this agent writes, and that it trusts only if they are intact.
//!
//! A folder of such files is a cache: deleting it costs time, never correctness. A file is
//!
//! - in a folder that belongs to the account under which the agent runs, and into which nobody else can write,
//! - a regular file of that account that nobody else can write,
//! - written under another name and renamed when it is complete,
//! - sealed with the SHA-256 of its key and content. The file begins with this seal, which is checked before any of the content
//!   is used. The seal of a mapped file is in a separate file next to it. It is not checked again while the file system reports
//!   that the file is unchanged: see [`mapped`].
//!
//! A file that fails any of these checks is deleted and counts as absent. All checks apply to the open file, and that same file
//! is then used: nothing is assumed about who may rename the folders above it.

mod mapped;
mod room;

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use pintle_core::digest::{Digest, Digester};

use self::room::remove;

/// The beginning of each file: the format's name and version.
const MAGIC: &[u8; 16] = b"pintle-sealed/1\n";

/// The prefix of the name of an incomplete file.
const UNFINISHED: &str = ".tmp-";

/// The permission bits that let the group and others write.
const OTHERS_WRITE: u32 = 0o022;

/// The precision with which uses are recorded, so that not every start writes. When the folder is full, the least recently used
/// files are deleted first.
const USE: Duration = Duration::from_hours(24);

/// A folder of sealed files, bounded in size.
#[derive(Debug)]
pub(crate) struct SealedFolder {
    path: PathBuf,
    owner: u32,
    limit: u64,
    /// Creates a new file: [`create`], except on a test's full disk.
    create: fn(&Path) -> io::Result<File>,
}

impl SealedFolder {
    /// Opens a folder, creating it if necessary. Rejects a folder into which others could write.
    pub(crate) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let metadata = fs::symlink_metadata(path)?;
        let account = nix::unistd::geteuid().as_raw();
        let owner = if metadata.uid() == account {
            account
        } else {
            // Either somebody else's folder, or this account's under another number. Only the file system knows how accounts are
            // mapped, so ask it: the owner of what this process creates is the account.
            let probe = path.join(temporary_name());
            let owner = create(&probe)?.metadata()?.uid();
            fs::remove_file(&probe)?;
            owner
        };
        if !metadata.is_dir() || metadata.uid() != owner || metadata.mode() & OTHERS_WRITE != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "{} must belong to the agent's account and be writable by nobody else (mode 0700)",
                    path.display()
                ),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            owner,
            limit,
            create,
        })
    }

    /// Returns the content that was written under a key, if it exists and is intact.
    pub(crate) fn read(&self, key: Digest) -> Option<Vec<u8>> {
        let path = self.file(key);
        match self.read_verified(&path, key) {
            Ok(content) => Some(content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a cache file is not as it was written, and is deleted");
                self.forget(key);
                None
            }
        }
    }

    fn read_verified(&self, path: &Path, key: Digest) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        self.check_owner(&metadata)?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        file.read_to_end(&mut bytes)?;
        let header = MAGIC.len() + 32;
        if bytes.len() < header || &bytes[..MAGIC.len()] != MAGIC {
            return Err(invalid("it is cut off, or of another format"));
        }
        let content = bytes.split_off(header);
        if bytes[MAGIC.len()..] != *seal(key, &content).as_bytes() {
            return Err(invalid("its digest differs"));
        }
        if is_due(&metadata, SystemTime::now()) {
            // If the time cannot be set, nothing else is lost.
            let _ = file.set_modified(SystemTime::now());
        }
        Ok(content)
    }

    /// Rejects a file that anyone other than this account could have written.
    fn check_owner(&self, metadata: &Metadata) -> io::Result<()> {
        if metadata.is_file() && metadata.uid() == self.owner && metadata.mode() & OTHERS_WRITE == 0
        {
            return Ok(());
        }
        Err(invalid("others could have written it"))
    }

    /// Writes content under a key and makes room for it.
    pub(crate) fn write(&self, key: Digest, content: &[u8]) -> io::Result<()> {
        let sealed = seal(key, content);
        let parts: [&[u8]; 3] = [MAGIC, sealed.as_bytes(), content];
        self.place(key, &self.file(key), &parts)?;
        self.make_room(key);
        Ok(())
    }

    /// Writes the file of a key, deleting other files for room if necessary, and returns its metadata.
    fn place(&self, key: Digest, path: &Path, parts: &[&[u8]]) -> io::Result<Metadata> {
        let size: u64 = parts.iter().map(|part| part.len() as u64).sum();
        self.with_room(key, size, || self.place_whole(path, parts))
    }

    /// Writes a file under a temporary name, and renames it once it is complete and on disk.
    fn place_whole(&self, path: &Path, parts: &[&[u8]]) -> io::Result<Metadata> {
        let temporary = self.path.join(temporary_name());
        let written = (self.create)(&temporary).and_then(|mut file| {
            for part in parts {
                file.write_all(part)?;
            }
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            // Taken from the file and not from its name: others make room meanwhile.
            file.metadata()
        });
        if written.is_err() {
            // A leftover file is deleted as the oldest when room is made.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Deletes what was written under a key.
    fn forget(&self, key: Digest) {
        if let Err(error) = remove(&self.file(key)) {
            tracing::warn!(folder = %self.path.display(), %error, "a cache file cannot be deleted");
        }
    }

    fn file(&self, key: Digest) -> PathBuf {
        self.path.join(key.hex())
    }
}

/// Returns whether it is time to record that a file is used.
fn is_due(metadata: &Metadata, now: SystemTime) -> bool {
    let noted = metadata.modified();
    noted.is_ok_and(|noted| now.duration_since(noted).is_ok_and(|age| age > USE))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn temporary_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos());
    // The time distinguishes two agents with the same process id, each in its own container.
    format!("{UNFINISHED}{}-{time}-{number}", std::process::id())
}

fn seal(key: Digest, content: &[u8]) -> Digest {
    Digester::new("sealed-file/v1")
        .part(key.as_bytes())
        .part(content)
        .finish()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(limit: u64) -> (tempfile::TempDir, SealedFolder) {
        let root = tempfile::tempdir().unwrap();
        let folder = SealedFolder::open(&root.path().join("a/b"), limit).unwrap();
        (root, folder)
    }

    #[test]
    fn gives_back_what_was_written() {
        let (_root, folder) = folder(1 << 20);
        let key = Digest::of("k");
        assert_eq!(folder.read(key), None);
        folder.write(key, b"one").unwrap();
        folder.write(key, b"two").unwrap();
        assert_eq!(folder.read(key).unwrap(), b"two");
        assert_eq!(folder.read(Digest::of("other")), None);
        let mode = fs::metadata(folder.file(key)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn whatever_is_not_as_it_was_written_is_deleted() {
        let key = Digest::of("k");
        let spoil: [fn(&Path); 5] = [
            |file| fs::write(file, b"short").unwrap(),
            |file| {
                let mut bytes = fs::read(file).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                fs::write(file, bytes).unwrap();
            },
            |file| {
                let bytes = fs::read(file).unwrap();
                fs::write(file, &bytes[..bytes.len() - 1]).unwrap();
            },
            |file| fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap(),
            |file| {
                fs::remove_file(file).unwrap();
                fs::create_dir(file).unwrap();
                fs::write(file.join("a"), b"content").unwrap();
            },
        ];
        for (case, spoil) in spoil.into_iter().enumerate() {
            let (_root, folder) = folder(1 << 20);
            folder.write(key, b"content").unwrap();
            spoil(&folder.file(key));
            assert_eq!(folder.read(key), None, "case {case}");
            assert!(!folder.file(key).exists(), "case {case}");
            folder.write(key, b"content").unwrap();
            assert!(folder.read(key).is_some(), "case {case}");
        }
    }

    #[test]
    fn content_under_another_key_is_not_believed() {
        let (_root, folder) = folder(1 << 20);
        folder.write(Digest::of("a"), b"content").unwrap();
        fs::rename(folder.file(Digest::of("a")), folder.file(Digest::of("b"))).unwrap();
        assert_eq!(folder.read(Digest::of("b")), None);
    }

    #[test]
    fn a_folder_that_others_can_write_into_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("open");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let error = SealedFolder::open(&path, 1).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "must belong to the agent's account and be writable by nobody else (mode 0700)"
            ),
            "{error}"
        );
    }

    #[test]
    fn the_least_recently_used_make_room() {
        let (_root, folder) = folder(300);
        let keys: Vec<Digest> = ["a", "b", "c"].iter().map(Digest::of).collect();
        let age = |key, seconds| {
            let file = File::options().write(true).open(folder.file(key)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
                .unwrap();
        };
        folder.write(keys[0], &[0; 80]).unwrap();
        folder.write(keys[1], &[1; 80]).unwrap();
        age(keys[0], 1);
        age(keys[1], 2);
        assert!(folder.read(keys[0]).is_some(), "and is now the newest");
        folder.write(keys[2], &[2; 80]).unwrap();
        let found: Vec<bool> = keys.iter().map(|key| folder.read(*key).is_some()).collect();
        assert_eq!(found, [true, false, true]);
    }
}
