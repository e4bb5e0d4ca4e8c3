//! What others have changed in an object since it was applied, and whether that is repaired.

use pintle_core::{
    drift::{DriftedField, DriftedObject, FieldPointer, Opponent},
    inventory::Entry,
    plan::Action,
};
use serde_json::Value;

use super::{PlannedObject, Planner, change, live::Live};
use crate::{fieldset::FieldSet, prepare::PreparedObject};

impl Planner<'_> {
    /// Returns the drift of an existing object. Returns `None` if the source has changed it as well, so that it is written
    /// anyway; if it was not applied before; or if the last run to apply it could not record that.
    pub(super) fn drift(
        &self,
        object: &PreparedObject,
        live: &Live<'_>,
        entry: Option<&Entry>,
    ) -> Option<DriftedObject> {
        let is_drift =
            was_applied(object, entry) && !entry.is_some_and(|e| live.was_written_since(e));
        is_drift.then(|| DriftedObject {
            id: object.id().clone(),
            is_gone: false,
            fields: live.lost(object),
            is_left: self.is_left(object),
        })
    }

    /// Returns the drift of an object that was deleted.
    pub(super) fn loss(
        &self,
        object: &PreparedObject,
        entry: Option<&Entry>,
    ) -> Option<DriftedObject> {
        let is_loss = was_applied(object, entry);
        is_loss.then(|| DriftedObject {
            id: object.id().clone(),
            is_gone: true,
            fields: Vec::new(),
            is_left: self.is_left(object),
        })
    }

    /// Returns the plan for drift that is left as it is.
    pub(super) fn left(object: &PreparedObject, drift: DriftedObject) -> PlannedObject {
        PlannedObject {
            drift: Some(drift),
            ..PlannedObject::of(change(object, Action::Unchanged))
        }
    }

    fn is_left(&self, object: &PreparedObject) -> bool {
        self.release.leaves.leaves(object.id())
    }
}

/// Returns whether exactly this object was applied before and has been looked after since.
fn was_applied(object: &PreparedObject, entry: Option<&Entry>) -> bool {
    entry.is_some_and(|entry| {
        entry.is_managed() && entry.desired == Some(object.desired) && entry.uid.is_some()
    })
}

/// The other managers of an object, each with the fields that it owns now.
struct Others<'a>(Vec<(&'a Value, FieldSet)>);

impl<'a> Others<'a> {
    fn of(live: &'a Value, manager: &str) -> Self {
        let entries = live["metadata"]["managedFields"].as_array();
        let others = entries.into_iter().flatten();
        let others =
            others.filter(|entry| entry["manager"] != manager && entry["subresource"] != "status");
        Self(
            others
                .map(|entry| (entry, FieldSet::read(&entry["fieldsV1"])))
                .collect(),
        )
    }

    /// Returns the manager that owns a field now, which is the last one to change it. A field that was removed has no owner; then
    /// the last manager to change the object is returned.
    fn owner(&self, path: &[&str]) -> Option<Opponent> {
        let entries = self.0.iter();
        let owners = entries.clone().filter(|(_, fields)| fields.has(path));
        last(owners.map(|(entry, _)| *entry)).or_else(|| last(entries.map(|(entry, _)| *entry)))
    }
}

fn last<'a>(entries: impl Iterator<Item = &'a Value>) -> Option<Opponent> {
    let opponents = entries.filter_map(|entry| {
        Some(Opponent {
            manager: entry["manager"].as_str()?.to_owned(),
            time: entry["time"].as_str().unwrap_or_default().to_owned(),
        })
    });
    // RFC 3339 in UTC sorts as text.
    opponents.max_by(|a, b| a.time.cmp(&b.time))
}

impl Live<'_> {
    /// Returns the fields of the desired object that the application no longer owns: whoever changes a field takes it over.
    fn lost(&self, object: &PreparedObject) -> Vec<DriftedField> {
        let wanted = self.wanted(object);
        let hint = FieldSet::of_all_managers(self.value());
        let wanted = FieldSet::of_desired(&wanted, &hint);
        let others = Others::of(self.value(), self.manager());
        let field = |path: Vec<&str>| {
            Some(DriftedField {
                by: others.owner(&path),
                pointer: FieldPointer::of_path(path)?,
            })
        };
        let missing = wanted.missing_in(&self.owned());
        missing.into_iter().filter_map(field).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_the_last_to_change_a_field() {
        let entry = |manager: &str, time: &str, fields: Value| json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields});
        let live = json!({"metadata": {"managedFields": [
            entry("scaler", "2026-01-01T00:00:00Z", json!({"f:spec": {"f:replicas": {}}})),
            entry("bot", "2026-01-02T00:00:00Z", json!({"f:spec": {"f:items": {}}})),
            entry("us", "2026-01-03T00:00:00Z", json!({"f:spec": {"f:paused": {}}})),
        ]}});
        let others = Others::of(&live, "us");
        let by = |path: &[&str]| others.owner(path).unwrap().manager;
        assert_eq!(by(&["f:spec", "f:replicas"]), "scaler");
        assert_eq!(
            by(&["f:spec", "f:items", "k:{\"name\":\"a\"}", "f:x"]),
            "bot"
        );
        assert_eq!(
            by(&["f:metadata", "f:labels", "f:gone"]),
            "bot",
            "the last of all"
        );
        assert_eq!(Others::of(&json!({}), "us").owner(&["f:a"]), None);
    }

    #[test]
    fn of_very_many_fields_each_is_known_to_be_whose() {
        let all = 0..50_000;
        let fields = all.clone().map(|number| (format!("f:{number}"), json!({})));
        let live = json!({"metadata": {"managedFields": [{
            "manager": "bot", "time": "", "fieldsV1": {"f:data": Value::Object(fields.collect())},
        }]}});
        let others = Others::of(&live, "us");
        for number in all {
            let field = format!("f:{number}");
            assert!(others.owner(&["f:data", &field]).is_some(), "{number}");
        }
    }
}
