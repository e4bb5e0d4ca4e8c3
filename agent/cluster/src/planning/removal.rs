//! What leaves the cluster: objects of the inventory that the source no longer has.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use futures::{FutureExt as _, StreamExt as _, stream};
use pintle_core::{
    hook::{Hook, HookDeletion},
    inventory::{Entry, Inventory},
    object::ObjectId,
    plan::{Action, Change},
    prune::{self, ProtectedKind, Wish},
};
use serde_json::Value;

use super::{Kept, PlanError, Planner, WIDTH, live::owned_before_deletion};
use crate::{
    connection::Connection,
    discovery::types_of_definition,
    facts::Fact,
    finding::find,
    objects::{Name, condition},
    ownership::is_ours,
    prepare::{PreparedObject, definition_of, is_definition},
    rejection::{ObjectFailure, WriteError},
    removal_hooks,
    request::RequestError,
};

/// How many instances of a definition are examined. A single one that is not about to be deleted is enough to keep the
/// definition.
const INSTANCE_LIMIT: usize = 500;

/// What to do about objects that left the source.
pub(super) struct Removal {
    pub(super) changes: Vec<Change>,
    pub(super) kept: Vec<Kept>,
    /// The inventory without what is already gone or now belongs to someone else.
    pub(super) inventory: Inventory,
}

/// What became of an object that left the source.
enum Leaver {
    /// It still exists and belongs to the application.
    Here(Box<Value>),
    /// It does not exist.
    Gone,
    /// It exists, and now belongs to someone else.
    HandedOver,
    /// It may exist, and is left where it is for this reason.
    OutOfReach(String),
}

/// What was found about the objects that left the source.
#[derive(Default)]
struct Leavers {
    /// Those that exist and belong to the application.
    live: BTreeMap<ObjectId, Value>,
    /// Those that are left where they are, whatever their state.
    out_of_reach: Vec<Kept>,
}

/// What was found about the definitions among the objects that left the source.
#[derive(Default)]
struct Definitions {
    /// Definitions without objects that would stay.
    unused: BTreeSet<ObjectId>,
    /// Definitions whose objects cannot be listed, and why.
    unseen: BTreeMap<ObjectId, RequestError>,
}

impl Planner<'_> {
    /// Decides what is deleted. Reads each candidate first, because its annotations, label and identity count. Objects that are
    /// gone or belong to someone else are forgotten, whether or not anything is deleted.
    pub(super) async fn removals(&self, inventory: &Inventory) -> Result<Removal, PlanError> {
        let mut rendered = ids(self.prepared.objects());
        let mut removal = Removal {
            changes: Vec::new(),
            kept: Vec::new(),
            inventory: inventory.clone(),
        };
        if !self.release.is_removal() {
            // What a hook has left stays for as long as the hook exists.
            let hooks = ids(self.prepared.hooks());
            for entry in inventory.entries().filter(|entry| !entry.hook) {
                if hooks.contains(&entry.id()) {
                    let hook = true;
                    removal.inventory.insert(Entry {
                        hook,
                        ..entry.clone()
                    });
                }
            }
            rendered.extend(hooks);
        }
        let left: Vec<&Entry> = inventory
            .entries()
            .filter(|entry| !rendered.contains(&entry.id()) && self.is_looked_at(entry))
            .collect();
        let leavers = self.look_at_leavers(&left, &mut removal.inventory).await?;
        if !self.release.is_removal() {
            removal.inventory.leave_all_but(&rendered);
        }
        let leaving = newly_left(inventory, &removal.inventory);
        let mut live = leavers.live;
        rendered.extend(leavers.out_of_reach.iter().map(|kept| kept.id.clone()));
        removal.kept = leavers.out_of_reach;
        let definitions = self.look_at_definitions(&live).await;
        let wishes = |id: &ObjectId| {
            let wish = live.get(id).map_or(Wish::None, Wish::of);
            let keeps = inventory.get(id).is_some_and(|entry| entry.keep);
            // A definition without objects takes nothing with it.
            if wish == Wish::None && !keeps && definitions.unused.contains(id) {
                Wish::Allow
            } else {
                wish
            }
        };
        let defines = |id: &ObjectId| definition_of(id, live.get(id)?);
        let (settings, confirmed) = (&self.release.prune, self.release.confirmed_deletions);
        let allows_definitions = settings
            .allow_kinds
            .contains(&ProtectedKind::CustomResourceDefinition);
        let known = &removal.inventory;
        let decide = |rendered: &BTreeSet<ObjectId>| {
            prune::decide(known, rendered, settings, &wishes, &defines, confirmed)
        };
        let mut decided = decide(&rendered);
        let going: Vec<ObjectId> = match &decided {
            Ok(pruning) => pruning.delete.iter().map(Entry::id).collect(),
            Err(refused) => refused.deletions.clone(),
        };
        self.tell_of_leavers(leaving, &going);
        let wanted = self.wanted_by_others(going, &live).await?;
        if !wanted.is_empty() {
            rendered.extend(wanted.iter().map(|kept| kept.id.clone()));
            decided = decide(&rendered);
        }
        let pruning = decided?;
        removal.inventory.confirm(&pruning.confirmed);
        removal.kept.extend(wanted);
        let kept = pruning.keep.into_iter().map(|(entry, reason)| {
            let id = entry.id();
            // The reason that protects all definitions would mislead for one that would be deleted if it had no objects.
            let is_protected = wishes(&id) == Wish::None && !entry.keep && !allows_definitions;
            let unseen = definitions.unseen.get(&id).filter(|_| is_protected);
            let unseen =
                unseen.map(|error| format!("whether it has objects cannot be seen: {error}"));
            Kept {
                id,
                reason: unseen.unwrap_or(reason),
            }
        });
        removal.kept.extend(kept);
        if self.release.is_removal() {
            let kept = self.kept_of_hooks(&removal.inventory);
            removal.kept.extend(kept);
        }
        for entry in pruning.delete {
            let id = entry.id();
            if entry.hook && removal_hooks::goes_last(self.release, self.prepared, &id) {
                continue;
            }
            let live = live.remove(&id);
            removal.changes.push(self.deletion(&entry, id, live));
        }
        Ok(removal)
    }

    /// Returns what hooks of the removal are about to create and leave behind. What they created before is decided on like
    /// everything else.
    fn kept_of_hooks(&self, inventory: &Inventory) -> Vec<Kept> {
        let mut kept = BTreeMap::new();
        for object in self.prepared.hooks() {
            let id = object.id();
            let outlives = ProtectedKind::outlives_hooks(id);
            let is_cleared = |hook: &Hook| !outlives && hook.is_deleted(HookDeletion::Succeeded);
            if inventory.get(id).is_some() || object.hook.as_ref().is_some_and(is_cleared) {
                continue;
            }
            let by_kind = || outlives.then(|| format!("a {} is never deleted as a hook", id.kind));
            let reason = removal_hooks::reason_to_stay(self.release, object).or_else(by_kind);
            if let Some(reason) = reason {
                kept.insert(id.clone(), reason);
            }
        }
        let kept = kept.into_iter();
        kept.map(|(id, reason)| Kept { id, reason }).collect()
    }

    /// Reports objects that have left the source, except those about which other applications are asked anyway.
    fn tell_of_leavers(&self, mut leaving: Vec<ObjectId>, going: &[ObjectId]) {
        let asked: BTreeSet<&ObjectId> = going.iter().collect();
        leaving.retain(|id| !asked.contains(id));
        if let Some(claims) = self.release.claims.as_ref().filter(|_| !leaving.is_empty()) {
            claims.left(&leaving);
        }
    }

    /// Returns those of the given objects that exist and have moved to other applications: they are handed over.
    async fn wanted_by_others(
        &self,
        mut going: Vec<ObjectId>,
        live: &BTreeMap<ObjectId, Value>,
    ) -> Result<Vec<Kept>, PlanError> {
        going.retain(|id| live.contains_key(id));
        let Some(claims) = self.release.claims.as_ref().filter(|_| !going.is_empty()) else {
            return Ok(Vec::new());
        };
        let claimants = claims.claimants(&going).await?;
        let kept = claimants.into_iter().map(|(id, other)| Kept {
            id,
            reason: format!("the application {other} takes it over"),
        });
        Ok(kept.collect())
    }

    /// Returns whether an object that left the source has to be examined. If nothing is deleted, this is so only for objects that
    /// may be gone.
    fn is_looked_at(&self, entry: &Entry) -> bool {
        let prunes = self.release.prune.enabled;
        prunes || !matches!(self.facts.of(&entry.id()), Fact::Present { .. })
    }

    async fn look_at_leavers(
        &self,
        left: &[&Entry],
        inventory: &mut Inventory,
    ) -> Result<Leavers, PlanError> {
        let since = Instant::now();
        let looks: Vec<_> = left
            .iter()
            .map(|entry| async move { (*entry, self.look_at_leaver(entry, since).await) }.boxed())
            .collect();
        let looked = stream::iter(looks)
            .buffer_unordered(WIDTH)
            .collect::<Vec<_>>()
            .await;
        let mut leavers = Leavers::default();
        let mut failures = Vec::new();
        for (entry, leaver) in looked {
            let id = entry.id();
            match leaver {
                Ok(Leaver::Here(value)) => {
                    // It was created by a run that was killed: it is more than an intention, and deleting it is a real deletion.
                    if entry.uid.is_none() {
                        let uid = value["metadata"]["uid"].as_str().map(ToOwned::to_owned);
                        inventory.insert(Entry {
                            uid,
                            ..entry.clone()
                        });
                    }
                    leavers.live.insert(id, *value);
                }
                Ok(Leaver::OutOfReach(reason)) => leavers.out_of_reach.push(Kept { id, reason }),
                Ok(Leaver::Gone | Leaver::HandedOver) => {
                    inventory.remove(&id);
                }
                Err(error) => failures.push(ObjectFailure {
                    id,
                    position: None,
                    error,
                }),
            }
        }
        if failures.is_empty() {
            return Ok(leavers);
        }
        failures.sort_by(|a, b| a.id.cmp(&b.id));
        Err(PlanError::Objects(failures))
    }

    /// Examines an object that left the source. Looks up where the server has its kind now, because the render may bring another
    /// definition of the kind that is not applied yet.
    async fn look_at_leaver(&self, entry: &Entry, since: Instant) -> Result<Leaver, WriteError> {
        let ending = self.release.ending.as_deref();
        if ending.is_some_and(|ending| goes_with(entry, ending)) {
            return Ok(Leaver::Gone);
        }
        let found = find(self.connection, self.discovery, entry, since).await;
        let found = found.map_err(|error| {
            let account = self.release.account.as_ref();
            WriteError::of(error, &entry.id(), &entry.version, account)
        });
        let found = match found {
            Err(error @ WriteError::Forbidden { .. }) if ending.is_some() => {
                return Ok(Leaver::OutOfReach(error.to_string()));
            }
            // What is not going to be deleted must not block anything.
            Err(error) if !self.release.prune.enabled => {
                let reason = format!("pruning is off, and it cannot be looked at: {error}");
                return Ok(Leaver::OutOfReach(reason));
            }
            found => found?,
        };
        Ok(match found {
            None => Leaver::Gone,
            Some((_, live)) if is_ours(&live, self.release, entry.uid.as_deref()) => {
                Leaver::Here(Box::new(live))
            }
            Some(_) => Leaver::HandedOver,
        })
    }

    /// Finds the definitions among the leavers whose only objects, if any, are about to be deleted too.
    async fn look_at_definitions(&self, live: &BTreeMap<ObjectId, Value>) -> Definitions {
        let mut definitions = Definitions::default();
        if !self.release.prune.enabled {
            return definitions;
        }
        let goes = |instance: &ObjectId| live.contains_key(instance);
        for (id, definition) in live.iter().filter(|(id, _)| is_definition(id)) {
            match is_used(self.connection, definition, &goes).await {
                Ok(true) => {}
                Ok(false) => {
                    definitions.unused.insert(id.clone());
                }
                Err(error) => {
                    definitions.unseen.insert(id.clone(), error);
                }
            }
        }
        definitions
    }

    fn deletion(&self, entry: &Entry, id: ObjectId, live: Option<Value>) -> Change {
        Change {
            id,
            version: entry.version.clone(),
            action: Action::Delete,
            desired: None,
            before: live.as_ref().map_or(Value::Null, |live| {
                owned_before_deletion(live, &self.manager)
            }),
            after: Value::Null,
            live,
            source: None,
            hook: BTreeSet::new(),
            for_removal: None,
            conflicts: Vec::new(),
        }
    }
}

/// Returns what has left the source and had not when the inventory was recorded.
fn newly_left(recorded: &Inventory, now: &Inventory) -> Vec<ObjectId> {
    let left = now.entries().filter(|entry| entry.left);
    let had_left = |id: &ObjectId| recorded.get(id).is_some_and(|entry| entry.left);
    left.map(Entry::id).filter(|id| !had_left(id)).collect()
}

/// Returns whether an object is in a namespace, or is that namespace itself.
fn goes_with(entry: &Entry, namespace: &str) -> bool {
    let is_itself = entry.id().is("", "Namespace") && entry.name == namespace;
    is_itself || entry.namespace.as_deref() == Some(namespace)
}

fn ids(objects: &[PreparedObject]) -> BTreeSet<ObjectId> {
    objects.iter().map(|object| object.id().clone()).collect()
}

/// Returns whether a definition has objects that are not going to be deleted too.
pub(crate) async fn is_used(
    connection: &Connection,
    definition: &Value,
    goes: &(dyn Fn(&ObjectId) -> bool + Sync),
) -> Result<bool, RequestError> {
    if condition(definition, "Established")
        .is_none_or(|established| established["status"] != "True")
    {
        // No one can have created any yet.
        return Ok(false);
    }
    let types = types_of_definition(definition);
    let Some(resource) = types.first() else {
        return Ok(true);
    };
    let goes = |(namespace, name): &Name| {
        goes(&ObjectId {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
        })
    };
    let names = connection.names(resource, INSTANCE_LIMIT).await?;
    Ok(names.len() >= INSTANCE_LIMIT || !names.iter().all(goes))
}
