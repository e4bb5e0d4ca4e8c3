//! Taking up objects as they are told.

use std::sync::Arc;

use pintle_core::{fields, names::APPLICATION_LABEL, object::ObjectId};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Inner, Observed,
    checking::unanswered,
    state::{Incoming, Origin, Registered},
};

/// How many other managers are remembered of an object.
const MANAGERS: usize = 3;

impl Inner {
    /// Reduces an object and takes it up. How it is, is said by its check, which nobody waits for here: whoever watches tells
    /// of all applications' objects.
    pub(super) fn see(self: &Arc<Self>, object: Arc<Value>, origin: Origin<'_>) {
        let Some((label, id)) = label_and_id(&object) else {
            return;
        };
        let uid = uid_of(&object);
        // Whoever else applied it has lost it to the application that the label names now.
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
        let version = object["apiVersion"].as_str().unwrap_or_default();
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
            // The label itself was removed: whose object it was is known from before.
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

/// Keeps of an object what is needed to see drift.
fn reduce(object: &Value, id: &ObjectId, registered: &Registered) -> Observed {
    let text = |field: &str| {
        object["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .into()
    };
    let managers = fields::other_managers(object, &registered.manager);
    let ignored = registered.drift.ignored(id);
    Observed {
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        stored: fields::stored_digest(object, &registered.manager, &registered.seed, &ignored),
        assessment: unanswered(),
        managers: managers
            .into_iter()
            .take(MANAGERS)
            .map(Into::into)
            .collect(),
        deleting: !object["metadata"]["deletionTimestamp"].is_null(),
    }
}

fn uid_of(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

fn label_and_id(object: &Value) -> Option<(&str, ObjectId)> {
    let label = object["metadata"]["labels"][APPLICATION_LABEL].as_str()?;
    Some((label, id_of(object)?))
}

fn id_of(object: &Value) -> Option<ObjectId> {
    let api_version = object["apiVersion"].as_str()?;
    let metadata = &object["metadata"];
    Some(ObjectId {
        group: api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
            .to_owned(),
        kind: object["kind"].as_str()?.to_owned(),
        namespace: metadata["namespace"].as_str().map(ToOwned::to_owned),
        name: metadata["name"].as_str()?.to_owned(),
    })
}

/// Returns who has applied an object.
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
