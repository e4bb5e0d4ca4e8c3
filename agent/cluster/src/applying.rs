//! Turns an approved plan into the state of the cluster.
//!
//! What is about to be created is recorded first. Then objects are written as their order allows, and what left the source is
//! deleted in reverse order. Whatever fails, the inventory ends up saying what is true.
//!
//! If the release has hooks, those of the event before it run once namespaces and definitions exist, and before anything else is
//! written. Those of the event after it run in [`Applier::complete`], when everything is healthy.

mod hooks;
mod logs;
mod one;
mod ordered;
mod part;
mod removal;

use self::{ordered::is_write, part::Run};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use pintle_core::{
    check::Approved,
    hook::HookEvent,
    inventory::{Entry, Inventory},
    machine::Retry,
    object::ObjectId,
    order::{Tier, Usable},
    plan::{Action, Change, Summary},
};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    connection::Connection,
    discovery::{Discovery, Kinds},
    prepare::Prepared,
    rejection::{ObjectFailure, WriteError, lines, retry},
    release::Release,
    store::{InventoryStore, StoreError},
    tracker::{Judge, Tracker, Unsettled},
};

/// Something that happens while a plan is applied.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// Applying begins, with the number of objects to write and to delete.
    Started {
        /// The number of objects to create, update or replace.
        writes: usize,
        /// The number of objects to delete.
        deletions: usize,
    },
    /// An object was written.
    Written {
        /// The object.
        id: &'a ObjectId,
        /// What was done.
        action: Action,
        /// The object as the server holds it now.
        live: &'a Value,
    },
    /// An object's deletion was accepted, or the object was already gone.
    Deleted {
        /// The object.
        id: &'a ObjectId,
    },
    /// An object is not healthy yet, and others wait for that before they are written.
    Settling {
        /// The object and its state.
        object: &'a Unsettled,
    },
    /// Something has to happen before the next objects can be written.
    Waiting {
        /// The object that is waited for.
        id: &'a ObjectId,
        /// What is waited for, as a fragment: `to be established`.
        what: &'static str,
    },
    /// The hooks of an event begin.
    Hooks {
        /// The event.
        event: HookEvent,
        /// How many hooks there are, including those that have succeeded before.
        count: usize,
    },
    /// A hook has ended.
    HookEnded {
        /// Its object.
        id: &'a ObjectId,
        /// The event at which it ran.
        event: HookEvent,
        /// Why it failed; `None` if it succeeded.
        failure: Option<&'a str>,
    },
    /// What a hook's container wrote.
    Log {
        /// The hook's object.
        id: &'a ObjectId,
        /// `POD/CONTAINER`, or the Job if no pod can be read.
        origin: &'a str,
        /// The end of its log, or why the log cannot be read.
        text: &'a str,
    },
    /// An object could not be written or deleted.
    Failed {
        /// The object.
        id: &'a ObjectId,
        /// The reason.
        error: &'a WriteError,
    },
}

/// A receiver of progress reports while a plan is applied. Called from several tasks; it must not block.
pub trait Progress: Send + Sync {
    /// Receives a step.
    fn step(&self, step: Step<'_>);

    /// Returns whether logs of hooks are wanted; otherwise they are not read.
    fn wants_logs(&self) -> bool {
        false
    }
}

/// Ignores all progress reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: Step<'_>) {}
}

/// The result of applying a plan.
#[derive(Debug, Clone)]
pub struct Applied {
    /// What is in the cluster now.
    pub inventory: Inventory,
    /// A summary of the plan.
    pub summary: Summary,
}

/// Why a plan was not applied in full. What was written is in the inventory.
#[derive(Debug)]
pub struct ApplyError {
    /// Objects that were not written or deleted.
    pub failures: Vec<ObjectFailure>,
    /// Why the inventory could not be kept.
    pub store: Option<Box<StoreError>>,
    /// Whether it was asked to stop.
    pub cancelled: bool,
    /// What is in the cluster now, as far as is known.
    pub inventory: Inventory,
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.store {
            Some(error) if self.failures.is_empty() => error.fmt(f),
            Some(error) => write!(f, "{}\n{error}", lines(&self.failures)),
            None if self.failures.is_empty() => f.write_str("it was asked to stop"),
            None => f.write_str(&lines(&self.failures)),
        }
    }
}

impl std::error::Error for ApplyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.store.as_ref().and_then(std::error::Error::source)
    }
}

impl ApplyError {
    /// Returns when a retry is worthwhile.
    pub fn retry(&self) -> Retry {
        match &self.store {
            Some(error) if error.is_retryable() => Retry::Backoff,
            _ if self.cancelled => Retry::Backoff,
            Some(_) if self.failures.is_empty() => Retry::OnChange,
            _ => retry(&self.failures),
        }
    }
}

/// What applying needs besides the plan.
pub(crate) struct Applier<'a> {
    /// The connection that acts as the release's account.
    pub(crate) connection: &'a Connection,
    /// The connection under its own identity, for watches.
    pub(crate) own: &'a Connection,
    /// The connection to the cluster where the hooks for removals are kept.
    pub(crate) home: &'a Connection,
    pub(crate) discovery: &'a Discovery,
    pub(crate) tracker: Option<Tracker>,
    pub(crate) release: &'a Release,
    pub(crate) manager: String,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) prepared: &'a Prepared,
    /// Judges the objects of hooks that do not end by themselves.
    pub(crate) judge: Option<&'a dyn Judge>,
    /// Distinguishes runs of hooks that a person requested; empty for all others.
    pub(crate) attempt: &'a str,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) cancel: &'a CancellationToken,
    /// The group and kind of each definition that this plan has written, with the time at which it was established.
    pub(crate) established: Mutex<BTreeMap<(String, String), Instant>>,
}

/// The outcome for one object.
struct Done<'a> {
    change: &'a Change,
    /// The new entry, if the object was written, even if something failed afterwards.
    entry: Option<Entry>,
    /// `None` if it was not tried because of a cancellation.
    result: Option<Result<(), WriteError>>,
}

impl Applier<'_> {
    /// Applies a plan. `planned` is the inventory as planning left it.
    pub(crate) async fn apply(
        &self,
        approved: &Approved,
        planned: Inventory,
        store: &mut dyn InventoryStore,
    ) -> Result<Applied, ApplyError> {
        let plan = approved.plan();
        let changes = |wanted: &dyn Fn(&Change) -> bool| -> Vec<&Change> {
            let objects = plan.changes().iter().filter(|change| !change.is_hook());
            objects.filter(|change| wanted(change)).collect()
        };
        let writes = changes(&|change| is_write(change.action));
        let deletions = changes(&|change| change.action == Action::Delete);
        let mut run = Run::new(planned);
        self.progress.step(Step::Started {
            writes: writes.len(),
            deletions: deletions.len(),
        });
        let events = run
            .inventory
            .release
            .as_ref()
            .map(|record| record.events(self.release.is_removal()))
            .unwrap_or_default();
        let before = events
            .first()
            .copied()
            .filter(|event| self.has_hooks(*event));
        let (first, rest): (Vec<&Change>, Vec<&Change>) = writes
            .into_iter()
            .partition(|change| before.is_some() && Tier::of(&change.id).blocks());
        self.write_part(&first, Usable::Written, &mut run, store)
            .await;
        if let Some(event) = before {
            self.run_hooks(event, &mut run, store).await;
        }
        self.keep_removal_hooks(approved, &mut run).await;
        self.write_part(&rest, Usable::Settled, &mut run, store)
            .await;
        if run.is_well() && run.inventory.is_confirmed_beyond(store.inventory()) {
            // A run that is interrupted would have to ask again about the deletions that are left.
            run.keep_now(store).await;
        }
        if run.is_well() {
            self.delete_all(&deletions, &mut run, store).await;
        }
        if self.release.is_removal() {
            self.after_removal(&deletions, &mut run, store).await;
        }
        run.finish_with(store, plan.summary()).await
    }

    /// Writes objects. If the inventory does not know some of them yet, it is recorded first.
    async fn write_part(
        &self,
        writes: &[&Change],
        usable: Usable,
        run: &mut Run,
        store: &mut dyn InventoryStore,
    ) {
        if !run.is_well() {
            return;
        }
        run.intend(writes);
        if run.grown {
            run.keep_now(store).await;
        }
        if run.is_well() {
            if let Some(tracker) = &self.tracker {
                tracker.reserve(&self.release.application, run.inventory.ids());
            }
            self.write_all(writes, usable, run, store).await;
        }
    }
}
