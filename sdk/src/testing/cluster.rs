//! An in-memory cluster.

use serde_json::Value;

use crate::{Cluster, ObjectId};

/// An in-memory cluster. It holds the objects that were added, and all reads of them are granted.
#[derive(Clone, Debug, Default)]
pub struct MemoryCluster {
    objects: Vec<(ObjectId, Value)>,
}

impl MemoryCluster {
    /// Creates an empty cluster.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an object.
    ///
    /// # Panics
    ///
    /// Panics if it has no `apiVersion`, `kind` or `metadata.name`.
    #[must_use]
    pub fn object(mut self, mut manifest: Value) -> Self {
        let id =
            ObjectId::of(&manifest).expect("a test object has apiVersion, kind and metadata.name");
        // The host leaves these fields out, too.
        if let Some(Value::Object(metadata)) = manifest.get_mut("metadata") {
            metadata
                .retain(|field, _| !matches!(field.as_str(), "managedFields" | "resourceVersion"));
        }
        self.objects.retain(|(each, _)| *each != id);
        self.objects.push((id, manifest));
        self.objects.sort_by(|(one, _), (other, _)| one.cmp(other));
        self
    }
}

impl Cluster for MemoryCluster {
    fn get(&self, id: &ObjectId) -> Option<Value> {
        self.objects
            .iter()
            .find(|(each, _)| each == id)
            .map(|(_, manifest)| manifest.clone())
    }

    fn find(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> Vec<Value> {
        self.objects
            .iter()
            .filter(|(id, _)| id.api_version == api_version && id.kind == kind)
            .filter(|(id, _)| namespace.is_none() || id.namespace.as_deref() == namespace)
            .map(|(_, manifest)| manifest.clone())
            .collect()
    }
}
