//! The inventory of the bare command line: a `ConfigMap`.

use async_trait::async_trait;
use http::Method;
use pintle_core::{
    inventory::Inventory,
    names::{ApplicationName, PINTLE_MANAGER},
    object::ObjectId,
};
use serde_json::{Value, json};

use super::{InventoryStore, StoreError, Urgency};
use crate::{
    connection::Connection,
    discovery::ResourceType,
    objects::{JSON, Preconditions},
    request::{Call, RequestError},
};

/// The key of the inventory in the `ConfigMap`'s data.
const KEY: &str = "inventory.json";
/// The most bytes of data that the API server accepts in a `ConfigMap`.
/// <https://kubernetes.io/docs/concepts/configuration/configmap/#motivation>
const ROOM: usize = 1 << 20;

/// Keeps an inventory in the `ConfigMap` `pintle-inventory.NAME` of the application's namespace.
#[derive(Debug)]
pub struct ConfigMapStore {
    connection: Connection,
    resource: ResourceType,
    id: ObjectId,
    label: String,
    inventory: Inventory,
    /// The `ConfigMap` as the server has it; `None` if it does not exist.
    kept: Option<Value>,
}

impl ConfigMapStore {
    /// Reads the inventory. Without a `ConfigMap` the inventory is empty; one is created when there is something to keep.
    pub async fn open(
        connection: &Connection,
        application: &ApplicationName,
    ) -> Result<Self, StoreError> {
        let resource = ResourceType::config_maps();
        let id = resource.id(
            &application.namespace,
            format!("pintle-inventory.{}", application.name),
        );
        let mut store = Self {
            connection: connection.clone(),
            resource,
            label: application.label_value(),
            inventory: Inventory::default(),
            kept: None,
            id,
        };
        store.kept = store
            .connection
            .read(&store.resource, &store.id)
            .await
            .map_err(|error| store.failed(error))?;
        store.inventory = store.read(store.kept.as_ref())?;
        Ok(store)
    }

    /// Returns whether an inventory is kept, even one that lists nothing.
    pub fn is_kept(&self) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|kept| kept["data"][KEY].is_string())
    }

    /// Creates the application's namespace, so that there is a place for the inventory that lists it. An existing namespace is
    /// not an error.
    pub async fn make_namespace(&self) -> Result<(), StoreError> {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.id.namespace},
        });
        let call = Call::new(Method::POST, "/api/v1/namespaces")
            .query("fieldManager", PINTLE_MANAGER)
            .body(JSON, &namespace);
        match self.connection.call(&call).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Removes the `ConfigMap` once everything that it listed is gone.
    pub async fn remove(self) -> Result<(), StoreError> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        match self
            .connection
            .delete_object(&self.resource, &self.id, &Preconditions::of(kept))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Err(self.superseded()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Lists the applications whose inventories are in `ConfigMap`s, in one namespace or in all.
    pub async fn list(
        connection: &Connection,
        namespace: Option<&str>,
    ) -> Result<Vec<ApplicationName>, RequestError> {
        let names = connection
            .labelled_names(
                &ResourceType::config_maps(),
                namespace,
                "pintle.dev/inventory",
            )
            .await?;
        let application = |(namespace, name): (Option<String>, String)| {
            Some(ApplicationName::new(
                namespace?,
                name.strip_prefix("pintle-inventory.")?,
            ))
        };
        Ok(names.into_iter().filter_map(application).collect())
    }

    fn read(&self, kept: Option<&Value>) -> Result<Inventory, StoreError> {
        match kept.and_then(|kept| kept["data"][KEY].as_str()) {
            None => Ok(Inventory::default()),
            Some(text) => Inventory::from_json(text).map_err(|error| StoreError::Unusable {
                place: self.place(),
                error,
            }),
        }
    }

    async fn write(&self, text: &str) -> Result<Value, RequestError> {
        let mut object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": self.id.name, "namespace": self.id.namespace,
                // Not the label of managed objects: the inventory is not one of them.
                "labels": {"pintle.dev/inventory": self.label, "app.kubernetes.io/managed-by": "pintle"},
            },
            "data": {KEY: text},
        });
        let (method, path) = match &self.kept {
            None => (
                Method::POST,
                self.resource.path(self.id.namespace.as_deref(), None),
            ),
            Some(kept) => {
                object["metadata"]["resourceVersion"] = kept["metadata"]["resourceVersion"].clone();
                object["metadata"]["uid"] = kept["metadata"]["uid"].clone();
                (Method::PUT, self.resource.path_of(&self.id))
            }
        };
        let call = Call::new(method, path)
            .query("fieldManager", PINTLE_MANAGER)
            .body(JSON, &object);
        self.connection.call(&call).await
    }

    fn superseded(&self) -> StoreError {
        StoreError::Superseded {
            place: self.place(),
        }
    }

    fn failed(&self, error: RequestError) -> StoreError {
        StoreError::Request {
            place: self.place(),
            error,
        }
    }
}

#[async_trait]
impl InventoryStore for ConfigMapStore {
    fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    fn place(&self) -> String {
        self.id.to_string()
    }

    fn room(&self) -> usize {
        ROOM
    }

    async fn keep(&mut self, inventory: &Inventory, _: Urgency) -> Result<(), StoreError> {
        if *inventory == self.inventory {
            return Ok(());
        }
        let text = serde_json::to_string(&inventory.store()).expect("an inventory is plain data");
        let kept = match self.write(&text).await {
            Ok(kept) => kept,
            Err(error) if error.is_conflict() => self.reread(&text).await?,
            Err(error) => return Err(self.failed(error)),
        };
        self.kept = Some(kept);
        self.inventory = inventory.clone();
        Ok(())
    }
}

impl ConfigMapStore {
    /// Resolves a conflict: our own write succeeded and the response was lost, or only labels changed, or someone else wrote.
    async fn reread(&mut self, text: &str) -> Result<Value, StoreError> {
        let now = self
            .connection
            .read(&self.resource, &self.id)
            .await
            .map_err(|error| self.failed(error))?;
        if let Some(now) = now.as_ref().filter(|now| now["data"][KEY] == text) {
            return Ok(now.clone());
        }
        if self.read(now.as_ref())? != self.inventory {
            return Err(self.superseded());
        }
        self.kept = now;
        self.write(text).await.map_err(|error| {
            if error.is_conflict() {
                self.superseded()
            } else {
                self.failed(error)
            }
        })
    }
}
