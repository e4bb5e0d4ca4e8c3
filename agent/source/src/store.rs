//! Objects in a git object database.

mod decoded;

use std::{
    fmt,
    fs::{self, File},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use gix::{
    ObjectId,
    objs::{CommitRef, Exists as _, FindExt as _, Kind, TagRef, TreeRefIter, tree::EntryKind},
    odb::store::init::Slots,
};
use pintle_core::tree::{TreeError, TreePath};

use self::decoded::Decoded;
pub(crate) use self::decoded::Folders;
use crate::{
    error::{chain, one_line},
    limits::Limits,
    tree::{
        broken,
        objects::{Folder, NodeKind, Objects},
        unusable,
        work::Work,
    },
};

/// The size of the largest commit, tag or folder listing, in bytes. A folder at the limit of entries has a few MiB.
const META_LIMIT: u64 = 32 << 20;
/// The name of the file that marks a cached repository to be fetched anew.
const DAMAGED: &str = "damaged";
/// The number of packs that a store has room for, unless it has many already. Each fetch adds one, and [`crate::cache`] fetches
/// anew what it can long before this number is reached.
const SLOTS: u16 = 1024;
/// The most packs that any store has room for.
const MOST_SLOTS: u16 = (1 << 15) - 1;

/// An open object database. As long as it is held, it is not removed from the cache.
pub(crate) struct Store {
    repository: gix::ThreadSafeRepository,
    limits: Limits,
    /// Whether something in it turned out to be damaged. The next fetch then starts anew.
    damaged: AtomicBool,
    lease: Option<File>,
    folders: Decoded,
    /// The number of packs that it has room for, which is decided when it is opened.
    slots: u16,
}

impl Store {
    /// Opens the repository at a path with nothing but its own configuration, and only the part of that which determines its
    /// format.
    pub(crate) fn open(
        path: &Path,
        limits: Limits,
        lease: Option<File>,
        folders: Arc<Folders>,
    ) -> Result<Self, gix::Error> {
        let slots = room(count_packs(path));
        let repository = open_options(limits)
            .object_store_slots(Slots::Given(slots))
            .open_path_as_is(lease.is_some())
            .open(path)?;
        Ok(Self {
            slots,
            ..Self::new(repository, limits, lease, folders)
        })
    }

    pub(crate) fn new(
        repository: gix::ThreadSafeRepository,
        limits: Limits,
        lease: Option<File>,
        folders: Arc<Folders>,
    ) -> Self {
        Self {
            repository,
            limits,
            damaged: AtomicBool::new(false),
            lease,
            folders: Decoded::new(folders),
            slots: SLOTS,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn repository(&self) -> gix::Repository {
        self.repository.to_thread_local()
    }

    /// Returns whether reading from it has failed, here or in another process.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
            || self.lease.is_some() && self.repository.git_dir().join(DAMAGED).exists()
    }

    /// Returns whether it has room for more packs than a fetch may add, as far as any store has.
    pub(crate) fn has_room(&self) -> bool {
        self.slots >= room(count_packs(self.repository.git_dir()))
    }

    pub(crate) fn handle(&self) -> gix::odb::Handle {
        self.repository.objects.to_cache()
    }

    /// Returns a handle that knows what is on disk now, and does not look there again for what it lacks. So it may be asked for
    /// hundreds of thousands of objects.
    pub(crate) fn steady(&self) -> gix::odb::Handle {
        let mut handle = self.handle();
        // A missing object makes it look, once.
        handle.exists(&ObjectId::null(gix::hash::Kind::Sha1));
        handle.refresh_never();
        handle
    }

    /// Returns the commit that a tip leads to, with its tree, peeling tags; `None` if the tip, or the tree itself, is not
    /// there.
    pub(crate) fn commit(&self, id: ObjectId) -> Result<Option<Commit>, ObjectError> {
        let handle = self.handle();
        guarded(|| {
            let mut id = id;
            let mut buffer = Vec::new();
            // A tag may name a tag, but nobody has chains of them.
            for _ in 0..8 {
                let Some(kind) = header(&handle, &id)?.map(|(kind, _)| kind) else {
                    return Ok(None);
                };
                match kind {
                    Kind::Commit => {
                        let data = handle.find(&id, &mut buffer).map_err(damaged)?;
                        let commit =
                            CommitRef::from_bytes(data.data, id.kind()).map_err(malformed)?;
                        let commit = Commit::read(id, &commit)?;
                        return Ok(header(&handle, &commit.tree)?.map(|_| commit));
                    }
                    Kind::Tag => {
                        let data = handle.find(&id, &mut buffer).map_err(damaged)?;
                        id = TagRef::from_bytes(data.data, id.kind())
                            .map_err(malformed)?
                            .target();
                    }
                    other => return Err(ObjectError::NotACommit(other.to_string())),
                }
            }
            Err(ObjectError::Malformed(
                "a chain of tags that names tags".to_owned(),
            ))
        })
        .inspect_err(|error| self.note(error))
    }

    fn note(&self, error: &ObjectError) {
        if matches!(error, ObjectError::Damaged(_)) {
            self.damaged.store(true, Ordering::Relaxed);
            if self.lease.is_some() {
                // For other processes, and for this one after a restart.
                let _ = fs::write(self.repository.git_dir().join(DAMAGED), "");
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.repository.git_dir())
            .finish_non_exhaustive()
    }
}

/// Returns the number of packs to have room for, given how many there are: enough for at least as many again.
fn room(packs: usize) -> u16 {
    let packs = u16::try_from(packs).unwrap_or(u16::MAX);
    let packs = packs.min(MOST_SLOTS / 2 + 1);
    (2 * packs).next_power_of_two().clamp(SLOTS, MOST_SLOTS)
}

/// Counts the packs in a repository's folder.
fn count_packs(git_dir: &Path) -> usize {
    let entries = fs::read_dir(git_dir.join("objects").join("pack"));
    let entries = entries.into_iter().flatten().flatten();
    let is_index = |path: &Path| path.extension().is_some_and(|extension| extension == "idx");
    entries.filter(|entry| is_index(&entry.path())).count()
}

/// Returns the options with which every repository is opened: isolated from the system's, the user's and the environment's
/// configuration, bounded in memory, and without replacement objects, which exist on one machine only.
pub(crate) fn open_options(limits: Limits) -> gix::open::Options {
    gix::open::Options::isolated()
        .with(gix::sec::Trust::Full)
        .object_store_slots(Slots::Given(SLOTS))
        .config_overrides([
            format!("gitoxide.objects.allocLimit={}", limits.reading()),
            "core.useReplaceRefs=false".to_owned(),
        ])
}

/// What a revision says about its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) id: ObjectId,
    pub(crate) tree: ObjectId,
    pub(crate) time: i64,
    pub(crate) author: String,
    pub(crate) committer: String,
    pub(crate) summary: String,
}

impl Commit {
    fn read(id: ObjectId, commit: &CommitRef<'_>) -> Result<Self, ObjectError> {
        let person = |signature: Result<gix::actor::SignatureRef<'_>, gix::Error>| {
            let signature = signature.map_err(malformed)?;
            Ok::<_, ObjectError>(one_line(&format!(
                "{} <{}>",
                signature.name, signature.email
            )))
        };
        Ok(Self {
            id,
            tree: commit.tree(),
            time: commit.time().map_err(malformed)?.seconds,
            author: person(commit.author())?,
            committer: person(commit.committer())?,
            summary: one_line(
                commit
                    .message
                    .to_string()
                    .lines()
                    .next()
                    .unwrap_or_default(),
            ),
        })
    }
}

/// Why an object could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ObjectError {
    /// The object should lead to a commit, but is something else.
    NotACommit(String),
    /// The object is what was sent, but it is malformed. Fetching it again would bring the same.
    Malformed(String),
    /// The object is missing, or not as it was written.
    Damaged(String),
}

fn malformed(error: impl Into<gix::Error>) -> ObjectError {
    ObjectError::Malformed(chain(&error.into()))
}

fn damaged(error: impl Into<gix::Error>) -> ObjectError {
    let error = error.into();
    if error.is_resource_exhausted() {
        // It was not read to its end, so nothing is known about the rest, and fetching it again would bring the same.
        let reason = chain(&error);
        return ObjectError::Malformed(format!("it needs more memory than is allowed: {reason}"));
    }
    ObjectError::Damaged(chain(&error))
}

fn header(handle: &gix::odb::Handle, id: &gix::oid) -> Result<Option<(Kind, u64)>, ObjectError> {
    let found = gix::odb::Header::try_header(handle, id).map_err(damaged)?;
    let Some(found) = found else { return Ok(None) };
    let (kind, size) = (found.kind(), found.size());
    if kind != Kind::Blob && size > META_LIMIT {
        return Err(ObjectError::Malformed(format!(
            "{kind} {id} has {size} bytes, and the limit is {META_LIMIT}"
        )));
    }
    Ok(Some((kind, size)))
}

/// Runs a decoder on data from elsewhere: a flaw in it must not take down the process.
fn guarded<T>(read: impl FnOnce() -> Result<T, ObjectError>) -> Result<T, ObjectError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(ObjectError::Malformed(
            "the decoder failed on it".to_owned(),
        ))
    })
}

/// The objects of a [`Store`], for trees.
pub(crate) struct GitObjects {
    store: Arc<Store>,
    /// A handle caches, so it is for one thread at a time. After a panic in the decoder there is a new one.
    handle: Mutex<Option<gix::odb::Handle>>,
}

impl GitObjects {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            handle: Mutex::new(None),
        }
    }

    fn with<T>(
        &self,
        at: &TreePath,
        read: impl FnOnce(&gix::odb::Handle) -> Result<T, ObjectError>,
    ) -> Result<T, TreeError> {
        let mut slot = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = slot.take().unwrap_or_else(|| self.store.handle());
        let outcome = guarded(|| {
            let value = read(&handle)?;
            *slot = Some(handle);
            Ok(value)
        });
        outcome.map_err(|error| {
            self.store.note(&error);
            match error {
                ObjectError::NotACommit(reason) | ObjectError::Malformed(reason) => {
                    unusable(at, &reason)
                }
                ObjectError::Damaged(reason) => broken(at, &reason),
            }
        })
    }
}

fn expect(handle: &gix::odb::Handle, id: &gix::oid, wanted: Kind) -> Result<u64, ObjectError> {
    match header(handle, id)? {
        Some((kind, size)) if kind == wanted => Ok(size),
        Some((kind, _)) => Err(ObjectError::Malformed(format!(
            "object {id} is a {kind}, and a {wanted} was expected"
        ))),
        None => Err(ObjectError::Damaged(format!(
            "object {id} is not there: the repository is incomplete, or the cache was removed while in use"
        ))),
    }
}

impl Objects for GitObjects {
    fn folder(&self, id: &ObjectId, at: &TreePath, work: &Work) -> Result<Arc<Folder>, TreeError> {
        if let Some(folder) = work.known(id) {
            return Ok(folder);
        }
        if let Some(folder) = self.store.folders.get(id) {
            work.remember(*id, &folder);
            return Ok(folder);
        }
        work.check_time(at)?;
        let limit = self.store.limits.entries;
        let nodes = self.with(at, |handle| {
            expect(handle, id, Kind::Tree)?;
            let mut buffer = Vec::new();
            let data = handle.find(id, &mut buffer).map_err(damaged)?;
            let (mut nodes, mut count) = (Vec::new(), 0_usize);
            for entry in TreeRefIter::from_bytes(data.data, id.kind()) {
                let entry = entry.map_err(malformed)?;
                count += 1;
                if count <= limit {
                    let kind = match entry.mode.kind() {
                        EntryKind::Tree => NodeKind::Folder,
                        EntryKind::Blob | EntryKind::BlobExecutable => NodeKind::File,
                        EntryKind::Link => NodeKind::Link,
                        EntryKind::Commit => NodeKind::Submodule,
                    };
                    nodes.push((entry.filename.to_vec(), kind, entry.oid.to_owned()));
                }
            }
            Ok(if count > limit { Err(count) } else { Ok(nodes) })
        })?;
        let nodes = nodes.map_err(|count| TreeError::TooLarge {
            path: at.clone(),
            size: count as u64,
            limit: limit as u64,
            unit: "entries",
        })?;
        work.spend(nodes.len() + 1, at)?;
        let folder = Arc::new(Folder::new(nodes));
        work.remember(*id, &folder);
        self.store.folders.keep(*id, &folder);
        Ok(folder)
    }

    fn size(&self, id: &ObjectId, at: &TreePath, work: &Work) -> Result<u64, TreeError> {
        work.check_time(at)?;
        self.with(at, |handle| expect(handle, id, Kind::Blob))
    }

    fn blob(&self, id: &ObjectId, at: &TreePath, work: &Work) -> Result<Vec<u8>, TreeError> {
        work.check_time(at)?;
        self.with(at, |handle| {
            expect(handle, id, Kind::Blob)?;
            let mut buffer = Vec::new();
            handle.find(id, &mut buffer).map_err(damaged)?;
            Ok(buffer)
        })
    }
}
