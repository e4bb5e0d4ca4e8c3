//! How the objects of all applications are, from watches.
//!
//! One watch for each version of a kind in use serves all applications. Each event's object is decoded, reduced to what is
//! needed to see drift, and dropped once its health check has answered: a managed object costs some hundred bytes. What an
//! object is, is known as soon as a watch tells; how it is, when its check has answered, which holds up no watch.

mod catching_up;
mod checking;
mod early;
mod room;
mod seeing;
mod state;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use pintle_core::{
    digest::Digest,
    health::Assessment,
    inventory::{Entry, Inventory},
    machine::Millis,
    names::{APPLICATION_LABEL, ApplicationName},
    object::ObjectId,
};
use serde_json::Value;
use tokio::{
    sync::{Notify, broadcast, mpsc},
    time::Instant,
};

pub(crate) use self::checking::SOONEST;
use self::state::{Known, Origin, Registration, State, WatchKey};
pub(crate) use self::waiting::LASTING;
pub use self::waiting::{Unsettled, Waited};
use crate::{
    connection::Connection,
    discovery::ResourceType,
    facts::{Fact, Facts},
    release::Release,
    watching::{Failure, Selection, Told, watch_nudged},
};

/// Events that may wait for a slow reader before it has to look at everything again.
const EVENTS: usize = 4096;
/// Objects of one watch that may wait to be reduced. Each may be a megabyte.
const WAITING: usize = 4;
/// How long a watch may fail before that is told: an API server that begins anew, or etcd that chooses a leader, needs less.
const BLINK: Duration = Duration::from_secs(30);
/// Before a watch that has ended by itself is opened anew.
const REOPENING: Duration = Duration::from_secs(10);

/// Says how an object is. Health is a plugin's opinion.
#[async_trait]
pub trait Judge: Send + Sync {
    /// Assesses an object of an application. `now` is the time of the API server that it comes from.
    ///
    /// It may take its time: a tracker assesses the objects of an application one after another, and nothing else waits for
    /// that.
    async fn assess(
        &self,
        application: &ApplicationName,
        id: &ObjectId,
        object: &Value,
        now: Millis,
    ) -> Assessment;
}

/// What is remembered of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The server's unique id.
    pub uid: Box<str>,
    /// The object's state, opaque.
    pub resource_version: Box<str>,
    /// Digest over the fields that the application owns; nothing if it owns none.
    pub stored: Option<Digest>,
    /// How it is, as far as its check has answered: what is said of an earlier state of it counts until then.
    pub assessment: Assessment,
    /// Who else changed it, newest first, at most three.
    pub managers: Box<[Box<str>]>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// Something changed about an application's objects.
#[derive(Debug, Clone, PartialEq)]
pub enum TrackEvent {
    /// One is another than before, gone, or no longer carries the application's label.
    Object {
        /// Whose object it is.
        application: ApplicationName,
        /// Which object.
        id: ObjectId,
    },
    /// Objects of a kind are not watched any more, or again: see [`Tracker::unseen`]. What has changed of them while that was not
    /// certain is told by this alone.
    Sight {
        /// Whose objects.
        application: ApplicationName,
    },
}

impl TrackEvent {
    /// Returns whose objects it is about.
    pub fn application(&self) -> &ApplicationName {
        match self {
            Self::Object { application, .. } | Self::Sight { application } => application,
        }
    }
}

/// A kind whose objects have not been watched for a while, although they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// Which kind, and why.
    pub problem: String,
    /// Whether the server answers, and does not let it be watched.
    pub is_refused: bool,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrackerOptions {
    /// Only objects of this application; of all, if there is none.
    pub application: Option<ApplicationName>,
    /// Only objects in these namespaces (and those without one); for who may not watch the whole cluster.
    pub namespaces: Option<BTreeSet<String>>,
}

/// How an object that left the recorded state differs from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Which object.
    pub id: ObjectId,
    /// Who changed it, newest first; nobody if it is gone.
    pub managers: Vec<String>,
    /// Whether it is gone.
    pub is_gone: bool,
    /// What it is now, to tell one drift from the next: its unique id and the digest over what the application owns.
    pub now: Option<(String, Option<Digest>)>,
    /// Which telling of it that is, as it may come to be the same again: its resource version or, if it is gone, how many
    /// objects of the application had gone out of sight by then.
    pub telling: String,
}

/// Watches the objects of applications. Cloning gives another handle to the same tracker.
#[derive(Clone)]
pub struct Tracker {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Connection,
    judge: Arc<dyn Judge>,
    options: TrackerOptions,
    state: Mutex<State>,
    events: broadcast::Sender<TrackEvent>,
}

impl std::fmt::Debug for Tracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracker")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

impl Tracker {
    /// Makes a tracker that watches nothing yet. It watches in the connection's own name.
    pub fn new(connection: &Connection, judge: Arc<dyn Judge>, options: TrackerOptions) -> Self {
        let inner = Inner {
            connection: connection.clone(),
            judge,
            options,
            state: Mutex::default(),
            events: broadcast::Sender::new(EVENTS),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Says which kinds an application has objects of. It may come at any time: objects that were seen before are made up
    /// for, and nothing is said about the application's objects of their kinds until then. Opens the watches that are missing,
    /// and closes those that no application needs any more. The release's seed conceals Secrets in digests, and what it ignores
    /// is in none; where that is new, all objects are looked at again.
    pub fn observe(&self, release: &Release, kinds: &BTreeSet<ResourceType>) {
        let keys = self.keys_of(kinds);
        let registration = self.inner.lock().register(release, keys);
        self.open(&release.application, registration);
    }

    /// Like [`Tracker::observe`], and the kinds that the application was said to have objects of before stay.
    pub fn observe_also(&self, release: &Release, kinds: &BTreeSet<ResourceType>) {
        let keys = self.keys_of(kinds);
        let registration = self.inner.lock().register_also(release, keys);
        self.open(&release.application, registration);
    }

    /// Says which objects an application has applied, or is about to, once it is observed. They are looked after however many
    /// others carry its label, which is for anybody to write.
    pub fn reserve<'a>(
        &self,
        application: &ApplicationName,
        ids: impl Iterator<Item = &'a ObjectId>,
    ) {
        let label = application.label_value();
        let backlog = self.inner.lock().reserve(&label, ids);
        self.catch_up(application, backlog);
    }

    /// Watches for an object of an application at the version of its kind, unless that is watched already: the definition may
    /// serve no other one any more.
    pub(crate) fn observe_one(&self, release: &Release, id: &ObjectId, kind: &ResourceType) {
        let label = release.application.label_value();
        let version = kind.api_version();
        let is_watched = self.inner.lock().is_watched_at(&label, id, &version);
        if !is_watched {
            self.observe_also(release, &[kind.clone()].into());
        }
    }

    /// Says that a kind is served from now on: watches of it that do not work are tried again at once, whoever they are for.
    pub(crate) fn note_served(&self, group: &str, kind: &str) {
        self.inner.lock().nudge(group, kind);
    }

    /// Has those of an application's watches tried again at once that do not work: what refused them may have changed.
    pub fn retry(&self, application: &ApplicationName) {
        self.inner.lock().nudge_failed(&application.label_value());
    }

    fn open(&self, application: &ApplicationName, registration: Registration) {
        self.catch_up(application, registration.backlog);
        for (key, number) in registration.open {
            // Nothing if it was closed meanwhile.
            let Some(nudge) = self.inner.lock().nudge_of(&key, number) else {
                continue;
            };
            let task = tokio::spawn(follow(
                Arc::downgrade(&self.inner),
                self.selection(&key),
                (key.clone(), number),
                nudge,
            ));
            let task = AbortOnDrop(task.abort_handle());
            self.inner.lock().opened(&key, number, task);
        }
    }

    /// Forgets an application and its objects, and closes the watches that nobody else needs.
    pub fn forget(&self, application: &ApplicationName) {
        self.inner.lock().forget(&application.label_value());
    }

    /// Takes up an object as an apply left it, without waiting for the watch to tell. An object that is known in a later
    /// state, or known to be gone, stays as it is known.
    pub fn feed(&self, application: &ApplicationName, live: &Value) {
        if live["metadata"]["labels"][APPLICATION_LABEL].as_str()
            == Some(&application.label_value())
        {
            self.inner.see(Arc::new(live.clone()), Origin::Answer);
        }
    }

    /// Returns all that is known of an application's objects.
    pub fn snapshot(&self, application: &ApplicationName) -> BTreeMap<ObjectId, Observed> {
        self.inner.lock().snapshot(&application.label_value())
    }

    /// Returns a stream of changes. Who is too slow gets an error once, and should take snapshots then.
    pub fn subscribe(&self) -> broadcast::Receiver<TrackEvent> {
        self.inner.events.subscribe()
    }

    /// Returns the objects that are no longer as they were applied. What is not known for sure does not count, nor does what
    /// has left the source.
    pub fn drift(&self, application: &ApplicationName, inventory: &Inventory) -> Vec<Drift> {
        let state = self.inner.lock();
        let label = application.label_value();
        let drift = |(id, entry): (&ObjectId, &Entry)| match state.known(
            &label,
            id,
            self.inner.options.namespaces.as_ref(),
        ) {
            Known::Nothing => None,
            Known::Gone => entry.uid.is_some().then(|| Drift {
                id: id.clone(),
                managers: Vec::new(),
                is_gone: true,
                now: None,
                telling: state.out_of_sight_so_far(&label).to_string(),
            }),
            Known::Object(observed) => {
                let is_same = entry.uid.as_deref() == Some(&*observed.uid);
                let is_drifted =
                    entry.stored.is_some() && (!is_same || entry.stored != observed.stored);
                is_drifted.then(|| Drift {
                    id: id.clone(),
                    managers: observed
                        .managers
                        .iter()
                        .map(|manager| (**manager).to_owned())
                        .collect(),
                    is_gone: false,
                    now: Some((observed.uid.to_string(), observed.stored)),
                    telling: observed.resource_version.to_string(),
                })
            }
        };
        let managed = inventory.iter().filter(|(_, entry)| entry.is_managed());
        managed.filter_map(drift).collect()
    }

    /// Returns those of some objects that are gone, or no longer carry the application's label.
    pub fn out_of_sight<'a>(
        &self,
        application: &ApplicationName,
        ids: impl Iterator<Item = &'a ObjectId>,
    ) -> BTreeSet<ObjectId> {
        let state = self.inner.lock();
        let label = application.label_value();
        let namespaces = self.inner.options.namespaces.as_ref();
        let is_gone = |id: &ObjectId| matches!(state.known(&label, id, namespaces), Known::Gone);
        ids.filter(|id| is_gone(id)).cloned().collect()
    }

    /// Returns what planning may rely on: nothing that a watch told that does not work at the moment.
    pub fn facts(&self, application: &ApplicationName) -> impl Facts + use<> {
        TrackedFacts {
            tracker: self.clone(),
            label: application.label_value(),
        }
    }

    /// Waits until the watches of an application's kinds have told all that there is. Returns what does not work, if the
    /// time is over or it is not to be expected: each kind with the reason.
    pub async fn synced(
        &self,
        application: &ApplicationName,
        limit: Duration,
    ) -> Result<(), Vec<String>> {
        let label = application.label_value();
        let waiting = async {
            loop {
                let mut changed = self.inner.lock().watches_changed();
                if !self.inner.lock().is_coming(&label) {
                    return;
                }
                // The sender lives in the state.
                let _ = changed.changed().await;
            }
        };
        // What has not come by then is told.
        let _ = tokio::time::timeout(limit, waiting).await;
        let unsynced = self.inner.lock().unsynced(&label);
        if unsynced.is_empty() {
            Ok(())
        } else {
            Err(unsynced)
        }
    }

    /// Returns the kinds of an application whose watches have not worked for a while. Drift and health of such objects are not
    /// seen.
    pub fn unseen(&self, application: &ApplicationName) -> Vec<Unseen> {
        self.inner.lock().unseen(&application.label_value())
    }

    /// Returns who judges objects.
    pub fn judge(&self) -> &Arc<dyn Judge> {
        &self.inner.judge
    }

    /// Returns how many watches are open.
    pub fn open_watches(&self) -> usize {
        self.inner.lock().open_watches()
    }

    /// Returns how many objects are known.
    pub fn objects(&self) -> usize {
        self.inner.lock().objects()
    }

    fn keys_of(&self, kinds: &BTreeSet<ResourceType>) -> BTreeSet<WatchKey> {
        let watchable = kinds.iter().filter(|kind| kind.watchable);
        watchable.flat_map(|kind| self.keys(kind)).collect()
    }

    fn keys(&self, kind: &ResourceType) -> Vec<WatchKey> {
        match &self.inner.options.namespaces {
            Some(namespaces) if kind.namespaced => namespaces
                .iter()
                .map(|namespace| (kind.clone(), Some(namespace.clone())))
                .collect(),
            _ => vec![(kind.clone(), None)],
        }
    }

    fn selection(&self, key: &WatchKey) -> Selection {
        let labels = match &self.inner.options.application {
            Some(application) => format!("{APPLICATION_LABEL}={}", application.label_value()),
            None => APPLICATION_LABEL.to_owned(),
        };
        Selection {
            resource: key.0.clone(),
            namespace: key.1.clone(),
            labels: Some(labels),
            fields: None,
        }
    }
}

struct TrackedFacts {
    tracker: Tracker,
    label: String,
}

impl Facts for TrackedFacts {
    fn of(&self, id: &ObjectId) -> Fact {
        let state = self.tracker.inner.lock();
        match state.known(
            &self.label,
            id,
            self.tracker.inner.options.namespaces.as_ref(),
        ) {
            Known::Nothing => Fact::Unknown,
            Known::Gone => Fact::Missing,
            Known::Object(observed) => Fact::Present {
                uid: observed.uid.to_string(),
                stored: observed.stored,
            },
        }
    }
}

/// Keeps one watch open, and feeds what it tells into the state, until the tracker is dropped or the watch is closed.
async fn follow(
    inner: Weak<Inner>,
    selection: Selection,
    key: (WatchKey, u64),
    nudge: Arc<Notify>,
) {
    // When it will have failed for long.
    let mut lost_at: Option<Instant> = None;
    loop {
        let Some(connection) = inner.upgrade().map(|inner| inner.connection.clone()) else {
            return;
        };
        let (sender, told) = mpsc::channel(WAITING);
        let watching = watch_nudged(connection, selection.clone(), sender, Arc::clone(&nudge));
        let watching = tokio::spawn(watching);
        // Ends the watch when this task is aborted, too.
        let _guard = AbortOnDrop(watching.abort_handle());
        feed(&inner, told, &key, &mut lost_at).await;
        // It goes on for as long as it is listened to, unless it has panicked.
        let Some(inner) = inner.upgrade() else {
            return;
        };
        let failure = Failure {
            text: "the watch has ended unexpectedly, and is opened anew".to_owned(),
            is_refused: false,
            is_unserved: false,
        };
        inner.failed(&key, failure, &mut lost_at);
        drop(inner);
        tokio::time::sleep(REOPENING).await;
    }
}

/// Feeds what a watch tells into the state, until it ends or the tracker is dropped.
async fn feed(
    inner: &Weak<Inner>,
    mut told: mpsc::Receiver<Told>,
    key: &(WatchKey, u64),
    lost_at: &mut Option<Instant>,
) {
    let (watch, number) = (&key.0, key.1);
    loop {
        let tell = tokio::select! {
            tell = told.recv() => tell,
            () = until(*lost_at) => {
                *lost_at = None;
                let Some(inner) = inner.upgrade() else { return };
                let lost = inner.lock().lost(watch, number);
                inner.publish(lost);
                continue;
            }
        };
        let (Some(tell), Some(inner)) = (tell, inner.upgrade()) else {
            return;
        };
        match tell {
            Told::Restarted => inner.lock().restarted(watch, number),
            Told::Seen(object) => inner.see(Arc::new(object), Origin::Watch(watch, number)),
            Told::Gone(object) => inner.gone(&object),
            Told::Complete => {
                *lost_at = None;
                let changed = inner.lock().complete(watch, number);
                inner.publish(changed);
            }
            Told::Resumed => {
                *lost_at = None;
                let changed = inner.lock().resumed(watch, number);
                inner.publish(changed);
            }
            Told::Failed(failure) => inner.failed(key, failure, lost_at),
        }
    }
}

/// Waits until a time; for ever without one.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// A task that ends with what it is for.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a failure, and of when there will have been one for long.
    fn failed(&self, key: &(WatchKey, u64), failure: Failure, lost_at: &mut Option<Instant>) {
        let begins = self.lock().failed(&key.0, key.1, failure);
        if begins {
            *lost_at = Some(Instant::now() + BLINK);
        }
    }

    fn publish(&self, events: impl IntoIterator<Item = TrackEvent>) {
        for event in events {
            // Nobody may be listening.
            let _ = self.events.send(event);
        }
    }
}
