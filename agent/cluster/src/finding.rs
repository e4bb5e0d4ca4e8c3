//! Finding an object of which only the inventory tells.

use std::time::Instant;

use pintle_core::inventory::Entry;
use serde_json::Value;

use crate::{
    connection::Connection,
    discovery::{Discovery, ResourceType},
    request::RequestError,
};

/// Finds an object at whatever version the server serves its kind, and returns where that is. Nothing only if it is certain
/// that the object does not exist: what counts as gone is forgotten, and would be nobody's.
///
/// What is known of the server counts as long as it serves that. Otherwise it is asked, once for all that is looked for since
/// the same time.
pub(crate) async fn find(
    connection: &Connection,
    discovery: &Discovery,
    entry: &Entry,
    since: Instant,
) -> Result<Option<(ResourceType, Value)>, RequestError> {
    let (group, version, kind) = (&entry.group, &entry.version, &entry.kind);
    let id = entry.id();
    let mut refused = None;
    let known = discovery.kinds().await?;
    if let Ok(resource) = known.find_at_any(group, version, kind) {
        match connection.read(resource, &id).await {
            // Whoever took the kind away may have taken the right to read it along.
            Err(error) if error.is_unserved() || error.is_forbidden() => refused = Some(error),
            read => return Ok(read?.map(|live| (resource.clone(), live))),
        }
    }
    let served = discovery.served(group, version, kind, since).await?;
    if served.is_empty() {
        return Ok(None);
    }
    if let Some(error) = refused.take_if(|error| error.is_forbidden()) {
        return Err(error);
    }
    for resource in served {
        match connection.read(&resource, &id).await {
            // It is listed, and not served yet or any more.
            Err(error) if error.is_unserved() => refused = Some(error),
            read => return Ok(read?.map(|live| (resource, live))),
        }
    }
    refused.map_or(Ok(None), Err)
}
