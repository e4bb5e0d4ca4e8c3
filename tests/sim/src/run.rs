//! One run of an application: the requests that it sends to the server, step by step, and what it makes of the answers.
//!
//! The order of the steps is the agent's: intend, write wave by wave, delete wave by wave, conclude. The decisions are the
//! core's: [`prune::decide`], [`Schedule`], [`Inventory::intend`], [`Plan`] and the stages that it goes through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pintle_core::check::{Approved, Checked};
use pintle_core::digest::Digest;
use pintle_core::inventory::{Entry, Inventory};
use pintle_core::machine::{Outcome, Retry, RunId};
use pintle_core::object::ObjectId;
use pintle_core::order::{Item, Links, Order, Schedule, Usable};
use pintle_core::plan::{Action, Change, Depth, Plan};
use pintle_core::prune::{self, PruneSettings, Wish};

use crate::catalog::{Catalog, Content, Slot};
use crate::server::{Answer, Live, Request, Resource};

/// The maximum number of times that one request is sent.
pub(crate) const ATTEMPTS: u8 = 6;

/// What a replica knows about an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) live: Option<Live>,
    /// The version of the latest news.
    pub(crate) version: u32,
}

/// What git has for one application: the version of each of its objects.
pub(crate) type Wanted = Vec<(Slot, u8)>;

/// The purpose of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Makes the cluster match a revision.
    Converge(u32),
    Guard {
        repairs: bool,
    },
    Tell,
    Remove,
}

#[derive(Clone, Debug)]
enum Phase {
    /// The status may differ from the known one.
    Read(Work),
    /// The status was read.
    Known(Work),
    Intend,
    Write(usize),
    Delete(usize),
    Conclude,
    Finalize,
    Over,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Send these requests, and report each answer.
    Send(Vec<Request>),
    /// Wait for the missing answers.
    Wait,
    /// Begin with what was read.
    Begin(Work),
    Over(Outcome),
}

#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) cancelled: bool,
    /// Whether the status may differ from the known one: a write of it has no answer.
    pub(crate) unsure: bool,
    pub(crate) resource: Resource,
    /// The revision. `None` for a removal.
    pub(crate) revision: Option<u32>,
    pub(crate) inventory: Inventory,
    phase: Phase,
    writes: Vec<Vec<(Slot, u8)>>,
    /// What the inventory lists only because a write is intended, until it is written.
    untried: BTreeMap<Slot, ObjectId>,
    deletes: Vec<Vec<(Slot, Option<u32>)>>,
    pub(crate) wanted: Wanted,
    outstanding: usize,
    failed: Option<Retry>,
}

impl Run {
    /// Plans a run. If the run ends at once, there is nothing to do.
    pub(crate) fn begin(
        catalog: &Catalog,
        id: RunId,
        resource: Resource,
        revision: Option<u32>,
        wanted: Wanted,
        view: &[Seen],
    ) -> Self {
        let mut run = Self {
            revision,
            wanted,
            ..Self::new(id, resource, Phase::Intend)
        };
        if let Err(retry) = run.plan(catalog, view) {
            run.failed = Some(retry);
            run.phase = Phase::Conclude;
        }
        run
    }

    /// Creates a run that reads the status again before anything else.
    pub(crate) fn reading(id: RunId, resource: Resource, work: Work) -> Self {
        Self {
            unsure: true,
            ..Self::new(id, resource, Phase::Read(work))
        }
    }

    fn new(id: RunId, resource: Resource, phase: Phase) -> Self {
        Self {
            id,
            cancelled: false,
            unsure: false,
            inventory: (*resource.inventory).clone(),
            resource,
            revision: None,
            phase,
            writes: Vec::new(),
            untried: BTreeMap::new(),
            deletes: Vec::new(),
            wanted: Wanted::new(),
            outstanding: 0,
            failed: None,
        }
    }

    fn plan(&mut self, catalog: &Catalog, view: &[Seen]) -> Result<(), Retry> {
        let mut changes: Vec<Change> = Vec::new();
        for (slot, version) in &self.wanted {
            let action = self.action(catalog, *slot, *version, view[*slot]);
            changes.push(catalog.change(*slot, action, Some(*version)));
        }
        let rendered: BTreeSet<_> = changes.iter().map(|change| change.id.clone()).collect();
        let settings = PruneSettings {
            max_percent: 100,
            ..PruneSettings::default()
        };
        let known = &self.inventory;
        let pruning = prune::decide(
            known,
            &rendered,
            &settings,
            &|_| Wish::None,
            &|_| None,
            None,
        )
        .map_err(|_| Retry::OnChange)?;
        for entry in pruning.delete {
            changes.push(catalog.change(catalog.slot(&entry.id()), Action::Delete, None));
        }
        // An object that stays although git dropped it is tracked until it is gone.
        for (entry, _) in &pruning.keep {
            let id = entry.id();
            if view[catalog.slot(&id)].live.is_none() {
                self.inventory.remove(&id);
            }
        }
        let plan = Plan::new(Depth::Local, changes, &catalog.seed);
        let checked = Checked::new(plan, Vec::new()).map_err(|_| Retry::OnChange)?;
        let approved = Approved::without_gates(checked);
        let does = |action: &[Action]| {
            let changes = approved.plan().changes().iter();
            changes
                .filter(|change| action.contains(&change.action))
                .cloned()
                .collect::<Vec<_>>()
        };
        let (writes, deletes) = (
            does(&[Action::Create, Action::Update]),
            does(&[Action::Delete]),
        );
        let order = Order::of(&items(&writes)).map_err(|_| Retry::OnChange)?;
        for step in steps(&order, &writes) {
            let wave = step.iter().map(|change| {
                let slot = catalog.slot(&change.id);
                (slot, self.version(slot))
            });
            self.writes.push(wave.collect());
        }
        let order = Order::of_removal(&items(&deletes));
        for step in steps(&order, &deletes) {
            let wave = step.iter().map(|change| {
                let slot = catalog.slot(&change.id);
                (slot, view[slot].live.map(|live| live.uid))
            });
            self.deletes.push(wave.collect());
        }
        for change in &writes {
            if self.inventory.get(&change.id).is_none() {
                let slot = catalog.slot(&change.id);
                self.untried.insert(slot, change.id.clone());
            }
        }
        // Removed entries are written with the result.
        if !self.inventory.intend(&writes) {
            self.phase = Phase::Write(0);
        }
        Ok(())
    }

    fn version(&self, slot: Slot) -> u8 {
        let wanted = self.wanted.iter().find(|(wanted, _)| *wanted == slot);
        wanted.map_or(0, |(_, version)| *version)
    }

    /// Compares what is wanted with what was applied and what is seen.
    fn action(&self, catalog: &Catalog, slot: Slot, version: u8, seen: Seen) -> Action {
        let Some(live) = seen.live.filter(|live| live.labelled) else {
            return Action::Create;
        };
        if is_recorded(catalog, &self.inventory, (slot, version), live) {
            Action::Unchanged
        } else {
            Action::Update
        }
    }

    /// Sends no further requests. Those in flight are waited for.
    pub(crate) fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// Returns what to do, at the beginning and after each answer.
    pub(crate) fn next(&mut self) -> Next {
        loop {
            if self.outstanding > 0 {
                return Next::Wait;
            }
            let stops = self.cancelled || self.failed.is_some();
            let requests = match &self.phase {
                Phase::Over => return Next::Over(self.outcome()),
                Phase::Known(_) | Phase::Intend if stops => {
                    self.phase = Phase::Over;
                    continue;
                }
                Phase::Read(work) => {
                    self.phase = Phase::Known(*work);
                    vec![Request::Read]
                }
                Phase::Known(work) => return Next::Begin(*work),
                Phase::Intend => {
                    self.phase = Phase::Write(0);
                    vec![self.status(None)]
                }
                Phase::Write(_) | Phase::Delete(_) if stops => {
                    self.forget_the_untried();
                    self.phase = Phase::Conclude;
                    continue;
                }
                Phase::Write(wave) => {
                    let wave = *wave;
                    let Some(writes) = self.writes.get(wave) else {
                        self.phase = Phase::Delete(0);
                        continue;
                    };
                    for (slot, _) in writes {
                        self.untried.remove(slot);
                    }
                    let requests = writes
                        .iter()
                        .map(|(slot, version)| Request::Apply {
                            slot: *slot,
                            version: *version,
                        })
                        .collect();
                    self.phase = Phase::Write(wave + 1);
                    requests
                }
                Phase::Delete(wave) => {
                    let wave = *wave;
                    let Some(deletes) = self.deletes.get(wave) else {
                        self.phase = Phase::Conclude;
                        continue;
                    };
                    let requests = deletes
                        .iter()
                        .map(|(slot, uid)| Request::Delete {
                            slot: *slot,
                            uid: *uid,
                        })
                        .collect();
                    self.phase = Phase::Delete(wave + 1);
                    requests
                }
                Phase::Conclude => {
                    self.phase = if self.revision.is_none() && !stops {
                        Phase::Finalize
                    } else {
                        Phase::Over
                    };
                    let converged = self.revision.filter(|_| !stops);
                    let converged = converged.map(|revision| (self.resource.generation, revision));
                    let same = self.inventory == *self.resource.inventory
                        && (converged.is_none() || converged == self.resource.converged);
                    if same {
                        continue;
                    }
                    vec![self.status(converged)]
                }
                Phase::Finalize => {
                    self.phase = Phase::Over;
                    if stops {
                        continue;
                    }
                    vec![Request::DropFinalizer {
                        version: self.resource.version,
                    }]
                }
            };
            self.outstanding = requests.len();
            if self.outstanding > 0 {
                return Next::Send(requests);
            }
        }
    }

    /// Drops intentions for which nothing was sent, if it is known that the intentions were written.
    fn forget_the_untried(&mut self) {
        let untried = std::mem::take(&mut self.untried);
        if self.unsure {
            return;
        }
        for id in untried.values() {
            self.inventory.remove(id);
        }
    }

    fn status(&self, converged: Option<(i64, u32)>) -> Request {
        Request::Status {
            before: Box::new(self.resource.clone()),
            inventory: Arc::new(self.inventory.clone()),
            converged,
        }
    }

    /// Records the final answer to a request, after which the request is not sent again.
    pub(crate) fn answered(&mut self, catalog: &Catalog, request: &Request, answer: &Answer) {
        self.outstanding -= 1;
        match (request, answer) {
            (Request::Apply { slot, version }, Answer::Applied(live)) => {
                self.inventory
                    .insert(entry(catalog, *slot, *version, *live));
            }
            (Request::Delete { slot, .. }, Answer::Deleted { .. } | Answer::Gone) => {
                self.inventory.remove(catalog.id(*slot));
            }
            (Request::Read, Answer::Found(found)) => self.found(found.as_ref()),
            (Request::Status { .. }, Answer::Written(resource)) => self.resource = resource.clone(),
            (Request::DropFinalizer { .. }, Answer::Deleted { .. } | Answer::Gone) => {}
            // The request may have been carried out.
            (Request::Status { .. } | Request::DropFinalizer { .. }, _) => {
                (self.unsure, self.failed) = (true, Some(Retry::Backoff));
            }
            _ => self.failed = Some(Retry::Backoff),
        }
    }

    /// Records the Application as it is. If it is gone or is another one, there is nothing to do: the watch will report it.
    fn found(&mut self, found: Option<&Resource>) {
        match found.filter(|found| found.uid == self.resource.uid) {
            Some(found) => (self.resource, self.unsure) = (found.clone(), false),
            None => self.phase = Phase::Over,
        }
    }

    fn outcome(&self) -> Outcome {
        match self.failed {
            Some(retry) => Outcome::Failed(retry),
            None if self.cancelled => Outcome::Cancelled,
            None => Outcome::Done,
        }
    }
}

fn items(changes: &[Change]) -> Vec<Item> {
    let item = |change: &Change| Item {
        id: change.id.clone(),
        links: Links::default(),
        defines: None,
    };
    changes.iter().map(item).collect()
}

/// Returns what can be done at the same time, step by step.
fn steps<'a>(order: &Order, changes: &'a [Change]) -> Vec<Vec<&'a Change>> {
    let changes: BTreeMap<_, _> = changes.iter().map(|change| (&change.id, change)).collect();
    let mut schedule = Schedule::new(order, &changes.keys().copied().collect(), Usable::Written);
    let mut steps = Vec::new();
    loop {
        let tasks = schedule.take();
        if tasks.is_empty() {
            return steps;
        }
        let step = tasks.iter().map(|task| changes[schedule.object(*task)]);
        steps.push(step.collect());
        for task in tasks {
            schedule.done(task);
        }
    }
}

/// Returns whether an inventory records an object as it is, and as a version wants it.
pub(crate) fn is_recorded(
    catalog: &Catalog,
    inventory: &Inventory,
    (slot, version): (Slot, u8),
    live: Live,
) -> bool {
    inventory.get(catalog.id(slot)).is_some_and(|entry| {
        entry.desired == Some(catalog.desired(slot, version))
            && entry.stored == Some(catalog.stored(slot, live.content))
            && entry.uid.as_deref() == Some(&*uid_text(live.uid))
    })
}

pub(crate) fn uid_text(uid: u32) -> String {
    format!("{uid:08x}")
}

fn entry(catalog: &Catalog, slot: Slot, version: u8, live: Live) -> Entry {
    let desired: Digest = catalog.desired(slot, version);
    Entry {
        uid: Some(uid_text(live.uid)),
        desired: Some(desired),
        stored: Some(catalog.stored(slot, Content::Version(version))),
        ..Entry::intended(catalog.id(slot), "v1")
    }
}
