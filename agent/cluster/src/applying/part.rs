//! The state while a plan is applied.

use std::collections::BTreeSet;

use pintle_core::{
    inventory::Inventory,
    object::ObjectId,
    plan::{Change, Summary},
    problem::Position,
};

use super::{Applied, ApplyError, Done, Progress, Step};
use crate::{
    rejection::{ObjectFailure, WriteError},
    store::{InventoryStore, StoreError, Urgency},
};

/// The state while a plan is applied.
pub(super) struct Run {
    pub(super) inventory: Inventory,
    /// Why the inventory could not be kept.
    store: Option<StoreError>,
    /// Whether the intention adds anything.
    pub(super) grown: bool,
    /// Entries that exist only because of the intention, until their objects have been tried.
    untried: BTreeSet<ObjectId>,
    /// Objects whose deletion was awaited and that are gone.
    pub(super) gone: BTreeSet<ObjectId>,
    pub(super) failures: Vec<ObjectFailure>,
    pub(super) cancelled: bool,
}

impl Run {
    pub(super) fn new(inventory: Inventory) -> Self {
        Self {
            store: None,
            inventory,
            grown: false,
            untried: BTreeSet::new(),
            gone: BTreeSet::new(),
            failures: Vec::new(),
            cancelled: false,
        }
    }

    pub(super) fn intend(&mut self, writes: &[&Change]) {
        let new = writes
            .iter()
            .filter(|change| self.inventory.get(&change.id).is_none());
        self.untried.extend(new.map(|change| change.id.clone()));
        self.grown = self.inventory.intend(writes.iter().copied());
    }

    pub(super) fn written(&mut self, done: Done<'_>, progress: &dyn Progress) {
        let id = &done.change.id;
        if let Some(entry) = done.entry {
            self.untried.remove(id);
            self.inventory.insert(entry);
        }
        match done.result {
            None => self.cancelled = true,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                // Only a clear refusal means that nothing was created.
                if matches!(error, WriteError::Request(_)) {
                    self.untried.remove(id);
                }
                self.failed(done.change, error, progress);
            }
        }
    }

    pub(super) fn deleted(&mut self, done: Done<'_>, progress: &dyn Progress) {
        match done.result {
            None => self.cancelled = true,
            Some(Ok(())) => {
                self.inventory.remove(&done.change.id);
            }
            Some(Err(error)) => self.failed(done.change, error, progress),
        }
    }

    pub(super) fn failed(&mut self, change: &Change, error: WriteError, progress: &dyn Progress) {
        self.failed_object(&change.id, change.source.clone(), error, progress);
    }

    pub(super) fn failed_object(
        &mut self,
        id: &ObjectId,
        position: Option<Position>,
        error: WriteError,
        progress: &dyn Progress,
    ) {
        progress.step(Step::Failed { id, error: &error });
        self.failures.push(ObjectFailure {
            id: id.clone(),
            position,
            error,
        });
    }

    /// Drops intentions for which nothing was sent.
    fn forget_the_untried(&mut self) {
        for id in std::mem::take(&mut self.untried) {
            self.inventory.remove(&id);
        }
    }

    /// Returns whether the next step may begin.
    pub(super) fn is_well(&self) -> bool {
        self.failures.is_empty() && !self.cancelled && self.store.is_none()
    }

    /// Keeps the inventory before anything else is done.
    pub(super) async fn keep_now(&mut self, store: &mut dyn InventoryStore) {
        self.store = store.keep(&self.inventory, Urgency::Now).await.err();
    }

    /// Finishes with the inventory kept, and returns the overall result.
    pub(super) async fn finish_with(
        mut self,
        store: &mut dyn InventoryStore,
        summary: Summary,
    ) -> Result<Applied, ApplyError> {
        self.forget_the_untried();
        if self.store.is_none() {
            self.store = store.keep(&self.inventory, Urgency::WithResult).await.err();
        }
        if self.is_well() {
            return Ok(Applied {
                inventory: self.inventory,
                summary,
            });
        }
        self.failures.sort_by(|a, b| a.id.cmp(&b.id));
        Err(ApplyError {
            failures: self.failures,
            store: self.store.map(Box::new),
            cancelled: self.cancelled,
            inventory: self.inventory,
        })
    }
}
