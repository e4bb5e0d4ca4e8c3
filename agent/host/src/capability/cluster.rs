//! `pintle:types/cluster`: objects of the cluster, of granted kinds.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use pintle_core::{
    canonical,
    digest::{Digest, Digester},
    object,
    plugin::Fault,
    readset::Question,
    seed::Seed,
};
use serde_json::Value;

use crate::{
    bindings::wit::{cluster::Host, types::ObjectId},
    grants::EffectiveGrants,
    state::{State, Stop},
};

/// The cluster did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cluster cannot be read: {reason}")]
pub struct ClusterError {
    /// What it said instead.
    pub reason: String,
}

/// Reads objects for plugins, with the rights of the application. A kind that is not served has no objects.
#[async_trait]
pub trait ClusterReader: Send + Sync + fmt::Debug {
    /// Reads one object.
    async fn get(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, ClusterError>;

    /// Reads the objects of a kind, in one namespace or in all.
    async fn find(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Result<Vec<Value>, ClusterError>;
}

/// What one call may read from the cluster.
pub(crate) struct ClusterAccess {
    pub(crate) reader: Arc<dyn ClusterReader>,
    pub(crate) grants: Arc<EffectiveGrants>,
    pub(crate) seed: Seed,
}

impl ClusterAccess {
    /// Digests an answer for the read set; what a Secret holds is concealed, since status shows digests.
    fn digest(&self, api_version: &str, kind: &str, answer: &[Value]) -> Digest {
        let secret = kind == "Secret" && api_version == "v1";
        let mut digest = Digester::new("cluster");
        for value in answer {
            let value = object::conceal(secret, value, &self.seed);
            digest.add(canonical::to_string(&value));
        }
        digest.finish()
    }
}

impl State {
    /// Returns the access if a kind may be read, and records that nothing was found if it may not.
    fn readable(&mut self, api_version: &str, kind: &str) -> Option<Arc<dyn ClusterReader>> {
        let access = self.cluster.as_ref()?;
        if access.grants.reads(api_version, kind) {
            return Some(Arc::clone(&access.reader));
        }
        tracing::debug!(target: "pintle::plugin", api_version, kind, "read of the cluster not granted");
        None
    }

    fn answered(&mut self, question: String, api_version: &str, kind: &str, answer: &[Value]) {
        if let Some(access) = &self.cluster {
            let digest = access.digest(api_version, kind, answer);
            self.reads.record(Question::Cluster(question), digest);
        }
    }
}

fn unavailable(error: ClusterError) -> Stop {
    Stop(Fault::Unavailable {
        reason: error.to_string(),
        retry_after: None,
    })
}

impl Host for State {
    async fn get(&mut self, id: ObjectId) -> wasmtime::Result<Option<String>> {
        self.traffic
            .charge(id.name.len() + id.kind.len() + id.api_version.len())?;
        let Some(reader) = self.readable(&id.api_version, &id.kind) else {
            return Ok(None);
        };
        let namespace = id.namespace.as_deref();
        let found = reader
            .get(&id.api_version, &id.kind, namespace, &id.name)
            .await
            .map_err(unavailable)?;
        let question = format!(
            "{}/{} {}/{}",
            id.api_version,
            id.kind,
            namespace.unwrap_or_default(),
            id.name
        );
        self.answered(question, &id.api_version, &id.kind, found.as_slice());
        let text = found.map(|value| value.to_string());
        self.traffic.charge(text.as_ref().map_or(0, String::len))?;
        Ok(text)
    }

    async fn find(
        &mut self,
        api_version: String,
        kind: String,
        namespace: Option<String>,
    ) -> wasmtime::Result<Vec<String>> {
        self.traffic.charge(api_version.len() + kind.len())?;
        let Some(reader) = self.readable(&api_version, &kind) else {
            return Ok(Vec::new());
        };
        let mut found = reader
            .find(&api_version, &kind, namespace.as_deref())
            .await
            .map_err(unavailable)?;
        found.sort_by(|a, b| place(a).cmp(&place(b)));
        let question = format!(
            "{api_version}/{kind} {}/",
            namespace.as_deref().unwrap_or("*")
        );
        self.answered(question, &api_version, &kind, &found);
        let texts: Vec<String> = found.iter().map(Value::to_string).collect();
        self.traffic
            .charge(texts.iter().map(|text| text.len() + 16).sum())?;
        Ok(texts)
    }
}

fn place(object: &Value) -> (&str, &str) {
    let field = |name| object["metadata"][name].as_str().unwrap_or_default();
    (field("namespace"), field("name"))
}
