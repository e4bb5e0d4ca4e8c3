//! What a tracker knows. Nothing here waits for anything.

mod behind;
mod bounds;
mod checks;
mod deleted;
mod queue;
mod remembered;
mod sight;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use pintle_core::{drift::DriftSettings, names::ApplicationName, object::ObjectId, seed::Seed};
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use self::{
    behind::Behind,
    bounds::LeftOut,
    checks::{WHOLE, Waiting, Whole},
    deleted::Deleted,
    queue::Queue,
    remembered::{Remembered, Sighting},
};
pub(super) use self::{
    behind::{Backlog, Unlisted},
    checks::{Check, Subject},
    remembered::Verdict,
};
use super::{
    AbortOnDrop, Observed, TrackEvent,
    early::{Early, Missed},
    room::Room,
};
use crate::{discovery::ResourceType, release::Release, watching::Failure};

/// A kind, and the watched namespace if not all are watched.
pub(super) type WatchKey = (ResourceType, Option<String>);

/// What is known about an object.
pub(super) enum Known<'a> {
    Nothing,
    Gone,
    Object(&'a Observed),
}

/// An application that is observed. Each event of a watch reads it.
pub(super) struct Registered {
    pub(super) application: ApplicationName,
    pub(super) manager: String,
    pub(super) seed: Seed,
    pub(super) drift: DriftSettings,
}

/// Where a report of an object comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// This watch.
    Watch(&'a WatchKey, u64),
    /// The response to an apply, or a watch that reported before the application was known.
    Answer,
    /// A list that was requested in order to judge all objects again.
    List,
}

/// An object that was seen.
pub(super) struct Incoming<'a> {
    pub(super) label: &'a str,
    pub(super) id: ObjectId,
    /// Its assessment counts until a check has answered.
    pub(super) observed: Observed,
    /// The whole object, for its check.
    pub(super) object: &'a Arc<Value>,
    /// Roughly how many bytes of memory the whole object takes.
    pub(super) weight: usize,
    /// The `apiVersion` at which it was reported.
    pub(super) version: &'a str,
    pub(super) origin: Origin<'a>,
    pub(super) at: Instant,
}

/// The result of recording an object that was seen.
pub(super) struct Taken {
    pub(super) event: Option<TrackEvent>,
    /// The number of its application, if something waits for a check and no task serves it.
    pub(super) unserved: Option<u64>,
}

struct App {
    /// Distinguishes an application from one of the same name that was forgotten.
    number: u64,
    registered: Arc<Registered>,
    keys: BTreeSet<WatchKey>,
    objects: HashMap<ObjectId, Remembered>,
    behind: Behind,
    /// The ids that always have a place among the objects, each as a number.
    reserved: HashSet<u64>,
    left_out: LeftOut,
    /// The objects that wait for their health checks.
    checks: Queue<Waiting>,
    /// The task that takes objects from `checks`.
    server: Option<AbortOnDrop>,
    /// Counts changes, for callers that wait for this application.
    changes: watch::Sender<u64>,
    /// How many objects have gone out of sight so far.
    dropped: u64,
}

struct Watch {
    /// Distinguishes a watch from one of the same kind that was closed before.
    number: u64,
    /// The task that keeps it open.
    task: Option<AbortOnDrop>,
    /// Increases each time that everything is reported again.
    pass: u64,
    synced: bool,
    /// Why it does not work at the moment.
    problem: Option<Failure>,
    /// Whether it has not worked for a long time.
    is_lost: bool,
    /// Triggers a retry at once.
    nudge: Arc<Notify>,
}

/// The state of a tracker; see the module's documentation.
pub(super) struct State {
    apps: HashMap<String, App>,
    /// Labels by field manager.
    labels: HashMap<String, String>,
    watches: BTreeMap<WatchKey, Watch>,
    /// Each `apiVersion` of a watch, stored once, however many objects were reported at it.
    versions: BTreeSet<Arc<str>>,
    deleted: Deleted,
    /// The watches whose objects a task is listing for the applications that are behind on them.
    listing: BTreeSet<WatchKey>,
    /// The labels of objects whose application owns nothing of them, by uid. An object that is being handed over is in this state
    /// for a moment: once its label changes as well, nothing on it names its old owner any more.
    disowned: HashMap<Box<str>, String>,
    counter: u64,
    pub(super) early: Early,
    /// The room for all objects that wait to be checked.
    room: &'static Room,
    watches_changed: watch::Sender<u64>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            apps: HashMap::new(),
            labels: HashMap::new(),
            watches: BTreeMap::new(),
            versions: BTreeSet::new(),
            deleted: Deleted::default(),
            listing: BTreeSet::new(),
            disowned: HashMap::new(),
            counter: 0,
            early: Early::default(),
            room: &WHOLE,
            watches_changed: watch::Sender::new(0),
        }
    }
}

/// What to do after an application became known.
pub(super) struct Registration {
    /// The watches to open.
    pub(super) open: Vec<(WatchKey, u64)>,
    /// What to catch up on.
    pub(super) backlog: Backlog,
}

impl State {
    /// Registers an application with the watches that it needs.
    pub(super) fn register(&mut self, release: &Release, keys: BTreeSet<WatchKey>) -> Registration {
        let application = &release.application;
        let registered = Arc::new(Registered {
            application: application.clone(),
            manager: application.field_manager(),
            seed: release.seed.clone(),
            drift: release.drift.clone(),
        });
        let missing: Vec<WatchKey> = keys
            .iter()
            .filter(|key| !self.watches.contains_key(*key))
            .cloned()
            .collect();
        let label = application.label_value();
        self.labels
            .insert(registered.manager.clone(), label.clone());
        let missed = match self.apps.get(&label) {
            Some(known)
                if known.registered.drift.ignore != release.drift.ignore || known.may_make_up() =>
            {
                Some(Missed::Unknown)
            }
            Some(_) => None,
            None => self.early.take(&label),
        };
        self.counter += 1;
        let number = self.counter;
        let app = self.apps.entry(label.clone()).or_insert_with(|| App {
            number,
            registered: Arc::clone(&registered),
            keys: BTreeSet::new(),
            objects: HashMap::new(),
            behind: Behind::default(),
            reserved: HashSet::new(),
            left_out: LeftOut::default(),
            checks: Queue::new(),
            server: None,
            changes: watch::Sender::new(0),
            dropped: 0,
        });
        app.registered = registered;
        let dropped: Vec<WatchKey> = app.keys.difference(&keys).cloned().collect();
        let before = std::mem::replace(&mut app.keys, keys);
        let backlog = self.fall_behind(&label, missed, &before);
        self.close_unneeded(&dropped);
        let open = missing
            .into_iter()
            .map(|key| {
                self.counter += 1;
                let watch = Watch {
                    number: self.counter,
                    task: None,
                    pass: 0,
                    synced: false,
                    problem: None,
                    is_lost: false,
                    nudge: Arc::default(),
                };
                self.watches.insert(key.clone(), watch);
                (key, self.counter)
            })
            .collect();
        Registration { open, backlog }
    }

    /// Registers an application with watches in addition to those that it has.
    pub(super) fn register_also(
        &mut self,
        release: &Release,
        mut keys: BTreeSet<WatchKey>,
    ) -> Registration {
        keys.extend(self.keys(&release.application.label_value()).cloned());
        self.register(release, keys)
    }

    /// Keeps a watch's task for as long as the watch. The task ends at once if the watch was closed in the meantime.
    pub(super) fn opened(&mut self, key: &WatchKey, number: u64, task: AbortOnDrop) {
        if let Some(watch) = self.watch(key, number) {
            watch.task = Some(task);
        }
    }

    pub(super) fn forget(&mut self, label: &str) {
        if let Some(app) = self.apps.remove(label) {
            self.labels.remove(&app.registered.manager);
            self.disowned.retain(|_, owner| owner != label);
            self.early.forget(label);
            self.close_unneeded(&app.keys);
        }
    }

    /// Closes the watches that an application no longer needs and that no other application needs.
    fn close_unneeded<'a>(&mut self, dropped: impl IntoIterator<Item = &'a WatchKey>) {
        for key in dropped {
            if !self.apps.values().any(|app| app.keys.contains(key)) {
                self.watches.remove(key);
            }
        }
    }

    fn watch(&mut self, key: &WatchKey, number: u64) -> Option<&mut Watch> {
        self.watches
            .get_mut(key)
            .filter(|watch| watch.number == number)
    }

    /// Returns the application of a label. If there is none yet, keeps the object, and returns whether it is the first one that
    /// is kept.
    pub(super) fn registered_or_early(
        &mut self,
        label: &str,
        uid: &str,
        early: Option<&Value>,
    ) -> Result<Arc<Registered>, bool> {
        match (self.apps.get(label), early) {
            (Some(app), _) => Ok(Arc::clone(&app.registered)),
            (None, Some(object)) => {
                self.deleted.seen(uid);
                Err(self.early.keep(label, uid, object))
            }
            (None, None) => Err(false),
        }
    }

    /// Returns whether another watch of an application reports an object at the version at which it was applied: its recorded
    /// fields are those of that version.
    pub(super) fn is_for_another_watch(
        &self,
        label: &str,
        id: &ObjectId,
        told: &str,
        applied: Option<&str>,
    ) -> bool {
        let app = self.apps.get(label);
        applied
            .filter(|applied| *applied != told)
            .zip(app)
            .is_some_and(|(applied, app)| app.sees_at(applied, id))
    }

    pub(super) fn restarted(&mut self, key: &WatchKey, number: u64) {
        self.counter += 1;
        let pass = self.counter;
        if let Some(watch) = self.watch(key, number) {
            watch.pass = pass;
        }
    }

    /// Records an object, unless a later state of it is known, and queues it for its check if it needs one.
    pub(super) fn take(&mut self, incoming: Incoming<'_>) -> Option<Taken> {
        let pass = match incoming.origin {
            Origin::Watch(key, number) => {
                // `None` if it was closed in the meantime.
                let pass = self.watch(key, number)?.pass;
                self.deleted.seen(&incoming.observed.uid);
                pass
            }
            _ if self.deleted.contains(&incoming.observed.uid) => return None,
            _ => self.pass_of(incoming.label, &incoming.id),
        };
        let app = self.apps.get(incoming.label)?;
        if !app.has_room_for(&incoming.id) {
            self.leave_out(incoming.label, &incoming.id);
            return None;
        }
        let before = app
            .objects
            .get(&incoming.id)
            .map(|known| &known.observed.uid);
        if let Some(before) = before.filter(|before| **before != incoming.observed.uid) {
            self.disowned.remove(before);
        }
        self.counter += 1;
        let check = self.counter;
        let sighting = Sighting {
            observed: incoming.observed,
            pass,
            version: self.version(incoming.version),
            check,
            at: incoming.at,
            anew: matches!(incoming.origin, Origin::List),
        };
        let uid = sighting.observed.uid.clone();
        let is_owned = sighting.observed.stored.is_some();
        let app = self.apps.get_mut(incoming.label)?;
        let renewed = app.see(&incoming.id, sighting)?;
        if is_owned {
            self.disowned.remove(&uid);
        } else {
            self.disowned.insert(uid, incoming.label.to_owned());
        }
        let unserved = if renewed.to_check {
            let whole = Whole::within(self.room, incoming.object, incoming.weight);
            app.enqueue(incoming.id.clone(), check, whole)
        } else {
            None
        };
        let event = renewed.changed.then(|| app.changed(incoming.id));
        Some(Taken { event, unserved })
    }

    fn keys(&self, label: &str) -> impl Iterator<Item = &WatchKey> {
        let app = self.apps.get(label);
        app.map(|app| &app.keys).into_iter().flatten()
    }

    /// Returns the current pass of the watch that will see an object, so that the object does not count as gone.
    fn pass_of(&self, label: &str, id: &ObjectId) -> u64 {
        let watching = self
            .keys(label)
            .filter(|key| sees(key, id))
            .filter_map(|key| self.watches.get(key));
        watching.map(|watch| watch.pass).max().unwrap_or_default()
    }

    pub(super) fn remove(&mut self, label: &str, id: &ObjectId, uid: &str) -> Vec<TrackEvent> {
        self.deleted.remember(uid);
        self.disowned.remove(uid);
        self.early.remove(uid);
        let Some(app) = self.apps.get_mut(label) else {
            return Vec::new();
        };
        let is_this = app
            .objects
            .get(id)
            .is_some_and(|known| &*known.observed.uid == uid);
        if is_this {
            app.drop_object(id).into_iter().collect()
        } else {
            Vec::new()
        }
    }

    /// Removes an object from applications that had it before its label named another one: those that have applied it, and the
    /// one whose label it carried when that application no longer owned anything of it.
    pub(super) fn lose<'a>(
        &mut self,
        appliers: impl Iterator<Item = &'a str>,
        label: &str,
        id: &ObjectId,
        uid: &str,
    ) -> Vec<TrackEvent> {
        let mut events = Vec::new();
        let disowned = if self.disowned.get(uid).is_some_and(|before| before != label) {
            self.disowned.remove(uid)
        } else {
            None
        };
        let appliers = appliers.filter_map(|manager| self.labels.get(manager));
        let owners = appliers.chain(&disowned);
        for before in owners.filter(|before| *before != label) {
            let Some(app) = self.apps.get_mut(before) else {
                continue;
            };
            if app
                .objects
                .get(id)
                .is_some_and(|known| &*known.observed.uid == uid)
            {
                events.extend(app.drop_object(id));
            }
        }
        events
    }

    /// Removes an object whose label is no longer known.
    pub(super) fn remove_everywhere(&mut self, id: &ObjectId, uid: &str) -> Vec<TrackEvent> {
        self.early.remove(uid);
        self.disowned.remove(uid);
        let apps = self.apps.values_mut();
        let owners = apps.filter(|app| {
            app.objects
                .get(id)
                .is_some_and(|known| &*known.observed.uid == uid)
        });
        owners.filter_map(|app| app.drop_object(id)).collect()
    }

    /// Handles the end of a full report: objects that were not reported are gone.
    pub(super) fn complete(&mut self, key: &WatchKey, number: u64) -> Vec<TrackEvent> {
        let Some(watch) = self.watch(key, number) else {
            return Vec::new();
        };
        let is_first = !std::mem::replace(&mut watch.synced, true);
        let pass = watch.pass;
        let mut events = self.resumed(key, number);
        if is_first && events.is_empty() {
            events = self.users(key);
        }
        let mut lost = Vec::new();
        for app in self.apps.values_mut() {
            let missing = app
                .objects
                .iter()
                .filter(|(id, known)| known.pass < pass && app.is_told_by(key, id, &known.version));
            let missing: Vec<ObjectId> = missing.map(|(id, _)| id.clone()).collect();
            for id in missing {
                if let Some(known) = app.objects.get(&id) {
                    lost.push(known.observed.uid.clone());
                }
                events.extend(app.drop_object(&id));
            }
            app.left_out.told(key, pass);
            // Waiting callers may have waited for the watch.
            if app.keys.contains(key) {
                app.changes.send_modify(|changes| *changes += 1);
            }
        }
        for uid in lost {
            self.disowned.remove(&uid);
            // A response that was sent while it existed may still be on its way.
            self.deleted.remember(&uid);
        }
        events
    }

    /// Returns what is known about an object. Something is known only once its watches, one for each version in use, have
    /// reported everything, and only while all of them work and the application is not behind on what they report. If there was
    /// no room for all objects, one that is not remembered does not count as gone.
    pub(super) fn known(
        &self,
        label: &str,
        id: &ObjectId,
        namespaces: Option<&BTreeSet<String>>,
    ) -> Known<'_> {
        let Some(app) = self.apps.get(label) else {
            return Known::Nothing;
        };
        let mut keys = app.keys.iter().filter(|key| sees(key, id)).peekable();
        let in_sight = match (namespaces, &id.namespace) {
            (Some(watched), Some(namespace)) => watched.contains(namespace),
            _ => true,
        };
        let tells = |watch: &Watch| watch.synced && watch.problem.is_none();
        let is_told = keys.peek().is_some()
            && keys.all(|key| self.watches.get(key).is_some_and(tells) && !app.behind.is_on(key));
        if !is_told || !in_sight {
            return Known::Nothing;
        }
        match app.objects.get(id) {
            Some(known) => Known::Object(&known.observed),
            None if app.may_have_left_out(id) => Known::Nothing,
            None => Known::Gone,
        }
    }

    pub(super) fn snapshot(&self, label: &str) -> BTreeMap<ObjectId, Observed> {
        let objects = self
            .apps
            .get(label)
            .map(|app| &app.objects)
            .into_iter()
            .flatten();
        objects
            .map(|(id, known)| (id.clone(), known.observed.clone()))
            .collect()
    }

    pub(super) fn observed(&self, label: &str, id: &ObjectId) -> Option<&Observed> {
        self.apps
            .get(label)?
            .objects
            .get(id)
            .map(|known| &known.observed)
    }

    pub(super) fn changes_of(&self, label: &str) -> Option<watch::Receiver<u64>> {
        self.apps.get(label).map(|app| app.changes.subscribe())
    }

    /// Returns how many objects of an application have gone out of sight so far.
    pub(super) fn out_of_sight_so_far(&self, label: &str) -> u64 {
        self.apps.get(label).map_or(0, |app| app.dropped)
    }

    pub(super) fn watches_changed(&self) -> watch::Receiver<u64> {
        self.watches_changed.subscribe()
    }

    pub(super) fn open_watches(&self) -> usize {
        self.watches.len()
    }

    pub(super) fn objects(&self) -> usize {
        self.apps.values().map(|app| app.objects.len()).sum()
    }
}

impl App {
    fn drop_object(&mut self, id: &ObjectId) -> Option<TrackEvent> {
        self.objects.remove(id)?;
        self.checks.remove(id);
        self.dropped += 1;
        Some(self.changed(id.clone()))
    }

    /// Notifies callers that wait for the application, and returns the event for all others.
    fn changed(&self, id: ObjectId) -> TrackEvent {
        self.changes.send_modify(|changes| *changes += 1);
        TrackEvent::Object {
            application: self.registered.application.clone(),
            id,
        }
    }
}

fn sees(key: &WatchKey, id: &ObjectId) -> bool {
    let in_namespace = key.1.is_none() || key.1 == id.namespace;
    key.0.group == id.group && key.0.kind == id.kind && in_namespace
}

#[cfg(test)]
mod tests;
