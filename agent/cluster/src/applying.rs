//! From an approved plan to what the cluster holds.
//!
//! What is about to be made is recorded first; then objects are written as their order allows; then what
//! left the source is deleted, the other way round; and the inventory always ends up saying what is true, whatever failed.
//!
//! Where the release has hooks, those of the event before it run when namespaces and definitions are there, and before
//! anything else is written. Those of the event after it are for [`Applier::complete`], when all is healthy.

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
    /// It begins: so many objects will be written, and so many deleted.
    Started {
        /// Objects to create, update or replace.
        writes: usize,
        /// Objects to delete.
        deletions: usize,
    },
    /// An object was written.
    Written {
        /// Which object.
        id: &'a ObjectId,
        /// What was done.
        action: Action,
        /// The object as the server holds it now.
        live: &'a Value,
    },
    /// An object's deletion was accepted, or it was gone already.
    Deleted {
        /// Which object.
        id: &'a ObjectId,
    },
    /// An object is not healthy yet, and others wait for that before they are written.
    Settling {
        /// Which object, and how it is.
        object: &'a Unsettled,
    },
    /// Something is awaited before the next objects.
    Waiting {
        /// Which object.
        id: &'a ObjectId,
        /// What for, as a fragment: `to be established`.
        what: &'static str,
    },
    /// The hooks of an event begin.
    Hooks {
        /// At which event.
        event: HookEvent,
        /// How many there are, those that have succeeded before included.
        count: usize,
    },
    /// A hook has ended.
    HookEnded {
        /// Its object.
        id: &'a ObjectId,
        /// At which event it ran.
        event: HookEvent,
        /// Why it failed; nothing if it succeeded.
        failure: Option<&'a str>,
    },
    /// What a hook's container wrote.
    Log {
        /// The hook's object.
        id: &'a ObjectId,
        /// `POD/CONTAINER`, or the Job where no pod can be read.
        origin: &'a str,
        /// The end of its log, or why it cannot be read.
        text: &'a str,
    },
    /// An object could not be written or deleted.
    Failed {
        /// Which object.
        id: &'a ObjectId,
        /// Why.
        error: &'a WriteError,
    },
}

/// Who is told while a plan is applied. Called from several tasks; it must not block.
pub trait Progress: Send + Sync {
    /// Takes notice of a step.
    fn step(&self, step: Step<'_>);

    /// Says whether logs of hooks are wanted; they are not read otherwise.
    fn wants_logs(&self) -> bool {
        false
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: Step<'_>) {}
}

/// What was done.
#[derive(Debug, Clone)]
pub struct Applied {
    /// What is in the cluster now.
    pub inventory: Inventory,
    /// What the plan came to.
    pub summary: Summary,
}

/// Why a plan was not applied as a whole. What was written is in the inventory.
#[derive(Debug)]
pub struct ApplyError {
    /// Objects that were not written or deleted.
    pub failures: Vec<ObjectFailure>,
    /// The inventory that could not be kept.
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
    /// Says when trying again is worthwhile.
    pub fn retry(&self) -> Retry {
        match &self.store {
            Some(error) if error.is_retryable() => Retry::Backoff,
            _ if self.cancelled => Retry::Backoff,
            Some(_) if self.failures.is_empty() => Retry::OnChange,
            _ => retry(&self.failures),
        }
    }
}

/// What applying needs beside the plan.
pub(crate) struct Applier<'a> {
    /// Acts in the release's name.
    pub(crate) connection: &'a Connection,
    /// Acts in one's own name: watches.
    pub(crate) own: &'a Connection,
    /// Where the hooks for removals are kept.
    pub(crate) home: &'a Connection,
    pub(crate) discovery: &'a Discovery,
    pub(crate) tracker: Option<Tracker>,
    pub(crate) release: &'a Release,
    pub(crate) manager: String,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) prepared: &'a Prepared,
    /// Judges the objects of hooks that do not end by themselves.
    pub(crate) judge: Option<&'a dyn Judge>,
    /// Tells apart runs of hooks that a person asks for; empty for all others.
    pub(crate) attempt: &'a str,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) cancel: &'a CancellationToken,
    /// Group and kind of the definitions that were written by this plan, each with the moment at which it was established.
    pub(crate) established: Mutex<BTreeMap<(String, String), Instant>>,
}

/// What came of one object.
struct Done<'a> {
    change: &'a Change,
    /// The new entry, if the object was written, even if something failed afterwards.
    entry: Option<Entry>,
    /// Nothing if it was not tried because of a cancellation.
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
            // A run that is interrupted would have to ask again for what is left of them.
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

    /// Writes objects, those of which the inventory does not know yet after it does.
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
