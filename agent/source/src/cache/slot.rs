//! The slot of one repository in the cache.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use gix::ObjectId;

use super::free;
use crate::{
    error::{SourceError, chain, lack},
    limits::Limits,
    store::{Folders, Store, open_options},
};

/// The number of packs above which a repository is fetched anew, since each one makes reading slower.
const PACKS: u64 = 100;
/// The total bytes up to which packs stay, however few of them are of any use.
const SPARED: u64 = 64 << 20;
/// A repository is fetched anew when its packs have more than this many times the bytes that the followed commits can take.
const GROWTH: u64 = 3;
/// After a failed attempt to fetch a repository anew, the next one waits until it holds this many times what it held then.
const PATIENCE: u64 = 2;
/// The name of the file in which a repository records what it held at the last attempt to fetch it anew.
const TRIED: &str = "tried";

/// The slot of one repository, locked against other processes.
#[derive(Debug)]
pub(crate) struct Slot {
    dir: PathBuf,
    url: String,
    limits: Limits,
    folders: Arc<Folders>,
    _lock: File,
}

/// An empty repository that replaces the contents of a slot once something is in it. Until then the old contents stay in use,
/// and dropping the draft leaves nothing of it.
pub(crate) struct Draft<'a> {
    slot: &'a Slot,
    number: u64,
    store: Arc<Store>,
}

impl Slot {
    pub(super) fn new(
        dir: PathBuf,
        url: String,
        limits: Limits,
        folders: Arc<Folders>,
        lock: File,
    ) -> Self {
        Self {
            dir,
            url,
            limits,
            folders,
            _lock: lock,
        }
    }

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

    fn draft_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number}.new"))
    }

    fn lease_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number}.lease"))
    }

    /// Returns whether an open store is the one to continue with. Nothing can be added to a store whose folder somebody has
    /// emptied, and not for long to one that had far fewer packs when it was opened.
    pub(crate) fn is_current(&self, store: &Store) -> bool {
        let newest = self
            .generations()
            .last()
            .map(|number| self.generation(*number));
        let is_newest = newest.is_some_and(|newest| store.repository().git_dir() == newest);
        !store.is_damaged() && is_newest && pack_dir(store).is_dir() && store.has_room()
    }

    /// Opens the newest repository, or creates an empty one.
    pub(crate) fn open(&self) -> Result<Arc<Store>, SourceError> {
        match self.open_newest()? {
            Some(store) => Ok(store),
            None => self.draft()?.adopt(),
        }
    }

    /// Opens the newest repository; returns `None` if it cannot be continued with.
    pub(crate) fn open_newest(&self) -> Result<Option<Arc<Store>>, SourceError> {
        let Some(number) = self.generations().last().copied() else {
            return Ok(None);
        };
        self.clean(number);
        match self.open_generation(number) {
            Ok(store) => Ok(self.is_current(&store).then_some(store)),
            Err(error) => {
                if let Some(cause) = lack(&error) {
                    return Err(SourceError::cache(&self.generation(number), cause));
                }
                tracing::warn!(
                    url = self.url,
                    error = chain(&error),
                    "a fetched repository is damaged: fetching it anew"
                );
                Ok(None)
            }
        }
    }

    /// Removes what a killed process left half written. Only the holder of this slot writes now.
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

    /// Removes predecessors of the newest repository that nobody reads any more, and drafts that a killed process left.
    pub(crate) fn sweep(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                let _ = fs::remove_dir_all(path);
            }
        }
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

    /// Creates an empty repository beside the current one.
    pub(crate) fn draft(&self) -> Result<Draft<'_>, SourceError> {
        let number = self.generations().last().map_or(1, |last| last + 1);
        let path = self.draft_path(number);
        let _ = fs::remove_dir_all(&path);
        let made = gix::ThreadSafeRepository::init_opts(
            &path,
            gix::create::Kind::Bare,
            gix::create::Options::default(),
            open_options(self.limits),
        );
        made.map_err(|error| failed(&path, &error))?;
        // For people who look around in the cache.
        let _ = fs::write(path.join("description"), format!("{}\n", self.url));
        let store = self
            .open_at(&path, number)
            .map_err(|error| failed(&path, &error))?;
        Ok(Draft {
            slot: self,
            number,
            store,
        })
    }

    fn open_generation(&self, number: u64) -> Result<Arc<Store>, gix::Error> {
        self.open_at(&self.generation(number), number)
    }

    fn open_at(&self, path: &Path, number: u64) -> Result<Arc<Store>, gix::Error> {
        let lease = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.lease_path(number))
            .and_then(|lease| lease.lock_shared().map(|()| lease))
            .map_err(gix::Error::from_error)?;
        let folders = Arc::clone(&self.folders);
        Store::open(path, self.limits, Some(lease), folders).map(Arc::new)
    }
}

impl Draft<'_> {
    /// Returns the store to fill.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Puts the draft in place of the old repository, which stays for as long as somebody reads it.
    pub(crate) fn adopt(self) -> Result<Arc<Store>, SourceError> {
        let path = self.slot.generation(self.number);
        fs::rename(self.slot.draft_path(self.number), &path)
            .map_err(|error| SourceError::cache(&path, &error))?;
        self.slot.sweep();
        self.slot
            .open_generation(self.number)
            .map_err(|error| failed(&path, &error))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // After adoption there is nothing at this path. What cannot be removed now is removed by the next sweep.
        let _ = fs::remove_dir_all(self.slot.draft_path(self.number));
    }
}

fn failed(path: &Path, error: &gix::Error) -> SourceError {
    match lack(error) {
        Some(cause) => SourceError::cache(path, cause),
        None => SourceError::Cache {
            path: path.to_owned(),
            reason: chain(error),
            is_full: false,
        },
    }
}

/// Returns the folder that holds a store's packs.
pub(crate) fn pack_dir(store: &Store) -> PathBuf {
    store.repository().git_dir().join("objects").join("pack")
}

/// Returns the file in which git records which commits have no parents here.
pub(crate) fn shallow_file(store: &Store) -> PathBuf {
    store.repository().git_dir().join("shallow")
}

/// Returns whether nothing has been fetched into a store yet, not even something that is damaged by now.
pub(crate) fn is_empty(store: &Store) -> bool {
    fs::read_dir(pack_dir(store)).is_ok_and(|mut entries| entries.next().is_none())
}

/// Returns the commits recorded in the [`shallow_file`], in the order of their ids.
pub(crate) fn shallow_commits(store: &Store) -> Vec<ObjectId> {
    let text = fs::read_to_string(shallow_file(store)).unwrap_or_default();
    text.lines()
        .filter_map(|line| ObjectId::from_hex(line.as_bytes()).ok())
        .collect()
}

/// How much a store holds.
struct Held {
    packs: u64,
    bytes: u64,
    /// The bytes of the largest pack.
    largest: u64,
}

impl Held {
    fn by(store: &Store) -> Self {
        let (mut packs, mut bytes, mut largest) = (0_u64, 0_u64, 0_u64);
        for entry in fs::read_dir(pack_dir(store))
            .into_iter()
            .flatten()
            .flatten()
        {
            match entry.path().extension().and_then(OsStr::to_str) {
                Some("idx") => packs += 1,
                Some("pack") => {
                    let size = entry.metadata().map_or(0, |facts| facts.len());
                    bytes += size;
                    largest = size.max(largest);
                }
                _ => {}
            }
        }
        Self {
            packs,
            bytes,
            largest,
        }
    }
}

/// Returns whether a store should be fetched anew: it has too many packs, or most of their bytes belong to commits that nobody
/// follows any more. If that was tried before, the store must have grown since.
///
/// `followed` counts the followed commits, and is called only if the number matters. The size of the largest pack stands for
/// what each of them takes, because a whole commit arrives in one pack if nothing of it was here, or if the server ignores what
/// is here. Where commits have outgrown that in many small packs, fetching them anew makes one pack of these, which is the
/// measure from then on.
pub(crate) fn is_crowded(store: &Store, followed: impl FnOnce() -> usize) -> bool {
    let held = Held::by(store);
    let (packs, bytes) = tried(store).unwrap_or_default();
    held.packs > PACKS.max(packs.saturating_mul(PATIENCE))
        || held.bytes > SPARED.max(bytes.saturating_mul(PATIENCE))
            && held.bytes > GROWTH * held.largest * followed() as u64
}

/// Records that a store is about to be fetched anew. The store that replaces it has no such record.
pub(crate) fn note_try(store: &Store) {
    let Held { packs, bytes, .. } = Held::by(store);
    let text = format!("{packs} {bytes}\n{}", accepted(store.limits()));
    // If this cannot be recorded, there is one attempt too many.
    let _ = fs::write(tried_file(store), text);
}

/// Returns the packs and bytes that a store had at the last attempt to fetch it anew; `None` if there was no attempt, or if the
/// limits were different then.
fn tried(store: &Store) -> Option<(u64, u64)> {
    let text = fs::read_to_string(tried_file(store)).ok()?;
    let (held, limits) = text.split_once('\n')?;
    if limits != accepted(store.limits()) {
        return None;
    }
    let (packs, bytes) = held.split_once(' ')?;
    Some((packs.parse().ok()?, bytes.parse().ok()?))
}

fn tried_file(store: &Store) -> PathBuf {
    store.repository().git_dir().join(TRIED)
}

/// Formats the limits that decide whether everything that is followed can be fetched at once.
fn accepted(limits: Limits) -> String {
    format!("{} {} {}", limits.pack, limits.objects, limits.object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Cache, tests::slot};

    #[test]
    fn a_generation_goes_when_nobody_reads_it_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let slot = slot(&cache, "a");
        let first = slot.open().unwrap();
        assert!(slot.is_current(&first));
        let second = slot.draft().unwrap().adopt().unwrap();
        assert!(slot.generation(1).exists(), "it is read");
        assert!(!slot.is_current(&first) && slot.is_current(&second));
        drop(first);
        drop(slot.draft().unwrap().adopt().unwrap());
        assert!(!slot.generation(1).exists() && slot.generation(2).exists());
    }

    #[test]
    fn what_somebody_has_emptied_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let slot = slot(&cache, "a");
        let store = slot.open().unwrap();
        // A deletion that coincides with a creation leaves an empty folder.
        fs::remove_dir_all(slot.generation(1)).unwrap();
        fs::create_dir(slot.generation(1)).unwrap();
        assert!(!slot.is_current(&store));
        let anew = slot.open().unwrap();
        assert!(slot.is_current(&anew) && is_empty(&anew));
    }

    #[test]
    fn bytes_are_too_many_when_hardly_any_are_of_what_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let store = slot(&cache, "a").open().unwrap();
        let add = |name: String, bytes| {
            let file = File::create(pack_dir(&store).join(name)).unwrap();
            file.set_len(bytes).unwrap();
        };
        for number in 0..4 {
            add(format!("{number}.pack"), SPARED / 4);
        }
        assert!(!is_crowded(&store, || 1), "it is not worth a fetch");
        add("4.pack".to_owned(), SPARED / 4);
        assert!(is_crowded(&store, || 1), "five snapshots, and one of use");
        assert!(!is_crowded(&store, || 2), "perhaps two of use");
        add("5.pack".to_owned(), SPARED);
        assert!(!is_crowded(&store, || 1), "half of it may be of use");
        for number in 0..=PACKS {
            add(format!("{number}.idx"), 0);
        }
        assert!(is_crowded(&store, || 1), "too many packs");
    }

    #[test]
    fn what_was_tried_in_vain_is_tried_again_when_there_is_twice_as_much() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let slot = slot(&cache, "a");
        let store = slot.open().unwrap();
        let add = |name: String, bytes| {
            let file = File::create(pack_dir(&store).join(name)).unwrap();
            file.set_len(bytes).unwrap();
        };
        for number in 0..=PACKS {
            add(format!("{number}.idx"), 0);
        }
        assert!(is_crowded(&store, || 1));
        note_try(&store);
        assert!(!is_crowded(&store, || 1), "it was tried");
        for number in PACKS + 1..=2 * PACKS {
            add(format!("{number}.idx"), 0);
        }
        assert!(!is_crowded(&store, || 1), "not yet twice as many");
        for number in 2 * PACKS + 1..=2 * PACKS + 2 {
            add(format!("{number}.idx"), 0);
        }
        assert!(is_crowded(&store, || 1), "more than twice as many packs");

        for number in 0..8 {
            add(format!("{number}.pack"), SPARED / 4);
        }
        note_try(&store);
        for number in 8..16 {
            add(format!("{number}.pack"), SPARED / 4);
            assert!(!is_crowded(&store, || 1));
        }
        add("16.pack".to_owned(), SPARED / 4);
        assert!(is_crowded(&store, || 1), "more than twice as many bytes");

        // An agent with higher limits may succeed, and the replacement starts with no record.
        note_try(&store);
        assert_eq!(tried(&store), Some((2 * PACKS + 3, 17 * SPARED / 4)));
        let limits = Limits {
            pack: 1 << 40,
            ..Limits::default()
        };
        let more = Store::open(store.repository().git_dir(), limits, None, Arc::default());
        assert_eq!(tried(&more.unwrap()), None);
        let next = slot.draft().unwrap().adopt().unwrap();
        assert_eq!(tried(&next), None);
    }

    #[test]
    fn there_is_room_for_however_many_packs() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let slot = slot(&cache, "a");
        let store = slot.open().unwrap();
        for number in 0..1100 {
            for extension in ["pack", "idx"] {
                let name = format!("{number}.{extension}");
                File::create(pack_dir(&store).join(name)).unwrap();
            }
        }
        assert!(!slot.is_current(&store));
        let store = slot.open().unwrap();
        assert!(slot.is_current(&store));
        // The packs are empty, and their number is not a problem.
        let id = ObjectId::from_bytes_or_panic(&[1; 20]);
        assert_eq!(store.commit(id), Ok(None));
    }

    #[test]
    fn a_draft_that_nothing_came_of_leaves_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let slot = slot(&cache, "a");
        let store = slot.open().unwrap();
        assert!(is_empty(&store) && !is_crowded(&store, || 1));
        let draft = slot.draft().unwrap();
        assert!(slot.draft_path(2).exists() && slot.is_current(&store));
        fs::write(pack_dir(draft.store()).join("half.pack"), "").unwrap();
        drop(draft);
        assert!(!slot.draft_path(2).exists() && slot.is_current(&store));

        // A killed process leaves its draft behind.
        let draft = slot.draft().unwrap();
        fs::write(pack_dir(draft.store()).join("half.pack"), "").unwrap();
        std::mem::forget(draft);
        assert!(slot.is_current(&slot.open().unwrap()));
        let anew = slot.draft().unwrap();
        assert!(!pack_dir(anew.store()).join("half.pack").exists());
        std::mem::forget(anew);
        slot.sweep();
        assert!(!slot.draft_path(2).exists() && slot.is_current(&store));
    }
}
