//! Fetched repositories on disk.
//!
//! ```text
//! CACHE/key                    makes folder names that tell nothing of addresses and credentials
//! CACHE/keys/                  SSH keys while they are in use
//! CACHE/repositories/ID/lock   held by the process that fetches
//! CACHE/repositories/ID/1/     a bare repository; what is damaged or has too many packs gives way to number 2, and so on
//! CACHE/repositories/ID/1.lease  shared by all who read from it
//! ```
//!
//! All of it may be deleted at any time. Locks are `flock(2)`: they end with their process, whatever ends that.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use pintle_core::digest::Digester;

use crate::{
    credentials::Credentials,
    error::{SourceError, chain},
    limits::Limits,
    location::Location,
    store::{Store, open_options},
    transport::{Conversation, ssh::private_dir},
};

/// A repository with more packs than this is fetched anew, as each one makes reading slower.
const PACKS: usize = 100;
/// How often a lock that another process holds is tried.
const RETRY: Duration = Duration::from_millis(50);

/// The cache folder.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; 32],
}

fn failed(path: &Path, reason: impl ToString) -> SourceError {
    SourceError::Cache {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

impl Cache {
    /// Opens the folder, making it if necessary.
    pub(crate) fn open(dir: &Path) -> Result<Self, SourceError> {
        let dir = std::path::absolute(dir).map_err(|error| failed(dir, error))?;
        private_dir(&dir.join("repositories")).map_err(|error| failed(&dir, error))?;
        let key =
            read_or_make_key(&dir.join("key")).map_err(|error| failed(&dir.join("key"), error))?;
        Ok(Self { dir, key })
    }

    /// Names what is fetched from a location with credentials. Who has other credentials never reads from it.
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

    /// Waits until no other process fetches this repository.
    pub(crate) fn lock(&self, id: &str, conversation: &Conversation) -> Result<Slot, SourceError> {
        loop {
            if let Some(slot) = self.try_lock(id, conversation)? {
                return Ok(slot);
            }
            conversation.pause(RETRY)?;
        }
    }

    fn try_lock(&self, id: &str, conversation: &Conversation) -> Result<Option<Slot>, SourceError> {
        let dir = self.repositories().join(id);
        let path = dir.join("lock");
        private_dir(&dir).map_err(|error| failed(&dir, error))?;
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| failed(&path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed(&path, error)),
        }
        // A lock on a file that was removed meanwhile locks nothing.
        if lock.metadata().is_ok_and(|facts| facts.nlink() == 0) {
            return Ok(None);
        }
        // Tells when it was last used; see `trim`.
        let _ = lock.set_modified(SystemTime::now());
        Ok(Some(Slot {
            dir,
            url: conversation.url(),
            limits: conversation.limits(),
            _lock: lock,
        }))
    }

    /// Removes the repositories that were not used for longest until at most `limit` bytes are left. What is in use stays.
    pub(crate) fn trim(&self, limit: u64) {
        let mut known: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(self.repositories())
            .into_iter()
            .flatten()
            .flatten()
        {
            let used = fs::metadata(entry.path().join("lock")).and_then(|facts| facts.modified());
            known.push((
                used.unwrap_or(SystemTime::UNIX_EPOCH),
                size(&entry.path()),
                entry.path(),
            ));
        }
        let mut total: u64 = known.iter().map(|(_, size, _)| size).sum();
        known.sort();
        for (_, size, dir) in known {
            if total <= limit {
                return;
            }
            let Ok(lock) = File::open(dir.join("lock")) else {
                continue;
            };
            if lock.try_lock().is_ok()
                && leases(&dir).iter().all(|lease| free(lease))
                && fs::remove_dir_all(&dir).is_ok()
            {
                tracing::info!(path = %dir.display(), size, "removed from the source cache");
                total = total.saturating_sub(size);
            }
        }
    }
}

/// Reads the key, or makes one. Of two processes that make it at once, one wins, and both read its key.
fn read_or_make_key(path: &Path) -> io::Result<[u8; 32]> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};

    for _ in 0..3 {
        match fs::read(path).map(<[u8; 32]>::try_from) {
            Ok(Ok(key)) => return Ok(key),
            // Cut short when the machine went down: nothing can be found under it any more.
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
        // Unlike a rename, a link never replaces what another process has made meanwhile.
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Err(io::Error::other("it changes all the time"))
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

/// The place of one repository, locked against other processes.
#[derive(Debug)]
pub(crate) struct Slot {
    dir: PathBuf,
    url: String,
    limits: Limits,
    _lock: File,
}

impl Slot {
    fn generations(&self) -> Vec<u64> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut numbers: Vec<u64> = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers
    }

    fn generation(&self, number: u64) -> PathBuf {
        self.dir.join(number.to_string())
    }

    /// Says whether an open store is the one to go on with.
    pub(crate) fn is_current(&self, store: &Store) -> bool {
        let newest = self
            .generations()
            .last()
            .map(|number| self.generation(*number));
        !store.is_damaged()
            && newest.is_some_and(|newest| store.repository().git_dir() == newest)
            && !Self::is_crowded(store)
    }

    fn is_crowded(store: &Store) -> bool {
        let packs = fs::read_dir(pack_dir(store))
            .into_iter()
            .flatten()
            .flatten();
        packs
            .filter(|entry| {
                entry
                    .path()
                    .extension()
                    .is_some_and(|extension| extension == "idx")
            })
            .count()
            > PACKS
    }

    /// Opens what is there, or makes an empty repository.
    pub(crate) fn open(&self) -> Result<Arc<Store>, SourceError> {
        if let Some(number) = self.generations().last() {
            self.clean(*number);
            match self.open_generation(*number) {
                Ok(store) if self.is_current(&store) => return Ok(store),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(
                        url = self.url,
                        error = chain(&error),
                        "a fetched repository is damaged: fetching it anew"
                    );
                }
            }
        }
        self.renew()
    }

    /// Removes what a killed process left half written. Nobody writes now but who holds this slot.
    fn clean(&self, number: u64) {
        let dir = self.generation(number);
        let _ = fs::remove_file(dir.join("shallow.lock"));
        for entry in fs::read_dir(dir.join("objects").join("pack"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            if path
                .extension()
                .is_none_or(|extension| extension != "pack" && extension != "idx")
            {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Removes the predecessors of the newest repository that nobody reads any more.
    pub(crate) fn sweep(&self) {
        let mut generations = self.generations();
        generations.pop();
        for number in generations {
            let lease = self.lease_path(number);
            if !lease.exists() || free(&lease) {
                let _ = fs::remove_dir_all(self.generation(number));
                let _ = fs::remove_file(lease);
            }
        }
    }

    /// Makes an empty repository in the place of what is there, and removes what nobody reads any more.
    pub(crate) fn renew(&self) -> Result<Arc<Store>, SourceError> {
        let next = self.generations().last().map_or(1, |last| last + 1);
        let path = self.generation(next);
        let made = gix::ThreadSafeRepository::init_opts(
            &path,
            gix::create::Kind::Bare,
            gix::create::Options::default(),
            open_options(self.limits),
        );
        made.map_err(|error| failed(&path, chain(&error)))?;
        // For people who look around in the cache.
        let _ = fs::write(path.join("description"), format!("{}\n", self.url));
        self.sweep();
        self.open_generation(next)
            .map_err(|error| failed(&path, chain(&error)))
    }

    fn lease_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number}.lease"))
    }

    fn open_generation(&self, number: u64) -> Result<Arc<Store>, gix::Error> {
        let lease = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.lease_path(number))
            .and_then(|lease| lease.lock_shared().map(|()| lease))
            .map_err(gix::Error::from_error)?;
        Store::open(&self.generation(number), self.limits, Some(lease)).map(Arc::new)
    }
}

/// Where a store's packs are.
pub(crate) fn pack_dir(store: &Store) -> PathBuf {
    store.repository().git_dir().join("objects").join("pack")
}

/// Where git notes which commits have no parents here.
pub(crate) fn shallow_file(store: &Store) -> PathBuf {
    store.repository().git_dir().join("shallow")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use tokio_util::sync::CancellationToken;

    fn conversation() -> Arc<Conversation> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let handle = runtime.handle().clone();
        Conversation::new(
            "URL".to_owned(),
            Limits::default(),
            handle,
            CancellationToken::new(),
        )
    }

    fn slot(cache: &Cache, id: &str) -> Slot {
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
    fn one_fetches_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let held = slot(&cache, "a");
        assert!(cache.try_lock("a", &conversation()).unwrap().is_none());
        drop(held);
        let held = slot(&cache, "a");
        // Deleting the cache takes the lock's file away below its holder: the next one must not wait for it.
        fs::remove_dir_all(dir.path().join("repositories")).unwrap();
        drop(slot(&cache, "a"));
        drop(held);
    }

    #[test]
    fn a_generation_goes_when_nobody_reads_it_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let slot = slot(&cache, "a");
        let first = slot.open().unwrap();
        assert!(slot.is_current(&first));
        let second = slot.renew().unwrap();
        assert!(slot.generation(1).exists(), "it is read");
        assert!(!slot.is_current(&first) && slot.is_current(&second));
        drop(first);
        drop(slot.renew().unwrap());
        assert!(!slot.generation(1).exists() && slot.generation(2).exists());
    }

    #[test]
    fn trimming_takes_the_longest_unused_and_leaves_what_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let old = SystemTime::now() - Duration::from_hours(1);
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
        // A process that another test starts holds all locks for the moment until it is another program.
        let is_free = |id: &str| {
            let dir = repositories.join(id);
            free(&dir.join("lock")) && leases(&dir).iter().all(|lease| free(lease))
        };
        while !(is_free("old") && is_free("new")) {
            std::thread::yield_now();
        }
        cache.trim(size(&repositories.join("used")) + size(&repositories.join("new")));
        let there = |id: &str| repositories.join(id).exists();
        assert!(there("used") && there("new") && !there("old"));
        cache.trim(0);
        assert!(there("used") && !there("new"));
    }
}
