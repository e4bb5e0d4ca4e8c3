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

/// Watches an object until `judge` gives a value, and returns it; nothing when the time is over.
///
/// `judge` gets the object as it is, or nothing while it does not exist.
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
                Told::Complete | Told::Gone(_) => judge(None),
                Told::Failed(_) => None,
            };
            if verdict.is_some() {
                return verdict;
            }
        }
    };
    tokio::time::timeout(limit, watching).await.ok().flatten()
}
