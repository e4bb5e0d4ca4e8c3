//! How much is remembered of what watches report. A server may belong to anyone, and report anything.

use std::{collections::BTreeMap, hash::BuildHasher as _, sync::Arc};

use pintle_core::object::ObjectId;

use super::{
    App, Backlog, State, WatchKey,
    remembered::{Remembered, Renewed, Sighting},
    sees,
};

/// The most objects that are remembered of an application. Those that its inventory lists are exempt and always have a place;
/// otherwise anyone who may label objects could take it. An inventory has room for fewer than half as many.
pub(super) const MOST: usize = 8192;
/// Why an object may not be remembered.
pub(super) const FULL: &str =
    "more objects carry the application's label than are looked after, which are 8192";

/// The watches that have reported objects for which there was no room, each with the last pass in which that happened.
#[derive(Debug, Default)]
pub(super) struct LeftOut(BTreeMap<WatchKey, u64>);

impl LeftOut {
    /// Returns whether an object that is not known may be one of those.
    fn may_have(&self, id: &ObjectId) -> bool {
        self.0.keys().any(|key| sees(key, id))
    }

    /// Records that a watch has reported everything in a pass: if nothing was left out in this one, there was room for all.
    pub(super) fn told(&mut self, key: &WatchKey, pass: u64) {
        if self.0.get(key).is_some_and(|last| *last < pass) {
            self.0.remove(key);
        }
    }
}

impl State {
    /// Reserves places for what an application's inventory lists, and from now on for nothing else. Returns what the application
    /// has to catch up on, if there may have been no room for some of these objects before.
    pub(in crate::tracker) fn reserve<'a>(
        &mut self,
        label: &str,
        ids: impl Iterator<Item = &'a ObjectId>,
    ) -> Backlog {
        let Some(app) = self.apps.get_mut(label) else {
            return Backlog::default();
        };
        let is_behind = app.reserve(ids);
        self.leave_out_surplus(label);
        if is_behind {
            self.begin_catching_up(label)
        } else {
            Backlog::default()
        }
    }

    /// Leaves out objects that are too many because places were reserved for others. An inventory may list different objects each
    /// time.
    fn leave_out_surplus(&mut self, label: &str) {
        let Some(app) = self.apps.get(label) else {
            return;
        };
        let surplus = app.objects.len().saturating_sub(MOST);
        let others = app.objects.iter().filter(|(id, _)| !app.is_reserved(id));
        let others: Vec<(ObjectId, Box<str>)> = others
            .take(surplus)
            .map(|(id, known)| (id.clone(), known.observed.uid.clone()))
            .collect();
        for (id, uid) in others {
            self.leave_out(label, &id);
            self.disowned.remove(&uid);
            if let Some(app) = self.apps.get_mut(label) {
                app.drop_object(&id);
            }
        }
    }

    /// Records that there is no room for an object. This is only logged: what the application has applied has a place.
    pub(super) fn leave_out(&mut self, label: &str, id: &ObjectId) {
        let watches = self.keys(label).filter(|key| sees(key, id));
        let told: Vec<(WatchKey, u64)> = watches
            .filter_map(|key| Some((key.clone(), self.watches.get(key)?.pass)))
            .collect();
        let Some(app) = self.apps.get_mut(label) else {
            return;
        };
        let mut is_news = false;
        for (key, pass) in told {
            is_news |= app.left_out.0.insert(key, pass).is_none();
        }
        if is_news {
            let application = &app.registered.application;
            tracing::warn!(%application, problem = FULL, "objects are left out");
        }
    }

    /// Returns an `apiVersion` that an object was reported at, as a shared copy if there is a watch at that version.
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
    /// Returns whether an object may be remembered.
    pub(super) fn has_room_for(&self, id: &ObjectId) -> bool {
        self.objects.len() < MOST || self.objects.contains_key(id) || self.is_reserved(id)
    }

    /// Returns whether an object that is not known may have been left out. An object with a reserved place has not.
    pub(super) fn may_have_left_out(&self, id: &ObjectId) -> bool {
        self.left_out.may_have(id) && !self.is_reserved(id)
    }

    /// Reserves places. Returns whether an object that had no place may have been left out: no watch reports it again.
    fn reserve<'a>(&mut self, ids: impl Iterator<Item = &'a ObjectId>) -> bool {
        let before = std::mem::take(&mut self.reserved);
        let mut is_behind = false;
        for id in ids {
            let number = self.number(id);
            self.reserved.insert(number);
            let is_new = !before.contains(&number) && !self.objects.contains_key(id);
            is_behind |= is_new && self.left_out.may_have(id);
        }
        is_behind
    }

    fn is_reserved(&self, id: &ObjectId) -> bool {
        self.reserved.contains(&self.number(id))
    }

    fn number(&self, id: &ObjectId) -> u64 {
        self.objects.hasher().hash_one(id)
    }

    /// Returns whether there is room again for much of what was left out, which no watch reports again.
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
}
