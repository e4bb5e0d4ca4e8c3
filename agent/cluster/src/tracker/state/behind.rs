//! What an application has to catch up on: objects that were seen before it was known, or all of its objects under other rules.
//!
//! Until then nothing is said about the objects concerned. This is tracked per watch: if the objects of one cannot be listed,
//! that says nothing against what the others report.

use std::collections::{BTreeMap, BTreeSet};

use super::{State, WatchKey, bounds::LeftOut};
use crate::tracker::{TrackEvent, early::Missed};

/// For how many applications objects are listed together. Their labels are in the path of the request, which must not be too long
/// for any server.
const TOGETHER: usize = 50;

/// An application that is behind on a watch.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tracker) struct Unlisted {
    pub(in crate::tracker) label: String,
    /// The number of the task that lists its objects.
    pub(in crate::tracker) number: u64,
}

/// What an application has to catch up on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::tracker) struct Backlog {
    /// Objects that were seen before it was known, as JSON, and the number of the application.
    pub(in crate::tracker) kept: Option<(Vec<Box<str>>, u64)>,
    /// The watches whose objects have to be listed, each with the number of the task that does so.
    pub(in crate::tracker) unlisted: Vec<(WatchKey, u64)>,
}

/// What an application is behind on.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// Whether objects that were seen before it was known are being taken up.
    is_taking_up: bool,
    /// Its watches whose objects are being listed, each with the number of the task that does so. A task that began earlier may
    /// have judged some objects by the previous rules, and does not count.
    listing: BTreeMap<WatchKey, u64>,
    /// Whether it may be behind on kinds that it does not use. When it begins to use one, the objects of that kind are listed:
    /// the watch may be open for others, and not report them again.
    elsewhere: bool,
}

impl Behind {
    /// Returns whether what a watch of the application has reported does not count yet.
    pub(super) fn is_on(&self, key: &WatchKey) -> bool {
        self.is_taking_up || self.listing.contains_key(key)
    }

    /// Returns whether objects that were seen before are being taken up, which waits for no server.
    pub(super) fn is_taking_up(&self) -> bool {
        self.is_taking_up
    }
}

impl State {
    /// Records what a registered application has missed, given the watches that it had before. Returns what it has to catch up
    /// on. What it was behind on for a watch that it no longer has is left until it has that watch again.
    pub(super) fn fall_behind(
        &mut self,
        label: &str,
        missed: Option<Missed>,
        before: &BTreeSet<WatchKey>,
    ) -> Backlog {
        let Some(app) = self.apps.get_mut(label) else {
            return Backlog::default();
        };
        let behind = &mut app.behind;
        behind.listing.retain(|key, _| app.keys.contains(key));
        let is_all = missed == Some(Missed::Unknown);
        behind.elsewhere |= is_all;
        if is_all {
            // These are reported again, unless there is still no room.
            app.left_out = LeftOut::default();
        }
        let mut unlisted = Vec::new();
        for key in &app.keys {
            if is_all || (behind.elsewhere && !before.contains(key)) {
                self.counter += 1;
                behind.listing.insert(key.clone(), self.counter);
                unlisted.push((key.clone(), self.counter));
            }
        }
        let kept = match missed {
            Some(Missed::Objects(texts)) => {
                behind.is_taking_up = true;
                Some((texts, app.number))
            }
            Some(Missed::Unknown) | None => None,
        };
        Backlog { kept, unlisted }
    }

    /// Marks all objects of an application, if it is registered, to be examined again. A listing that is already in progress is
    /// not enough: it may have judged some objects by the previous rules.
    pub(in crate::tracker) fn begin_catching_up(&mut self, label: &str) -> Backlog {
        self.fall_behind(label, Some(Missed::Unknown), &BTreeSet::new())
    }

    /// Returns whether the caller has to start listing the objects of a watch, by asking for the next applications until there
    /// are none.
    pub(in crate::tracker) fn begin_listing(&mut self, key: &WatchKey) -> bool {
        self.listing.insert(key.clone())
    }

    /// Returns the applications whose objects of a watch are to be listed next. If there are none, listing has ended.
    pub(in crate::tracker) fn next_unlisted(&mut self, key: &WatchKey) -> Vec<Unlisted> {
        let behind = self.apps.iter().filter_map(|(label, app)| {
            Some(Unlisted {
                label: label.clone(),
                number: *app.behind.listing.get(key)?,
            })
        });
        let next: Vec<Unlisted> = behind.take(TOGETHER).collect();
        if next.is_empty() {
            self.listing.remove(key);
        }
        next
    }

    /// Returns whether the task with this number lists the objects of a watch of an application. It does not if the application
    /// was forgotten, no longer has the watch, or another task has begun since.
    pub(super) fn is_unlisted(&self, label: &str, key: &WatchKey, number: u64) -> bool {
        let app = self.apps.get(label);
        app.is_some_and(|app| app.behind.listing.get(key) == Some(&number))
    }

    /// Records that the objects of a watch were listed. Returns the event for the application whose objects count from now on, if
    /// they do.
    pub(in crate::tracker) fn listed(
        &mut self,
        label: &str,
        key: &WatchKey,
        number: u64,
    ) -> Option<TrackEvent> {
        if !self.is_unlisted(label, key, number) {
            return None;
        }
        self.apps.get_mut(label)?.behind.listing.remove(key);
        self.caught_up(label)
    }

    /// Records that the objects seen before the application with this number was known are taken up. Returns the event for the
    /// application, whose objects count from now on.
    pub(in crate::tracker) fn taken_up(&mut self, label: &str, number: u64) -> Option<TrackEvent> {
        let app = self.apps.get_mut(label);
        let app = app.filter(|app| app.number == number)?;
        app.behind.is_taking_up = false;
        self.caught_up(label)
    }

    fn caught_up(&self, label: &str) -> Option<TrackEvent> {
        // Waiting for the watches means waiting for the last of them.
        if !self.is_coming(label) {
            self.watches_changed.send_modify(|changes| *changes += 1);
        }
        let app = self.apps.get(label)?;
        app.changes.send_modify(|changes| *changes += 1);
        let application = app.registered.application.clone();
        Some(TrackEvent::Sight { application })
    }
}
