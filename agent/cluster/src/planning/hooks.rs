//! The hooks that a plan runs, and those that it keeps for the removal.

use futures::{FutureExt as _, StreamExt as _, stream};
use pintle_core::{
    hook::{HookDeletion, HookEvent, completes},
    inventory::{Entry, Inventory},
    plan::{Action, Change},
    prune::ProtectedKind,
    release::{Candidate, ReleaseRecord},
};

use super::{
    PlannedObject, Planner, WIDTH, change,
    live::{Live, Owned},
};
use crate::{
    ownership::may_run_hook,
    prepare::PreparedObject,
    rejection::{ObjectFailure, WriteError},
    release::Purpose,
    removal_hooks,
};

impl Planner<'_> {
    /// Returns the record of the release that is planned; `None` for a removal without a known record.
    pub(super) fn record(&self, inventory: &Inventory) -> Option<ReleaseRecord> {
        if self.release.is_removal() {
            return inventory.release.clone();
        }
        let is_there = inventory.entries().any(|entry| entry.uid.is_some());
        let rollback = [HookEvent::PreRollback, HookEvent::PostRollback];
        let mut hooks = self.prepared.hooks().iter();
        let render = Candidate {
            rendered: self.prepared.rendered(),
            tells_rollbacks: hooks
                .any(|object| rollback.into_iter().any(|event| object.is_hook_of(event))),
        };
        Some(ReleaseRecord::next(
            inventory.release.as_ref(),
            is_there,
            render,
        ))
    }

    /// Returns the hooks that still have to run for a release, each with what it finds in the cluster, and the hooks to keep for
    /// the removal.
    pub(super) async fn hooks(
        &self,
        record: Option<&ReleaseRecord>,
        inventory: &Inventory,
    ) -> Vec<Result<PlannedObject, ObjectFailure>> {
        let Some(record) = record else {
            return Vec::new();
        };
        let events = if self.release.purpose == Purpose::Test {
            vec![HookEvent::Test]
        } else {
            record.events(self.release.is_removal())
        };
        let keeps = self.keeps_hooks(record);
        let looks: Vec<_> = self
            .prepared
            .hooks()
            .iter()
            .filter_map(|object| {
                let hook = object.hook.as_ref()?;
                let due = record.due(&events, object.id(), hook, object.desired);
                let is_kept = keeps && hook.is_for_removal();
                (is_kept || !due.is_empty()).then(|| {
                    async move {
                        let mut planned = if due.is_empty() {
                            PlannedObject::of(kept(object))
                        } else {
                            self.look_at_hook(object, inventory.get(object.id()))
                                .await?
                        };
                        let change = &mut planned.change;
                        change.hook = due;
                        if is_kept {
                            change.hook.extend(hook.removal_events());
                            change.for_removal = Some(Box::new(hook.clone()));
                        }
                        Ok(planned)
                    }
                    .boxed()
                })
            })
            .collect();
        stream::iter(looks).buffer_unordered(WIDTH).collect().await
    }

    /// Returns whether there are removal hooks that have to be kept and are not kept yet. They belong in the plan although
    /// nothing is created from them now: a later removal asks no policy.
    fn keeps_hooks(&self, record: &ReleaseRecord) -> bool {
        self.release.purpose == Purpose::Converge
            && removal_hooks::digest(self.release, self.prepared)
                .is_some_and(|wanted| record.removal_hooks != Some(wanted))
    }

    async fn look_at_hook(
        &self,
        object: &PreparedObject,
        entry: Option<&Entry>,
    ) -> Result<PlannedObject, ObjectFailure> {
        let result = self.planned_hook(object, entry).await;
        result.map_err(|error| ObjectFailure {
            id: object.id().clone(),
            position: object.source.clone(),
            error,
        })
    }

    async fn planned_hook(
        &self,
        object: &PreparedObject,
        entry: Option<&Entry>,
    ) -> Result<PlannedObject, WriteError> {
        let live = if self.is_out_of_sight(object) {
            None
        } else {
            self.read(object).await?
        };
        let Some(live) = live else {
            return self.create(object).await;
        };
        may_run_hook(&live, self.release, object, entry).await?;
        let live = Live::new(live, object, self.release);
        let action = if is_deleted_first(object) {
            Action::Replace
        } else {
            Action::Update
        };
        let mut change = change(object, action);
        let owned = live.owned_with(object);
        change.before = owned.before;
        change.after = Owned::of_new(object);
        change.live = Some(live.into_value());
        Ok(PlannedObject::of(change))
    }
}

/// Returns the change for a hook that is kept and not run. What is in its place now does not matter: that is examined when the
/// application is removed.
fn kept(object: &PreparedObject) -> Change {
    let mut change = change(object, Action::Keep);
    change.after = Owned::of_new(object);
    change
}

/// Returns whether what an earlier run left is deleted before the next one.
fn is_deleted_first(object: &PreparedObject) -> bool {
    let asks = object
        .hook
        .as_ref()
        .is_some_and(|hook| hook.is_deleted(HookDeletion::BeforeCreation));
    !ProtectedKind::outlives_hooks(object.id()) && (asks || completes(object.id()))
}
