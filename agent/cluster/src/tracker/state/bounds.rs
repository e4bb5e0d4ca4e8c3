//! How much is remembered of what watches tell. A server may be anybody's, and tell of anything.

use std::{collections::BTreeMap, sync::Arc};

use pintle_core::object::ObjectId;

use super::{
    App, State, WatchKey,
    remembered::{Remembered, Renewed, Sighting},
    sees,
};
use crate::tracker::TrackEvent;

/// The most objects that are remembered of an application. An inventory has room for fewer than half as many.
pub(super) const MOST: usize = 8192;
/// Why an object may not be remembered.
pub(super) const FULL: &str =
    "more objects carry the application's label than are looked after, which are 8192";

/// The watches that have told of objects for which there was no room, each with the pass in which it did so last.
#[derive(Debug, Default)]
pub(super) struct LeftOut(BTreeMap<WatchKey, u64>);

impl LeftOut {
    pub(super) fn has(&self, key: &WatchKey) -> bool {
        self.0.contains_key(key)
    }

    /// Says whether an object that is not known may be one of those.
    pub(super) fn may_have(&self, id: &ObjectId) -> bool {
        self.0.keys().any(|key| sees(key, id))
    }

    /// Says that a watch has told everything in a pass. Returns whether there was room for all again.
    pub(super) fn told(&mut self, key: &WatchKey, pass: u64) -> bool {
        let was_before = self.0.get(key).is_some_and(|last| *last < pass);
        was_before && self.0.remove(key).is_some()
    }
}

impl State {
    /// Takes note that there is no room for an object. Returns whose objects are out of sight because of that, if it is news.
    pub(super) fn leave_out(&mut self, label: &str, id: &ObjectId) -> Option<TrackEvent> {
        let watches = self.keys(label).filter(|key| sees(key, id));
        let told: Vec<(WatchKey, u64)> = watches
            .filter_map(|key| Some((key.clone(), self.watches.get(key)?.pass)))
            .collect();
        let app = self.apps.get_mut(label)?;
        let mut is_news = false;
        for (key, pass) in told {
            is_news |= app.left_out.0.insert(key, pass).is_none();
        }
        is_news.then(|| app.sight())
    }

    /// Returns an `apiVersion` that an object was told at: one copy of each at which there is a watch.
    pub(super) fn version(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.versions.get(text) {
            return Arc::clone(known);
        }
        let version: Arc<str> = text.into();
        let mut watches = self.watches.keys();
        if watches.any(|key| key.0.api_version() == text) {
            self.versions.insert(Arc::clone(&version));
        }
        version
    }
}

impl App {
    /// Says whether an object may be remembered.
    pub(super) fn has_room_for(&self, id: &ObjectId) -> bool {
        self.objects.len() < MOST || self.objects.contains_key(id)
    }

    /// Says whether there is room again for much of what was left out, which nobody tells anew.
    pub(super) fn may_make_up(&self) -> bool {
        !self.left_out.0.is_empty() && self.objects.len() <= MOST / 2
    }

    /// Remembers what is seen of an object.
    pub(super) fn see(&mut self, id: &ObjectId, sighting: Sighting) -> Option<Renewed> {
        if let Some(known) = self.objects.get_mut(id) {
            return known.renew(sighting);
        }
        self.objects.insert(id.clone(), Remembered::new(sighting));
        Some(Renewed {
            changed: true,
            to_check: true,
        })
    }

    pub(super) fn sight(&self) -> TrackEvent {
        TrackEvent::Sight {
            application: self.registered.application.clone(),
        }
    }
}
