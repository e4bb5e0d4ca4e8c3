//! Waiting for one object by a watch on it alone.

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

/// Between two attempts to see whether an object is gone.
const PAUSE: Duration = Duration::from_secs(1);

/// What a kind that is not served says of the object that is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unserved {
    /// Nothing: it is about to be served.
    Comes,
    /// It may have gone, and the object with it, or be served at another version only.
    Goes,
}

/// Why an object is not gone, as far as is known.
pub(crate) struct Held {
    pub(crate) finalizers: Vec<String>,
    /// Why it cannot be seen.
    pub(crate) problem: Option<String>,
}

/// Watches an object until `judge` gives a value, and returns it; nothing when the time is over.
///
/// `judge` gets the object as it is, or nothing while it does not exist. A watch may begin with what was before the last
/// write, so that an object may be shown as it was; but that it does not exist is asked for again.
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

/// Waits until an object of a unique id is gone, at whichever version its kind is served.
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

/// Watches an object until `judge` gives a value. When the time is over, returns why it cannot be seen, if it cannot.
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
                    // As often as the watch is tried again, which is less and less.
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

/// Reads an object as it is, however long that takes, and returns where it is served. Nothing only if it is certain that it
/// does not exist.
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

/// Reads an object at a version of its kind, or where that is not served at another. Who may watch it may list it, and need not
/// have the right to get it.
async fn look(
    connection: &Connection,
    discovery: &Discovery,
    resource: &ResourceType,
    id: &ObjectId,
) -> Result<Option<(ResourceType, Value)>, RequestError> {
    let mut refused = match connection.read_from_list(resource, id).await {
        // That a path is not found says nothing of the object: whatever stands before the server may answer so, too.
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
            // It is listed, and not served yet or any more.
            Err(error) if error.is_unserved() => refused = error,
            read => return Ok(read?.map(|live| (resource, live))),
        }
    }
    Err(refused)
}
