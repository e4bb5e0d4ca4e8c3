//! All repositories of a process, each fetched once for all that share it.

mod absent;
mod converse;
mod pinned;
mod rest;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pintle_core::{application::Reference, digest::Digest};
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{
    absent::Absent,
    converse::{cached, converse},
    pinned::Pinned,
    rest::Rest,
};
use crate::{
    cache::Cache,
    credentials::{Credentials, Login},
    error::{SourceError, caught},
    limits::Options,
    local,
    location::Location,
    snapshot::Snapshot,
    store::Store,
    transport::http::Clients,
    turns::Turns,
};

/// How long a repository is remembered after somebody last asked for it. The cache on disk stays.
const FORGET_AFTER: Duration = Duration::from_hours(1);
/// How often repositories to forget are looked for, since that goes through all of them.
const LOOK_AFTER: Duration = Duration::from_mins(1);

/// Where a repository is, and the credentials that open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// `https://…`, `http://…`, `ssh://…`, `git@host:path`, `file://…` or a path.
    pub url: String,
    /// The credentials that open it.
    pub credentials: Credentials,
}

impl Remote {
    /// Returns a repository that needs no credentials.
    pub fn anonymous(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            credentials: Credentials::default(),
        }
    }
}

/// The repositories that a process works with.
///
/// A caller that asks for a repository while a fetch of it is about to list its branches joins that fetch. A later caller gets
/// a fetch of its own, as the list may already be older than the request. So every caller gets what the server held at or after
/// the moment of asking, and any number of simultaneous requests cost at most two conversations.
///
/// Clones share everything. When the last one is dropped, or at [`Repositories::stop`], fetches in flight are cancelled.
#[derive(Debug, Clone)]
pub struct Repositories {
    shared: Arc<Shared>,
    /// Separate from what work in flight holds, so that it is dropped with the last handle.
    _stop: Arc<DropGuard>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    cache: Cache,
    clients: Clients,
    known: Mutex<Known>,
    turns: Arc<Turns>,
    stop: CancellationToken,
}

/// The repositories that somebody has asked for.
#[derive(Debug, Default)]
struct Known {
    repositories: HashMap<String, Arc<Repository>>,
    /// When repositories to forget were last looked for.
    looked: Option<Instant>,
}

/// One repository, as seen with one set of credentials.
#[derive(Debug)]
struct Repository {
    id: String,
    location: Location,
    credentials: Credentials,
    /// When somebody last asked for it. Going through these times for all repositories waits for none of their conversations,
    /// as the lock is held only to read or set the time.
    asked: Mutex<Instant>,
    rest: Mutex<Rest>,
    queue: Mutex<Queue>,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    running: bool,
}

#[derive(Debug)]
struct Waiting {
    reference: Reference,
    answer: oneshot::Sender<Result<Snapshot, SourceError>>,
}

/// The results of the last conversation.
#[derive(Debug, Default)]
struct Last {
    /// The digest of all references that it listed.
    listed: Option<Digest>,
    store: Option<Arc<Store>>,
    /// Commits that were searched for in vain while the references were those of `listed`.
    absent: Absent,
    /// Commits that are followed by their ids, requests for which do not reach conversations.
    pinned: Pinned,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change under these locks is one assignment or one standard library call, so none is ever half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Repositories {
    /// Creates the repositories, and the cache folder if necessary.
    pub fn new(options: Options) -> Result<Self, SourceError> {
        let cache = Cache::open(&options.cache_dir)?;
        let turns = Arc::new(Turns::new(options.concurrency));
        let stop = CancellationToken::new();
        let guard = Arc::new(stop.clone().drop_guard());
        let shared = Shared {
            options,
            cache,
            clients: Clients::default(),
            known: Mutex::default(),
            turns,
            stop,
        };
        Ok(Self {
            shared: Arc::new(shared),
            _stop: guard,
        })
    }

    /// Returns what the reference means now, with its files. Must be called within a tokio runtime.
    ///
    /// This asks for one list of references, and fetches objects only if they are not cached yet. A commit that is named by its
    /// id and is cached needs no server at all. Errors name the repository and never contain a secret; see
    /// [`SourceError::is_retryable`].
    pub async fn fetch(
        &self,
        remote: &Remote,
        reference: &Reference,
    ) -> Result<Snapshot, SourceError> {
        if let Reference::Semver(range) = reference {
            crate::refs::parse_range(range)?;
        }
        if let Reference::Commit(commit) = reference {
            crate::refs::parse_commit(commit)?;
        }
        let location = Location::parse(&remote.url)?;
        if location.is_local() {
            return self.local(location, reference.clone()).await;
        }
        let repository = self.repository(location, &remote.credentials);
        if let Some(snapshot) = self.cached(&repository, reference).await {
            return Ok(snapshot);
        }
        self.ask(&repository, reference.clone()).await
    }

    /// Like [`Repositories::fetch`], for callers that ask again and again while nobody waits for the answer. As long as the
    /// server asks to be left alone, it is not contacted, and the answer is the failure with which it asked, whichever caller
    /// received that.
    pub async fn poll(
        &self,
        remote: &Remote,
        reference: &Reference,
    ) -> Result<Snapshot, SourceError> {
        let Some((repository, failure)) = self.resting(remote) else {
            return self.fetch(remote, reference).await;
        };
        self.cached(&repository, reference).await.ok_or(failure)
    }

    /// Releases what was fetched with credentials that others have replaced. Its copy in the cache may be removed as soon as
    /// nobody reads from it. A caller that still uses these credentials finds the copy for as long as it is there.
    pub fn forget(&self, remote: &Remote) {
        let Ok(location) = Location::parse(&remote.url) else {
            return;
        };
        let id = self.shared.cache.id(&location, &remote.credentials);
        let known = lock(&self.shared.known).repositories.get(&id).cloned();
        let Some(repository) = known else { return };
        let last = std::mem::take(&mut *lock(&repository.last));
        // Closing its files takes longer than others should wait for the lock.
        drop(last);
    }

    /// Cancels the work in flight, and refuses requests from now on.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    async fn local(
        &self,
        location: Location,
        reference: Reference,
    ) -> Result<Snapshot, SourceError> {
        let url = location.to_string();
        let Location::Local(path) = location else {
            return Err(SourceError::Local { url });
        };
        if !self.shared.options.local {
            return Err(SourceError::Local { url });
        }
        let limits = self.shared.options.limits;
        let shown = url.clone();
        tokio::task::spawn_blocking(move || {
            guarded(&shown, || {
                let (store, refs) = local::open(&path, limits)?;
                local::snapshot(&store, &refs, &shown, &reference, limits)
            })
        })
        .await
        .unwrap_or(Err(SourceError::Stopped { url }))
    }

    fn repository(&self, location: Location, credentials: &Credentials) -> Arc<Repository> {
        let id = self.shared.cache.id(&location, credentials);
        let now = Instant::now();
        let mut known = lock(&self.shared.known);
        let repository = known.repositories.entry(id.clone()).or_insert_with(|| {
            if let Location::Http(url) = &location
                && url.scheme() == "http"
                && credentials.login != Login::Anonymous
            {
                tracing::warn!(%url, "credentials are sent in the clear: use https");
            }
            Arc::new(Repository {
                id,
                location,
                credentials: credentials.clone(),
                asked: Mutex::new(now),
                rest: Mutex::default(),
                queue: Mutex::default(),
                last: Mutex::default(),
            })
        });
        *lock(&repository.asked) = now;
        let repository = Arc::clone(repository);
        known.forget_idle(now);
        repository
    }

    /// Returns a repository whose server asked to be left alone, and the failure with which it asked, for as long as the pause
    /// lasts.
    fn resting(&self, remote: &Remote) -> Option<(Arc<Repository>, SourceError)> {
        let location = Location::parse(&remote.url).ok()?;
        if location.is_local() {
            return None;
        }
        let repository = self.repository(location, &remote.credentials);
        let failure = lock(&repository.rest).failure(Instant::now())?;
        Some((repository, failure))
    }

    /// Returns a commit that is named by its id and was fetched before; the server could only return the same. If it cannot be
    /// read here, the reason is dropped and the server is asked instead.
    async fn cached(
        &self,
        repository: &Arc<Repository>,
        reference: &Reference,
    ) -> Option<Snapshot> {
        let Reference::Commit(commit) = reference else {
            return None;
        };
        let id = crate::refs::parse_commit(commit).ok()?;
        if self.shared.stop.is_cancelled() {
            return None;
        }
        let (shared, repository) = (Arc::clone(&self.shared), Arc::clone(repository));
        let runtime = Handle::current();
        let looking = move || cached(&shared, &repository, runtime, id);
        tokio::task::spawn_blocking(looking).await.ok().flatten()
    }

    async fn ask(
        &self,
        repository: &Arc<Repository>,
        reference: Reference,
    ) -> Result<Snapshot, SourceError> {
        let stopped = || SourceError::Stopped {
            url: repository.location.to_string(),
        };
        let (answer, answered) = oneshot::channel();
        let start = {
            let mut queue = lock(&repository.queue);
            queue.waiting.push(Waiting { reference, answer });
            !std::mem::replace(&mut queue.running, true)
        };
        if start {
            // Not part of this future: others may still wait for the work after the caller that started it has lost interest.
            tokio::spawn(work(
                Arc::downgrade(&self.shared),
                Arc::clone(repository),
                self.shared.stop.clone(),
                Arc::clone(&self.shared.turns),
            ));
        }
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Known {
    /// Forgets what nobody has asked for in a while, unless that was done just now.
    fn forget_idle(&mut self, now: Instant) {
        let is_just_now = |at: Instant| now.duration_since(at) < LOOK_AFTER;
        if self.looked.is_some_and(is_just_now) {
            return;
        }
        self.looked = Some(now);
        self.repositories.retain(|_, repository| {
            let idle = now.duration_since(*lock(&repository.asked)) > FORGET_AFTER;
            !idle || Arc::strong_count(repository) > 1
        });
    }
}

/// Holds conversations until nobody waits any more.
async fn work(
    shared: std::sync::Weak<Shared>,
    repository: Arc<Repository>,
    stop: CancellationToken,
    turns: Arc<Turns>,
) {
    let guard = Running(&repository);
    let host = repository.location.host();
    loop {
        let turn = tokio::select! {
            () = stop.cancelled() => break,
            turn = turns.take(&host) => turn,
        };
        let (Some(turn), Some(shared)) = (turn, shared.upgrade()) else {
            break;
        };
        let task = {
            let (repository, runtime) = (Arc::clone(&repository), Handle::current());
            tokio::task::spawn_blocking(move || converse(&shared, &repository, runtime, turn))
        };
        // A panic is handled inside, so what remains is the end of the runtime.
        if task.await.is_err() {
            break;
        }
        let mut queue = lock(&repository.queue);
        if queue.waiting.is_empty() {
            queue.running = false;
            std::mem::forget(guard);
            return;
        }
    }
}

/// Informs all waiting callers that there will be no answer, in case the work ends early with its runtime.
struct Running<'a>(&'a Repository);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        queue.running = false;
        queue.waiting.clear();
    }
}

/// Runs code that decodes data from elsewhere: a flaw in a decoder must not take down more than this one call.
fn guarded<T>(url: &str, run: impl FnOnce() -> Result<T, SourceError>) -> Result<T, SourceError> {
    caught(run).unwrap_or_else(|said| {
        Err(SourceError::Objects {
            url: url.to_owned(),
            reason: format!("the decoder failed: {said}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(repositories: &Repositories, name: &str) -> Arc<Repository> {
        let location = Location::parse(&format!("https://git.example.com/{name}")).unwrap();
        repositories.repository(location, &Credentials::default())
    }

    #[test]
    fn who_looks_for_a_repository_waits_for_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let repositories = Repositories::new(Options::new(dir.path())).unwrap();
        let busy = find(&repositories, "a");
        // Held by this thread, so that anything here that waits for it waits forever.
        let held = lock(&busy.last);
        let other = find(&repositories, "b");
        let again = ["a", "b"].map(|name| find(&repositories, name));
        assert!(Arc::ptr_eq(&busy, &again[0]) && Arc::ptr_eq(&other, &again[1]));
        drop(held);
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten_and_looked_for_once_in_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let repositories = Repositories::new(Options::new(dir.path())).unwrap();
        let used = find(&repositories, "a");
        drop(find(&repositories, "b"));
        let now = Instant::now();
        let mut known = lock(&repositories.shared.known);
        known.forget_idle(now + LOOK_AFTER);
        assert_eq!(known.repositories.len(), 2, "they were asked for just now");
        let later = now + FORGET_AFTER + LOOK_AFTER;
        known.looked = Some(later);
        known.forget_idle(later + LOOK_AFTER / 2);
        assert_eq!(known.repositories.len(), 2, "it is not yet time to look");
        known.forget_idle(later + LOOK_AFTER);
        assert!(known.repositories.contains_key(&used.id));
        assert_eq!(known.repositories.len(), 1, "one of them is in use");
    }
}
