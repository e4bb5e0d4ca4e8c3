//! Pintle's own resources in the cluster: reading and watching them, and writing their status.

mod asking;
mod watch;

use std::{collections::BTreeMap, marker::PhantomData};

use http::Method;
use pintle_core::{
    application::{ApplicationSpec, ApplicationStatus, PluginSpec, PluginStatus},
    names::{AGENT_MANAGER, ApplicationName, FINALIZER, GROUP, VERSION},
    object::ObjectId,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

pub use self::watch::ResourceEvent;
use crate::{
    connection::Connection,
    discovery::ResourceType,
    objects::MERGE,
    reader::paging::page,
    request::{Call, RequestError},
};

/// A spec or status that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {part} cannot be read: {detail}; was it written for another version of pintle?")]
pub struct Unreadable {
    /// One of `spec` or `status`.
    pub part: &'static str,
    /// What is wrong with it.
    pub detail: String,
}

/// An Application or a Plugin as it is in the cluster.
///
/// A spec that cannot be read is an error of this one resource; all others are still served.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomResource<Spec, Status> {
    /// The namespace; absent for Plugins.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// The uid, as assigned by the server.
    pub uid: String,
    /// The state of the whole resource, used in preconditions. The value is opaque.
    pub resource_version: String,
    /// Counts changes of the spec.
    pub generation: i64,
    /// The labels, which are passed to policies.
    pub labels: BTreeMap<String, String>,
    /// The annotations, through which people make requests.
    pub annotations: BTreeMap<String, String>,
    /// The finalizers.
    pub finalizers: Vec<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What the operator wrote.
    pub spec: Result<Spec, Unreadable>,
    /// What Pintle answered; the default if it never did.
    pub status: Result<Status, Unreadable>,
}

/// An Application as it is in the cluster.
pub type Application = CustomResource<ApplicationSpec, ApplicationStatus>;
/// A Plugin as it is in the cluster.
pub type Plugin = CustomResource<PluginSpec, PluginStatus>;

impl<Spec, Status> CustomResource<Spec, Status> {
    /// Returns the namespace and name; the namespace is empty for Plugins.
    pub fn application_name(&self) -> ApplicationName {
        ApplicationName::new(
            self.namespace.clone().unwrap_or_default(),
            self.name.clone(),
        )
    }

    /// Returns whether it carries Pintle's finalizer, so that the objects are dealt with before the resource goes.
    pub fn has_finalizer(&self) -> bool {
        self.finalizers
            .iter()
            .any(|finalizer| finalizer == FINALIZER)
    }
}

impl<Spec: DeserializeOwned, Status: DeserializeOwned + Default> CustomResource<Spec, Status> {
    /// Parses a resource as the API server returns it.
    pub fn read(mut value: Value) -> Self {
        let spec = value.get_mut("spec").map_or(json!({}), Value::take);
        let status = value
            .get_mut("status")
            .map(Value::take)
            .filter(|status| !status.is_null());
        let metadata = &value["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        let list = |field: &str| metadata[field].as_array().cloned().unwrap_or_default();
        let texts = |field: &str| {
            let fields = metadata[field].as_object().into_iter().flatten();
            let text =
                |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
            fields.filter_map(text).collect::<BTreeMap<_, _>>()
        };
        let unreadable = |part: &'static str| {
            move |error: serde_json::Error| Unreadable {
                part,
                detail: error.to_string(),
            }
        };
        Self {
            namespace: metadata["namespace"].as_str().map(ToOwned::to_owned),
            name: text("name"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            labels: texts("labels"),
            annotations: texts("annotations"),
            finalizers: list("finalizers")
                .iter()
                .filter_map(|f| Some(f.as_str()?.to_owned()))
                .collect(),
            deleting: !metadata["deletionTimestamp"].is_null(),
            spec: serde_json::from_value(spec).map_err(unreadable("spec")),
            status: status.map_or_else(
                || Ok(Status::default()),
                |status| serde_json::from_value(status).map_err(unreadable("status")),
            ),
        }
    }
}

/// Why a status was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// Someone else wrote the status since it was read.
    #[error(
        "the status of {id} was changed by another pintle meanwhile; if two of them are at work, stop one"
    )]
    Superseded {
        /// The resource.
        id: ObjectId,
    },
    /// The resource is gone.
    #[error("{id} does not exist any more")]
    Gone {
        /// The resource.
        id: ObjectId,
    },
    /// The existing status cannot be read, so it must not be overwritten.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The server refused or did not answer.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// The Applications or the Plugins of a cluster. Requests are made under the connection's identity.
#[derive(Debug)]
pub struct Resources<Spec, Status> {
    connection: Connection,
    resource: ResourceType,
    kind: PhantomData<fn() -> (Spec, Status)>,
}

impl<Spec, Status> Clone for Resources<Spec, Status> {
    fn clone(&self) -> Self {
        Self {
            connection: self.connection.clone(),
            resource: self.resource.clone(),
            kind: PhantomData,
        }
    }
}

/// Whether resources of a kind are namespaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Namespace,
    Cluster,
}

/// The Applications of a cluster.
pub type Applications = Resources<ApplicationSpec, ApplicationStatus>;
/// The Plugins of a cluster.
pub type Plugins = Resources<PluginSpec, PluginStatus>;

impl Applications {
    /// Returns access to Applications.
    pub fn applications(connection: &Connection) -> Self {
        Self::of(connection, "Application", "applications", Scope::Namespace)
    }
}

impl Plugins {
    /// Returns access to Plugins.
    pub fn plugins(connection: &Connection) -> Self {
        Self::of(connection, "Plugin", "plugins", Scope::Cluster)
    }
}

impl<Spec, Status> Resources<Spec, Status> {
    fn of(connection: &Connection, kind: &str, plural: &str, scope: Scope) -> Self {
        let resource = ResourceType {
            group: GROUP.to_owned(),
            version: VERSION.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: scope == Scope::Namespace,
            watchable: true,
        };
        Self {
            connection: connection.clone(),
            resource,
            kind: PhantomData,
        }
    }

    /// Returns whether the server serves this kind. A server that does not serve it answers a request for a resource as if there
    /// were none of that name.
    pub async fn is_served(&self) -> Result<bool, RequestError> {
        let ResourceType { group, version, .. } = &self.resource;
        let place = format!("/apis/{group}/{version}");
        match self.connection.call(&Call::get(place)).await {
            Ok(served) => {
                let mut served = served["resources"].as_array().into_iter().flatten();
                Ok(served.any(|one| one["name"] == self.resource.plural.as_str()))
            }
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the identity of a resource.
    pub fn id(&self, resource: &CustomResource<Spec, Status>) -> ObjectId {
        ObjectId {
            group: self.resource.group.clone(),
            kind: self.resource.kind.clone(),
            namespace: resource.namespace.clone(),
            name: resource.name.clone(),
        }
    }
}

impl<Spec, Status> Resources<Spec, Status>
where
    Spec: DeserializeOwned + PartialEq,
    Status: DeserializeOwned + Serialize + Default + PartialEq,
{
    /// Reads one resource; `None` if it does not exist.
    pub async fn get(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<CustomResource<Spec, Status>>, RequestError> {
        match self
            .connection
            .call(&Call::get(self.resource.path(namespace, Some(name))))
            .await
        {
            Ok(value) => Ok(Some(CustomResource::read(value))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists the resources, in one namespace or in all.
    pub async fn list(
        &self,
        namespace: Option<&str>,
    ) -> Result<Vec<CustomResource<Spec, Status>>, RequestError> {
        let path = self.resource.path(namespace, None);
        let (mut all, mut next) = (Vec::new(), None::<String>);
        loop {
            let (page, rest) = page(&self.connection, &path, None, next.as_deref()).await?;
            all.extend(page.into_iter().map(CustomResource::read));
            next = rest;
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    /// Writes a status: only what differs from the known status, and nothing if there is no difference.
    ///
    /// Never overwrites a status that someone else wrote: if the resource changed since it was read, it is read again, and a
    /// status other than the known one is an error. Returns the resource as it is now.
    pub async fn write_status(
        &self,
        known: &CustomResource<Spec, Status>,
        status: &Status,
    ) -> Result<CustomResource<Spec, Status>, StatusError>
    where
        Spec: Clone,
        Status: Clone,
    {
        let before = known.status.as_ref().map_err(Clone::clone)?;
        let Some(difference) = merge_patch(&plain(before), &plain(status)) else {
            return Ok(known.clone());
        };
        let mut version = known.resource_version.clone();
        // A further conflict means that someone keeps writing; the next run will see it.
        for attempt in 0..3 {
            let patch = json!({"metadata": {"resourceVersion": version, "uid": known.uid}, "status": difference});
            match self.patch(known, "/status", &patch).await {
                Ok(now) => return Ok(now),
                Err(error) if error.is_not_found() => {
                    return Err(StatusError::Gone { id: self.id(known) });
                }
                Err(error) if error.is_conflict() && attempt < 2 => {
                    let now = self.get(known.namespace.as_deref(), &known.name).await?;
                    let Some(now) = now.filter(|now| now.uid == known.uid) else {
                        return Err(StatusError::Gone { id: self.id(known) });
                    };
                    let found = now.status.as_ref().map_err(Clone::clone)?;
                    if found == status {
                        // Our own write succeeded, and its response was lost.
                        return Ok(now);
                    }
                    if found != before {
                        return Err(StatusError::Superseded { id: self.id(known) });
                    }
                    version = now.resource_version;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StatusError::Superseded { id: self.id(known) })
    }

    /// Adds Pintle's finalizer, so that the objects are dealt with before the resource goes.
    pub async fn add_finalizer(
        &self,
        known: &CustomResource<Spec, Status>,
    ) -> Result<CustomResource<Spec, Status>, StatusError>
    where
        Spec: Clone,
        Status: Clone,
    {
        if known.has_finalizer() {
            return Ok(known.clone());
        }
        self.change_finalizers(known, |finalizers| finalizers.push(FINALIZER.to_owned()))
            .await
    }

    /// Removes Pintle's finalizer, so that the resource may go. It is not an error if the resource is already gone.
    pub async fn remove_finalizer(
        &self,
        known: &CustomResource<Spec, Status>,
    ) -> Result<(), StatusError>
    where
        Spec: Clone,
        Status: Clone,
    {
        match self
            .change_finalizers(known, |finalizers| finalizers.retain(|f| f != FINALIZER))
            .await
        {
            Ok(_) | Err(StatusError::Gone { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn change_finalizers(
        &self,
        known: &CustomResource<Spec, Status>,
        change: impl Fn(&mut Vec<String>),
    ) -> Result<CustomResource<Spec, Status>, StatusError>
    where
        Spec: Clone,
        Status: Clone,
    {
        let mut now = known.clone();
        for _ in 0..3 {
            let mut finalizers = now.finalizers.clone();
            change(&mut finalizers);
            if finalizers == now.finalizers {
                return Ok(now);
            }
            // A list is replaced as a whole, so it must be the one that was read.
            let patch = json!({"metadata": {
                "resourceVersion": now.resource_version, "uid": now.uid, "finalizers": finalizers
            }});
            match self.patch(&now, "", &patch).await {
                Ok(now) => return Ok(now),
                Err(error) if error.is_conflict() => {
                    let found = self.get(known.namespace.as_deref(), &known.name).await?;
                    let found = found.filter(|found| found.uid == known.uid);
                    now = found.ok_or_else(|| StatusError::Gone { id: self.id(known) })?;
                }
                Err(error) if error.is_not_found() => {
                    return Err(StatusError::Gone { id: self.id(known) });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StatusError::Superseded { id: self.id(known) })
    }

    async fn patch(
        &self,
        known: &CustomResource<Spec, Status>,
        subresource: &str,
        patch: &Value,
    ) -> Result<CustomResource<Spec, Status>, RequestError> {
        let place = self
            .resource
            .path(known.namespace.as_deref(), Some(&known.name))
            + subresource;
        let call = Call::new(Method::PATCH, place)
            .query("fieldManager", AGENT_MANAGER)
            .body(MERGE, patch);
        Ok(CustomResource::read(self.connection.call(&call).await?))
    }
}

fn plain(status: &impl Serialize) -> Value {
    serde_json::to_value(status).expect("a status is plain data")
}

/// Returns the JSON merge patch (RFC 7396) that turns one value into another; `None` if they are equal.
fn merge_patch(before: &Value, after: &Value) -> Option<Value> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let mut patch = Map::new();
            for (name, value) in after {
                let changed = match before.get(name) {
                    Some(old) => merge_patch(old, value),
                    None => Some(value.clone()),
                };
                patch.extend(changed.map(|changed| (name.clone(), changed)));
            }
            let gone = before.keys().filter(|name| !after.contains_key(*name));
            patch.extend(gone.map(|name| (name.clone(), Value::Null)));
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        _ => (before != after).then(|| after.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_has_only_what_differs() {
        let before = json!({"a": 1, "b": {"c": [1, 2], "d": 1}, "e": 1});
        let after = json!({"a": 1, "b": {"c": [1], "d": 1}, "f": {"g": 1}});
        assert_eq!(
            merge_patch(&before, &after),
            Some(json!({"b": {"c": [1]}, "e": null, "f": {"g": 1}}))
        );
        assert_eq!(merge_patch(&before, &before), None);
    }

    #[test]
    fn an_unreadable_spec_is_an_error_of_its_own() {
        let read = |spec: Value| {
            Application::read(
                json!({"metadata": {"name": "web", "namespace": "shop", "generation": 3, "labels": {"team": "a"}}, "spec": spec}),
            )
        };
        let good = read(json!({"source": {"git": {"url": "https://example.com/a.git"}}}));
        assert!(good.spec.is_ok() && good.status == Ok(ApplicationStatus::default()));
        assert_eq!(
            (
                good.application_name().to_string().as_str(),
                good.generation
            ),
            ("shop/web", 3)
        );
        assert_eq!(good.labels, [("team".to_owned(), "a".to_owned())].into());
        let bad = read(json!({"sauce": 1}));
        let error = bad.spec.unwrap_err().to_string();
        assert!(
            error.starts_with("the spec cannot be read: unknown field `sauce`, expected one of"),
            "{error}"
        );
    }

    #[test]
    fn an_inventory_of_a_newer_shape_is_not_taken_for_none() {
        let newer = Application::read(
            json!({"metadata": {"name": "a"}, "spec": {}, "status": {"inventory": {"format": 2, "entries": {}}}}),
        );
        assert!(newer.status.is_err());
    }
}
