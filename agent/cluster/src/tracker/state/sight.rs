//! Which watches work, and what that means for what they told.

use pintle_core::object::ObjectId;

use super::{State, WatchKey, sees};
use crate::{
    tracker::{TrackEvent, Unseen},
    watching::Failure,
};

impl State {
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

    /// Says whether something that is not known yet may be in a moment: what has not worked for long is not waited for.
    pub(in crate::tracker) fn is_coming(&self, label: &str) -> bool {
        let is_behind = self.apps.get(label).is_some_and(|app| app.behind > 0);
        let mut watches = self.keys(label).filter_map(|key| self.watches.get(key));
        is_behind || watches.any(|watch| !watch.synced && !watch.is_lost)
    }

    /// Names the kinds that have not told everything yet, with the reason where there is one.
    pub(in crate::tracker) fn unsynced(&self, label: &str) -> Vec<String> {
        if self.apps.get(label).is_some_and(|app| app.behind > 0) {
            return vec!["what was seen before is still being taken up".to_owned()];
        }
        self.keys(label)
            .filter_map(|key| {
                let watch = self.watches.get(key)?;
                let problem = watch.problem.as_ref().map(|failure| failure.text.as_str());
                let problem = problem.unwrap_or("the API server has not answered yet");
                (!watch.synced).then(|| format!("{}: {problem}", key.0))
            })
            .collect()
    }

    /// Names the kinds whose watches have not worked for long, with the reason.
    pub(in crate::tracker) fn unseen(&self, label: &str) -> Vec<Unseen> {
        self.keys(label)
            .filter_map(|key| {
                let watch = self.watches.get(key).filter(|watch| watch.is_lost)?;
                let failure = watch.problem.as_ref()?;
                Some(Unseen {
                    problem: format!("{}: {}", key.0, failure.text),
                    is_refused: failure.is_refused,
                })
            })
            .collect()
    }

    /// Says why an object may not have been seen.
    pub(in crate::tracker) fn problem_of(&self, label: &str, id: &ObjectId) -> Option<&str> {
        self.keys(label)
            .filter(|key| sees(key, id))
            .find_map(|key| self.watches.get(key)?.problem.as_ref())
            .map(|failure| failure.text.as_str())
    }

    /// Says whether any watch could see an object.
    pub(in crate::tracker) fn is_watched(&self, label: &str, id: &ObjectId) -> bool {
        self.keys(label).any(|key| sees(key, id))
    }
}
