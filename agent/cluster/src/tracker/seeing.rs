//! Takes up objects as they are reported.

use std::sync::Arc;

use pintle_core::{fields, names::APPLICATION_LABEL, object::ObjectId};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Inner, Observed,
    checking::unanswered,
    room::weight,
    state::{Incoming, Origin, Registered},
};

/// The longest text that is accepted as a name or a version: no API server sends longer ones, and these texts are kept in memory.
const NAME: usize = 1024;
/// How many other managers are remembered per object.
const MANAGERS: usize = 3;

impl Inner {
    /// Reduces an object and records it. Its health comes from its check, which this does not wait for: the watch reports the
    /// objects of all applications.
    pub(super) fn see(self: &Arc<Self>, object: Arc<Value>, origin: Origin<'_>) {
        let Some((label, id)) = label_and_id(&object) else {
            return;
        };
        let uid = uid_of(&object);
        // Other applications that applied it have lost it to the one that the label names now.
        let lost = self.lock().lose(appliers(&object), label, &id, uid);
        self.publish(lost);
        let early = matches!(origin, Origin::Watch(..)).then_some(&*object);
        let registered = self.lock().registered_or_early(label, uid, early);
        let registered = match registered {
            Ok(registered) => registered,
            Err(is_first) => {
                if is_first {
                    self.expire_early_objects();
                }
                return;
            }
        };
        let version = name(&object["apiVersion"]).unwrap_or_default();
        let applied = applied_version(&object, &registered.manager);
        if self
            .lock()
            .is_for_another_watch(label, &id, version, applied)
        {
            return;
        }
        let observed = reduce(&object, &id, &registered);
        let incoming = Incoming {
            label,
            id,
            observed,
            weight: weight(&object),
            object: &object,
            version,
            origin,
            at: Instant::now(),
        };
        let mut state = self.lock();
        let Some(taken) = state.take(incoming) else {
            return;
        };
        self.serve(&mut state, label, taken.unserved);
        drop(state);
        self.publish(taken.event);
    }

    pub(super) fn gone(&self, object: &Value) {
        let Some((label, id)) = label_and_id(object) else {
            // The label itself was removed: the object's application is known from before.
            if let Some(id) = id_of(object) {
                let events = self.lock().remove_everywhere(&id, uid_of(object));
                self.publish(events);
            }
            return;
        };
        let label = label.to_owned();
        let events = self.lock().remove(&label, &id, uid_of(object));
        self.publish(events);
    }
}

/// Reduces an object to what is needed to see drift.
fn reduce(object: &Value, id: &ObjectId, registered: &Registered) -> Observed {
    let text = |field: &str| name(&object["metadata"][field]).unwrap_or_default().into();
    let managers = fields::other_managers(object, &registered.manager);
    let ignored = registered.drift.ignored(id);
    Observed {
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        stored: fields::stored_digest(object, &registered.manager, &registered.seed, &ignored),
        assessment: unanswered(),
        managers: managers
            .into_iter()
            .filter(|manager| manager.len() <= NAME)
            .take(MANAGERS)
            .map(Into::into)
            .collect(),
        deleting: !object["metadata"]["deletionTimestamp"].is_null(),
    }
}

fn uid_of(object: &Value) -> &str {
    name(&object["metadata"]["uid"]).unwrap_or_default()
}

fn name(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| text.len() <= NAME)
}

fn label_and_id(object: &Value) -> Option<(&str, ObjectId)> {
    let label = name(&object["metadata"]["labels"][APPLICATION_LABEL])?;
    Some((label, id_of(object)?))
}

fn id_of(object: &Value) -> Option<ObjectId> {
    let api_version = name(&object["apiVersion"])?;
    let metadata = &object["metadata"];
    let namespace = match &metadata["namespace"] {
        Value::Null => None,
        named => Some(name(named)?.to_owned()),
    };
    Some(ObjectId {
        group: api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
            .to_owned(),
        kind: name(&object["kind"])?.to_owned(),
        namespace,
        name: name(&metadata["name"])?.to_owned(),
    })
}

/// Returns the managers that have applied an object.
fn appliers(object: &Value) -> impl Iterator<Item = &str> {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten();
    entries
        .filter(|entry| entry["operation"] == "Apply")
        .filter_map(|entry| entry["manager"].as_str())
}

/// Returns the `apiVersion` at which the object was applied: its recorded fields are those of that version.
fn applied_version<'a>(object: &'a Value, manager: &str) -> Option<&'a str> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    let ours = entries
        .iter()
        .find(|entry| entry["manager"] == manager && entry["operation"] == "Apply")?;
    ours["apiVersion"].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_names_that_nothing_has_is_not_taken_up() {
        let object = |label: &str, name: &str, namespace: &str| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
                "name": name, "namespace": namespace, "labels": {APPLICATION_LABEL: label},
            }})
        };
        let long = "x".repeat(NAME + 1);
        assert!(label_and_id(&object("shop.web", "a", "shop")).is_some());
        for object in [
            object(&long, "a", "shop"),
            object("shop.web", &long, "shop"),
            object("shop.web", "a", &long),
        ] {
            assert_eq!(label_and_id(&object), None);
        }
    }
}
