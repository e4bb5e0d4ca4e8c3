//! The end of a removal: the hooks that run when everything is gone, and the deletion of what its hooks have left.

use std::time::Instant;

use pintle_core::{
    hook::HookEvent,
    inventory::Entry,
    plan::Change,
    prune::{ProtectedKind, Wish, reason_to_keep},
};

use super::{Applier, Run};
use crate::{
    departure::Departure,
    finding::find,
    objects::Preconditions,
    ownership::is_ours,
    rejection::{ObjectFailure, WriteError},
    request::RequestError,
    store::InventoryStore,
};

impl Applier<'_> {
    /// Once the objects are gone, runs the hooks of the event after that and deletes what hooks have left.
    pub(super) async fn after_removal(
        &self,
        deletions: &[&Change],
        run: &mut Run,
        store: &mut dyn InventoryStore,
    ) {
        if self.has_hooks(HookEvent::PostDelete) && run.is_well() {
            let mut awaited = deletions.to_vec();
            // Objects that others come after were awaited before those others were deleted.
            awaited.retain(|change| !run.gone.contains(&change.id));
            for (place, change) in awaited.iter().enumerate() {
                let away = self.cancel.run_until_cancelled(self.away(change)).await;
                if matches!(away, Some(Ok(()))) {
                    continue;
                }
                // The next attempt has to wait for them, too.
                for entry in awaited[place..].iter().filter_map(|one| deleted(one)) {
                    run.inventory.insert(entry);
                }
                match away {
                    Some(Err(error)) => run.failures.push(ObjectFailure {
                        id: change.id.clone(),
                        position: None,
                        error,
                    }),
                    _ => run.cancelled = true,
                }
                return;
            }
            self.run_hooks(HookEvent::PostDelete, run, store).await;
        }
        if run.is_well() {
            self.sweep(run).await;
        }
    }

    /// Waits until an object that was deleted is gone.
    pub(super) async fn away(&self, change: &Change) -> Result<(), WriteError> {
        let Some(entry) = deleted(change) else {
            return Ok(());
        };
        let Ok(resource) = self.resource_to_delete(change) else {
            // Its definition is gone, and all its objects with it.
            return Ok(());
        };
        let (departure, uid) = (Departure::Removal, entry.uid.as_deref());
        self.gone(departure, &resource, &change.id, uid).await
    }

    /// Deletes what the removal's own hooks have left.
    async fn sweep(&self, run: &mut Run) {
        let since = Instant::now();
        for object in self.prepared.hooks() {
            let id = object.id();
            let Some(entry) = run.inventory.get(id).filter(|entry| entry.hook).cloned() else {
                continue;
            };
            if ProtectedKind::outlives_hooks(id) {
                continue;
            }
            match self.sweep_one(&entry, since).await {
                Ok(true) => {
                    run.inventory.remove(id);
                }
                Ok(false) => {}
                Err(error) => run.failures.push(ObjectFailure {
                    id: id.clone(),
                    position: object.source.clone(),
                    error: self.hook_error(error, object),
                }),
            }
        }
    }

    /// Deletes what a hook has left, unless it stays by the rules for other objects: it may be a backup. Returns whether nothing
    /// of the application's is there any more.
    async fn sweep_one(&self, entry: &Entry, since: Instant) -> Result<bool, RequestError> {
        let id = entry.id();
        // Its definition may have been deleted with the objects.
        let found = find(self.connection, self.discovery, entry, since).await?;
        let Some((resource, live)) =
            found.filter(|(_, live)| is_ours(live, self.release, entry.uid.as_deref()))
        else {
            return Ok(true);
        };
        if reason_to_keep(entry, &id, &self.release.prune, Wish::of(&live)).is_some() {
            return Ok(false);
        }
        let preconditions = Preconditions::of_any_state(&live);
        let deleted = self
            .connection
            .delete_object(&resource, &id, &preconditions);
        deleted.await.map(|_| true)
    }
}

/// Returns the inventory entry for an object that was deleted and may still exist: it is no longer managed, and whether it may be
/// deleted is not asked again.
pub(super) fn deleted(change: &Change) -> Option<Entry> {
    let uid = change.live.as_ref()?["metadata"]["uid"].as_str()?;
    Some(Entry {
        uid: Some(uid.to_owned()),
        left: true,
        going: true,
        ..Entry::intended(&change.id, &change.version)
    })
}
