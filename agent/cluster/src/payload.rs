//! What is sent for an object.

use pintle_core::{digest::Digest, drift::respecting, names::APPLICATION_LABEL, object::Object};
use serde_json::Value;

use crate::{prepare::payload, release::Release};

/// What is sent for an object, and whether it may only be sent as long as the object is as it was read.
pub(crate) struct Payload {
    value: Value,
    /// The object's state when it was read, if values of it are sent again.
    bound_to: Option<String>,
}

impl Payload {
    /// Returns what is sent for an object that is made.
    pub(crate) fn new(object: &Object, desired: Digest) -> Self {
        Self {
            value: payload(object, desired),
            bound_to: None,
        }
    }

    /// Returns what is sent for an object that exists: fields that the application ignores stay as they are.
    pub(crate) fn onto(object: &Object, desired: Digest, live: &Value, release: &Release) -> Self {
        let ignored = release.drift.ignored(object.id());
        if ignored.is_nothing() {
            return Self::new(object, desired);
        }
        let plain = payload(object, desired);
        let respected = respecting(&plain, live, &release.manager(), &ignored);
        let mut value = respected.object;
        // By these we know the object again, whatever is ignored.
        value["metadata"]["labels"][APPLICATION_LABEL] =
            plain["metadata"]["labels"][APPLICATION_LABEL].clone();
        value["metadata"]["annotations"] = with_desired(&value, &plain);
        let version = live["metadata"]["resourceVersion"].as_str();
        Self {
            bound_to: version
                .filter(|_| respected.is_bound)
                .map(ToOwned::to_owned),
            value,
        }
    }

    /// Returns it as it is for whoever only looks, or for a last attempt.
    pub(crate) fn unbound(&self) -> &Value {
        &self.value
    }

    /// Returns it so that the server refuses it if the object has changed since it was read.
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>
    pub(crate) fn bound(&self) -> Value {
        let mut value = self.value.clone();
        if let Some(version) = &self.bound_to {
            value["metadata"]["resourceVersion"] = Value::from(version.as_str());
        }
        value
    }

    /// Says whether values of the object as it was read are sent again.
    pub(crate) fn is_bound(&self) -> bool {
        self.bound_to.is_some()
    }
}

/// The annotations of what is sent, with the digest of the desired object.
fn with_desired(value: &Value, plain: &Value) -> Value {
    let desired = crate::prepare::DESIRED_ANNOTATION;
    let mut annotations = value["metadata"]["annotations"].clone();
    if !annotations.is_object() {
        annotations = Value::Object(serde_json::Map::new());
    }
    annotations[desired] = plain["metadata"]["annotations"][desired].clone();
    annotations
}
