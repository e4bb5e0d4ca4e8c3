//! What an application has to make up for: objects that were seen before it was known, or all of them by other rules.
//!
//! Until then nothing is said of the objects that this is about. It is counted for each watch: one whose objects cannot be
//! listed says nothing against what the others tell.

use std::collections::{BTreeMap, BTreeSet};

use super::{State, WatchKey, bounds::LeftOut};
use crate::tracker::{TrackEvent, early::Missed};

/// For how many applications objects are listed together. Their labels are in the path of the request, which must not be too
/// long for any server.
const TOGETHER: usize = 50;

/// An application that is behind on a watch.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tracker) struct Unlisted {
    pub(in crate::tracker) label: String,
    /// Of who lists its objects.
    pub(in crate::tracker) number: u64,
}

/// What an application has to make up for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::tracker) struct Backlog {
    /// Objects that were seen before it was known, as JSON, and the number of the application.
    pub(in crate::tracker) kept: Option<(Vec<Box<str>>, u64)>,
    /// The watches whose objects are to be listed, each with the number of who does that.
    pub(in crate::tracker) unlisted: Vec<(WatchKey, u64)>,
}

/// On what an application is behind.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// Whether objects that were seen before it was known are being taken up.
    is_taking_up: bool,
    /// Its watches whose objects are being listed, each with the number of who does that. Whoever began before may have judged
    /// some by the rules of then, and does not count.
    listing: BTreeMap<WatchKey, u64>,
    /// Whether it may be behind on kinds that it does not use. The objects of one that it begins to use are listed then: its
    /// watch may be open for others, and tell of them no more.
    elsewhere: bool,
}

impl Behind {
    /// Says whether what a watch of the application has told does not count yet.
    pub(super) fn is_on(&self, key: &WatchKey) -> bool {
        self.is_taking_up || self.listing.contains_key(key)
    }

    /// Says whether objects that were seen before are being taken up, which waits for no server.
    pub(super) fn is_taking_up(&self) -> bool {
        self.is_taking_up
    }
}

impl State {
    /// Takes note of what a registered application has missed, which had other watches before. Returns what it has to make up
    /// for. What it was behind on of a watch that it has no more is left to when it has it again.
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
            // Told anew, unless there is no room for it again.
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

    /// Says that all objects of an application are to be looked at once more, if there is that application. What is under way
    /// already does not do: it may have judged some by the rules of before.
    pub(in crate::tracker) fn begin_catching_up(&mut self, label: &str) -> Backlog {
        self.fall_behind(label, Some(Missed::Unknown), &BTreeSet::new())
    }

    /// Says whether somebody has to begin to list the objects of a watch: whoever is told so, and asks who is next until nobody
    /// is.
    pub(in crate::tracker) fn begin_listing(&mut self, key: &WatchKey) -> bool {
        self.listing.insert(key.clone())
    }

    /// Returns the applications whose objects of a watch are to be listed next. If there are none, nobody lists them any more.
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

    /// Says whether it is for whoever has a number to list the objects of a watch of an application: not if that was forgotten,
    /// has the watch no more, or somebody else has begun since.
    pub(super) fn is_unlisted(&self, label: &str, key: &WatchKey, number: u64) -> bool {
        let app = self.apps.get(label);
        app.is_some_and(|app| app.behind.listing.get(key) == Some(&number))
    }

    /// Says that the objects of a watch were listed, and whose objects count from now on, if they do.
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

    /// Says that what was seen before the application of a number was known is taken up, and whose objects count from now on.
    pub(in crate::tracker) fn taken_up(&mut self, label: &str, number: u64) -> Option<TrackEvent> {
        let app = self.apps.get_mut(label);
        let app = app.filter(|app| app.number == number)?;
        app.behind.is_taking_up = false;
        self.caught_up(label)
    }

    fn caught_up(&self, label: &str) -> Option<TrackEvent> {
        // Who waits for the watches waits for the last of them.
        if !self.is_coming(label) {
            self.watches_changed.send_modify(|changes| *changes += 1);
        }
        let app = self.apps.get(label)?;
        app.changes.send_modify(|changes| *changes += 1);
        let application = app.registered.application.clone();
        Some(TrackEvent::Sight { application })
    }
}
