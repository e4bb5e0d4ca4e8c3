//! A live object, compared with the desired one.

use pintle_core::{
    digest::Digest,
    drift::respecting,
    fields,
    inventory::Entry,
    names::{ADOPT_ANNOTATION, APPLICATION_LABEL, DESIRED_ANNOTATION, REPLACE_ANNOTATION},
    plan::Conflict,
};
use serde_json::Value;

use crate::{fieldset::FieldSet, payload::Payload, prepare::PreparedObject, release::Release};

impl PreparedObject {
    /// Returns whether it may be deleted and made again when an immutable field changes.
    pub(crate) fn may_be_replaced(&self) -> bool {
        self.object.allows(REPLACE_ANNOTATION)
    }

    /// Returns whether it asks to take over fields of an existing object.
    pub(crate) fn asks_for_adoption(&self) -> bool {
        self.object.allows(ADOPT_ANNOTATION)
    }
}

/// An object as the server holds it, seen by one application.
pub(super) struct Live<'a> {
    value: Value,
    release: &'a Release,
    manager: String,
    owned: Option<FieldSet>,
    stored: Option<Digest>,
}

/// The fields that an application owns, before and as desired, in the shape of the object.
pub(super) struct Owned {
    pub(super) before: Value,
    pub(super) desired: Value,
}

impl<'a> Live<'a> {
    /// Takes the live state of an object.
    pub(super) fn new(value: Value, object: &PreparedObject, release: &'a Release) -> Self {
        let manager = release.manager();
        let ignored = release.drift.ignored(object.id());
        Self {
            owned: fields::owned_by(&value, &manager).map(FieldSet::read),
            stored: fields::stored_digest(&value, &manager, &release.seed, &ignored),
            value,
            release,
            manager,
        }
    }

    pub(super) fn manager(&self) -> &str {
        &self.manager
    }

    pub(super) fn owned(&self) -> FieldSet {
        self.owned.clone().unwrap_or_default()
    }

    /// Returns the payload that turns this object into the desired one.
    pub(super) fn payload(&self, object: &PreparedObject) -> Payload {
        Payload::onto(&object.object, object.desired, &self.value, self.release)
    }

    /// Returns the desired object, with ignored fields as they are or left out.
    pub(super) fn wanted(&self, object: &PreparedObject) -> Value {
        let ignored = self.release.drift.ignored(object.id());
        respecting(object.object.value(), &self.value, &self.manager, &ignored).object
    }

    /// Counts what Helm has applied as the application's: it is about to be handed over.
    #[must_use]
    pub(super) fn owning_what_was_applied(mut self, applied: &Value) -> Self {
        let hint = FieldSet::of_all_managers(&self.value);
        let theirs = FieldSet::of_desired(applied, &hint);
        self.owned = Some(self.owned.unwrap_or_default().union(&theirs));
        self
    }

    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    pub(super) fn into_value(self) -> Value {
        self.value
    }

    /// Returns whether it is still as the inventory recorded it after the last apply of the same desired object.
    pub(super) fn is_as_recorded(&self, entry: Option<&Entry>, object: &PreparedObject) -> bool {
        entry.is_some_and(|entry| {
            entry.desired == Some(object.desired)
                && entry.stored.is_some()
                && entry.stored == self.stored
                && entry.uid.as_deref() == self.uid()
                && entry.version == object.object.version()
        }) && self.has_label_of(object)
    }

    /// Returns whether it carries the label that watches select. A rule that ignores labels leaves this open.
    fn has_label_of(&self, object: &PreparedObject) -> bool {
        let label = |object: &Value| object["metadata"]["labels"][APPLICATION_LABEL].clone();
        label(&self.value) == label(object.object.value())
    }

    /// Returns whether exactly this desired object was applied and no field of it has been changed since.
    ///
    /// The annotation says what was last applied. Whoever changes a field takes it out of the application's set, so if the set
    /// still has all fields, none was changed.
    pub(super) fn was_applied_as(&self, object: &PreparedObject) -> bool {
        let annotated =
            self.value["metadata"]["annotations"][DESIRED_ANNOTATION] == object.desired.to_string();
        let Some(owned) = self.owned.as_ref().filter(|_| annotated) else {
            return false;
        };
        owned.covers(&FieldSet::of_desired(self.payload(object).unbound(), owned))
    }

    /// Returns the finalizers that hold an object that was deleted to be made again and is not gone yet; `None` for any other
    /// object.
    pub(super) fn held_while_replaced(&self, entry: Option<&Entry>) -> Option<Vec<String>> {
        let is_replaced = entry.is_some_and(|entry| {
            entry.desired.is_none() && entry.uid.is_some() && entry.uid.as_deref() == self.uid()
        });
        let metadata = &self.value["metadata"];
        (is_replaced && !metadata["deletionTimestamp"].is_null()).then(|| {
            let held = metadata["finalizers"].as_array().into_iter().flatten();
            held.filter_map(|name| Some(name.as_str()?.to_owned()))
                .collect()
        })
    }

    /// Returns whether the application itself has written it since it was last recorded: the run was killed, or the response was
    /// lost.
    pub(super) fn was_written_since(&self, entry: &Entry) -> bool {
        let annotated = self.value["metadata"]["annotations"][DESIRED_ANNOTATION].as_str();
        let recorded = entry.desired.map(|desired| desired.to_string());
        annotated.is_some() && annotated != recorded.as_deref() && self.owned.is_some()
    }

    /// Returns the inventory entry for it.
    pub(super) fn entry(&self, object: &PreparedObject) -> Entry {
        Entry {
            uid: self.uid().map(ToOwned::to_owned),
            desired: Some(object.desired),
            stored: self.stored,
            keep: object.keep,
            ..Entry::intended(object.id(), object.object.version())
        }
    }

    /// Returns what is owned now or will be, before and as desired.
    pub(super) fn owned_with(&self, object: &PreparedObject) -> Owned {
        let hint = FieldSet::of_all_managers(&self.value);
        let object = self.wanted(object);
        let wanted = FieldSet::of_desired(&object, &hint);
        Owned {
            before: shown(self.owned().union(&wanted).extract(&self.value)),
            desired: shown(wanted.extract(&object)),
        }
    }

    /// Returns the fields that others own and that an apply of the object would take over.
    pub(super) fn contested(&self, object: &PreparedObject) -> Vec<Conflict> {
        let hint = FieldSet::of_all_managers(&self.value);
        let object = self.wanted(object);
        let wanted = FieldSet::of_desired(&object, &hint);
        let ours = self.owned();
        let entries = self.value["metadata"]["managedFields"].as_array();
        let mut conflicts = Vec::new();
        for entry in entries.into_iter().flatten() {
            let other = entry["manager"].as_str();
            let Some(other) = other.filter(|other| *other != self.manager) else {
                continue;
            };
            let theirs = FieldSet::read(&entry["fieldsV1"]);
            let fields = wanted.contested(&ours, &theirs, &self.value, &object);
            conflicts.extend(fields.into_iter().map(|field| Conflict {
                manager: other.to_owned(),
                field,
            }));
        }
        conflicts
    }

    fn uid(&self) -> Option<&str> {
        self.value["metadata"]["uid"].as_str()
    }
}

impl Owned {
    /// Returns what will be owned of an object that does not exist yet, as far as possible without the server.
    pub(super) fn of_new(object: &PreparedObject) -> Value {
        let wanted = FieldSet::of_desired(object.object.value(), &FieldSet::default());
        shown(wanted.extract(object.object.value()))
    }

    /// Returns what is owned in the result of an apply.
    pub(super) fn of_result(result: &Value, manager: &str) -> Value {
        let owned = fields::owned_by(result, manager)
            .map(FieldSet::read)
            .unwrap_or_default();
        shown(owned.extract(result))
    }
}

/// Leaves out the annotation with the digest of the desired object: it changes whenever anything else does.
fn shown(mut owned: Value) -> Value {
    let metadata = &mut owned["metadata"];
    if let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(DESIRED_ANNOTATION);
        if annotations.is_empty()
            && let Some(metadata) = metadata.as_object_mut()
        {
            metadata.remove("annotations");
        }
    }
    if metadata.as_object().is_none_or(serde_json::Map::is_empty)
        && let Some(object) = owned.as_object_mut()
    {
        object.remove("metadata");
    }
    owned
}

/// Returns what an application owns of an object that it is about to delete.
pub(super) fn owned_before_deletion(live: &Value, manager: &str) -> Value {
    Owned::of_result(live, manager)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::tests::config_map;
    use pintle_core::{names::ApplicationName, seed::Seed};
    use serde_json::json;
    use std::sync::LazyLock;

    fn wanted() -> PreparedObject {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}, "data": {"k": "1"}});
        config_map(value)
    }

    /// Returns the object as the server holds it after it was applied.
    fn live() -> Value {
        let mut live = crate::prepare::payload(&wanted().object, wanted().desired);
        live["metadata"]["uid"] = json!("u");
        live["metadata"]["managedFields"] = json!([{"manager": "pintle/shop/web", "operation": "Apply", "fieldsV1": {
            "f:metadata": {"f:annotations": {"f:pintle.dev/desired": {}}}, "f:data": {"f:k": {}}
        }}]);
        live
    }

    fn release() -> Release {
        Release::new(ApplicationName::new("shop", "web"), Seed::from_text("s"))
    }

    fn seen(live: Value) -> Live<'static> {
        static RELEASE: LazyLock<Release> = LazyLock::new(release);
        Live::new(live, &wanted(), &RELEASE)
    }

    #[test]
    fn an_object_that_was_applied_and_not_touched_is_recognised() {
        assert!(seen(live()).was_applied_as(&wanted()));
        let entry = seen(live()).entry(&wanted());
        assert!(seen(live()).is_as_recorded(Some(&entry), &wanted()));
        assert_eq!(entry.uid.as_deref(), Some("u"));
        let mut touched = live();
        touched["metadata"]["managedFields"][0]["fieldsV1"]["f:data"] = json!({"f:other": {}});
        assert!(!seen(touched).was_applied_as(&wanted()));
        let mut older = live();
        older["metadata"]["annotations"][DESIRED_ANNOTATION] = json!("sha256:0");
        assert!(!seen(older).was_applied_as(&wanted()));
        let mut foreign = live();
        foreign["metadata"]["managedFields"][0]["manager"] = json!("kubectl");
        assert!(!seen(foreign).was_applied_as(&wanted()));
    }

    #[test]
    fn what_has_lost_its_label_is_not_as_recorded_whatever_is_ignored() {
        let mut release = release();
        let rule = json!({"ignore": [{"pointers": ["/metadata/labels"]}]});
        release.drift = serde_json::from_value(rule).unwrap();
        let mut wanted = wanted().object.value().clone();
        wanted["metadata"]["labels"] = json!({APPLICATION_LABEL: "shop.web"});
        let wanted = config_map(wanted);
        let mut live = live();
        live["metadata"]["labels"] = wanted.object.value()["metadata"]["labels"].clone();
        let seen = |live: &Value| Live::new(live.clone(), &wanted, &release);
        let entry = seen(&live).entry(&wanted);
        assert!(seen(&live).is_as_recorded(Some(&entry), &wanted));
        live["metadata"]["labels"] = json!({});
        assert_eq!(seen(&live).entry(&wanted), entry);
        assert!(!seen(&live).is_as_recorded(Some(&entry), &wanted));
    }

    #[test]
    fn before_shows_the_live_value_of_a_field_that_was_lost() {
        let mut lost = live();
        lost["data"]["k"] = json!("edited");
        lost["metadata"]["managedFields"] = json!([{"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:data": {"f:k": {}}}}]);
        let owned = seen(lost).owned_with(&wanted());
        assert_eq!(
            (owned.before, owned.desired),
            (
                json!({"data": {"k": "edited"}}),
                json!({"data": {"k": "1"}})
            )
        );
    }

    #[test]
    fn the_digest_annotation_is_never_shown() {
        assert_eq!(
            Owned::of_result(&live(), "pintle/shop/web"),
            json!({"data": {"k": "1"}})
        );
        assert_eq!(Owned::of_new(&wanted()), json!({"data": {"k": "1"}}));
    }
}
