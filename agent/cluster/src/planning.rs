//! Turns prepared objects into a plan of what would be created, changed, replaced and deleted. Nothing is written.
//!
//! A *local* plan asks the server only about objects that changed or are in doubt, with one read each. A *server* plan also sends
//! a dry-run apply for each object that would be written, so that defaults, admission, conflicts and immutable fields are seen
//! before the first write. An object that the server cannot know yet, because what it needs comes with the plan, is planned
//! locally.

mod drift;
mod dry_run;
mod hooks;
mod live;
mod removal;

use std::{collections::BTreeSet, sync::Arc};

use futures::{FutureExt as _, StreamExt as _, stream};
use pintle_core::{
    digest::Digest,
    drift::DriftedObject,
    inventory::{Entry, Inventory},
    machine::Retry,
    object::ObjectId,
    plan::{Action, Change, Depth, Plan},
    prune::TooManyDeletions,
};
use serde_json::Value;

pub(crate) use self::removal::is_used;
use self::{
    dry_run::{Doubt, parted},
    live::Live,
};
use crate::{
    claims::UnknownClaims,
    connection::Connection,
    departure::Departure,
    discovery::Discovery,
    facts::{Fact, Facts},
    prepare::{Prepared, PreparedObject},
    rejection::{ObjectFailure, WriteError, lines, retry},
    release::Release,
    request::RequestError,
};

/// How many objects of one application are handled at once.
pub(crate) const WIDTH: usize = 8;

/// A plan, with what planning learned about the inventory.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The whole change set.
    pub plan: Plan,
    /// The inventory to record before anything is applied: it includes what a run that was killed had applied, and leaves out
    /// what has gone from the cluster.
    pub inventory: Inventory,
    /// Objects that left the source and stay, each with the reason.
    pub kept: Vec<Kept>,
    /// Objects that others have changed since they were applied, in order of identity: both those that the plan repairs and those
    /// that are left as they are.
    pub drifted: Vec<DriftedObject>,
}

/// An object that left the source and stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The object.
    pub id: ObjectId,
    /// The reason, as a fragment.
    pub reason: String,
}

/// Why there is no plan. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Objects that the server would refuse, or that could not be examined.
    #[error("{}", lines(.0))]
    Objects(Vec<ObjectFailure>),
    /// Too much would be deleted at once.
    #[error(transparent)]
    TooManyDeletions(#[from] TooManyDeletions),
    /// The server could not be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Something that may have moved to another application would be deleted.
    #[error(transparent)]
    UnknownClaims(#[from] UnknownClaims),
}

impl PlanError {
    /// Returns when a retry is worthwhile.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Objects(failures) => retry(failures),
            Self::UnknownClaims(_) => Retry::Backoff,
            Self::Request(error) if error.is_retryable() => Retry::Backoff,
            Self::TooManyDeletions(_) | Self::Request(_) => Retry::OnChange,
        }
    }
}

/// Plans a release. Never writes.
///
/// `connection` must act as the release's account.
pub(crate) async fn plan(
    connection: &Connection,
    discovery: &Discovery,
    release: &Release,
    prepared: &Prepared,
    inventory: &Inventory,
    facts: &dyn Facts,
    depth: Depth,
) -> Result<Planned, PlanError> {
    let planner = Planner {
        connection,
        discovery,
        release,
        manager: release.manager(),
        prepared,
        facts,
        depth,
        new_namespaces: match depth {
            Depth::Local => BTreeSet::new(),
            Depth::Server => new_namespaces(connection, prepared, inventory).await?,
        },
    };
    // Boxed, because the compiler cannot yet see that a stream of unboxed futures over references is `Send`.
    let looks: Vec<_> = prepared
        .objects()
        .iter()
        .map(|object| planner.look_at(object, inventory.get(object.id())).boxed())
        .collect();
    let looked = stream::iter(looks)
        .buffer_unordered(WIDTH)
        .collect::<Vec<_>>();
    let record = planner.record(inventory);
    let (looked, removal, hooks) = futures::join!(
        looked,
        planner.removals(inventory),
        planner.hooks(record.as_ref(), inventory)
    );
    let removal = removal?;
    let mut inventory = removal.inventory;
    inventory.release = record;
    let mut changes = removal.changes;
    let (found, mut failures) = parted(looked.into_iter().chain(hooks));
    if !failures.is_empty() {
        failures.sort_by(|a, b| a.id.cmp(&b.id));
        return Err(PlanError::Objects(failures));
    }
    let mut drifted = Vec::new();
    for planned in found {
        if let Some(entry) = planned.recorded {
            inventory.insert(entry);
        }
        drifted.extend(planned.drift);
        changes.push(planned.change);
    }
    drifted.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Planned {
        plan: Plan::new(depth, changes, &release.seed),
        inventory,
        kept: removal.kept,
        drifted,
    })
}

/// Returns the namespaces that the plan itself creates: the server would refuse a dry run within them.
async fn new_namespaces(
    connection: &Connection,
    prepared: &Prepared,
    inventory: &Inventory,
) -> Result<BTreeSet<String>, RequestError> {
    let mut new = BTreeSet::new();
    for object in prepared
        .objects()
        .iter()
        .filter(|object| object.id().is("", "Namespace"))
    {
        let is_recorded = inventory
            .get(object.id())
            .is_some_and(|entry| entry.uid.is_some());
        if !is_recorded
            && connection
                .read(&object.resource, object.id())
                .await?
                .is_none()
        {
            new.insert(object.id().name.clone());
        }
    }
    Ok(new)
}

struct Planner<'a> {
    connection: &'a Connection,
    discovery: &'a Discovery,
    release: &'a Release,
    manager: String,
    prepared: &'a Prepared,
    facts: &'a dyn Facts,
    depth: Depth,
    new_namespaces: BTreeSet<String>,
}

/// What to do with one object.
struct PlannedObject {
    change: Change,
    /// Its new entry, if it differs from the inventory's.
    recorded: Option<Entry>,
    /// What others have changed in it.
    drift: Option<DriftedObject>,
    /// Why it may have to be refused.
    doubt: Option<Doubt>,
}

impl PlannedObject {
    fn of(change: Change) -> Self {
        Self {
            change,
            recorded: None,
            drift: None,
            doubt: None,
        }
    }
}

/// What the inventory and the facts say about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unchanged,
    Create,
    /// Only the server can tell.
    Look,
}

/// Decides without a request, if that is possible.
fn verdict(entry: Option<&Entry>, desired: Digest, fact: &Fact) -> Verdict {
    match (entry, fact) {
        (None, Fact::Unknown | Fact::Missing) => Verdict::Create,
        (Some(entry), Fact::Present { uid, stored })
            if entry.desired == Some(desired)
                && entry.stored.is_some()
                && entry.stored == *stored
                && entry.uid.as_ref() == Some(uid) =>
        {
            Verdict::Unchanged
        }
        // This includes missing objects: one may have lost only its label, and is then updated rather than created again. It also
        // includes intended entries, whose objects may have been created by a run that was killed.
        _ => Verdict::Look,
    }
}

impl Planner<'_> {
    async fn look_at(
        &self,
        object: &PreparedObject,
        entry: Option<&Entry>,
    ) -> Result<PlannedObject, ObjectFailure> {
        let fact = self.facts.of(object.id());
        let result = match verdict(entry, object.desired, &fact) {
            // What Helm created exists, although neither the inventory nor the facts say so.
            Verdict::Create if self.release.from_helm.is_some() => self.look(object, entry).await,
            Verdict::Unchanged => Ok(PlannedObject {
                // Whether it should stay cannot be seen in the object.
                recorded: entry
                    .filter(|entry| entry.keep != object.keep || entry.hook)
                    .map(|entry| Entry {
                        keep: object.keep,
                        hook: false,
                        left: false,
                        going: false,
                        ..entry.clone()
                    }),
                ..PlannedObject::of(change(object, Action::Unchanged))
            }),
            Verdict::Create => self.make(object, entry).await,
            Verdict::Look => self.look(object, entry).await,
        };
        result.map_err(|error| ObjectFailure {
            id: object.id().clone(),
            position: object.source.clone(),
            error,
        })
    }

    /// Plans an object that does not exist.
    async fn make(
        &self,
        object: &PreparedObject,
        entry: Option<&Entry>,
    ) -> Result<PlannedObject, WriteError> {
        let loss = self.loss(object, entry);
        match loss {
            Some(loss) if loss.is_left => Ok(Self::left(object, loss)),
            loss => Ok(PlannedObject {
                drift: loss,
                ..self.create(object).await?
            }),
        }
    }

    async fn look(
        &self,
        object: &PreparedObject,
        entry: Option<&Entry>,
    ) -> Result<PlannedObject, WriteError> {
        if self.is_out_of_sight(object) {
            return self.create(object).await;
        }
        let Some(live) = self.read(object).await? else {
            return self.make(object, entry).await;
        };
        let live = self.seen(object, live);
        if let Some(finalizers) = live.held_while_replaced(entry) {
            return Err(WriteError::NotGone {
                departure: Departure::Renewal,
                finalizers,
                problem: None,
            });
        }
        if live.is_as_recorded(entry, object) || live.was_applied_as(object) {
            let recorded = live.entry(object);
            return Ok(PlannedObject {
                recorded: (entry != Some(&recorded)).then_some(recorded),
                ..PlannedObject::of(change(object, Action::Unchanged))
            });
        }
        let drift = match self.drift(object, &live, entry) {
            Some(drift) if drift.is_left => return Ok(Self::left(object, drift)),
            drift => drift,
        };
        if self.depth == Depth::Server || object.may_be_replaced() {
            let planned = self.try_update(object, &live, entry).await?;
            return Ok(PlannedObject { drift, ..planned });
        }
        Ok(PlannedObject {
            drift,
            ..updated(object, live)
        })
    }

    fn seen(&self, object: &PreparedObject, live: Value) -> Live<'_> {
        let live = Live::new(live, object, self.release);
        let helm = self.release.from_helm.as_ref();
        match helm.and_then(|helm| helm.applied(object.id())) {
            Some(applied) => live.owning_what_was_applied(&applied),
            None => live,
        }
    }

    async fn read(&self, object: &PreparedObject) -> Result<Option<Value>, WriteError> {
        match self.connection.read(&object.resource, object.id()).await {
            // Someone deleted its definition, which this plan brings back.
            Err(error) if error.is_unserved() && self.prepared.brings(object.id()) => Ok(None),
            live => live.map_err(|error| self.write_error(error, object)),
        }
    }

    /// Returns whether the server cannot know the object yet, because its namespace, or its kind at this version, comes with this
    /// plan.
    fn is_out_of_sight(&self, object: &PreparedObject) -> bool {
        let in_new = object
            .id()
            .namespace
            .as_ref()
            .is_some_and(|namespace| self.new_namespaces.contains(namespace));
        self.prepared.is_coming(&object.resource) || in_new
    }

    fn write_error(&self, error: RequestError, object: &PreparedObject) -> WriteError {
        WriteError::of(
            error,
            object.id(),
            object.object.version(),
            self.release.account.as_ref(),
        )
    }
}

/// Starts the change of a rendered object.
fn change(object: &PreparedObject, action: Action) -> Change {
    Change {
        id: object.id().clone(),
        version: object.object.version().to_owned(),
        action,
        desired: Some(Arc::clone(&object.object)),
        live: None,
        before: Value::Null,
        after: Value::Null,
        source: object.source.clone(),
        hook: BTreeSet::new(),
        for_removal: None,
        conflicts: Vec::new(),
    }
}

/// Plans an existing object, as far as possible without the server.
fn updated(object: &PreparedObject, live: Live<'_>) -> PlannedObject {
    let owned = live.owned_with(object);
    let mut change = change(object, Action::Update);
    (change.before, change.after) = (owned.before, owned.desired);
    change.conflicts = live.contested(object);
    change.live = Some(live.into_value());
    PlannedObject::of(change)
}

#[cfg(test)]
mod tests {
    use pintle_core::{object::Object, seed::Seed};
    use serde_json::json;

    use super::*;
    use crate::discovery::ResourceType;

    /// Returns a `ConfigMap` that is ready for the cluster.
    pub(super) fn config_map(value: Value) -> PreparedObject {
        let object = Object::new(value).unwrap();
        PreparedObject {
            desired: object.digest(&Seed::from_text("s")),
            object: Arc::new(object),
            resource: ResourceType::config_maps(),
            source: None,
            hook: None,
            keep: false,
        }
    }

    fn entry(desired: Option<&str>, stored: Option<&str>) -> Entry {
        let id = ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: None,
            name: "a".into(),
        };
        Entry {
            uid: desired.map(|_| "u".into()),
            desired: desired.map(Digest::of),
            stored: stored.map(Digest::of),
            ..Entry::intended(&id, "v1")
        }
    }

    fn present(uid: &str, stored: &str) -> Fact {
        Fact::Present {
            uid: uid.into(),
            stored: Some(Digest::of(stored)),
        }
    }

    #[test]
    fn what_is_known_to_be_as_applied_needs_no_request() {
        let known = entry(Some("d"), Some("s"));
        let of = |fact| verdict(Some(&known), Digest::of("d"), &fact);
        assert_eq!(of(present("u", "s")), Verdict::Unchanged);
        assert_eq!(of(present("u", "drifted")), Verdict::Look);
        assert_eq!(of(present("made again", "s")), Verdict::Look);
        assert_eq!(of(Fact::Missing), Verdict::Look, "it may be there");
        assert_eq!(of(Fact::Unknown), Verdict::Look);
        assert_eq!(
            verdict(Some(&known), Digest::of("new"), &present("u", "s")),
            Verdict::Look
        );
    }

    #[test]
    fn an_object_is_in_the_plan_as_it_was_made_ready_and_not_copied() {
        let object = config_map(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
        }));
        let planned = change(&object, Action::Unchanged).desired.unwrap();
        assert!(Arc::ptr_eq(&planned, &object.object));
    }

    #[test]
    fn a_new_object_needs_none_and_an_intended_one_a_look() {
        assert_eq!(
            verdict(None, Digest::of("d"), &Fact::Unknown),
            Verdict::Create
        );
        assert_eq!(
            verdict(None, Digest::of("d"), &present("u", "s")),
            Verdict::Look
        );
        let intended = entry(None, None);
        assert_eq!(
            verdict(Some(&intended), Digest::of("d"), &Fact::Missing),
            Verdict::Look
        );
        let unknown_stored = entry(Some("d"), None);
        let fact = Fact::Present {
            uid: "u".into(),
            stored: None,
        };
        assert_eq!(
            verdict(Some(&unknown_stored), Digest::of("d"), &fact),
            Verdict::Look
        );
    }
}
