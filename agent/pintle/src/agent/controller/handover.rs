//! What changes when applications arrive from, or move to, another replica.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use futures::{
    StreamExt as _,
    stream::{BoxStream, SelectAll},
};
use pintle_cluster::{Application, ResourceEvent};
use pintle_core::{
    names::ApplicationName,
    sharding::{Shard, ShardSet},
};

use super::{ApplicationEvent, Controller};
use crate::agent::{
    replicas::{Assignment, has},
    shared::Shared,
};

/// The time limit for runs to come to a safe point when the agent stops.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// An event, with the number of the watch that it came from.
type NumberedEvent = (usize, ApplicationEvent);

/// What newly started watches have listed so far. Applications that are not listed by the time all watches are complete are gone.
#[derive(Default)]
pub(super) struct Listing {
    /// The watches that have not listed everything yet. One of them may do so twice before another has done it once.
    missing: BTreeSet<usize>,
    seen: BTreeSet<ApplicationName>,
}

impl Listing {
    /// Starts with a number of watches.
    pub(super) fn of(watches: usize) -> Self {
        Self {
            missing: (0..watches).collect(),
            seen: BTreeSet::new(),
        }
    }

    /// Returns whether this event of a watch completes the listing.
    pub(super) fn is_complete_after(&mut self, watch: usize, event: &ApplicationEvent) -> bool {
        if self.missing.is_empty() {
            return false;
        }
        match event {
            ResourceEvent::Seen(application) => {
                self.seen.insert(application.application_name());
            }
            ResourceEvent::Complete => {
                self.missing.remove(&watch);
            }
            ResourceEvent::Gone { .. } | ResourceEvent::Failed { .. } | ResourceEvent::Resumed => {}
        }
        self.missing.is_empty()
    }
}

impl Controller {
    /// Stops all runs at their next safe point and waits for them.
    pub(super) async fn drain(&mut self) {
        for app in self.apps.values() {
            if let Some((_, cancel)) = &app.run {
                cancel.cancel();
            }
        }
        self.shared.repositories.stop();
        let ended = async { while self.runs.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_LIMIT, ended).await.is_err() {
            tracing::warn!(
                runs = self.runs.len(),
                "some runs did not come to a safe point; the next start takes them up"
            );
            // None of them may continue once another replica takes over.
            self.runs.shutdown().await;
        }
    }

    /// Watches the Applications of all namespaces, or of some. Each event comes with the number of its watch.
    pub(super) fn watch_applications(&self) -> SelectAll<BoxStream<'static, NumberedEvent>> {
        let watch = |number: usize, namespace: Option<&str>| {
            let events = self.shared.applications.watch(namespace);
            events.map(move |event| (number, event)).boxed()
        };
        if self.namespaces.is_empty() {
            return [watch(0, None)].into_iter().collect();
        }
        let namespaces = self.namespaces.iter().enumerate();
        namespaces
            .map(|(number, namespace)| watch(number, Some(namespace)))
            .collect()
    }

    /// Takes up this replica's new share, and returns whether it has more than before.
    pub(super) fn reassigned(&mut self) -> bool {
        let before = std::mem::replace(&mut self.assigned, self.portion.take_up());
        let lost = self.apps.keys().filter(|name| !has(self.assigned, name));
        let lost: Vec<_> = lost.cloned().collect();
        for name in &lost {
            self.gone(name);
        }
        // This replica will not hear how they end, so its own knowledge of them must no longer hold up the applications that wait
        // for them.
        for name in &lost {
            self.release_dependents(name);
        }
        self.tell_what_is_busy();
        let has_more = !self.assigned.shards.without(before.shards).is_empty();
        if has_more {
            self.sources.assigned();
        }
        self.shared.claims.assigned(self.assigned.shards, has_more);
        has_more
    }

    /// Lets go of applications that were deleted while nobody watched.
    pub(super) fn listed(&mut self, listing: &Listing) {
        // That includes those of other replicas, and happens before anything begins that depends on them.
        let went = self.standings.keep(&listing.seen);
        let known = self
            .apps
            .keys()
            .filter(|name| !listing.seen.contains(*name));
        for name in known.cloned().collect::<Vec<_>>() {
            self.gone(&name);
            self.deleted(&name);
        }
        let leaving = self.leaving.keys();
        let gone = leaving.filter(|name| !listing.seen.contains(*name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.take_up_no_more(&name);
        }
        for name in &went {
            self.went(name);
            self.release_dependents(name);
        }
        self.shared.claims.complete();
        self.probes.ready.store(true, Ordering::Relaxed);
        tracing::info!(applications = self.apps.len(), "the Applications are read");
    }

    /// Returns whether an application belongs to another replica, or must not be touched before an old run of it has ended.
    pub(super) fn is_left_alone(&mut self, application: &Application) -> bool {
        let name = application.application_name();
        if !has(self.assigned, &name) {
            return true;
        }
        if !self.apps.contains_key(&name)
            && let Some(waiting) = self.leaving.get_mut(&name)
        {
            *waiting = Some(application.clone());
            return true;
        }
        false
    }

    /// Records that an application must not be taken up when its old run has ended, because it was deleted since.
    pub(super) fn take_up_no_more(&mut self, name: &ApplicationName) {
        if let Some(waiting) = self.leaving.get_mut(name) {
            *waiting = None;
        }
    }

    /// Handles the end of a run, and what it used, whose application was let go of. Returns whether it was such a run.
    pub(super) fn has_left(&mut self, name: &ApplicationName, used: &Shared) -> bool {
        let Some(waiting) = self.leaving.remove(name) else {
            return false;
        };
        // The run may have registered itself again after that in the cluster of its objects.
        used.tracker.forget(name);
        self.forget(name);
        self.tell_what_is_busy();
        if let Some(application) = waiting {
            self.seen(application);
        }
        true
    }

    /// Forgets what is kept about an application outside of the controller.
    pub(super) fn forget(&self, name: &ApplicationName) {
        self.shared.tracker.forget(name);
        self.shared.judges.remove(name);
        self.shared.metrics.forget(name);
    }

    fn tell_what_is_busy(&self) {
        let leaving = self.leaving.keys().map(Shard::of);
        let shards = leaving.fold(self.assigned.shards, ShardSet::with);
        self.portion.busy(Assignment {
            number: self.assigned.number,
            shards,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_lists_twice_is_one() {
        let mut listing = Listing::of(2);
        let mut is_complete = |watch| listing.is_complete_after(watch, &ResourceEvent::Complete);
        assert!(!is_complete(0));
        assert!(!is_complete(0), "it has listed again");
        assert!(is_complete(1));
        assert!(!is_complete(1), "it was before");
    }

    #[test]
    fn nothing_is_complete_that_was_not_begun() {
        let mut listing = Listing::default();
        assert!(!listing.is_complete_after(0, &ResourceEvent::Complete));
    }
}
