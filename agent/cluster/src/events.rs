//! Kubernetes Events about Pintle's resources, for who looks with `kubectl`.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::{connection::Connection, request::chain, resources::CustomResource};
use pintle_core::names::{GROUP, VERSION};

/// The longest note that the API accepts, in bytes.
/// <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>
const NOTE_LIMIT: usize = 1024;

/// How an event is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Something happened.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Writes Events. The same event again within some minutes only counts up.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// Writes events in the connection's own name. `instance` distinguishes replicas, such as a pod's name.
    pub fn new(connection: &Connection, instance: impl Into<String>) -> Self {
        let reporter = Reporter {
            controller: "pintle.dev/agent".to_owned(),
            instance: Some(instance.into()),
        };
        Self {
            recorder: Recorder::new(connection.client().clone(), reporter),
        }
    }

    /// Writes an event about a resource. `reason` is one CamelCase word, `action` what was being done, in one too. A
    /// longer note is cut.
    ///
    /// An event that cannot be written is only logged: nothing depends on it.
    pub async fn emit<Spec, Status>(
        &self,
        resource: &CustomResource<Spec, Status>,
        kind: &str,
        weight: Weight,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let about = ObjectReference {
            api_version: Some(format!("{GROUP}/{VERSION}")),
            kind: Some(kind.to_owned()),
            // Events about what has no namespace go to `default`.
            namespace: resource.namespace.clone(),
            name: Some(resource.name.clone()),
            uid: Some(resource.uid.clone()),
            resource_version: None,
            field_path: None,
        };
        let event = Event {
            type_: match weight {
                Weight::Normal => EventType::Normal,
                Weight::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(cut(note).to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &about).await {
            tracing::warn!(%reason, error = %chain(&error), "an event was not written");
        }
    }
}

fn cut(note: &str) -> &str {
    let mut end = note.len().min(NOTE_LIMIT);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    &note[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = format!("a{}", "ü".repeat(1000));
        assert_eq!(cut(&long).len(), 1023);
    }
}
