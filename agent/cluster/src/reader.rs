//! Reads objects of any kind, and reports when they change.

pub(crate) mod paging;
pub(crate) mod sharing;

use std::sync::Arc;

use pintle_core::object::ObjectId;
use serde_json::Value;
use tokio::{sync::mpsc, task::AbortHandle};

use crate::{
    connection::Connection,
    discovery::{Discovery, KindHint, Kinds, ResourceType, UnknownKind},
    request::RequestError,
    watching::{self, Selection, Told, refusals::Refusals, typed},
};

/// Reads objects under its connection's identity.
#[derive(Debug, Clone)]
pub struct Reader {
    connection: Connection,
    discovery: Arc<Discovery>,
}

impl Reader {
    pub(crate) fn new(connection: Connection, discovery: Arc<Discovery>) -> Self {
        Self {
            connection,
            discovery,
        }
    }

    /// Reads one object; `None` if it does not exist or its kind is not served.
    pub async fn get(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, RequestError> {
        let Some(resource) = self.resource(api_version, kind).await? else {
            return Ok(None);
        };
        let id = ObjectId {
            group: resource.group.clone(),
            kind: kind.to_owned(),
            namespace: namespace.map(ToOwned::to_owned),
            name: name.to_owned(),
        };
        match self.connection.read(&resource, &id).await {
            Err(error) if error.is_unserved() => Ok(None),
            read => read,
        }
    }

    /// Reads a page of the objects of a kind, in one namespace or in all: the first page, or the one that `page` names. Also
    /// returns the name of the next page. The result is empty if the kind is not served.
    pub async fn find(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        page: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>), RequestError> {
        let Some(resource) = self.resource(api_version, kind).await? else {
            return Ok((Vec::new(), None));
        };
        let path = resource.path(namespace, None);
        match paging::page(&self.connection, &path, None, page).await {
            Ok((found, next)) => {
                let found = found.into_iter().map(|item| typed(item, &resource));
                Ok((found.collect(), next))
            }
            // If a list has been begun, a part of it is not an answer.
            Err(error) if error.is_not_found() && page.is_none() => Ok((Vec::new(), None)),
            Err(error) => Err(error),
        }
    }

    async fn resource(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<ResourceType>, RequestError> {
        served(&*self.discovery.kinds().await?, api_version, kind)
    }

    /// Watches what [`Reader::get`] or [`Reader::find`] would read. The watch runs under the agent's own identity: it says *that*
    /// something has changed, and callers read what has changed with their own rights.
    ///
    /// Returns `None` for kinds that are not served or cannot be watched.
    pub async fn changes(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Result<Option<Changes>, RequestError> {
        let resource = self.watchable(api_version, kind).await?;
        let selection = resource.map(|resource| Selection::of(resource, namespace, name));
        Ok(selection.map(|selection| Changes::of(&self.connection, selection)))
    }

    /// Returns the resource type of a kind; `None` if the kind is not served or cannot be watched.
    pub(crate) async fn watchable(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<ResourceType>, RequestError> {
        let resource = self.resource(api_version, kind).await?;
        Ok(resource.filter(|resource| resource.watchable))
    }
}

/// Returns the resource type of a kind; `None` if the kind is certainly not served.
fn served(
    kinds: &Kinds,
    api_version: &str,
    kind: &str,
) -> Result<Option<ResourceType>, RequestError> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    match kinds.find(group, version, kind) {
        Ok(found) => Ok(Some(found.clone())),
        Err(UnknownKind {
            hint: KindHint::Unanswered(service),
            ..
        }) => Err(RequestError::Uncertain {
            what: format!("{kind} ({api_version})"),
            why: format!("the API server that the APIService {service} names does not answer"),
        }),
        Err(_) => Ok(None),
    }
}

/// What has changed.
pub(crate) enum Change {
    /// Anything may have changed: the watch was opened or reopened.
    OfAny,
    /// This object was created, deleted or changed.
    Of(Value),
}

/// Reports changes to some objects, until it is dropped.
#[derive(Debug)]
pub struct Changes {
    told: mpsc::Receiver<Told>,
    task: AbortHandle,
    /// Whether the initial state has been seen in full: what comes afterwards is a change.
    complete: bool,
    /// What is watched, for the log.
    of: String,
    refusals: Refusals,
}

impl Changes {
    /// Watches under the connection's own identity.
    pub(crate) fn of(connection: &Connection, selection: Selection) -> Self {
        let (send, told) = mpsc::channel(8);
        let of = selection.to_string();
        let task = tokio::spawn(watching::watch(connection.clone(), selection, send));
        Self {
            told,
            task: task.abort_handle(),
            complete: false,
            of,
            refusals: Refusals::default(),
        }
    }

    /// Waits for a change. The first is reported when the watch is open: what was read before may be stale by then.
    pub async fn next(&mut self) {
        self.next_change().await;
    }

    /// Waits for a change as [`Changes::next`] does, and returns what has changed.
    pub(crate) async fn next_change(&mut self) -> Change {
        loop {
            match self.told.recv().await {
                Some(Told::Complete) => {
                    self.complete = true;
                    self.refusals.works();
                    return Change::OfAny;
                }
                Some(Told::Restarted) => self.complete = false,
                Some(Told::Resumed) => self.refusals.works(),
                Some(Told::Failed(failure)) if self.refusals.is_news(&failure) => {
                    let (watched, error) = (&self.of, failure.text);
                    tracing::warn!(
                        watched,
                        error,
                        "changes may not be noticed: the watch is refused"
                    );
                }
                Some(Told::Seen(object) | Told::Gone(object)) if self.complete => {
                    return Change::Of(object);
                }
                Some(Told::Seen(_) | Told::Gone(_) | Told::Failed(_)) => {}
                // The watch goes on for as long as there is a receiver.
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_known_is_not_missing() {
        let list = json!({"items": [{"metadata": {"name": "routes.example.com"}, "versions": [
            {"version": "v1", "freshness": "Stale", "resources": []},
            {"version": "v2", "freshness": "Current", "resources": []},
        ]}]});
        let mut kinds = Kinds::default();
        kinds.read(&list);
        let asked =
            |version: &str| served(&kinds, &format!("routes.example.com/{version}"), "Route");
        let error = asked("v1").unwrap_err();
        insta::assert_snapshot!(error, @"it is not known whether the API server serves Route (routes.example.com/v1): the API server that the APIService v1.routes.example.com names does not answer");
        assert_eq!(asked("v2"), Ok(None));
    }
}
