//! `pintle:types/cluster`: reading cluster objects of granted kinds.

mod answer;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use pintle_core::{
    digest::Digest,
    plugin::{Fault, Limit},
    readset::Question,
    seed::Seed,
};
use serde_json::Value;

use self::answer::{ANSWER, Answer, Pages};
use crate::{
    bindings::wit::{cluster::Host, types::ObjectId},
    grants::EffectiveGrants,
    state::{State, Stop},
};

/// A length in bytes above any name in a cluster: an API group has up to 253, and its version 63.
const NAME: usize = 512;

/// The error for a cluster that did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cluster cannot be read: {reason}")]
pub struct ClusterError {
    /// The reason.
    pub reason: String,
}

/// A page of objects of a kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// The objects.
    pub objects: Vec<Value>,
    /// The token for the next page; `None` after the last one.
    pub next: Option<String>,
}

/// Reads objects for plugins, with the rights of the application. A kind that the server does not serve has no objects. Plugins
/// do not see what the server records about writes.
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

    /// Reads a page of objects of a kind, in one namespace or in all. This is the first page, or the one that the previous page
    /// named.
    async fn find(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        page: Option<&str>,
    ) -> Result<Page, ClusterError>;
}

/// A question to the cluster, as recorded in a read set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterQuestion {
    /// The API version: `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace. If absent, all namespaces, or none for kinds that have no namespace.
    pub namespace: Option<String>,
    /// The name of the object. If absent, all objects.
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
    /// Parses a question from a read set.
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

    /// Returns whether a name is too long for anything that a cluster may hold. Such a question is not asked, because every
    /// question stays in the read set.
    fn is_too_long(&self) -> bool {
        let optional = [&self.namespace, &self.name].into_iter().flatten();
        let mut all = [&self.api_version, &self.kind].into_iter().chain(optional);
        all.any(|name| name.len() > NAME)
    }

    /// Asks the question and returns the digest that a read set has for the answer. An answer that is too large for a plugin is
    /// an answer like any other: it can change, too.
    pub async fn ask(
        &self,
        reader: &dyn ClusterReader,
        seed: &Seed,
    ) -> Result<Digest, ClusterError> {
        let mut pages = Pages::of(self, reader);
        let mut answer = Answer::default();
        while let Some(page) = pages.page().await? {
            answer.add(page, self.is_for_secrets(), seed);
            if answer.is_too_large() {
                return Ok(answer::too_large());
            }
        }
        let (_, digest) = answer.finish();
        Ok(digest)
    }

    fn is_for_secrets(&self) -> bool {
        self.kind == "Secret" && self.api_version == "v1"
    }
}

/// What one call may read from the cluster.
pub(crate) struct ClusterAccess {
    pub(crate) reader: Arc<dyn ClusterReader>,
    pub(crate) grants: Arc<EffectiveGrants>,
    pub(crate) seed: Seed,
}

impl State {
    /// Returns what is needed to ask, if the kind may be read.
    fn readable(&self, question: &ClusterQuestion) -> Option<(Arc<dyn ClusterReader>, Seed)> {
        let (api_version, kind) = (&question.api_version, &question.kind);
        let access = self.cluster.as_ref()?;
        if access.grants.reads(api_version, kind) {
            return Some((Arc::clone(&access.reader), access.seed.clone()));
        }
        tracing::debug!(target: "pintle::plugin", api_version, kind, "read of the cluster not granted");
        None
    }

    /// Asks the question if that is granted, and records the answer. An answer that is too large is recorded as well: the call
    /// may succeed once it changes. Memory for the answer is taken from the total for all calls, page by page. The texts of the
    /// answer count until they have crossed to the guest.
    async fn asked(&mut self, question: ClusterQuestion) -> wasmtime::Result<Vec<String>> {
        if question.is_too_long() {
            return Ok(Vec::new());
        }
        let Some((reader, seed)) = self.readable(&question) else {
            return Ok(Vec::new());
        };
        let mut pages = Pages::of(&question, &*reader);
        let mut answer = Answer::default();
        while let Some(page) = pages.page().await.map_err(unavailable)? {
            let weight = answer.add(page, question.is_for_secrets(), &seed);
            self.memory.take_for_answer(weight)?;
            if answer.is_too_large() {
                self.record(Question::Cluster(question.to_string()), answer::too_large())?;
                return Err(Stop::from(Limit::Answer(ANSWER)).into());
            }
        }
        let crossing = answer.crossing();
        let (texts, digest) = answer.finish();
        self.memory.answer_is_read(crossing);
        self.record(Question::Cluster(question.to_string()), digest)?;
        Ok(texts)
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
        self.called(id.name.len() + place.len() + id.kind.len() + id.api_version.len())?;
        if id.name.is_empty() {
            return Ok(None);
        }
        let question = ClusterQuestion {
            api_version: id.api_version,
            kind: id.kind,
            namespace: id.namespace.filter(|namespace| !namespace.is_empty()),
            name: Some(id.name),
        };
        let text = self.asked(question).await?.into_iter().next();
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
        self.called(api_version.len() + kind.len() + place.len())?;
        let question = ClusterQuestion {
            api_version,
            kind,
            namespace: namespace.filter(|namespace| !namespace.is_empty()),
            name: None,
        };
        let texts = self.asked(question).await?;
        self.traffic
            .charge(texts.iter().map(|text| text.len() + 16).sum())?;
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::{Duration, Instant},
    };

    use pintle_core::{
        application,
        plugin::{Capability, Kind, PluginId},
    };
    use serde_json::json;

    use super::*;
    use crate::{
        grants::OperatorGrants,
        limits::Limits,
        state::{Deadline, MemoryLimiter, Together},
    };

    /// A cluster that answers every question with the same object.
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
            _: Option<&str>,
        ) -> Result<Page, ClusterError> {
            Ok(Page {
                objects: vec![self.0.clone()],
                next: None,
            })
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
            let mut answer = Answer::default();
            let page = Pages::of(&question, &first).page().await.unwrap();
            answer.add(page.unwrap(), false, &seed);
            assert_eq!(answer.finish().0, [plain.to_string()]);
        }
    }

    /// A cluster with endless objects of one mebibyte each, one per page. It counts the pages that were read.
    #[derive(Debug, Default)]
    struct Endless(AtomicUsize);

    #[async_trait]
    impl ClusterReader for Endless {
        async fn get(
            &self,
            _: &str,
            _: &str,
            _: Option<&str>,
            _: &str,
        ) -> Result<Option<Value>, ClusterError> {
            Ok(None)
        }

        async fn find(
            &self,
            _: &str,
            _: &str,
            _: Option<&str>,
            page: Option<&str>,
        ) -> Result<Page, ClusterError> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            let expected = (number > 0).then(|| number.to_string());
            assert_eq!(page, expected.as_deref());
            Ok(Page {
                objects: vec![json!({"data": {"text": "x".repeat(1 << 20)}})],
                next: Some((number + 1).to_string()),
            })
        }
    }

    /// Returns the state of a policy that may read `ConfigMap`s and finds endless ones, and the cluster.
    fn reading(together: &Arc<Together>) -> (State, Arc<Endless>) {
        let plugin = PluginId {
            name: "p".into(),
            digest: Digest::of(""),
            kind: Kind::Policy,
        };
        let (limits, hour) = (Limits::default(), Duration::from_hours(1));
        let deadline = Deadline::after(Instant::now(), hour);
        let mut state = State::new(&plugin, &limits, deadline, together, &Arc::default());
        let grants = application::Grants {
            cluster_reads: ["v1/ConfigMap".to_owned()].into(),
            ..application::Grants::default()
        };
        let granted = OperatorGrants::try_from(&grants).unwrap();
        let requests = [Capability::ClusterRead("v1/ConfigMap".into())];
        let grants = EffectiveGrants::new(Kind::Policy, &requests, &granted).unwrap();
        let reader = Arc::new(Endless::default());
        state.cluster = Some(ClusterAccess {
            reader: Arc::clone(&reader) as Arc<dyn ClusterReader>,
            grants: Arc::new(grants),
            seed: Seed::from_text("seed"),
        });
        (state, reader)
    }

    fn all_config_maps() -> ClusterQuestion {
        ClusterQuestion::parse("v1/ConfigMap */").unwrap()
    }

    #[tokio::test]
    async fn an_answer_that_takes_too_much_memory_is_not_read_to_its_end() {
        let together = Arc::new(Together::new(8 << 20));
        let (mut state, reader) = reading(&together);
        let error = state.asked(all_config_maps()).await.unwrap_err();
        let Stop(fault) = error.downcast_ref::<Stop>().unwrap();
        insta::assert_snapshot!(fault, @"it asked for more than 8388608 bytes of memory, which is what all running plugins have together; give the agent's pod more memory if this is expected");
        assert!(!fault.is_retryable());
        assert_eq!(reader.0.load(Ordering::Relaxed), 4, "each is kept twice");
        drop(state);
        let mut next = MemoryLimiter::new(&Limits::default(), together);
        next.take_for_result(8 << 20).unwrap();
    }

    #[tokio::test]
    async fn an_answer_has_an_end_whoever_asks() {
        let (mut state, _) = reading(&Arc::new(Together::new(1 << 30)));
        let error = state.asked(all_config_maps()).await.unwrap_err();
        insta::assert_snapshot!(error, @"the answer to one of its reads of the cluster is larger than 67108864 bytes; let it read by namespace or by name");
        let (asked, seed) = (all_config_maps(), Seed::from_text("seed"));
        let told = asked.ask(&Endless::default(), &seed).await.unwrap();
        let recorded = state.reads.answer(&Question::Cluster(asked.to_string()));
        assert_eq!(recorded, Some(told), "as long as it is too large");
        let few = Only(json!({"data": {"text": "x"}}));
        assert_ne!(asked.ask(&few, &seed).await.unwrap(), told);
    }

    #[tokio::test]
    async fn an_answer_takes_what_crosses_until_the_next_call() {
        let together = Arc::new(Together::new(8 << 20));
        let (mut state, _) = reading(&together);
        let object = json!({"data": {"text": "x".repeat(2 << 20)}});
        let access = state.cluster.as_mut().unwrap();
        access.reader = Arc::new(Only(object));
        let mut other = MemoryLimiter::new(&Limits::default(), together);
        let find = async |state: &mut State| {
            let (api_version, kind) = ("v1".to_owned(), "ConfigMap".to_owned());
            state.find(api_version, kind, None).await.unwrap()
        };
        assert_eq!(find(&mut state).await.len(), 1);
        other.take_for_answer(5 << 20).unwrap();
        assert!(other.take_for_answer(1 << 20).is_err(), "it is crossing");
        other.answer_is_gone();
        other.take_for_answer(3 << 20).unwrap();
        assert_eq!(find(&mut state).await.len(), 1, "the first has crossed");
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
