//! Waiting for one object by a watch on it alone.

use std::time::Duration;

use pintle_core::object::ObjectId;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    connection::Connection,
    discovery::ResourceType,
    watching::{Selection, Told, watch},
};

/// Between two attempts to see whether an object is gone.
const PAUSE: Duration = Duration::from_secs(1);

/// What a kind that is not served says of the object that is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unserved {
    /// Nothing: it is about to be served.
    Comes,
    /// It may have gone, and the object with it.
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
    resource: &ResourceType,
    id: &ObjectId,
    limit: Duration,
    judge: impl FnMut(Option<&Value>) -> Option<T>,
) -> Option<T> {
    let result = watched(connection, resource, id, limit, Unserved::Comes, judge).await;
    result.ok()
}

/// Waits until an object of a unique id is gone.
pub(crate) async fn gone(
    connection: &Connection,
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
    let result = watched(connection, resource, id, limit, Unserved::Goes, is_gone).await;
    result.map_err(|problem| Held {
        finalizers,
        problem,
    })
}

/// Watches an object until `judge` gives a value. When the time is over, returns why it cannot be seen, if it cannot.
async fn watched<T>(
    connection: &Connection,
    resource: &ResourceType,
    id: &ObjectId,
    limit: Duration,
    unserved: Unserved,
    mut judge: impl FnMut(Option<&Value>) -> Option<T>,
) -> Result<T, Option<String>> {
    let selection = Selection {
        resource: resource.clone(),
        namespace: id.namespace.clone(),
        labels: None,
        fields: Some(format!("metadata.name={}", id.name)),
    };
    let (sender, mut told) = mpsc::channel(4);
    tokio::spawn(watch(connection.clone(), selection, sender));
    let mut problem = None;
    let watching = async {
        let mut is_there = false;
        loop {
            let tell = told.recv().await?;
            if matches!(tell, Told::Complete | Told::Resumed) {
                problem = None;
            }
            let verdict = match tell {
                Told::Restarted => {
                    is_there = false;
                    None
                }
                Told::Seen(object) => {
                    is_there = true;
                    judge(Some(&object))
                }
                Told::Complete if is_there => None,
                Told::Complete | Told::Gone(_) => {
                    judge(current(connection, resource, id).await.as_ref())
                }
                Told::Failed(failure) => {
                    let is_asked = failure.is_unserved && unserved == Unserved::Goes;
                    problem = Some(failure.text);
                    if is_asked {
                        // As often as the watch is tried again, which is less and less.
                        judge(current(connection, resource, id).await.as_ref())
                    } else {
                        None
                    }
                }
                Told::Resumed => None,
            };
            if verdict.is_some() {
                return verdict;
            }
        }
    };
    let found = tokio::time::timeout(limit, watching).await;
    found.ok().flatten().ok_or(problem)
}

/// Reads an object as it is, however long that takes. Who may watch it may list it, and need not have the right to get it.
async fn current(connection: &Connection, resource: &ResourceType, id: &ObjectId) -> Option<Value> {
    loop {
        match connection.read_from_list(resource, id).await {
            Ok(found) => return found,
            // Its definition is gone, or serves it elsewhere now: it will not be seen here any more.
            Err(error) if error.is_unserved() => return None,
            Err(error) => {
                tracing::debug!(%id, %error, "whether it is gone cannot be seen at the moment");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
