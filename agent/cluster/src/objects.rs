//! Requests about single objects: read, apply, delete, list.

use http::Method;
use pintle_core::object::ObjectId;
use serde_json::{Value, json};

use crate::{
    connection::Connection,
    discovery::ResourceType,
    request::{Call, RequestError},
    watching::typed,
};

/// The content type of server-side apply: YAML, of which JSON is a subset.
const APPLY: &str = "application/apply-patch+yaml";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const JSON: &str = "application/json";
/// Asks for only the metadata of each object in a list.
pub(crate) const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// The options of an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    /// Whether to take over fields from other managers.
    pub(crate) force: bool,
    /// Whether nothing may be written.
    pub(crate) dry_run: bool,
}

/// The result of an apply.
pub(crate) struct Applied {
    /// Whether the object did not exist before.
    pub(crate) created: bool,
    /// The object as the server holds it now.
    pub(crate) live: Value,
}

/// The conditions under which an object may be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Preconditions {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

impl Preconditions {
    /// Binds a deletion to exactly this state of an object.
    pub(crate) fn of(live: &Value) -> Self {
        let text = |field: &str| live["metadata"][field].as_str().map(ToOwned::to_owned);
        Self {
            uid: text("uid"),
            resource_version: text("resourceVersion"),
        }
    }

    /// Binds a deletion to exactly this object in any state: its state may change at any time.
    pub(crate) fn of_any_state(live: &Value) -> Self {
        Self {
            resource_version: None,
            ..Self::of(live)
        }
    }
}

impl Connection {
    /// Reads an object; `None` if it does not exist. It is an error if its kind is not served at this version.
    pub(crate) async fn read(
        &self,
        resource: &ResourceType,
        id: &ObjectId,
    ) -> Result<Option<Value>, RequestError> {
        match self.call(&Call::get(resource.path_of(id))).await {
            Ok(live) => Ok(Some(live)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Like [`Connection::read`], but needs only the right to list objects of the kind.
    pub(crate) async fn read_from_list(
        &self,
        resource: &ResourceType,
        id: &ObjectId,
    ) -> Result<Option<Value>, RequestError> {
        let call = Call::get(resource.path(id.namespace.as_deref(), None))
            .query("fieldSelector", &format!("metadata.name={}", id.name));
        let found = items(self.call(&call).await?).into_iter().next();
        Ok(found.map(|found| typed(found, resource)))
    }

    /// Applies an object with server-side apply.
    ///
    /// <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
    pub(crate) async fn apply_object(
        &self,
        resource: &ResourceType,
        id: &ObjectId,
        payload: &Value,
        manager: &str,
        mode: Mode,
    ) -> Result<Applied, RequestError> {
        let mut call = Call::new(Method::PATCH, resource.path_of(id))
            .query("fieldManager", manager)
            .query("fieldValidation", "Strict")
            .body(APPLY, payload);
        if mode.force {
            call = call.query("force", "true");
        }
        if mode.dry_run {
            call = call.query("dryRun", "All");
        }
        let (code, live) = self.call_with_code(&call).await?;
        let created = code == 201;
        Ok(Applied { created, live })
    }

    /// Requests an object's deletion; the server collects its dependents. Returns whether the object existed.
    pub(crate) async fn delete_object(
        &self,
        resource: &ResourceType,
        id: &ObjectId,
        preconditions: &Preconditions,
    ) -> Result<bool, RequestError> {
        self.delete_as(resource, id, preconditions, "Background")
            .await
    }

    /// Replaces the record of which manager owns which fields of an object, provided that the object is unchanged since it was
    /// read.
    pub(crate) async fn set_managed_fields(
        &self,
        resource: &ResourceType,
        id: &ObjectId,
        known: &Value,
        fields: &[Value],
        manager: &str,
    ) -> Result<(), RequestError> {
        let metadata = &known["metadata"];
        let patch = json!({"metadata": {
            "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"], "managedFields": fields,
        }});
        let call = Call::new(Method::PATCH, resource.path_of(id))
            .query("fieldManager", manager)
            .body(MERGE, &patch);
        self.call(&call).await.map(|_| ())
    }

    /// Requests an object's deletion after that of its dependents: once it is gone, so are its pods.
    pub(crate) async fn delete_with_dependents(
        &self,
        resource: &ResourceType,
        id: &ObjectId,
        preconditions: &Preconditions,
    ) -> Result<bool, RequestError> {
        self.delete_as(resource, id, preconditions, "Foreground")
            .await
    }

    async fn delete_as(
        &self,
        resource: &ResourceType,
        id: &ObjectId,
        preconditions: &Preconditions,
        propagation: &str,
    ) -> Result<bool, RequestError> {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation,
            "preconditions": {"uid": preconditions.uid, "resourceVersion": preconditions.resource_version},
        });
        let call = Call::new(Method::DELETE, resource.path_of(id)).body(JSON, &options);
        match self.call(&call).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the namespace and name of at most `limit` objects of a kind in the whole cluster.
    pub(crate) async fn names(
        &self,
        resource: &ResourceType,
        limit: usize,
    ) -> Result<Vec<Name>, RequestError> {
        let call = Call::get(resource.path(None, None)).query("limit", &limit.to_string());
        self.list_names(call).await
    }

    /// Returns the namespace and name of all objects of a kind that carry a label, in one namespace or in all.
    pub(crate) async fn labelled_names(
        &self,
        resource: &ResourceType,
        namespace: Option<&str>,
        label: &str,
    ) -> Result<Vec<Name>, RequestError> {
        self.list_names(Call::get(resource.path(namespace, None)).query("labelSelector", label))
            .await
    }

    async fn list_names(&self, call: Call) -> Result<Vec<Name>, RequestError> {
        let list = self.call(&call.accept(METADATA_LIST)).await?;
        let text =
            |item: &Value, field: &str| item["metadata"][field].as_str().map(ToOwned::to_owned);
        let items = list["items"].as_array().into_iter().flatten();
        Ok(items
            .filter_map(|item| Some((text(item, "namespace"), text(item, "name")?)))
            .collect())
    }
}

/// A namespace and a name.
pub(crate) type Name = (Option<String>, String);

/// Returns a condition of an object's status.
pub(crate) fn condition<'a>(live: &'a Value, kind: &str) -> Option<&'a Value> {
    live["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// Returns the items of a list; none if the value is not a list.
pub(crate) fn items(list: Value) -> Vec<Value> {
    match list {
        Value::Object(mut fields) => match fields.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_has_no_items() {
        assert_eq!(items(json!({"items": [1, 2]})), [1, 2]);
        for other in [
            json!("x"),
            json!([1]),
            json!(1),
            json!({"items": "x"}),
            json!({}),
        ] {
            assert_eq!(items(other), Vec::<Value>::new());
        }
    }
}
