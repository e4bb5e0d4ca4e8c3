//! Finds objects that are known only from the inventory.

use std::time::Instant;

use pintle_core::inventory::Entry;
use serde_json::Value;

use crate::{
    connection::Connection,
    discovery::{Discovery, ResourceType},
    request::RequestError,
};

/// Finds an object at whatever version the server serves its kind, and returns it with that version. Returns `None` only if the
/// object certainly does not exist: an object that counts as gone is forgotten and would belong to no one.
///
/// What is known about the server is used as long as the server serves it. Otherwise the server is asked, once for all lookups
/// that began at the same time.
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
            // Whoever removed the kind may also have removed the right to read it.
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
            // It is listed, but not served yet or no longer served.
            Err(error) if error.is_unserved() => refused = Some(error),
            read => return Ok(read?.map(|live| (resource, live))),
        }
    }
    refused.map_or(Ok(None), Err)
}
