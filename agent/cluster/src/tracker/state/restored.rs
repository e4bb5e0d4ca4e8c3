//! A cluster that was restored from a backup: its objects are in older states than are known of them, and nothing but a later one
//! would be taken up.

use std::{sync::Arc, time::Duration};

use pintle_core::object::ObjectId;

use super::{Observed, State, Watch, WatchKey, remembered::Sighting};

/// At least so long between two lists for this: whoever tells of older states may only be behind, or be anybody.
const PAUSE: Duration = Duration::from_secs(10);

impl State {
    /// Says whether a watch tells of a state that is older than one that was told before it, so that the objects of the
    /// application are to be listed: a server may begin a watch with what it knew some time ago, but not a list.
    pub(super) fn doubt(
        &mut self,
        label: &str,
        id: &ObjectId,
        sighting: &Sighting,
        key: &WatchKey,
    ) -> bool {
        let is_soon = self.doubted.is_some_and(|at| sighting.at < at + PAUSE);
        let app = self.apps.get_mut(label);
        let Some(app) = app.filter(|app| !is_soon && app.keys.contains(key)) else {
            return false;
        };
        let known = app.objects.get_mut(id);
        let Some(known) = known.filter(|known| known.is_belied_by(sighting)) else {
            return false;
        };
        known.is_doubted = true;
        self.doubted = Some(sighting.at);
        self.counter += 1;
        app.behind.begin_on(key.clone(), self.counter);
        true
    }

    /// Says whether what is listed of an object shows that the cluster was restored.
    pub(super) fn is_restored(&self, label: &str, id: &ObjectId, listed: &Observed) -> bool {
        let known = self.apps.get(label).and_then(|app| app.objects.get(id));
        known.is_some_and(|known| known.is_doubted && known.is_newer_than(listed))
    }

    /// Has whatever is told of any object from now on count as its newest state. Returns the watches to be opened, in place of
    /// those that there are: what they have told so far says nothing of what there is.
    pub(super) fn begin_anew(&mut self) -> Vec<(WatchKey, u64)> {
        tracing::warn!(
            "the API server tells of older states of objects than before, as if its state was restored from a backup: all are \
             looked at anew"
        );
        let apps = self.apps.values_mut();
        for known in apps.flat_map(|app| app.objects.values_mut()) {
            known.forget_state();
        }
        let mut open = Vec::new();
        for (key, watch) in &mut self.watches {
            self.counter += 1;
            *watch = Watch::new(self.counter);
            open.push((key.clone(), self.counter));
        }
        self.watches_changed.send_modify(|changes| *changes += 1);
        open
    }
}

impl Watch {
    /// Makes a watch that is to be opened.
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            task: None,
            pass: 0,
            synced: false,
            problem: None,
            is_lost: false,
            nudge: Arc::default(),
        }
    }
}
