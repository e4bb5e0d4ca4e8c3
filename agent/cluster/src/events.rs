//! Kubernetes Events about Pintle's resources, for who looks with `kubectl`.

use std::borrow::Cow;

use http::Method;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::api::ObjectMeta;
use pintle_core::{
    brief,
    names::{GROUP, VERSION},
};

use crate::{
    connection::Connection,
    objects::JSON,
    request::{Call, encode},
    resources::CustomResource,
};

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

/// Which resource an Event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    namespace: Option<String>,
    name: String,
    uid: String,
}

impl About {
    /// Names a resource, for whoever does not keep it as a whole.
    pub fn of<Spec, Status>(resource: &CustomResource<Spec, Status>) -> Self {
        Self {
            namespace: resource.namespace.clone(),
            name: resource.name.clone(),
            uid: resource.uid.clone(),
        }
    }
}

/// Writes Events, each as one of its own: an event with another note tells something else, so nothing is only counted
/// up. Who emits keeps repetitions away.
#[derive(Clone)]
pub struct Events {
    connection: Connection,
    instance: String,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// Writes events in the connection's name. `instance` distinguishes replicas, such as a pod's name.
    pub fn new(connection: &Connection, instance: impl Into<String>) -> Self {
        Self {
            connection: connection.clone().without_fence(),
            instance: instance.into(),
        }
    }

    /// Writes an event about a resource. `reason` is one CamelCase word, `action` what was being done, in one too. Of
    /// a longer note there is as much as fits, with a mark.
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
        let about = About::of(resource);
        self.emit_about(&about, kind, weight, reason, action, note)
            .await;
    }

    /// Writes an event about a resource that is only known by its name, as [`emit`](Self::emit) does.
    pub async fn emit_about(
        &self,
        resource: &About,
        kind: &str,
        weight: Weight,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let about = ObjectReference {
            api_version: Some(format!("{GROUP}/{VERSION}")),
            kind: Some(kind.to_owned()),
            namespace: resource.namespace.clone(),
            name: Some(resource.name.clone()),
            uid: Some(resource.uid.clone()),
            resource_version: None,
            field_path: None,
        };
        let now = Timestamp::now();
        // Events about what has no namespace go to `default`.
        let namespace = resource.namespace.as_deref().unwrap_or("default");
        let event = Event {
            metadata: ObjectMeta {
                name: Some(event_name(&resource.name, now)),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(weight.name().to_owned()),
            reason: Some(reason.to_owned()),
            action: Some(action.to_owned()),
            note: Some(fitting(note).into_owned()),
            regarding: Some(about),
            event_time: Some(MicroTime(now)),
            reporting_controller: Some("pintle.dev/agent".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        let path = format!(
            "/apis/events.k8s.io/v1/namespaces/{}/events",
            encode(namespace)
        );
        let event = match serde_json::to_value(event) {
            Ok(event) => event,
            Err(error) => return tracing::warn!(%reason, %error, "an event was not written"),
        };
        let call = Call::new(Method::POST, path).body(JSON, &event);
        match self.connection.call(&call).await {
            Ok(_) => {}
            // Nobody else takes the name: it was written, and the answer lost.
            Err(error) if error.is_conflict() => {}
            Err(error) => tracing::warn!(%reason, %error, "an event was not written"),
        }
    }
}

impl Weight {
    const fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// A name that nobody else takes: the resource's, cut to leave room, and the nanosecond.
fn event_name(resource: &str, now: Timestamp) -> String {
    let mut end = resource.len().min(200);
    while !resource.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}.{:x}", &resource[..end], now.as_nanosecond())
}

/// Returns a note, or as much of it as an event may have.
fn fitting(note: &str) -> Cow<'_, str> {
    brief::cut_to(note, NOTE_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_is_cut_says_so() {
        assert_eq!(fitting("short"), "short");
        let line = "Deployment.apps shop/größe: no tag\n";
        let long = line.repeat(100);
        let short = fitting(&long);
        assert!(short.len() <= NOTE_LIMIT, "{}", short.len());
        let more = 100 - short.matches("no tag").count();
        assert!(short.ends_with(&format!("… and {more} more")), "{short}");
        let one_line = fitting(&"ü".repeat(1000)).into_owned();
        assert!(one_line.len() <= NOTE_LIMIT && one_line.ends_with('…'));
    }
}
