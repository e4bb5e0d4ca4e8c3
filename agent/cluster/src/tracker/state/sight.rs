//! Which watches work, and what that means for what they have reported.

use std::sync::Arc;

use pintle_core::object::ObjectId;
use tokio::sync::Notify;

use super::{App, State, WatchKey, bounds::FULL, sees};
use crate::{
    tracker::{TrackEvent, Unseen},
    watching::Failure,
};

impl State {
    /// Returns the notifier that triggers a retry of a watch that does not work.
    pub(in crate::tracker) fn nudge_of(
        &mut self,
        key: &WatchKey,
        number: u64,
    ) -> Option<Arc<Notify>> {
        self.watch(key, number)
            .map(|watch| Arc::clone(&watch.nudge))
    }

    /// Retries the watches of a kind that do not work, at any version. A watch whose request is in flight is retried once more if
    /// it is refused.
    pub(in crate::tracker) fn nudge(&self, group: &str, kind: &str) {
        for (key, watch) in &self.watches {
            if key.0.group == group && key.0.kind == kind {
                watch.nudge.notify_one();
            }
        }
    }

    /// Retries the watches of an application that do not work.
    pub(in crate::tracker) fn nudge_failed(&self, label: &str) {
        let watches = self.keys(label).filter_map(|key| self.watches.get(key));
        for watch in watches.filter(|watch| watch.problem.is_some()) {
            watch.nudge.notify_one();
        }
    }

    /// Records a failure. Returns whether its duration is counted from now on, which is also so if it has already lasted long and
    /// only now becomes a refusal.
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

    /// Records that a watch has not worked for a long time. Returns the events for the applications whose objects are out of
    /// sight because of that.
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

    /// Records that a watch works. Returns the events for the applications whose objects are in sight again, even after a brief
    /// failure: changes in the meantime were reported before this, when they did not count yet.
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

    /// Returns whether something that is not known yet may be known shortly. Watches that have not worked for a long time are not
    /// waited for, and neither are the objects that have to be listed for them.
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

    /// Returns the kinds that have not reported everything yet, or whose reports are not all taken up, with the reason if there
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

    /// Returns the kinds whose watches have not worked for a long time, with the reason.
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

    /// Returns why an object may not have been seen.
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

    /// Returns whether any watch could see an object, at any version.
    pub(in crate::tracker) fn is_watched(&self, label: &str, id: &ObjectId) -> bool {
        self.keys(label).any(|key| sees(key, id))
    }

    /// Returns whether a watch could see an object at an `apiVersion`.
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
    /// Returns whether a watch of the application sees an object at an `apiVersion`.
    pub(super) fn sees_at(&self, version: &str, id: &ObjectId) -> bool {
        let mut keys = self.keys.iter().filter(|key| sees(key, id));
        keys.any(|key| key.0.api_version() == version)
    }

    /// Returns whether a watch decides if an object, last reported at an `apiVersion`, is gone. Another watch sees the same
    /// objects at another version, and lists them at another time.
    pub(super) fn is_told_by(&self, key: &WatchKey, id: &ObjectId, version: &str) -> bool {
        if !sees(key, id) {
            return false;
        }
        if self.keys.contains(key) {
            return version == key.0.api_version() || !self.sees_at(version, id);
        }
        // Another application's watch. If the application does not use the kind, there is no other.
        !self.keys.iter().any(|own| sees(own, id))
    }
}
