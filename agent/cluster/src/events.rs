//! Kubernetes Events about Pintle's resources, for people who use `kubectl`.

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

/// How important an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Something happened.
    Normal,
    /// Somebody should look.
    Warning,
}

/// The resource that an Event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    namespace: Option<String>,
    name: String,
    uid: String,
}

impl About {
    /// Refers to a resource, for callers that do not keep the whole resource.
    pub fn of<Spec, Status>(resource: &CustomResource<Spec, Status>) -> Self {
        Self {
            namespace: resource.namespace.clone(),
            name: resource.name.clone(),
            uid: resource.uid.clone(),
        }
    }
}

/// Writes Events, each as a separate object. An event with a different note says something different, so events are never merged
/// into a count. Callers avoid repetitions.
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
    /// Creates a writer that acts under the connection's identity. `instance` distinguishes replicas, for example by pod name.
    pub fn new(connection: &Connection, instance: impl Into<String>) -> Self {
        Self {
            connection: connection.clone().without_fence(),
            instance: instance.into(),
        }
    }

    /// Writes an event about a resource. `reason` is one CamelCase word, and so is `action`, which says what was being done. A
    /// note that is too long is cut to fit and marked as cut.
    ///
    /// If an event cannot be written, that is only logged: nothing depends on it.
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

    /// Writes an event about a resource that is known only by its name, as [`emit`](Self::emit) does.
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
        // Events about resources without a namespace go to `default`.
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
            // No one else uses this name: the event was written, and the response lost.
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

/// Returns a unique name: the resource's name, cut to leave room, and the time in nanoseconds.
fn event_name(resource: &str, now: Timestamp) -> String {
    let mut end = resource.len().min(200);
    while !resource.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}.{:x}", &resource[..end], now.as_nanosecond())
}

/// Returns a note, cut to what an event may have.
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
