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

/// Watches an object until `judge` gives a value, and returns it; nothing when the time is over.
///
/// `judge` gets the object as it is, or nothing while it does not exist. A watch may begin with what was before the last
/// write, so that an object may be shown as it was; but that it does not exist is asked for again.
pub(crate) async fn until<T>(
    connection: &Connection,
    resource: &ResourceType,
    id: &ObjectId,
    limit: Duration,
    mut judge: impl FnMut(Option<&Value>) -> Option<T>,
) -> Option<T> {
    let selection = Selection {
        resource: resource.clone(),
        namespace: id.namespace.clone(),
        labels: None,
        fields: Some(format!("metadata.name={}", id.name)),
    };
    let (sender, mut told) = mpsc::channel(4);
    tokio::spawn(watch(connection.clone(), selection, sender));
    let watching = async {
        let mut is_there = false;
        loop {
            let verdict = match told.recv().await? {
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
                Told::Failed(_) | Told::Resumed => None,
            };
            if verdict.is_some() {
                return verdict;
            }
        }
    };
    tokio::time::timeout(limit, watching).await.ok().flatten()
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
