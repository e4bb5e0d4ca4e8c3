//! From an approved plan to what the cluster holds.
//!
//! What is about to be made is recorded first; then objects are written in waves, those of one wave together; then what
//! left the source is deleted; and the inventory always ends up saying what is true, whatever failed.

mod one;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
};

use futures::{FutureExt as _, StreamExt as _, stream};
use pintle_core::{
    check::Approved,
    inventory::{Entry, Inventory},
    machine::Retry,
    object::ObjectId,
    order,
    plan::{Action, Change, Summary},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    connection::Connection,
    discovery::{Discovery, Kinds},
    planning::WIDTH,
    rejection::{ObjectFailure, WriteError, lines, retry},
    release::Release,
    store::{InventoryStore, StoreError, Urgency},
    tracker::Tracker,
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
    /// Something is awaited before the next objects.
    Waiting {
        /// Which object.
        id: &'a ObjectId,
        /// What for, as a fragment: `to be established`.
        what: &'static str,
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
    pub(crate) discovery: &'a Discovery,
    pub(crate) tracker: Option<&'a Tracker>,
    pub(crate) release: &'a Release,
    pub(crate) manager: String,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) cancel: &'a CancellationToken,
    /// Group and kind of the definitions that were established by this plan.
    pub(crate) established: Mutex<BTreeSet<(String, String)>>,
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
        let writes: Vec<&Change> = plan
            .changes()
            .iter()
            .filter(|change| is_write(change.action))
            .collect();
        let deletions: Vec<&Change> = plan
            .changes()
            .iter()
            .filter(|change| change.action == Action::Delete)
            .collect();
        let mut run = Run::new(planned);
        self.progress.step(Step::Started {
            writes: writes.len(),
            deletions: deletions.len(),
        });
        run.intend(&writes);
        if run.grown
            && let Err(error) = store.keep(&run.inventory, Urgency::Now).await
        {
            return Err(run.aborted(error));
        }
        self.write_all(&writes, &mut run).await;
        if run.failures.is_empty() && !run.cancelled {
            self.delete_all(&deletions, &mut run).await;
        }
        run.forget_the_untried();
        let kept = store.keep(&run.inventory, Urgency::WithResult).await;
        run.finish(kept.err(), plan.summary())
    }

    async fn write_all(&self, writes: &[&Change], run: &mut Run) {
        for (_, wave) in order::waves(writes.iter().copied()) {
            let known = &run.inventory;
            let writes: Vec<_> = wave
                .into_iter()
                .map(|change| self.write(change, known.get(&change.id)).boxed())
                .collect();
            let done: Vec<Done<'_>> = stream::iter(writes).buffer_unordered(WIDTH).collect().await;
            for done in done {
                run.written(done, self.progress);
            }
            // What comes later may need what failed.
            if run.cancelled || !run.failures.is_empty() {
                return;
            }
        }
    }

    async fn delete_all(&self, deletions: &[&Change], run: &mut Run) {
        let going: BTreeSet<&ObjectId> = deletions.iter().map(|change| &change.id).collect();
        for (_, wave) in order::deletion_waves(deletions.iter().copied()) {
            let (known, going) = (&run.inventory, &going);
            let deletions: Vec<_> = wave
                .into_iter()
                .map(|change| self.delete(change, known.get(&change.id), going).boxed())
                .collect();
            let done: Vec<Done<'_>> = stream::iter(deletions)
                .buffer_unordered(WIDTH)
                .collect()
                .await;
            for done in done {
                run.deleted(done, self.progress);
            }
            if run.cancelled || !run.failures.is_empty() {
                return;
            }
        }
    }
}

fn is_write(action: Action) -> bool {
    matches!(action, Action::Create | Action::Update | Action::Replace)
}

/// What is true while a plan is applied.
struct Run {
    inventory: Inventory,
    /// Whether the intention adds anything.
    grown: bool,
    /// Entries that exist only because of the intention, until their objects were tried.
    untried: BTreeSet<ObjectId>,
    failures: Vec<ObjectFailure>,
    cancelled: bool,
}

impl Run {
    fn new(inventory: Inventory) -> Self {
        Self {
            inventory,
            grown: false,
            untried: BTreeSet::new(),
            failures: Vec::new(),
            cancelled: false,
        }
    }

    fn intend(&mut self, writes: &[&Change]) {
        let new = writes
            .iter()
            .filter(|change| self.inventory.get(&change.id).is_none());
        self.untried = new.map(|change| change.id.clone()).collect();
        self.grown = self.inventory.intend(writes.iter().copied());
    }

    fn written(&mut self, done: Done<'_>, progress: &dyn Progress) {
        let id = &done.change.id;
        if let Some(entry) = done.entry {
            self.untried.remove(id);
            self.inventory.insert(entry);
        }
        match done.result {
            None => self.cancelled = true,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                // Only a clear refusal says that nothing was made.
                if matches!(error, WriteError::Request(_)) {
                    self.untried.remove(id);
                }
                self.failed(done.change, error, progress);
            }
        }
    }

    fn deleted(&mut self, done: Done<'_>, progress: &dyn Progress) {
        match done.result {
            None => self.cancelled = true,
            Some(Ok(())) => {
                self.inventory.remove(&done.change.id);
            }
            Some(Err(error)) => self.failed(done.change, error, progress),
        }
    }

    fn failed(&mut self, change: &Change, error: WriteError, progress: &dyn Progress) {
        progress.step(Step::Failed {
            id: &change.id,
            error: &error,
        });
        self.failures.push(ObjectFailure {
            id: change.id.clone(),
            position: change.source.clone(),
            error,
        });
    }

    /// Drops intentions that nothing was sent for.
    fn forget_the_untried(&mut self) {
        for id in std::mem::take(&mut self.untried) {
            self.inventory.remove(&id);
        }
    }

    fn aborted(self, error: StoreError) -> ApplyError {
        ApplyError {
            failures: Vec::new(),
            store: Some(Box::new(error)),
            cancelled: false,
            inventory: self.inventory,
        }
    }

    fn finish(
        mut self,
        store: Option<StoreError>,
        summary: Summary,
    ) -> Result<Applied, ApplyError> {
        if self.failures.is_empty() && !self.cancelled && store.is_none() {
            return Ok(Applied {
                inventory: self.inventory,
                summary,
            });
        }
        self.failures.sort_by(|a, b| a.id.cmp(&b.id));
        Err(ApplyError {
            failures: self.failures,
            store: store.map(Box::new),
            cancelled: self.cancelled,
            inventory: self.inventory,
        })
    }
}
