//! What is sent for an object.

use pintle_core::{
    digest::Digest, drift::respecting, fields, names::APPLICATION_LABEL, object::Object,
};
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
    let desired = pintle_core::names::DESIRED_ANNOTATION;
    let mut annotations = value["metadata"]["annotations"].clone();
    if !annotations.is_object() {
        annotations = Value::Object(serde_json::Map::new());
    }
    annotations[desired] = plain["metadata"]["annotations"][desired].clone();
    annotations
}

/// Where the built-in kinds have the spec of the pods that they make.
const PODS: [&[&str]; 2] = [
    &["spec", "template", "spec"],
    &["spec", "jobTemplate", "spec", "template", "spec"],
];

/// Lets the account of pods go when it leaves the source.
///
/// The server writes `serviceAccountName` into the deprecated `serviceAccount` as well, which nobody applied and so nobody
/// lets go of, and takes the account from there when the name is gone: pods would keep it for ever, or not be made when it
/// does not exist any more. Who lets go of the name in the same apply lets go of both.
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
