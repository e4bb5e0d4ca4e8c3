//! One replica of the agent: the state machine of each application, and what it knows of the cluster.

use std::collections::BTreeMap;

use pintle_core::machine::{Event, Millis, State};

use crate::catalog::{Catalog, Slot};
use crate::run::{Run, Seen, Wanted, uid_text};
use crate::server::{Live, Resource};

/// One application as a replica keeps it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) machine: State,
    pub(crate) resource: Resource,
    /// Whether its status in the cluster may be another one: the last run's write of it has no answer.
    pub(crate) unsure: bool,
    pub(crate) run: Option<Run>,
    /// What git had when a run planned last; nothing before the first.
    wanted: Option<Wanted>,
    /// Whether a run has ended since the replica started: before, nothing is known that could be compared.
    pub(crate) settled: bool,
    pub(crate) told: Option<u32>,
}

impl Kept {
    pub(crate) fn new(catalog: &Catalog, application: usize, resource: Resource) -> Self {
        Self {
            machine: State::new(catalog.names[application].to_string()),
            resource,
            unsure: false,
            run: None,
            wanted: None,
            settled: false,
            told: None,
        }
    }

    /// Is the event that a newer state of the resource comes to.
    pub(crate) fn spec(&self) -> Event {
        Event::Spec {
            generation: self.resource.generation,
            suspended: self.resource.suspended,
        }
    }

    /// Takes up what a run knows that has ended.
    pub(crate) fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        self.unsure = run.unsure;
        if run.resource.version >= self.resource.version {
            self.resource = run.resource;
        }
        if run.revision.is_some() {
            self.wanted = Some(run.wanted);
        }
    }

    /// Says whether an object stays although git has dropped it: nobody puts it right any more.
    fn stays(&self, slot: Slot) -> bool {
        let is_dropped = |wanted: &Wanted| wanted.iter().all(|(wanted, _)| *wanted != slot);
        Catalog::is_protected(slot) && self.wanted.as_ref().is_some_and(is_dropped)
    }
}

/// An application that was let go of while a run of it was under way. Nothing else of that name begins before that has ended:
/// what it still asks for, and is answered, is its own.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) run: Run,
    /// What it is when it comes back before that.
    pub(crate) waiting: Option<Resource>,
}

/// A process. Whatever it holds ends with it.
#[derive(Debug, Default)]
pub(crate) struct Replica {
    /// Counts processes, so that what was meant for one that has ended is recognised.
    pub(crate) life: u32,
    pub(crate) alive: bool,
    pub(crate) working: bool,
    pub(crate) applications: BTreeMap<usize, Kept>,
    pub(crate) leaving: BTreeMap<usize, Leaving>,
    pub(crate) view: Vec<Seen>,
    /// Whether the watches have told everything at least once.
    pub(crate) synced: bool,
    /// Counts connections of the watches.
    pub(crate) epoch: u32,
    pub(crate) fetched: Option<u32>,
    /// When each process ended, by its life.
    pub(crate) ends: Vec<(u32, Millis)>,
}

impl Replica {
    /// Starts a process anew.
    pub(crate) fn start(&mut self, slots: usize) {
        *self = Self {
            life: self.life + 1,
            alive: true,
            ends: std::mem::take(&mut self.ends),
            view: vec![Seen::default(); slots],
            ..Self::default()
        };
    }

    pub(crate) fn end(&mut self, now: Millis) {
        self.ends.push((self.life, now));
        self.alive = false;
        self.working = false;
        self.applications.clear();
        self.leaving.clear();
    }

    /// Lets an application go, and asks its run to stop. What has come back before that has ended is let go as well.
    pub(crate) fn let_go(&mut self, application: usize) {
        let kept = self.applications.remove(&application);
        if let Some(mut run) = kept.and_then(|kept| kept.run) {
            run.cancel();
            let waiting = None;
            self.leaving.insert(application, Leaving { run, waiting });
        } else if let Some(leaving) = self.leaving.get_mut(&application) {
            leaving.waiting = None;
        }
    }

    /// Returns the run of an application that is under way, also if it was let go of.
    pub(crate) fn run(&mut self, application: usize) -> Option<&mut Run> {
        let leaving = self.leaving.get_mut(&application);
        let leaving = leaving.map(|leaving| &mut leaving.run);
        let kept = self.applications.get_mut(&application);
        kept.and_then(|kept| kept.run.as_mut()).or(leaving)
    }

    /// Says when the process of a life ended, if it has.
    pub(crate) fn ended(&self, life: u32) -> Option<Millis> {
        let end = self.ends.iter().find(|(ended, _)| *ended == life);
        end.map(|(_, at)| *at)
    }

    /// Takes up news of an object, unless later news are known.
    pub(crate) fn see(&mut self, slot: usize, live: Option<Live>, version: u32) -> bool {
        let seen = &mut self.view[slot];
        if version <= seen.version {
            return false;
        }
        *seen = Seen { live, version };
        true
    }

    /// Says whether what is differs from what was applied.
    pub(crate) fn drifts(&self, catalog: &Catalog, application: usize) -> bool {
        let Some(kept) = self.applications.get(&application) else {
            return false;
        };
        if kept.run.is_some() || !kept.settled || !self.synced || !kept.machine.repairs() {
            return false;
        }
        kept.resource.inventory.entries().any(|entry| {
            let slot = catalog.slot(&entry.id());
            let Some(live) = self.view[slot].live.filter(|live| live.labelled) else {
                return true;
            };
            let is_another = entry.stored != Some(catalog.stored(slot, live.content))
                || entry.uid.as_deref() != Some(&*uid_text(live.uid));
            is_another && !kept.stays(slot)
        })
    }
}
