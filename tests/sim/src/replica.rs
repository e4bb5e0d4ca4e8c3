//! One replica of the agent: the state machine of each application, and what the replica knows of the cluster.

use std::collections::BTreeMap;

use pintle_core::machine::{Event, Millis, State};

use crate::catalog::{Catalog, Slot};
use crate::run::{Run, Seen, Wanted, uid_text};
use crate::server::{Live, Resource};

/// One application, as a replica tracks it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) machine: State,
    pub(crate) resource: Resource,
    /// Whether its status in the cluster may differ from the known one: the last run's write of it has no answer.
    pub(crate) unsure: bool,
    pub(crate) run: Option<Run>,
    /// What git had when a run last planned. `None` before the first run.
    wanted: Option<Wanted>,
    /// Whether a run has ended since the replica started. Before that, nothing is known to compare with.
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

    /// Returns the event that a newer state of the resource causes.
    pub(crate) fn spec(&self) -> Event {
        Event::Spec {
            generation: self.resource.generation,
            suspended: self.resource.suspended,
        }
    }

    /// Records what the run knew when it ended.
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

    /// Returns whether an object stays although git has dropped it. Its drift is no longer repaired.
    fn stays(&self, slot: Slot) -> bool {
        let is_dropped = |wanted: &Wanted| wanted.iter().all(|(wanted, _)| *wanted != slot);
        Catalog::is_protected(slot) && self.wanted.as_ref().is_some_and(is_dropped)
    }
}

/// An application that was let go while one of its runs was in flight. Nothing else of that name starts before that run has
/// ended: the requests that the run still sends, and their answers, are its own.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) run: Run,
    /// The state of the application if it comes back before that.
    pub(crate) waiting: Option<Resource>,
}

/// A process. Everything that it holds ends with it.
#[derive(Debug, Default)]
pub(crate) struct Replica {
    /// Counts processes, so that events for a process that has ended can be recognised.
    pub(crate) life: u32,
    pub(crate) alive: bool,
    pub(crate) working: bool,
    pub(crate) applications: BTreeMap<usize, Kept>,
    pub(crate) leaving: BTreeMap<usize, Leaving>,
    pub(crate) view: Vec<Seen>,
    /// Whether the watches have listed everything at least once.
    pub(crate) synced: bool,
    /// Counts connections of the watches.
    pub(crate) epoch: u32,
    pub(crate) fetched: Option<u32>,
    /// When each process ended, by its life.
    pub(crate) ends: Vec<(u32, Millis)>,
}

impl Replica {
    /// Starts a new process.
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

    /// Lets an application go, and asks its run to stop. If the application came back before that run ended, it is let go as
    /// well.
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

    /// Returns the run in flight of an application, even if the application was let go.
    pub(crate) fn run(&mut self, application: usize) -> Option<&mut Run> {
        let leaving = self.leaving.get_mut(&application);
        let leaving = leaving.map(|leaving| &mut leaving.run);
        let kept = self.applications.get_mut(&application);
        kept.and_then(|kept| kept.run.as_mut()).or(leaving)
    }

    /// Returns when the process of a life ended, if it has.
    pub(crate) fn ended(&self, life: u32) -> Option<Millis> {
        let end = self.ends.iter().find(|(ended, _)| *ended == life);
        end.map(|(_, at)| *at)
    }

    /// Records the state of an object, unless a later one is known.
    pub(crate) fn see(&mut self, slot: usize, live: Option<Live>, version: u32) -> bool {
        let seen = &mut self.view[slot];
        if version <= seen.version {
            return false;
        }
        *seen = Seen { live, version };
        true
    }

    /// Returns whether the cluster differs from what was applied.
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
