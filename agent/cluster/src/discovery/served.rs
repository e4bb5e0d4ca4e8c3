//! What the server serves, as it reports when asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::{Duration, Instant},
};

use futures::future::join_all;
use serde_json::Value;
use tokio::{
    sync::{Mutex, watch},
    task::AbortHandle,
};

use super::{Kinds, ResourceType, following, group_version, items, standing::version_of};
use crate::{
    connection::Connection,
    request::{Call, RequestError, encode},
};

/// The pause between two requests for kinds that the server did not have: a thousand applications waiting for one CRD must not
/// ask a thousand times.
const REFRESH_PAUSE: Duration = Duration::from_secs(5);

/// The media types of aggregated discovery: stable since Kubernetes 1.30, beta since 1.27.
/// <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery>
const ACCEPT_AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                                 application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// What the server serves, asked for once and shared by all applications.
///
/// The server is asked again about an unknown kind, at most once in 5 s; a definition that was applied is learned from its own
/// content. Before something is forgotten, the server is asked again. If the server is followed, it is also asked when what it
/// serves may have changed. The kinds of an API server that does not answer stay known for as long as that server is registered.
/// A kind that a new list lacks stays known until the server says that it does not serve it.
#[derive(Debug)]
pub struct Discovery {
    connection: Connection,
    known: RwLock<Arc<Kinds>>,
    /// When the server was last asked. Locked while a request runs, so that all waiting callers share one answer.
    asked: Mutex<Option<Instant>>,
    /// Notifies receivers when the known kinds change.
    changed: watch::Sender<()>,
    /// The task that follows the server, if a caller asked for that.
    following: OnceLock<AbortHandle>,
}

impl Discovery {
    /// Creates an empty cache. Requests use the connection's own identity: discovery is the same for everyone.
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            known: RwLock::default(),
            asked: Mutex::new(None),
            changed: watch::Sender::new(()),
            following: OnceLock::new(),
        }
    }

    /// Follows what the server serves for as long as this value lives. The receiver is notified when the known kinds change.
    pub(crate) fn follow(self: &Arc<Self>) -> watch::Receiver<()> {
        let changes = self.changed.subscribe();
        self.following.get_or_init(|| {
            let task = following::follow(Arc::downgrade(self), self.connection.clone());
            tokio::spawn(task).abort_handle()
        });
        changes
    }

    /// Returns all kinds, asking the server if it was never asked.
    pub async fn kinds(&self) -> Result<Arc<Kinds>, RequestError> {
        self.asked_if(|asked| asked.is_none()).await
    }

    /// Asks the server again because a kind is missing, unless that was done just now.
    pub async fn refresh(&self) -> Result<Arc<Kinds>, RequestError> {
        let is_due = |asked: Option<Instant>| asked.is_none_or(|at| at.elapsed() >= REFRESH_PAUSE);
        self.asked_if(is_due).await
    }

    /// Returns what is known without asking, including what was learned since.
    pub(crate) fn known(&self) -> Arc<Kinds> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds the kinds of a definition that the server has established.
    pub(crate) fn learn(&self, definition: &Value) {
        self.take_up(|known| Arc::make_mut(known).learn(definition));
    }

    /// Asks the server because what it serves may have changed.
    pub async fn ask_anew(&self) -> Result<(), RequestError> {
        self.asked_if(|_| true).await.map(drop)
    }

    /// Changes what is known. Receivers are notified if templates and lookups would now get another answer, but not when anything
    /// becomes known for the very first time.
    fn take_up(&self, change: impl FnOnce(&mut Arc<Kinds>)) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.api_versions();
        change(&mut known);
        let is_news = !before.is_empty() && before != known.api_versions();
        drop(known);
        if is_news {
            self.changed.send_replace(());
        }
    }

    /// Returns the versions at which a kind is served now, the wanted one first. The result is empty only if that is certain: the
    /// kind's objects are gone then.
    ///
    /// All callers that begin at the same time, `since`, share one answer.
    pub(crate) async fn served(
        &self,
        group: &str,
        version: &str,
        kind: &str,
        since: Instant,
    ) -> Result<Vec<ResourceType>, RequestError> {
        let is_older = |asked: Option<Instant>| asked.is_none_or(|at| at <= since);
        let kinds = self.asked_if(is_older).await?;
        let mut served = kinds.versions(group, kind).to_vec();
        if !served.is_empty() {
            served.sort_by_key(|found| found.version != version);
            return Ok(served);
        }
        let unknown = |why: &str| RequestError::Uncertain {
            what: format!("{kind} ({})", group_version(group, version)),
            why: why.to_owned(),
        };
        if kinds.is_stale(group) {
            return Err(unknown("the API is registered and does not answer"));
        }
        // The list may be stale, for example after the server has started.
        let list = self.connection.call(&version_call(group, version)).await;
        if kinds_of(list)?.contains(kind) {
            return Err(unknown("it is served and not listed yet"));
        }
        Ok(Vec::new())
    }

    /// Asks the server if `is_due` says so, given when it was last asked.
    async fn asked_if(
        &self,
        is_due: impl Fn(Option<Instant>) -> bool,
    ) -> Result<Arc<Kinds>, RequestError> {
        let mut asked = self.asked.lock().await;
        if is_due(*asked) {
            let now = Instant::now();
            self.ask().await?;
            *asked = Some(now);
        }
        Ok(self.known())
    }

    async fn ask(&self) -> Result<(), RequestError> {
        let before = self.known();
        let mut kinds = self.list().await?;
        kinds.keep_unanswered(&before);
        self.keep_unlisted(&mut kinds, &before).await;
        self.take_up(|known| {
            kinds.keep_learned(&before, known);
            *known = Arc::new(kinds);
        });
        Ok(())
    }

    /// Keeps kinds that were known before and that a new list lacks, unless the server is certain that it does not serve them.
    /// The list may be stale, for example after the server has started.
    async fn keep_unlisted(&self, kinds: &mut Kinds, before: &Kinds) {
        let lost = kinds.lost(before);
        let versions: BTreeSet<_> = lost.iter().map(|found| version_of(found)).collect();
        let mut asking = Vec::with_capacity(versions.len());
        for (group, version) in versions {
            asking.push(async move {
                let served = self.served_now(&group, &version).await;
                ((group, version), served)
            });
        }
        let answers: BTreeMap<_, _> = join_all(asking).await.into_iter().collect();
        for found in lost {
            let served = answers.get(&version_of(found));
            if served.is_some_and(|served| may_have(served, &found.kind)) {
                kinds.keep(found);
            }
        }
    }

    /// Asks for the kinds of a version, without retries: there may be hundreds of versions, and the server may be starting.
    async fn served_now(
        &self,
        group: &str,
        version: &str,
    ) -> Result<BTreeSet<String>, RequestError> {
        let list = self
            .connection
            .call_text_once(&version_call(group, version))
            .await;
        kinds_of(list.and_then(|text| {
            serde_json::from_str(&text).map_err(|error| RequestError::Malformed {
                request: format!("GET {}", group_version(group, version)),
                detail: error.to_string(),
            })
        }))
    }

    async fn list(&self) -> Result<Kinds, RequestError> {
        let ask = |path: &'static str| {
            let call = Call::get(path).accept(ACCEPT_AGGREGATED);
            async move { self.connection.call(&call).await }
        };
        let (core, groups) = futures::try_join!(ask("/api"), ask("/apis"))?;
        let mut kinds = Kinds::default();
        for list in [&core, &groups] {
            if list["kind"] != "APIGroupDiscoveryList" {
                return Err(RequestError::Malformed {
                    request: "GET /apis".to_owned(),
                    detail: "the API server has no aggregated discovery: Kubernetes 1.27 or newer is needed".to_owned(),
                });
            }
            kinds.read(list);
        }
        Ok(kinds)
    }
}

/// Builds the request for the kinds of a version at the version's own path. Unlike the list, this path is answered with 404 only
/// once the server knows everything that it serves.
fn version_call(group: &str, version: &str) -> Call {
    let path = if group.is_empty() {
        format!("/api/{}", encode(version))
    } else {
        format!("/apis/{}/{}", encode(group), encode(version))
    };
    Call::get(path)
}

/// Reads the kinds of a version; there are none if it is not served.
fn kinds_of(list: Result<Value, RequestError>) -> Result<BTreeSet<String>, RequestError> {
    let list = match list {
        Err(error) if error.is_unserved() => return Ok(BTreeSet::new()),
        list => list?,
    };
    let resources = items(&list, "resources").iter();
    let kinds = resources.filter_map(|resource| resource["kind"].as_str());
    Ok(kinds.map(ToOwned::to_owned).collect())
}

/// Returns whether a version may have a kind, according to what the server says about the version.
fn may_have(served: &Result<BTreeSet<String>, RequestError>, kind: &str) -> bool {
    match served {
        Ok(kinds) => kinds.contains(kind),
        // Without the right to ask, the list is the best source.
        Err(error) => !error.is_forbidden(),
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        if let Some(task) = self.following.get() {
            task.abort();
        }
    }
}
