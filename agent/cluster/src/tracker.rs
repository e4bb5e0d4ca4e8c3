//! The state of the objects of all applications, from watches.
//!
//! One watch for each version of a kind in use serves all applications. Each event's object is decoded, reduced to what is needed
//! to see drift, and dropped once its health check has answered: a managed object costs some hundred bytes. An object's content
//! is known as soon as a watch reports it, and its health when its check has answered. Checks hold up no watch.

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

/// How many events may be queued for a slow receiver before it has to examine everything again.
const EVENTS: usize = 4096;
/// How many objects of one watch may be queued to be reduced. Each may be a megabyte.
const WAITING: usize = 4;
/// How long a watch may fail before that is reported: an API server that restarts, or etcd electing a leader, takes less.
const BLINK: Duration = Duration::from_secs(30);
/// The pause before a watch that has ended by itself is reopened.
const REOPENING: Duration = Duration::from_secs(10);

/// Assesses the health of objects. Health is a plugin's opinion.
#[async_trait]
pub trait Judge: Send + Sync {
    /// Assesses an object of an application. `now` is the time of the API server that the object comes from.
    ///
    /// This may take its time: a tracker assesses the objects of an application one after another, and nothing else waits for
    /// that.
    async fn assess(
        &self,
        application: &ApplicationName,
        id: &ObjectId,
        object: &Value,
        now: Millis,
    ) -> Assessment;
}

/// What is remembered about an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The uid, as assigned by the server.
    pub uid: Box<str>,
    /// The object's resource version, which is opaque.
    pub resource_version: Box<str>,
    /// The digest over the fields that the application owns; `None` if it owns none.
    pub stored: Option<Digest>,
    /// The object's health. Until its check has answered, the assessment of an earlier state counts.
    pub assessment: Assessment,
    /// The other managers that changed it, newest first, at most three.
    pub managers: Box<[Box<str>]>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// A change to an application's objects.
#[derive(Debug, Clone, PartialEq)]
pub enum TrackEvent {
    /// An object has changed, is gone, or no longer carries the application's label.
    Object {
        /// The application.
        application: ApplicationName,
        /// The object.
        id: ObjectId,
    },
    /// Objects of a kind are no longer watched, or are watched again: see [`Tracker::unseen`]. Changes to them while that was
    /// uncertain are reported by this event alone.
    Sight {
        /// The application.
        application: ApplicationName,
    },
}

impl TrackEvent {
    /// Returns the application concerned.
    pub fn application(&self) -> &ApplicationName {
        match self {
            Self::Object { application, .. } | Self::Sight { application } => application,
        }
    }
}

/// A kind whose objects have not been watched for a while, although they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// The kind, and the reason.
    pub problem: String,
    /// Whether the server answers but does not permit the watch.
    pub is_refused: bool,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrackerOptions {
    /// Watches only objects of this application; `None` for those of all applications.
    pub application: Option<ApplicationName>,
    /// Watches only objects in these namespaces and cluster-scoped objects, for accounts that may not watch the whole cluster.
    pub namespaces: Option<BTreeSet<String>>,
}

/// How an object that left the recorded state differs from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The object.
    pub id: ObjectId,
    /// The managers that changed it, newest first; empty if it is gone.
    pub managers: Vec<String>,
    /// Whether it is gone.
    pub is_gone: bool,
    /// Its uid and the digest over what the application owns, to tell one drift from the next.
    pub now: Option<(String, Option<Digest>)>,
    /// Distinguishes repeated reports of drift, since the object may return to an earlier state. This is its resource version or,
    /// if it is gone, how many objects of the application had gone out of sight by then.
    pub telling: String,
}

/// Watches the objects of applications. A clone is another handle to the same tracker.
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
    /// Creates a tracker that watches nothing yet. It watches under the connection's own identity.
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

    /// Sets the kinds of objects that an application has. May be called at any time: the tracker catches up on objects that were
    /// seen before, and says nothing about the application's objects of these kinds until then. Opens the watches that are
    /// missing, and closes those that no application needs any more. The release's seed conceals Secrets in digests, and digests
    /// leave out the fields that the release ignores. If those fields change, all objects are examined again.
    pub fn observe(&self, release: &Release, kinds: &BTreeSet<ResourceType>) {
        let keys = self.keys_of(kinds);
        let registration = self.inner.lock().register(release, keys);
        self.open(&release.application, registration);
    }

    /// Like [`Tracker::observe`], but keeps the kinds that were set for the application before.
    pub fn observe_also(&self, release: &Release, kinds: &BTreeSet<ResourceType>) {
        let keys = self.keys_of(kinds);
        let registration = self.inner.lock().register_also(release, keys);
        self.open(&release.application, registration);
    }

    /// Sets the objects that an application has applied or is about to apply, once it is observed. They are looked after however
    /// many other objects carry its label, which anyone may set.
    pub fn reserve<'a>(
        &self,
        application: &ApplicationName,
        ids: impl Iterator<Item = &'a ObjectId>,
    ) {
        let label = application.label_value();
        let backlog = self.inner.lock().reserve(&label, ids);
        self.catch_up(application, backlog);
    }

    /// Watches for an object of an application at the version of its kind, unless that is already watched: the definition may no
    /// longer serve any other version.
    pub(crate) fn observe_one(&self, release: &Release, id: &ObjectId, kind: &ResourceType) {
        let label = release.application.label_value();
        let version = kind.api_version();
        let is_watched = self.inner.lock().is_watched_at(&label, id, &version);
        if !is_watched {
            self.observe_also(release, &[kind.clone()].into());
        }
    }

    /// Records that a kind is now served: watches of it that do not work are retried at once, for all applications.
    pub(crate) fn note_served(&self, group: &str, kind: &str) {
        self.inner.lock().nudge(group, kind);
    }

    /// Retries an application's failed watches at once: what refused them may have changed.
    pub fn retry(&self, application: &ApplicationName) {
        self.inner.lock().nudge_failed(&application.label_value());
    }

    fn open(&self, application: &ApplicationName, registration: Registration) {
        self.catch_up(application, registration.backlog);
        for (key, number) in registration.open {
            // `None` if it was closed in the meantime.
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

    /// Forgets an application and its objects, and closes the watches that no other application needs.
    pub fn forget(&self, application: &ApplicationName) {
        self.inner.lock().forget(&application.label_value());
    }

    /// Takes an object as an apply returned it, without waiting for the watch to report it. Has no effect on an object that is
    /// known in a later state or known to be gone.
    pub fn feed(&self, application: &ApplicationName, live: &Value) {
        if live["metadata"]["labels"][APPLICATION_LABEL].as_str()
            == Some(&application.label_value())
        {
            self.inner.see(Arc::new(live.clone()), Origin::Answer);
        }
    }

    /// Returns everything that is known about an application's objects.
    pub fn snapshot(&self, application: &ApplicationName) -> BTreeMap<ObjectId, Observed> {
        self.inner.lock().snapshot(&application.label_value())
    }

    /// Returns a stream of changes. A receiver that is too slow gets an error once, and should then take snapshots.
    pub fn subscribe(&self) -> broadcast::Receiver<TrackEvent> {
        self.inner.events.subscribe()
    }

    /// Returns the objects that are no longer as they were applied. Leaves out objects whose state is not known for certain, and
    /// those that have left the source.
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

    /// Returns which of the objects are gone or no longer carry the application's label.
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

    /// Returns the facts that planning may rely on: nothing from a watch that does not work at the moment.
    pub fn facts(&self, application: &ApplicationName) -> impl Facts + use<> {
        TrackedFacts {
            tracker: self.clone(),
            label: application.label_value(),
        }
    }

    /// Waits until the watches of an application's kinds have reported all existing objects. If that does not happen in time, or
    /// cannot be expected, returns what does not work: each kind with the reason.
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
        // What is still missing by then is returned.
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

    /// Returns the judge of objects.
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

/// Keeps one watch open, and feeds what it reports into the state, until the tracker is dropped or the watch is closed.
async fn follow(
    inner: Weak<Inner>,
    selection: Selection,
    key: (WatchKey, u64),
    nudge: Arc<Notify>,
) {
    // When the watch will have failed for a long time.
    let mut lost_at: Option<Instant> = None;
    loop {
        let Some(connection) = inner.upgrade().map(|inner| inner.connection.clone()) else {
            return;
        };
        let (sender, told) = mpsc::channel(WAITING);
        let watching = watch_nudged(connection, selection.clone(), sender, Arc::clone(&nudge));
        let watching = tokio::spawn(watching);
        // Also ends the watch when this task is aborted.
        let _guard = AbortOnDrop(watching.abort_handle());
        feed(&inner, told, &key, &mut lost_at).await;
        // It goes on for as long as there is a receiver, unless it has panicked.
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

/// Feeds what a watch reports into the state, until the watch ends or the tracker is dropped.
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

/// Waits until a time, or for ever without one.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// A task that is aborted when its owner is dropped.
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

    /// Records a failure, and when it will have lasted for a long time.
    fn failed(&self, key: &(WatchKey, u64), failure: Failure, lost_at: &mut Option<Instant>) {
        let begins = self.lock().failed(&key.0, key.1, failure);
        if begins {
            *lost_at = Some(Instant::now() + BLINK);
        }
    }

    fn publish(&self, events: impl IntoIterator<Item = TrackEvent>) {
        for event in events {
            // There may be no receivers.
            let _ = self.events.send(event);
        }
    }
}
