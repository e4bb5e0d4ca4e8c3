//! What the server would make of an object, and its objections.

use std::collections::BTreeMap;

use pintle_core::{
    hook::HookEvent,
    inventory::Entry,
    object::ObjectId,
    order::{Links, Tier},
    plan::{Action, Change, Conflict, Depth},
};
use serde_json::Value;

use super::{
    PlannedObject, Planner, change,
    live::{Live, Owned},
    updated,
};
use crate::{
    objects::{self, Mode},
    ownership::may_force,
    payload::Payload,
    prepare::{PreparedObject, is_definition},
    rejection::{ObjectFailure, WriteError, conflicts},
    request::{Refusal, RequestError},
};

/// A refusal that may be due to something that the plan itself brings or changes: a dry run sees the cluster as it was before.
pub(super) struct Doubt {
    /// The server's objection to the object.
    error: WriteError,
    /// The objects that may be the cause.
    because: Vec<ObjectId>,
}

/// When a plan first writes something. Objects with the same turn have an order of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// Before everything else.
    First,
    /// With the hooks of the event before the objects.
    HooksBefore,
    Objects,
    /// With the hooks of the event after the objects, or when someone requests a test.
    HooksAfter,
}

impl Turn {
    fn of(change: &Change) -> Self {
        if !change.is_hook() {
            return if Tier::of(&change.id).blocks() {
                Self::First
            } else {
                Self::Objects
            };
        }
        // A hook that is kept for the removal does not run for the removal's events now.
        let is_kept = change.for_removal.is_some();
        let is_now = |event: &&HookEvent| !is_kept || !HookEvent::AT_REMOVAL.contains(event);
        if change
            .hook
            .iter()
            .filter(is_now)
            .any(|event| is_before(*event))
        {
            Self::HooksBefore
        } else {
            Self::HooksAfter
        }
    }
}

fn is_before(event: HookEvent) -> bool {
    match event {
        HookEvent::PreInstall
        | HookEvent::PreUpgrade
        | HookEvent::PreRollback
        | HookEvent::PreDelete => true,
        HookEvent::PostInstall
        | HookEvent::PostUpgrade
        | HookEvent::PostRollback
        | HookEvent::PostDelete
        | HookEvent::Test => false,
    }
}

/// Separates planned objects from failures. A refusal is disregarded if the plan changes what may have caused it, and does not do
/// so only later.
pub(super) fn parted(
    looked: impl Iterator<Item = Result<PlannedObject, ObjectFailure>>,
) -> (Vec<PlannedObject>, Vec<ObjectFailure>) {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for result in looked {
        match result {
            Ok(planned) => found.push(planned),
            Err(failure) => failures.push(failure),
        }
    }
    let changed: BTreeMap<ObjectId, Turn> = found
        .iter()
        .map(|planned| &planned.change)
        .filter(|change| matters(change))
        .map(|change| (change.id.clone(), Turn::of(change)))
        .collect();
    found.retain_mut(|planned| {
        let Some(doubt) = planned.doubt.take() else {
            return true;
        };
        let turn = Turn::of(&planned.change);
        let is_excuse = |id: &ObjectId| changed.get(id).is_some_and(|other| *other <= turn);
        if doubt.because.iter().any(is_excuse) {
            return true;
        }
        failures.push(ObjectFailure {
            id: planned.change.id.clone(),
            position: planned.change.source.clone(),
            error: doubt.error,
        });
        false
    });
    (found, failures)
}

/// Returns whether a change may alter what the server says afterwards. For a definition only its spec counts: changing a label
/// makes no object fit.
fn matters(change: &Change) -> bool {
    match change.action {
        Action::Update if is_definition(&change.id) => {
            change.before["spec"] != change.after["spec"]
        }
        Action::Create | Action::Update | Action::Replace => true,
        Action::Delete | Action::Keep | Action::Unchanged => false,
    }
}

impl Planner<'_> {
    /// Plans an object that does not exist, as far as is known.
    pub(super) async fn create(
        &self,
        object: &PreparedObject,
    ) -> Result<PlannedObject, WriteError> {
        if self.depth == Depth::Local || self.is_out_of_sight(object) {
            return Ok(created(object));
        }
        let payload = Payload::new(&object.object, object.desired);
        match self.try_apply(object, payload.unbound(), false).await {
            Ok(applied) if applied.created => {
                let mut change = change(object, Action::Create);
                change.after = Owned::of_result(&applied.live, &self.manager);
                Ok(PlannedObject::of(change))
            }
            Err(error) if !error.is_conflict() => self.create_unseen(object, error).await,
            // It already exists, so its current state belongs in the plan.
            _ => match self.read(object).await? {
                Some(live) => {
                    let live = self.seen(object, live);
                    self.try_update(object, &live, None).await
                }
                None => Err(WriteError::CameAndWent),
            },
        }
    }

    /// Plans an object that the server refuses, if the cause may be something that comes with the plan.
    async fn create_unseen(
        &self,
        object: &PreparedObject,
        refused: RequestError,
    ) -> Result<PlannedObject, WriteError> {
        let because = self.reasons(&refused, object);
        let error = self.write_error(refused, object);
        if because.is_empty() {
            return Err(error);
        }
        let planned = match self.read(object).await? {
            Some(live) => {
                let live = self.seen(object, live);
                self.taken_over(object, &live, None).await?;
                updated(object, live)
            }
            None => created(object),
        };
        Ok(PlannedObject {
            doubt: Some(Doubt { error, because }),
            ..planned
        })
    }

    /// Sends a dry-run apply for an existing object.
    pub(super) async fn try_update(
        &self,
        object: &PreparedObject,
        live: &Live<'_>,
        entry: Option<&Entry>,
    ) -> Result<PlannedObject, WriteError> {
        let mut taken: Vec<Conflict> = Vec::new();
        let payload = live.payload(object);
        let mut result = self.try_apply(object, payload.unbound(), false).await;
        if let Err(error) = &result
            && let Some(refusal) = error.refusal()
            && error.is_conflict()
        {
            let (live, adopts) = (live.value(), object.asks_for_adoption());
            match may_force(live, self.release, object.id(), adopts, entry).await {
                Ok(()) => taken = conflicts(refusal),
                Err(refused) => {
                    return Err(refused.unwrap_or_else(|| self.write_error(error.clone(), object)));
                }
            }
            result = self.try_apply(object, payload.unbound(), true).await;
        }
        let owned = live.owned_with(object);
        let mut change = change(object, Action::Update);
        let mut doubt = None;
        change.before = owned.before;
        change.conflicts = taken;
        match result {
            Ok(applied) => change.after = Owned::of_result(&applied.live, &self.manager),
            Err(error) => {
                let because = self.reasons(&error, object);
                change.after = owned.desired;
                match self.write_error(error, object) {
                    WriteError::Immutable(_) if object.may_be_replaced() => {
                        change.action = Action::Replace;
                    }
                    error if because.is_empty() => return Err(error),
                    error => {
                        change.conflicts = self.taken_over(object, live, entry).await?;
                        doubt = Some(Doubt { error, because });
                    }
                }
            }
        }
        change.live = Some(live.value().clone());
        Ok(PlannedObject {
            doubt,
            ..PlannedObject::of(change)
        })
    }

    /// Returns the fields that an object in doubt takes over from others, if it may. The server refuses the object for another
    /// reason, and says nothing about these fields.
    async fn taken_over(
        &self,
        object: &PreparedObject,
        live: &Live<'_>,
        entry: Option<&Entry>,
    ) -> Result<Vec<Conflict>, WriteError> {
        let contested = live.contested(object);
        if contested.is_empty() {
            return Ok(contested);
        }
        let adopts = object.asks_for_adoption();
        match may_force(live.value(), self.release, object.id(), adopts, entry).await {
            Ok(()) => Ok(contested),
            Err(refused) => Err(refused.unwrap_or(WriteError::Conflict(contested))),
        }
    }

    async fn try_apply(
        &self,
        object: &PreparedObject,
        payload: &Value,
        force: bool,
    ) -> Result<objects::Applied, RequestError> {
        let mode = Mode {
            force,
            dry_run: true,
        };
        self.connection
            .apply_object(&object.resource, object.id(), payload, &self.manager, mode)
            .await
    }

    /// Returns what may have caused the refusal of an object, if that comes or changes with the plan.
    fn reasons(&self, refused: &RequestError, object: &PreparedObject) -> Vec<ObjectId> {
        let Some(refusal) = refused.refusal() else {
            return Vec::new();
        };
        if refusal.is_against_schema() {
            let definitions = self.prepared.definitions_of(object.id());
            return definitions.cloned().collect();
        }
        let links = Links::of(object.id(), object.object.value()).unwrap_or_default();
        let mut needs = links.needs;
        needs.retain(|need| is_for_want_of(refusal, need));
        needs
    }
}

/// Plans an object that does not exist, as far as possible without the server.
fn created(object: &PreparedObject) -> PlannedObject {
    let mut change = change(object, Action::Create);
    change.after = Owned::of_new(object);
    PlannedObject::of(change)
}

/// Returns whether an object was refused because another one is missing. A binding is answered with the 404 of its role; for what
/// a pod needs, admission uses its own words.
fn is_for_want_of(refusal: &Refusal, need: &ObjectId) -> bool {
    let is_named = match refusal.code {
        404 => refusal.object.as_ref() == Some(&need.name),
        403 => refusal.message.ends_with(" found") && refusal.message.contains(&need.name),
        _ => false,
    };
    let message = refusal.message.to_lowercase();
    is_named && message.contains(&need.kind.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::tests::config_map;
    use serde_json::json;

    fn planned(name: &str, action: Action, doubt: Option<Doubt>) -> PlannedObject {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        PlannedObject {
            doubt,
            ..PlannedObject::of(change(&config_map(value), action))
        }
    }

    fn doubt_for(other: &PlannedObject) -> Doubt {
        Doubt {
            error: WriteError::Invalid(Vec::new()),
            because: vec![other.change.id.clone()],
        }
    }

    #[test]
    fn a_refusal_stands_unless_the_plan_writes_what_it_may_be_for() {
        let stands = |action| {
            let other = planned("other", action, None);
            let doubtful = planned("a", Action::Update, Some(doubt_for(&other)));
            let (found, failures) = parted([Ok(doubtful), Ok(other)].into_iter());
            assert_eq!(found.len() + failures.len(), 2);
            !failures.is_empty()
        };
        assert!(stands(Action::Unchanged));
        assert!(!stands(Action::Create));
        assert!(!stands(Action::Update));
    }

    #[test]
    fn a_refusal_stands_if_what_it_may_be_for_comes_only_later() {
        use HookEvent::{PostInstall, PreDelete, PreInstall, Test};
        let at = |name: &str, events: &[HookEvent], doubt| {
            let mut planned = planned(name, Action::Create, doubt);
            planned.change.hook = events.iter().copied().collect();
            planned
        };
        let stands = |events: &[HookEvent], other: PlannedObject| {
            let doubtful = at("a", events, Some(doubt_for(&other)));
            let (_, failures) = parted([Ok(doubtful), Ok(other)].into_iter());
            !failures.is_empty()
        };
        let other = |events: &[HookEvent]| at("other", events, None);
        let before: &[HookEvent] = &[PreInstall];
        assert!(stands(before, other(&[])));
        assert!(stands(before, other(&[PostInstall])));
        assert!(!stands(before, other(&[PreInstall, PostInstall])));
        assert!(!stands(&[], other(before)));
        assert!(stands(&[], other(&[PostInstall])));
        assert!(stands(&[], other(&[Test])));
        assert!(!stands(&[PostInstall], other(&[])));
        let mut namespace = other(&[]);
        "Namespace".clone_into(&mut namespace.change.id.kind);
        assert!(!stands(before, namespace));
        let mut kept = other(&[PostInstall, PreDelete]);
        kept.change.for_removal = Some(Box::default());
        assert!(stands(&[], kept));
    }

    #[test]
    fn a_definition_whose_labels_change_lets_no_object_fit() {
        let stands = |after: Value| {
            let mut definition = planned("widgets", Action::Update, None);
            let change = &mut definition.change;
            "apiextensions.k8s.io".clone_into(&mut change.id.group);
            "CustomResourceDefinition".clone_into(&mut change.id.kind);
            change.before =
                json!({"metadata": {"labels": {"chart": "1"}}, "spec": {"scope": "Namespaced"}});
            change.after = after;
            let doubtful = planned("a", Action::Update, Some(doubt_for(&definition)));
            let (_, failures) = parted([Ok(doubtful), Ok(definition)].into_iter());
            !failures.is_empty()
        };
        let labels = json!({"chart": "2"});
        assert!(stands(
            json!({"metadata": {"labels": labels}, "spec": {"scope": "Namespaced"}})
        ));
        assert!(!stands(
            json!({"metadata": {"labels": labels}, "spec": {"scope": "Cluster"}})
        ));
    }

    #[test]
    fn what_an_object_was_refused_for_want_of_is_recognised() {
        let refusal = |code, object: Option<&str>, message: &str| Refusal {
            request: "PATCH /x".into(),
            is_read: false,
            code,
            reason: String::new(),
            message: message.into(),
            object: object.map(ToOwned::to_owned),
            causes: Vec::new(),
            is_unsure: false,
        };
        let need = |kind: &str| ObjectId {
            group: String::new(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        };
        let role = "roles.rbac.authorization.k8s.io \"web\" not found";
        let role = refusal(404, Some("web"), role);
        assert!(is_for_want_of(&role, &need("Role")));
        assert!(!is_for_want_of(&role, &need("ServiceAccount")));
        let account = "pods \"a\" is forbidden: error looking up service account shop/web: serviceaccount \"web\" not found";
        assert!(is_for_want_of(
            &refusal(403, Some("a"), account),
            &need("ServiceAccount")
        ));
        let rights = "serviceaccounts \"web\" is forbidden: User \"u\" cannot patch";
        assert!(!is_for_want_of(
            &refusal(403, Some("web"), rights),
            &need("ServiceAccount")
        ));
        let unserved = refusal(
            404,
            None,
            "the server could not find the requested resource",
        );
        assert!(!is_for_want_of(&unserved, &need("Role")));
    }
}
