//! What the director does and sees in the cluster, bypassing all proxies.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use serde_json::{Value, json};

use crate::arena::Arena;
use crate::model::{Key, Kind};

/// The field manager of manual changes.
const BY_HAND: &str = "somebody";

/// One namespace, accessed as an administrator.
pub(crate) struct Namespace<'a> {
    arena: &'a Arena,
    pub(crate) name: String,
}

impl<'a> Namespace<'a> {
    pub(crate) fn new(arena: &'a Arena, name: &str) -> Self {
        Self {
            arena,
            name: name.to_owned(),
        }
    }

    fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match kind {
            "Namespace" | "Plugin" => Api::all_with(self.arena.client.clone(), &resource),
            _ => Api::namespaced_with(self.arena.client.clone(), &self.name, &resource),
        }
    }

    fn of(&self, kind: Kind) -> Api<DynamicObject> {
        self.api(kind.group(), "v1", kind.name())
    }

    fn applications(&self) -> Api<DynamicObject> {
        self.api("pintle.dev", "v1alpha1", "Application")
    }

    /// Applies an object server-side, as an administrator.
    pub(crate) fn apply(&self, object: &Value) -> Result<()> {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let (group, version) = text("apiVersion")
            .split_once('/')
            .unwrap_or(("", text("apiVersion")));
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let api = self.api(group, version, text("kind"));
        let params = PatchParams::apply("torture").force();
        self.arena
            .wait(api.patch(name, &params, &Patch::Apply(object)))
            .with_context(|| format!("apply {} {name}", text("kind")))?;
        Ok(())
    }

    /// Changes an object by hand. Does nothing if it does not exist.
    pub(crate) fn change(&self, key: &Key, patch: &Value) -> Result<bool> {
        let params = PatchParams {
            field_manager: Some(BY_HAND.to_owned()),
            ..PatchParams::default()
        };
        let api = self.of(key.kind);
        found(
            self.arena
                .wait(api.patch(&key.name, &params, &Patch::Merge(patch))),
        )
        .with_context(|| format!("change {key}"))
    }

    /// Deletes an object by hand. Does nothing if it does not exist.
    pub(crate) fn delete(&self, key: &Key) -> Result<bool> {
        let api = self.of(key.kind);
        found(
            self.arena
                .wait(api.delete(&key.name, &DeleteParams::default())),
        )
        .with_context(|| format!("delete {key}"))
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Value>> {
        let object = self.arena.wait(self.of(key.kind).get_opt(&key.name))?;
        Ok(object.map(serde_json::to_value).transpose()?)
    }

    /// Returns all objects of all kinds that schedules use.
    pub(crate) fn objects(&self) -> Result<BTreeMap<Key, Value>> {
        let mut objects = BTreeMap::new();
        for kind in Kind::ALL {
            let list = self
                .arena
                .wait(self.of(kind).list(&ListParams::default()))?;
            for object in list.items {
                let name = object.metadata.name.clone().unwrap_or_default();
                objects.insert(Key { kind, name }, serde_json::to_value(object)?);
            }
        }
        Ok(objects)
    }

    pub(crate) fn application(&self, name: &str) -> Result<Option<Value>> {
        let object = self.arena.wait(self.applications().get_opt(name))?;
        Ok(object.map(serde_json::to_value).transpose()?)
    }

    /// Changes an Application. Does nothing if it does not exist.
    pub(crate) fn change_application(&self, name: &str, patch: &Value) -> Result<bool> {
        let params = PatchParams::default();
        let api = self.applications();
        found(
            self.arena
                .wait(api.patch(name, &params, &Patch::Merge(patch))),
        )
        .with_context(|| format!("change Application {name}"))
    }

    pub(crate) fn delete_application(&self, name: &str) -> Result<bool> {
        let api = self.applications();
        found(self.arena.wait(api.delete(name, &DeleteParams::default())))
            .with_context(|| format!("delete Application {name}"))
    }

    /// Deletes all leases: otherwise agents would wait for those of agents that have ended.
    pub(crate) fn forget_leases(&self) -> Result<()> {
        let leases = self.api("coordination.k8s.io", "v1", "Lease");
        let (delete, all) = (DeleteParams::default(), ListParams::default());
        self.arena
            .wait(leases.delete_collection(&delete, &all))
            .with_context(|| format!("delete the Leases of {}", self.name))?;
        Ok(())
    }

    /// Makes somebody else the holder of every existing lease.
    pub(crate) fn steal_leases(&self, namespace: &str, seconds: i32) -> Result<usize> {
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease"));
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.arena.client.clone(), namespace, &resource);
        let leases = self.arena.wait(api.list(&ListParams::default()))?;
        let now = format!("{:.6}", k8s_openapi::jiff::Timestamp::now());
        let stolen = json!({"spec": {
            "holderIdentity": "thief", "leaseDurationSeconds": seconds, "acquireTime": now, "renewTime": now,
        }});
        let mut count = 0;
        for name in leases
            .items
            .iter()
            .filter_map(|lease| lease.metadata.name.as_ref())
        {
            let patch = Patch::Merge(&stolen);
            count += usize::from(found(self.arena.wait(api.patch(
                name,
                &PatchParams::default(),
                &patch,
            )))?);
        }
        Ok(count)
    }
}

/// Returns whether the object to be changed was found.
fn found<T>(result: kube::Result<T>) -> Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error.into()),
    }
}
