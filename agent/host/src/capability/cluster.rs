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

/// More bytes than any name of the cluster has: an API group has up to 253, and its version 63.
const NAME: usize = 512;

/// The cluster did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cluster cannot be read: {reason}")]
pub struct ClusterError {
    /// What it said instead.
    pub reason: String,
}

/// Reads objects for plugins, with the rights of the application. A kind that is not served has no objects. What plugins are given
/// is without what the server records of writes.
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

/// What was asked of the cluster, as a read set names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterQuestion {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; all namespaces, or none for kinds without.
    pub namespace: Option<String>,
    /// The object's name; all objects without one.
    pub name: Option<String>,
}

impl fmt::Display for ClusterQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let anywhere = if self.name.is_some() { "" } else { "*" };
        write!(
            f,
            "{}/{} {}/{}",
            self.api_version,
            self.kind,
            self.namespace.as_deref().unwrap_or(anywhere),
            self.name.as_deref().unwrap_or_default()
        )
    }
}

impl ClusterQuestion {
    /// Reads a question of a read set.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, place) = text.split_once(' ')?;
        let (api_version, kind) = kind.rsplit_once('/')?;
        let (namespace, name) = place.split_once('/')?;
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Some(Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: some(namespace).filter(|namespace| namespace != "*"),
            name: some(name),
        })
    }

    /// Says whether nothing can have such a name, whatever the cluster holds: what is asked for stays in the read set.
    fn is_too_long(&self) -> bool {
        let optional = [&self.namespace, &self.name].into_iter().flatten();
        let mut all = [&self.api_version, &self.kind].into_iter().chain(optional);
        all.any(|name| name.len() > NAME)
    }

    /// Asks it, and returns the digest that a read set has for the answer.
    pub async fn ask(
        &self,
        reader: &dyn ClusterReader,
        seed: &Seed,
    ) -> Result<Digest, ClusterError> {
        let found = self.answer(reader).await?;
        Ok(self.digest(&found, seed))
    }

    async fn answer(&self, reader: &dyn ClusterReader) -> Result<Vec<Value>, ClusterError> {
        let namespace = self.namespace.as_deref();
        let mut found: Vec<Value> = if let Some(name) = &self.name {
            let found = reader.get(&self.api_version, &self.kind, namespace, name);
            found.await?.into_iter().collect()
        } else {
            let found = reader.find(&self.api_version, &self.kind, namespace);
            let mut found = found.await?;
            found.sort_by(|a, b| place(a).cmp(&place(b)));
            found
        };
        found.iter_mut().for_each(leave_out_records);
        Ok(found)
    }

    /// Digests an answer for the read set; what a Secret holds is concealed, since status shows digests.
    fn digest(&self, answer: &[Value], seed: &Seed) -> Digest {
        let secret = self.kind == "Secret" && self.api_version == "v1";
        let mut digest = Digester::new("cluster");
        for value in answer {
            let value = object::conceal(secret, value, seed);
            digest.add(canonical::to_string(&value));
        }
        digest.finish()
    }
}

/// What one call may read from the cluster.
pub(crate) struct ClusterAccess {
    pub(crate) reader: Arc<dyn ClusterReader>,
    pub(crate) grants: Arc<EffectiveGrants>,
    pub(crate) seed: Seed,
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

    /// Asks, if that is granted, and records the answer.
    async fn asked(&mut self, question: ClusterQuestion) -> wasmtime::Result<Vec<Value>> {
        if question.is_too_long() {
            return Ok(Vec::new());
        }
        let Some(reader) = self.readable(&question.api_version, &question.kind) else {
            return Ok(Vec::new());
        };
        let found = question.answer(&*reader).await.map_err(unavailable)?;
        if let Some(access) = &self.cluster {
            let digest = question.digest(&found, &access.seed);
            self.record(Question::Cluster(question.to_string()), digest)?;
        }
        Ok(found)
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
        let place = id.namespace.as_deref().unwrap_or_default();
        self.traffic
            .charge(id.name.len() + place.len() + id.kind.len() + id.api_version.len())?;
        if id.name.is_empty() {
            return Ok(None);
        }
        let question = ClusterQuestion {
            api_version: id.api_version,
            kind: id.kind,
            namespace: id.namespace.filter(|namespace| !namespace.is_empty()),
            name: Some(id.name),
        };
        let found = self.asked(question).await?.into_iter().next();
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
        let place = namespace.as_deref().unwrap_or_default();
        self.traffic
            .charge(api_version.len() + kind.len() + place.len())?;
        let question = ClusterQuestion {
            api_version,
            kind,
            namespace: namespace.filter(|namespace| !namespace.is_empty()),
            name: None,
        };
        let found = self.asked(question).await?;
        let texts: Vec<String> = found.iter().map(Value::to_string).collect();
        self.traffic
            .charge(texts.iter().map(|text| text.len() + 16).sum())?;
        Ok(texts)
    }
}

/// What a server records of writes. It changes with each, also with one that changes nothing else.
const RECORDS: [&str; 2] = ["managedFields", "resourceVersion"];

/// Leaves out of an object what says nothing of its state: an answer would be another one although nothing is.
fn leave_out_records(object: &mut Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.retain(|field, _| !RECORDS.contains(&field.as_str()));
    }
}

fn place(object: &Value) -> (&str, &str) {
    let field = |name| object["metadata"][name].as_str().unwrap_or_default();
    (field("namespace"), field("name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A cluster in which whatever is asked for is one object.
    #[derive(Debug)]
    struct Only(Value);

    #[async_trait]
    impl ClusterReader for Only {
        async fn get(
            &self,
            _: &str,
            _: &str,
            _: Option<&str>,
            _: &str,
        ) -> Result<Option<Value>, ClusterError> {
            Ok(Some(self.0.clone()))
        }

        async fn find(
            &self,
            _: &str,
            _: &str,
            _: Option<&str>,
        ) -> Result<Vec<Value>, ClusterError> {
            Ok(vec![self.0.clone()])
        }
    }

    #[tokio::test]
    async fn a_write_that_changes_nothing_else_is_no_other_answer() {
        let written = |version: &str, manager: &str, colour: &str| {
            Only(json!({
                "metadata": {
                    "name": "web", "generation": 1, "resourceVersion": version,
                    "managedFields": [{"manager": manager, "time": "2026-03-01T10:00:00Z"}],
                },
                "data": {"colour": colour},
            }))
        };
        let seed = Seed::from_text("seed");
        for text in ["v1/ConfigMap shop/web", "v1/ConfigMap shop/"] {
            let question = ClusterQuestion::parse(text).unwrap();
            let first = written("1", "kubectl", "red");
            let known = question.ask(&first, &seed).await.unwrap();
            let again = written("2", "pintle", "red");
            assert_eq!(question.ask(&again, &seed).await.unwrap(), known);
            let painted = written("3", "kubectl", "blue");
            assert_ne!(question.ask(&painted, &seed).await.unwrap(), known);
            let plain =
                json!({"metadata": {"name": "web", "generation": 1}, "data": {"colour": "red"}});
            assert_eq!(question.answer(&first).await.unwrap(), [plain]);
        }
    }

    #[test]
    fn what_no_object_can_be_called_is_not_asked_for() {
        let is_too_long = |text: &str| ClusterQuestion::parse(text).unwrap().is_too_long();
        assert!(!is_too_long("apps/v1/Deployment shop/web"));
        assert!(!is_too_long(&format!(
            "v1/ConfigMap shop/{}",
            "a".repeat(NAME)
        )));
        let long = "a".repeat(NAME + 1);
        for text in [
            format!("v1/ConfigMap shop/{long}"),
            format!("v1/ConfigMap {long}/"),
            format!("v1/{long} shop/"),
            format!("{long}/v1/ConfigMap shop/"),
        ] {
            assert!(is_too_long(&text), "{text}");
        }
    }

    #[test]
    fn questions_read_back() {
        for (text, namespace, name) in [
            ("v1/Secret shop/web", Some("shop"), Some("web")),
            ("v1/Node /a", None, Some("a")),
            ("apps/v1/Deployment shop/", Some("shop"), None),
            ("v1/Namespace */", None, None),
        ] {
            let question = ClusterQuestion::parse(text).unwrap();
            assert_eq!(
                (question.namespace.as_deref(), question.name.as_deref()),
                (namespace, name)
            );
            assert_eq!(question.to_string(), text);
        }
        assert_eq!(ClusterQuestion::parse("v1/Secret"), None);
    }
}
