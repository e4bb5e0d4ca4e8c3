//! Which watches work, and what that means for what they told.

use std::sync::Arc;

use pintle_core::object::ObjectId;
use tokio::sync::Notify;

use super::{App, State, WatchKey, bounds::FULL, sees};
use crate::{
    tracker::{TrackEvent, Unseen},
    watching::Failure,
};

impl State {
    /// Returns what has a watch tried again that does not work.
    pub(in crate::tracker) fn nudge_of(
        &mut self,
        key: &WatchKey,
        number: u64,
    ) -> Option<Arc<Notify>> {
        self.watch(key, number)
            .map(|watch| Arc::clone(&watch.nudge))
    }

    /// Has the watches of a kind tried again that do not work, at whichever version. One that is asking just now is tried once
    /// more if it is refused.
    pub(in crate::tracker) fn nudge(&self, group: &str, kind: &str) {
        for (key, watch) in &self.watches {
            if key.0.group == group && key.0.kind == kind {
                watch.nudge.notify_one();
            }
        }
    }

    /// Has those watches of an application tried again that do not work.
    pub(in crate::tracker) fn nudge_failed(&self, label: &str) {
        let watches = self.keys(label).filter_map(|key| self.watches.get(key));
        for watch in watches.filter(|watch| watch.problem.is_some()) {
            watch.nudge.notify_one();
        }
    }

    /// Takes note of a failure. Returns whether it begins to count now for how long there is one: also when it has been for
    /// long and only now is a refusal.
    pub(in crate::tracker) fn failed(
        &mut self,
        key: &WatchKey,
        number: u64,
        failure: Failure,
    ) -> bool {
        let Some(watch) = self.watch(key, number) else {
            return false;
        };
        let begins = match &watch.problem {
            None => true,
            Some(before) => watch.is_lost && failure.is_refused && !before.is_refused,
        };
        watch.problem = Some(failure);
        self.watches_changed.send_modify(|changes| *changes += 1);
        begins
    }

    /// Says that a watch has not worked for long, and whose objects are out of sight because of that.
    pub(in crate::tracker) fn lost(&mut self, key: &WatchKey, number: u64) -> Vec<TrackEvent> {
        let Some(watch) = self.watch(key, number) else {
            return Vec::new();
        };
        let Some(failure) = &watch.problem else {
            return Vec::new();
        };
        tracing::warn!(kind = %key.0, problem = failure.text, "objects have not been watched for a while");
        watch.is_lost = true;
        self.watches_changed.send_modify(|changes| *changes += 1);
        self.users(key)
    }

    /// Says that a watch works, and whose objects are in sight again: also after a moment. What has changed meanwhile was told
    /// before this, when it did not count yet.
    pub(in crate::tracker) fn resumed(&mut self, key: &WatchKey, number: u64) -> Vec<TrackEvent> {
        let Some(watch) = self.watch(key, number) else {
            return Vec::new();
        };
        let had_failed = watch.problem.take().is_some();
        let was_lost = std::mem::take(&mut watch.is_lost);
        self.watches_changed.send_modify(|changes| *changes += 1);
        if was_lost {
            tracing::info!(kind = %key.0, "objects are watched again");
        }
        if had_failed {
            self.users(key)
        } else {
            Vec::new()
        }
    }

    pub(super) fn users(&self, key: &WatchKey) -> Vec<TrackEvent> {
        let users = self.apps.values().filter(|app| app.keys.contains(key));
        let names = users.map(|app| app.registered.application.clone());
        names
            .map(|application| TrackEvent::Sight { application })
            .collect()
    }

    /// Says whether something that is not known yet may be in a moment: what has not worked for long is not waited for, nor is
    /// what has to be listed of it.
    pub(in crate::tracker) fn is_coming(&self, label: &str) -> bool {
        let Some(app) = self.apps.get(label) else {
            return false;
        };
        let is_coming = |key: &WatchKey| {
            let watch = self.watches.get(key).filter(|watch| !watch.is_lost);
            watch.is_some_and(|watch| !watch.synced || app.behind.is_on(key))
        };
        app.behind.is_taking_up() || app.keys.iter().any(is_coming)
    }

    /// Names the kinds that have not told everything yet, or of which not everything is taken up, with the reason where there
    /// is one.
    pub(in crate::tracker) fn unsynced(&self, label: &str) -> Vec<String> {
        let Some(app) = self.apps.get(label) else {
            return Vec::new();
        };
        if app.behind.is_taking_up() {
            return vec!["what was seen before is still being taken up".to_owned()];
        }
        let unsynced = app.keys.iter().filter_map(|key| {
            let watch = self.watches.get(key)?;
            let reason = match (watch.synced, app.behind.is_on(key)) {
                (false, _) => "the API server has not answered yet",
                (true, true) => "its objects have not been listed yet",
                (true, false) => return None,
            };
            let problem = watch.problem.as_ref().map(|failure| failure.text.as_str());
            Some(format!("{}: {}", key.0, problem.unwrap_or(reason)))
        });
        unsynced.collect()
    }

    /// Names the kinds whose watches have not worked for long, with the reason.
    pub(in crate::tracker) fn unseen(&self, label: &str) -> Vec<Unseen> {
        let lost = self.keys(label).filter_map(|key| {
            let watch = self.watches.get(key).filter(|watch| watch.is_lost)?;
            let failure = watch.problem.as_ref()?;
            Some(Unseen {
                problem: format!("{}: {}", key.0, failure.text),
                is_refused: failure.is_refused,
            })
        });
        lost.collect()
    }

    /// Says why an object may not have been seen.
    pub(in crate::tracker) fn problem_of(&self, label: &str, id: &ObjectId) -> Option<&str> {
        let failure = self
            .keys(label)
            .filter(|key| sees(key, id))
            .find_map(|key| self.watches.get(key)?.problem.as_ref());
        let app = self.apps.get(label);
        let is_left_out = || app.is_some_and(|app| app.may_have_left_out(id));
        failure
            .map(|failure| failure.text.as_str())
            .or_else(|| is_left_out().then_some(FULL))
    }

    /// Says whether any watch could see an object, at whichever version.
    pub(in crate::tracker) fn is_watched(&self, label: &str, id: &ObjectId) -> bool {
        self.keys(label).any(|key| sees(key, id))
    }

    /// Says whether a watch could see an object at an `apiVersion`.
    pub(in crate::tracker) fn is_watched_at(
        &self,
        label: &str,
        id: &ObjectId,
        version: &str,
    ) -> bool {
        let app = self.apps.get(label);
        app.is_some_and(|app| app.sees_at(version, id))
    }
}

impl App {
    /// Says whether a watch of the application sees an object at an `apiVersion`.
    pub(super) fn sees_at(&self, version: &str, id: &ObjectId) -> bool {
        let mut keys = self.keys.iter().filter(|key| sees(key, id));
        keys.any(|key| key.0.api_version() == version)
    }

    /// Says whether it is for a watch to say that an object is gone, which was told at an `apiVersion` last. Another one sees
    /// the same objects at another version, and lists them at another time.
    pub(super) fn is_told_by(&self, key: &WatchKey, id: &ObjectId, version: &str) -> bool {
        if !sees(key, id) {
            return false;
        }
        if self.keys.contains(key) {
            return version == key.0.api_version() || !self.sees_at(version, id);
        }
        // Somebody else's watch; of what the application uses no kind of there is no other.
        !self.keys.iter().any(|own| sees(own, id))
    }
}
