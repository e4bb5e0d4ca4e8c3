//! Folders for the state of running programs.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use pintle_programs::cache;

/// The file that marks a folder as kept so that its logs can be inspected.
const KEPT: &str = "kept";
/// How long a kept folder stays.
const KEPT_FOR: Duration = Duration::from_hours(24);
/// The folders of this process. The value of a static is never dropped.
static LIVE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

thread_local! {
    /// Whether this thread has waited in vain: a test that reports this as an error drops its folders without a panic.
    static GAVE_UP: Cell<bool> = const { Cell::new(false) };
}

/// Records that what this thread waited for did not happen. Its folders are worth a look, and so are those that it shares with
/// others.
pub(crate) fn give_up() {
    GAVE_UP.set(true);
    keep_live();
}

/// Marks the folders that exist now. One that is dropped later without a failure is removed in spite of its mark.
fn keep_live() {
    for path in live().iter() {
        mark(path);
    }
}

fn live() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Marks a folder as kept, because otherwise the next sweep would remove it. If this fails, there is one log less to inspect.
fn mark(path: &Path) {
    let _ = File::create(path.join(KEPT));
}

/// A fresh folder below the cache folder, removed when dropped.
///
/// It is kept for a day if it is dropped in a panic, as when a test fails, after what its thread waited for did not happen, or
/// after [`RunDir::keep`]. When a folder is created, the folders of processes that ended without dropping them are removed,
/// unless something failed there: a lock beside each folder shows whether its owner is alive.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    keep: bool,
    _lock: File,
}

impl RunDir {
    /// Creates a folder whose name begins with `prefix`.
    pub fn new(prefix: &str) -> Result<Self> {
        let runs = cache::dir()?.join("runs");
        fs::create_dir_all(&runs).with_context(|| format!("make {}", runs.display()))?;
        // While folders are swept, no process has a folder that it has not locked yet.
        let _turn = turn(&runs)?;
        sweep(&runs);
        let path = runs.join(format!("{prefix}-{:012x}", rand::random::<u64>() >> 16));
        let made = || -> std::io::Result<File> {
            fs::create_dir(&path)?;
            let lock = File::create(lock_file(&path))?;
            lock.lock()?;
            Ok(lock)
        };
        let lock = made().with_context(|| format!("make {}", path.display()))?;
        live().insert(path.clone());
        Ok(Self {
            path,
            keep: false,
            _lock: lock,
        })
    }

    /// Returns the folder's absolute path.
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
        if GAVE_UP.get() || std::thread::panicking() {
            keep_live();
        } else if self.keep {
            mark(&self.path);
        } else {
            // Folders that cannot be removed are left to the next sweep.
            let _ = fs::remove_dir_all(&self.path);
            let _ = fs::remove_file(lock_file(&self.path));
        }
        live().remove(&self.path);
    }
}

/// Returns the path of a folder's lock. The lock is beside the folder, so that a folder without a lock is one that nobody owns.
fn lock_file(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

/// Waits until no other process creates or sweeps folders.
fn turn(runs: &Path) -> Result<File> {
    let path = runs.join("turn");
    let file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
    file.lock()
        .with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// Removes the folders of dead owners. The next sweep tries again, so nothing here is an error.
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
        if lock.try_lock().is_err() {
            continue;
        }
        let dir = lock_path.with_extension("");
        let kept = fs::metadata(dir.join(KEPT)).and_then(|mark| mark.modified());
        let age = |at| SystemTime::now().duration_since(at).ok();
        let is_kept = kept.ok().and_then(age).is_some_and(|age| age < KEPT_FOR);
        if !is_kept {
            let _ = fs::remove_dir_all(&dir);
            let _ = fs::remove_file(&lock_path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::until;

    /// Runs a closure like a test, in a thread of its own, and returns which of its folders are kept.
    fn left(test: impl FnOnce() -> Result<()> + Send) -> Vec<bool> {
        let shared = RunDir::new("shared").unwrap();
        let own = std::thread::scope(|scope| {
            let ran = scope.spawn(|| {
                let own = RunDir::new("own").unwrap();
                let path = own.path.clone();
                let _ = test();
                path
            });
            ran.join().unwrap()
        });
        let is_marked = |path: &Path| path.join(KEPT).exists();
        let found = vec![is_marked(&own), is_marked(&shared.path)];
        let _ = fs::remove_dir_all(&own);
        let _ = fs::remove_file(lock_file(&own));
        found
    }

    #[test]
    fn what_a_test_leaves_is_kept_if_it_waited_in_vain() {
        assert_eq!(left(|| Ok(())), [false, false]);
        let waits = || until("it comes", Duration::ZERO, || Ok(Err("no".to_owned())));
        assert_eq!(left(waits), [true, true]);
        assert_eq!(left(|| Ok(())), [false, false], "the next one is another");
    }
}
