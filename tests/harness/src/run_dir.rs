//! Folders for the state of what runs now.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use pintle_programs::cache;

/// What marks a folder as kept for a look at its logs.
const KEPT: &str = "kept";
/// How long a kept folder stays.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// A fresh folder below the cache folder, removed when dropped.
///
/// It is kept for a day if it is dropped in a panic, as when a test fails, or after
/// [`RunDir::keep`]. Folders of processes that ended without dropping theirs are removed when the
/// next one is made: a lock in the folder says whether its owner lives.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    keep: bool,
    _lock: File,
}

impl RunDir {
    /// Makes a folder whose name begins with `prefix`.
    pub fn new(prefix: &str) -> Result<Self> {
        let runs = cache::dir()?.join("runs");
        fs::create_dir_all(&runs).with_context(|| format!("make {}", runs.display()))?;
        sweep(&runs);
        let path = runs.join(format!("{prefix}-{:012x}", rand::random::<u64>() >> 16));
        let made = || -> std::io::Result<File> {
            fs::create_dir(&path)?;
            let lock = File::create(lock_file(&path))?;
            lock.lock()?;
            Ok(lock)
        };
        let lock = made().with_context(|| format!("make {}", path.display()))?;
        Ok(Self {
            path,
            keep: false,
            _lock: lock,
        })
    }

    /// Is the folder's absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the folder for a day after it is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // Without the mark the next sweep would take the folder; failing to remove one leaves it to that sweep.
        if self.keep || std::thread::panicking() {
            let _ = File::create(self.path.join(KEPT));
        } else {
            let _ = fs::remove_dir_all(&self.path);
            let _ = fs::remove_file(lock_file(&self.path));
        }
    }
}

/// The lock is beside the folder, so that a folder seen without a lock is one that nobody owns.
fn lock_file(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

/// Removes the folders of dead owners. Two sweeps at once do no harm, so nothing here is an error.
fn sweep(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let lock_path = entry.path();
        if lock_path
            .extension()
            .is_none_or(|extension| extension != "lock")
        {
            continue;
        }
        let Ok(lock) = File::open(&lock_path) else {
            continue;
        };
        if matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
            continue;
        }
        let dir = lock_path.with_extension("");
        let kept = fs::metadata(dir.join(KEPT))
            .and_then(|mark| mark.modified())
            .ok();
        let fresh = kept.is_some_and(|at| {
            SystemTime::now()
                .duration_since(at)
                .is_ok_and(|age| age < KEPT_FOR)
        });
        if !fresh {
            let _ = fs::remove_dir_all(&dir);
            let _ = fs::remove_file(&lock_path);
        }
    }
}
