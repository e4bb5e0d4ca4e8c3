//! Fetched repositories on disk.
//!
//! ```text
//! CACHE/key                    makes folder names that tell nothing of addresses and credentials
//! CACHE/keys/                  SSH keys while they are in use
//! CACHE/repositories/ID/lock   held by the process that fetches, or opens what is there
//! CACHE/repositories/ID/1/     a bare repository; what is damaged or has grown too much gives way to number 2, and so on
//! CACHE/repositories/ID/2.new/   number 2 until something is in it
//! CACHE/repositories/ID/1.lease  shared by all who read from it
//! ```
//!
//! All of it may be deleted at any time. Locks are `flock(2)`: they end with their process, whatever ends that.

mod slot;

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use pintle_core::digest::Digester;

pub(crate) use self::slot::{
    Slot, is_crowded, is_empty, note_try, pack_dir, shallow_commits, shallow_file,
};
use crate::{
    credentials::Credentials,
    error::SourceError,
    location::Location,
    store::Folders,
    transport::{
        Conversation,
        ssh::{private_dir, sweep_keys},
    },
};

/// The interval between attempts to take a lock that another process holds.
const RETRY: Duration = Duration::from_millis(50);
/// The number of attempts made by a caller that can do without the lock. A reader holds it only for a moment, and so does a
/// process that is just being started.
const TRIES: u32 = 10;

/// The cache folder.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; 32],
    /// The decoded folders of all open stores.
    folders: Arc<Folders>,
    /// The bytes of each repository when it was last measured; `None` until one has to be measured.
    sizes: Mutex<Option<Sizes>>,
}

/// The bytes of repositories, by the names of their folders.
type Sizes = HashMap<OsString, u64>;

fn failed(path: &Path, error: io::Error) -> SourceError {
    SourceError::cache(path, &error)
}

impl Cache {
    /// Opens the folder, creating it if necessary.
    pub(crate) fn open(dir: &Path) -> Result<Self, SourceError> {
        let dir = std::path::absolute(dir).map_err(|error| failed(dir, error))?;
        private_dir(&dir.join("repositories")).map_err(|error| failed(&dir, error))?;
        let key =
            read_or_make_key(&dir.join("key")).map_err(|error| failed(&dir.join("key"), error))?;
        let cache = Self {
            dir,
            key,
            folders: Arc::default(),
            sizes: Mutex::default(),
        };
        sweep_keys(&cache.keys_dir());
        Ok(cache)
    }

    /// Returns the id under which fetches from a location with these credentials are cached. A caller with other credentials
    /// never reads from it.
    pub(crate) fn id(&self, location: &Location, credentials: &Credentials) -> String {
        let digest = Digester::new("source-cache/v1")
            .part(self.key)
            .part(location.to_string())
            .part(credentials.fingerprint(&self.key).as_bytes())
            .finish();
        digest.hex()[..32].to_owned()
    }

    pub(crate) fn keys_dir(&self) -> PathBuf {
        self.dir.join("keys")
    }

    fn repositories(&self) -> PathBuf {
        self.dir.join("repositories")
    }

    /// Waits until no other process is fetching this repository, and locks it.
    pub(crate) fn lock(&self, id: &str, conversation: &Conversation) -> Result<Slot, SourceError> {
        // When this process began, a key that had been left just before could not be told from one in use. Perhaps no key is
        // needed any more, so sweeping cannot wait until one is written.
        sweep_keys(&self.keys_dir());
        loop {
            if let Some(slot) = self.try_lock(id, conversation)? {
                return Ok(slot);
            }
            conversation.pause(RETRY)?;
        }
    }

    /// Locks the slot of a repository that was fetched before, unless somebody is fetching it right now.
    pub(crate) fn find(
        &self,
        id: &str,
        conversation: &Conversation,
    ) -> Result<Option<Slot>, SourceError> {
        if !self.repositories().join(id).join("lock").exists() {
            return Ok(None);
        }
        for _ in 0..TRIES {
            if let Some(slot) = self.try_lock(id, conversation)? {
                return Ok(Some(slot));
            }
            conversation.pause(RETRY)?;
        }
        Ok(None)
    }

    fn try_lock(&self, id: &str, conversation: &Conversation) -> Result<Option<Slot>, SourceError> {
        let dir = self.repositories().join(id);
        let path = dir.join("lock");
        private_dir(&dir).map_err(|error| failed(&dir, error))?;
        let lock = open_lock(&dir).map_err(|error| failed(&path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed(&path, error)),
        }
        // A lock on a file that has been removed in the meantime locks nothing.
        if lock.metadata().is_ok_and(|facts| facts.nlink() == 0) {
            return Ok(None);
        }
        // Records when the repository was last used; see `trim`.
        let _ = lock.set_modified(SystemTime::now());
        Ok(Some(Slot::new(
            dir,
            conversation.url(),
            conversation.limits(),
            Arc::clone(&self.folders),
            lock,
        )))
    }

    fn sizes(&self) -> MutexGuard<'_, Option<Sizes>> {
        // Each change is one assignment or one standard library call.
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Measures every repository by looking at each of its files.
    fn measured(&self) -> Sizes {
        let entries = fs::read_dir(self.repositories()).into_iter().flatten();
        entries
            .flatten()
            .map(|entry| (entry.file_name(), size(&entry.path())))
            .collect()
    }

    /// Records that a repository has grown, and removes others if all repositories together now exceed `limit` bytes.
    pub(crate) fn grown(&self, id: &str, limit: u64) {
        if self.measured_again(id) > limit {
            self.trim(limit);
        }
    }

    /// Measures one repository, and returns the total bytes of all. The total lacks what other processes have added to the
    /// others since those were measured.
    fn measured_again(&self, id: &str) -> u64 {
        let mut sizes = self.sizes();
        let sizes = sizes.get_or_insert_with(|| self.measured());
        sizes.insert(id.into(), size(&self.repositories().join(id)));
        sizes.values().sum()
    }

    /// Removes half of the cache, the least recently used repositories first. Whatever is in use stays.
    pub(crate) fn make_room(&self) {
        self.trim(size(&self.repositories()) / 2);
    }

    /// Removes the least recently used repositories until at most `limit` bytes are left. Whatever is in use stays.
    pub(crate) fn trim(&self, limit: u64) {
        let mut sizes = self.measured();
        let used = |name: &OsStr| {
            let lock = fs::metadata(self.repositories().join(name).join("lock"));
            lock.and_then(|facts| facts.modified())
                .unwrap_or(SystemTime::UNIX_EPOCH)
        };
        let mut known: Vec<(SystemTime, OsString)> = sizes
            .keys()
            .map(|name| (used(name), name.clone()))
            .collect();
        known.sort();
        let mut total: u64 = sizes.values().sum();
        for (_, name) in known {
            if total <= limit {
                break;
            }
            let dir = self.repositories().join(&name);
            // A process that was killed while it removed a folder may have left everything but its lock.
            let Ok(lock) = open_lock(&dir) else {
                continue;
            };
            if lock.try_lock().is_ok()
                && leases(&dir).iter().all(|lease| free(lease))
                && fs::remove_dir_all(&dir).is_ok()
            {
                let size = sizes.remove(&name).unwrap_or_default();
                tracing::info!(path = %dir.display(), size, "removed from the source cache");
                total = total.saturating_sub(size);
            }
        }
        *self.sizes() = Some(sizes);
    }
}

/// Reads the key, or creates one. If two processes create it at once, one wins and both read its key.
fn read_or_make_key(path: &Path) -> io::Result<[u8; 32]> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};

    for _ in 0..3 {
        match fs::read(path).map(<[u8; 32]>::try_from) {
            Ok(Ok(key)) => return Ok(key),
            // The key was cut short when the machine went down: nothing can be found under it any more.
            Ok(Err(_)) => fs::remove_file(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let draft = path.with_extension(format!("{:016x}", rand::random::<u64>()));
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(&rand::random::<[u8; 32]>())?;
        file.sync_all()?;
        // Unlike a rename, a link never replaces what another process has created in the meantime.
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Err(io::Error::other("it changes all the time"))
}

/// Opens the lock of a repository's folder, creating it if necessary.
fn open_lock(dir: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join("lock"))
}

fn size(dir: &Path) -> u64 {
    let mut total = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(facts) if facts.is_dir() => open.push(entry.path()),
                Ok(facts) => total += facts.len(),
                Err(_) => {}
            }
        }
    }
    total
}

fn leases(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    entries
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "lease")
        })
        .collect()
}

fn free(lease: &Path) -> bool {
    File::open(lease).is_ok_and(|lease| lease.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, os::unix::fs::PermissionsExt as _};

    use crate::{limits::Limits, transport};

    fn conversation() -> Arc<Conversation> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        transport::tests::conversation(&runtime, Limits::default())
    }

    pub(super) fn slot(cache: &Cache, id: &str) -> Slot {
        cache.try_lock(id, &conversation()).unwrap().unwrap()
    }

    #[test]
    fn the_key_is_private_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let first = Cache::open(dir.path()).unwrap();
        assert_eq!(
            fs::metadata(dir.path().join("key"))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o600
        );
        assert_eq!(Cache::open(dir.path()).unwrap().key, first.key);
        fs::write(dir.path().join("key"), "short").unwrap();
        assert_ne!(Cache::open(dir.path()).unwrap().key, first.key);
    }

    #[test]
    fn each_location_has_a_place_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let urls = [
            "ssh://git@example.com/srv/a.git",
            "ssh://git@example.com:22/srv/a.git",
            "git@example.com:srv/a.git",
            "git@example.com:~srv/a.git",
            "git@example.com:/~srv/a.git",
            "https://example.com/srv/a.git",
        ];
        let ids: HashSet<String> = urls
            .iter()
            .map(|url| cache.id(&Location::parse(url).unwrap(), &Credentials::default()))
            .collect();
        assert_eq!(ids.len(), urls.len());
    }

    #[test]
    fn one_fetches_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let held = slot(&cache, "a");
        assert!(cache.try_lock("a", &conversation()).unwrap().is_none());
        drop(held);
        let held = slot(&cache, "a");
        // Deleting the cache takes the lock file away from under its holder: the next locker must not wait for that holder.
        fs::remove_dir_all(dir.path().join("repositories")).unwrap();
        drop(slot(&cache, "a"));
        drop(held);
    }

    #[test]
    fn what_has_not_grown_is_not_measured_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        for id in ["a", "b"] {
            slot(&cache, id).open().unwrap();
        }
        let all = cache.measured_again("a");
        assert_eq!(all, size(&cache.repositories()));
        fs::write(cache.repositories().join("b").join("more"), [0_u8; 1000]).unwrap();
        assert_eq!(cache.measured_again("a"), all);
        // While the total is within the limit, as far as that is known, nothing is looked for.
        cache.grown("a", all);
        assert!(cache.repositories().join("b").exists());
        assert_eq!(cache.measured_again("a"), all);
        assert_eq!(cache.measured_again("b"), all + 1000);
        cache.trim(u64::MAX);
        assert_eq!(cache.measured_again("a"), all + 1000);
    }

    #[test]
    fn keys_of_killed_processes_go_with_the_next_fetch_of_anything() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join("keys").join("left");
        let leave = || {
            fs::create_dir_all(&left).unwrap();
            fs::write(left.join("identity"), "key").unwrap();
            let old = SystemTime::now() - Duration::from_hours(1);
            File::open(&left).unwrap().set_modified(old).unwrap();
        };
        leave();
        let cache = Cache::open(dir.path()).unwrap();
        assert!(!left.exists());
        leave();
        drop(cache.lock("a", &conversation()).unwrap());
        assert!(!left.exists());
    }

    #[test]
    fn trimming_takes_the_longest_unused_and_leaves_what_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let old = SystemTime::now() - Duration::from_hours(1);
        // The remains of a repository that was being removed.
        let half = cache.repositories().join("half");
        fs::create_dir(&half).unwrap();
        fs::write(half.join("a.pack"), "PACK").unwrap();
        let mut stores = Vec::new();
        for (id, age) in [("used", 3), ("old", 2), ("new", 1)] {
            let slot = slot(&cache, id);
            let store = slot.open().unwrap();
            let lock = cache.repositories().join(id).join("lock");
            let lock = File::options().write(true).open(lock).unwrap();
            lock.set_modified(old - Duration::from_secs(age)).unwrap();
            stores.push((id, store));
        }
        stores.retain(|(id, _)| *id == "used");
        let repositories = cache.repositories();
        // A process that another test starts holds all locks for the moment until it executes another program.
        let is_free = |id: &str| {
            let dir = repositories.join(id);
            free(&dir.join("lock")) && leases(&dir).iter().all(|lease| free(lease))
        };
        while !(is_free("old") && is_free("new")) {
            std::thread::yield_now();
        }
        cache.trim(size(&repositories.join("used")) + size(&repositories.join("new")));
        let there = |id: &str| repositories.join(id).exists();
        assert!(there("used") && there("new") && !there("old") && !there("half"));
        cache.make_room();
        assert!(there("used") && !there("new"));
    }
}
