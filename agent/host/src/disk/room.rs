//! Which files are deleted, and when: the least recently used ones, if a folder is over its limit or its disk is full.
//!
//! Room is made for files that are written, but not for notes about files that are read. If no room can be made, that is reported
//! and does no harm: what had to be written is there.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use pintle_core::digest::Digest;

use super::{SealedFolder, UNFINISHED};

/// The age from which an incomplete file counts as left behind by a crash.
const ABANDONED: Duration = Duration::from_hours(1);

/// The files that may be deleted, by the time of their last use, and the total size of all files.
struct Found {
    files: Vec<(SystemTime, u64, PathBuf)>,
    total: u64,
}

impl SealedFolder {
    /// Deletes the least recently used files until the rest is within the limit. Everything under `key` stays, however large: it
    /// was just asked for.
    pub(super) fn make_room(&self, key: Digest) {
        self.shrink(key, |_| self.limit);
    }

    /// Writes `size` bytes under a key. If the disk has no room for them, deletes as many bytes of other files and tries once
    /// more.
    pub(super) fn with_room<T>(
        &self,
        key: Digest,
        size: u64,
        mut write: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        match write() {
            Err(error) if is_full(&error) => {
                tracing::warn!(folder = %self.path.display(), %error, "there is no room for compiled code; what was used longest ago makes some");
                self.shrink(key, |total| total.saturating_sub(size));
                write()
            }
            written => written,
        }
    }

    /// Deletes the least recently used files, except those under a key, until the total is at most the wanted size.
    fn shrink(&self, key: Digest, wanted: impl FnOnce(u64) -> u64) {
        let Found { mut files, total } = match self.find(key) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(folder = %self.path.display(), %error, "the cache cannot be listed, and makes no room");
                return;
            }
        };
        let (mut left, wanted) = (total, wanted(total));
        files.sort();
        for (_, size, path) in files {
            if left <= wanted {
                return;
            }
            match remove(&path) {
                Ok(()) => left = left.saturating_sub(size),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "a cache file cannot be deleted");
                }
            }
        }
    }

    fn find(&self, key: Digest) -> io::Result<Found> {
        let (kept, now) = (key.hex(), SystemTime::now());
        let mut found = Found {
            files: Vec::new(),
            total: 0,
        };
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // Another process may have deleted it in between.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let used = metadata.modified()?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_old = now.duration_since(used).is_ok_and(|age| age > ABANDONED);
            if name.starts_with(UNFINISHED) && !is_old {
                // Somebody is writing it right now.
                continue;
            }
            found.total += metadata.len();
            if !name.starts_with(&kept) {
                found.files.push((used, metadata.len(), entry.path()));
            }
        }
        Ok(found)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Deletes what is at a path, if another process has not done so. Deletes a folder too, since it would block a file there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = fs::symlink_metadata(path).and_then(|metadata| {
        if metadata.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
    });
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read as _, Seek as _},
        thread,
    };

    use super::*;

    fn folder(limit: u64) -> (tempfile::TempDir, SealedFolder) {
        let root = tempfile::tempdir().unwrap();
        let folder = SealedFolder::open(&root.path().join("a"), limit).unwrap();
        (root, folder)
    }

    fn age(path: &Path, seconds: u64) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    }

    #[test]
    fn what_a_crash_left_goes_and_what_is_being_written_stays() {
        let (_root, folder) = folder(10);
        let [old, young] =
            ["old", "young"].map(|name| folder.path.join(format!("{UNFINISHED}{name}")));
        for path in [&old, &young] {
            fs::write(path, "half").unwrap();
        }
        age(&old, 2 * 60 * 60);
        folder.write(Digest::of("k"), b"content").unwrap();
        assert!(!old.exists());
        assert!(young.exists());
    }

    #[test]
    fn a_full_disk_costs_what_was_used_longest_ago_and_no_more() {
        let (_root, folder) = folder(1 << 20);
        let [old, young, key] = ["old", "young", "k"].map(Digest::of);
        for (other, seconds) in [(old, 20), (young, 10)] {
            folder.write(other, &[0; 100]).unwrap();
            age(&folder.file(other), seconds);
        }
        // The oldest of all, but under the key that is about to be written.
        folder.write(key, b"what belongs to it").unwrap();
        age(&folder.file(key), 30);
        let mut tries = 0;
        let written = folder.with_room(key, 100, || {
            tries += 1;
            if folder.file(old).exists() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        });
        written.unwrap();
        assert_eq!(tries, 2);
        let kept = [old, young, key].map(|key| folder.file(key).exists());
        assert_eq!(kept, [false, true, true]);
    }

    #[test]
    fn what_else_fails_is_not_tried_again() {
        let (_root, folder) = folder(1 << 20);
        let [other, key] = ["other", "k"].map(Digest::of);
        folder.write(other, b"content").unwrap();
        let mut tries = 0;
        let written: io::Result<()> = folder.with_room(key, 100, || {
            tries += 1;
            Err(io::ErrorKind::PermissionDenied.into())
        });
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(tries, 1);
        assert!(folder.file(other).exists());
    }

    #[test]
    fn many_at_once_agree() {
        let (_root, folder) = folder(2_000);
        let contents: Vec<Vec<u8>> = (0..20).map(|byte| vec![byte; 300]).collect();
        thread::scope(|scope| {
            for offset in 0..4 {
                let (folder, contents) = (&folder, &contents);
                scope.spawn(move || {
                    for number in 0..25 {
                        let content = &contents[(number * 7 + offset) % contents.len()];
                        let [sealed, mapped] = ["sealed", "mapped"]
                            .map(|kind| Digest::of([kind.as_bytes(), content.as_slice()].concat()));
                        folder.write(sealed, content).unwrap();
                        if let Some(found) = folder.read(sealed) {
                            assert_eq!(&found, content);
                        }
                        folder.write_mapped(mapped, content).unwrap();
                        if let Some(mut file) = folder.mapped(mapped) {
                            let mut found = Vec::new();
                            file.rewind().unwrap();
                            file.read_to_end(&mut found).unwrap();
                            assert_eq!(&found, content);
                        }
                    }
                });
            }
        });
        let last = Digest::of("last");
        folder.write(last, b"last").unwrap();
        let size: u64 = fs::read_dir(&folder.path)
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(size <= 2_000, "{size}");
        assert!(folder.read(last).is_some());
    }
}
