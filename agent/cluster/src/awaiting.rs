//! Waits for one object with a watch on it alone.

use std::time::{Duration, Instant};

use pintle_core::object::ObjectId;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    connection::Connection,
    discovery::{Discovery, ResourceType},
    request::RequestError,
    watching::{Selection, Told, watch},
};

/// The pause between two attempts to see whether an object is gone.
const PAUSE: Duration = Duration::from_secs(1);

/// What it means for the awaited object if its kind is not served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unserved {
    /// Nothing: the kind is about to be served.
    Comes,
    /// The kind may be gone, and the object with it, or be served only at another version.
    Goes,
}

/// Why an object is not gone, as far as is known.
pub(crate) struct Held {
    pub(crate) finalizers: Vec<String>,
    /// Why it cannot be seen.
    pub(crate) problem: Option<String>,
}

/// Watches an object until `judge` returns a value, and returns that value; `None` after a timeout.
///
/// `judge` gets the current object, or `None` while it does not exist. A watch may begin with the state before the last write, so
/// `judge` may see the object as it was. If the object does not exist, however, that is checked again.
pub(crate) async fn until<T>(
    connection: &Connection,
    discovery: &Discovery,
    resource: &ResourceType,
    id: &ObjectId,
    limit: Duration,
    judge: impl FnMut(Option<&Value>) -> Option<T>,
) -> Option<T> {
    let unserved = Unserved::Comes;
    let result = watched(connection, discovery, resource, id, limit, unserved, judge).await;
    result.ok()
}

/// Waits until the object with a uid is gone, at whichever version its kind is served.
pub(crate) async fn gone(
    connection: &Connection,
    discovery: &Discovery,
    resource: &ResourceType,
    id: &ObjectId,
    limit: Duration,
    uid: Option<&str>,
) -> Result<(), Held> {
    let mut finalizers = Vec::new();
    let is_gone = |live: Option<&Value>| {
        let same = live.filter(|live| live["metadata"]["uid"].as_str() == uid);
        let Some(same) = same else { return Some(()) };
        let held = same["metadata"]["finalizers"].as_array();
        let held = held.into_iter().flatten();
        finalizers = held.filter_map(|f| Some(f.as_str()?.to_owned())).collect();
        None
    };
    let unserved = Unserved::Goes;
    let result = watched(
        connection, discovery, resource, id, limit, unserved, is_gone,
    )
    .await;
    result.map_err(|problem| Held {
        finalizers,
        problem,
    })
}

/// Watches an object until `judge` returns a value. After a timeout, returns why the object cannot be seen, if that is so.
async fn watched<T>(
    connection: &Connection,
    discovery: &Discovery,
    resource: &ResourceType,
    id: &ObjectId,
    limit: Duration,
    unserved: Unserved,
    mut judge: impl FnMut(Option<&Value>) -> Option<T>,
) -> Result<T, Option<String>> {
    let mut problem = None;
    let watching = async {
        let (mut told, mut resource) = (open(connection, resource, id), resource.clone());
        let mut is_there = false;
        loop {
            let tell = told.recv().await?;
            if matches!(tell, Told::Complete | Told::Resumed) {
                problem = None;
            }
            let is_asked = match tell {
                Told::Restarted => {
                    is_there = false;
                    false
                }
                Told::Seen(object) => {
                    is_there = true;
                    let verdict = judge(Some(&object));
                    if verdict.is_some() {
                        return verdict;
                    }
                    false
                }
                Told::Complete => !is_there,
                Told::Gone(_) => true,
                Told::Failed(failure) => {
                    problem = Some(failure.text);
                    // As often as the watch is retried, which is less and less often.
                    failure.is_unserved && unserved == Unserved::Goes
                }
                Told::Resumed => false,
            };
            if !is_asked {
                continue;
            }
            let found = Box::pin(current(connection, discovery, &resource, id)).await;
            let verdict = judge(found.as_ref().map(|(_, live)| live));
            if verdict.is_some() {
                return verdict;
            }
            if let Some((at, _)) = found
                && at != resource
            {
                (told, resource) = (open(connection, &at, id), at);
                is_there = false;
            }
        }
    };
    let found = tokio::time::timeout(limit, watching).await;
    found.ok().flatten().ok_or(problem)
}

/// Opens a watch on an object at a version of its kind.
fn open(connection: &Connection, resource: &ResourceType, id: &ObjectId) -> mpsc::Receiver<Told> {
    let selection = Selection {
        resource: resource.clone(),
        namespace: id.namespace.clone(),
        labels: None,
        fields: Some(format!("metadata.name={}", id.name)),
    };
    let (sender, told) = mpsc::channel(4);
    tokio::spawn(watch(connection.clone(), selection, sender));
    told
}

/// Reads the current object, however long that takes, and returns it with the version at which it is served. Returns `None` only
/// if it certainly does not exist.
async fn current(
    connection: &Connection,
    discovery: &Discovery,
    resource: &ResourceType,
    id: &ObjectId,
) -> Option<(ResourceType, Value)> {
    loop {
        match look(connection, discovery, resource, id).await {
            Ok(found) => return found,
            Err(error) => {
                tracing::debug!(%id, %error, "whether it is gone cannot be seen at the moment");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Reads an object at a version of its kind or, if that version is not served, at another. Uses a list, because the right to
/// watch an object comes with the right to list it, but not necessarily with the right to get it.
async fn look(
    connection: &Connection,
    discovery: &Discovery,
    resource: &ResourceType,
    id: &ObjectId,
) -> Result<Option<(ResourceType, Value)>, RequestError> {
    let mut refused = match connection.read_from_list(resource, id).await {
        // A path that is not found says nothing about the object: whatever stands before the server may answer so, too.
        Err(error) if error.is_unserved() => error,
        read => return Ok(read?.map(|live| (resource.clone(), live))),
    };
    let (group, version, kind) = (&resource.group, &resource.version, &resource.kind);
    let served = discovery
        .served(group, version, kind, Instant::now())
        .await?;
    if served.is_empty() {
        return Ok(None);
    }
    for resource in served {
        match connection.read_from_list(&resource, id).await {
            // It is listed, but not served yet or no longer served.
            Err(error) if error.is_unserved() => refused = error,
            read => return Ok(read?.map(|live| (resource, live))),
        }
    }
    Err(refused)
}
