//! What is sent for an object.

use pintle_core::{
    digest::Digest, drift::respecting, fields, names::APPLICATION_LABEL, object::Object,
};
use serde_json::Value;

use crate::{prepare::payload, release::Release};

/// What is sent for an object, and whether it may be sent only while the object is unchanged since it was read.
pub(crate) struct Payload {
    value: Value,
    /// The resource version of the object when it was read, if values from it are sent back.
    bound_to: Option<String>,
}

impl Payload {
    /// Returns the payload for creating an object.
    pub(crate) fn new(object: &Object, desired: Digest) -> Self {
        Self {
            value: payload(object, desired),
            bound_to: None,
        }
    }

    /// Returns the payload for an existing object: fields that the application ignores stay as they are.
    pub(crate) fn onto(object: &Object, desired: Digest, live: &Value, release: &Release) -> Self {
        let ignored = release.drift.ignored(object.id());
        let mut plain = payload(object, desired);
        leave_service_account(&mut plain, object, live, &release.manager());
        if ignored.is_nothing() {
            return Self {
                value: plain,
                bound_to: None,
            };
        }
        let respected = respecting(&plain, live, &release.manager(), &ignored);
        let mut value = respected.object;
        // Pintle recognises the object by these, whatever is ignored.
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

    /// Returns the payload without binding it to a resource version: for dry runs, comparisons and a last attempt.
    pub(crate) fn unbound(&self) -> &Value {
        &self.value
    }

    /// Returns the payload such that the server refuses it if the object has changed since it was read.
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>
    pub(crate) fn bound(&self) -> Value {
        let mut value = self.value.clone();
        if let Some(version) = &self.bound_to {
            value["metadata"]["resourceVersion"] = Value::from(version.as_str());
        }
        value
    }

    /// Returns whether values of the object as it was read are sent back.
    pub(crate) fn is_bound(&self) -> bool {
        self.bound_to.is_some()
    }
}

/// Returns the annotations of a payload, with the digest of the desired object.
fn with_desired(value: &Value, plain: &Value) -> Value {
    let desired = pintle_core::names::DESIRED_ANNOTATION;
    let mut annotations = value["metadata"]["annotations"].clone();
    if !annotations.is_object() {
        annotations = Value::Object(serde_json::Map::new());
    }
    annotations[desired] = plain["metadata"]["annotations"][desired].clone();
    annotations
}

/// The paths of the pod spec in the built-in kinds that create pods.
const PODS: [&[&str]; 2] = [
    &["spec", "template", "spec"],
    &["spec", "jobTemplate", "spec", "template", "spec"],
];

/// Releases the service account of pods when it leaves the source.
///
/// The server also writes `serviceAccountName` into the deprecated `serviceAccount`, which no one applied and so no one gives up.
/// When the name is gone, it takes the account from there: pods would keep it for ever, or not be created once it no longer
/// exists. An apply that gives up the name therefore gives up both.
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodSpec>
fn leave_service_account(value: &mut Value, object: &Object, live: &Value, manager: &str) {
    const NAME: &str = "serviceAccountName";
    const DEPRECATED: &str = "serviceAccount";
    if !matches!(object.id().group.as_str(), "" | "apps" | "batch") {
        return;
    }
    let Some(owned) = fields::owned_by(live, manager) else {
        return;
    };
    for path in PODS {
        let path = || path.iter().copied();
        let found = path().try_fold(live, |value, key| value.get(key));
        let ours = path().try_fold(owned, |fields, key| fields.get(format!("f:{key}")));
        let wanted = path().try_fold(&mut *value, |value, key| value.get_mut(key));
        let is_ours = ours.is_some_and(|ours| ours.get(format!("f:{NAME}")).is_some());
        let has_account = found.is_some_and(|found| found.get(DEPRECATED).is_some());
        if let Some(Value::Object(wanted)) = wanted
            && is_ours
            && has_account
            && !wanted.contains_key(NAME)
        {
            wanted.entry(DEPRECATED).or_insert_with(|| Value::from(""));
        }
    }
}
