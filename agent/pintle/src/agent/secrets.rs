//! Secrets that the agent reads: credentials, pull secrets, what notifiers send.

use std::{collections::BTreeMap, sync::Arc};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    runtime::{WatchStreamExt as _, watcher},
};
use pintle_cluster::Connection;
use tokio::sync::watch;

/// Why a Secret cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("Secret {namespace}/{name} does not exist")]
    Missing { namespace: String, name: String },
    #[error("Secret {namespace}/{name} has no key `{key}`: there are {}", .found.join(", "))]
    Key {
        namespace: String,
        name: String,
        key: String,
        found: Vec<String>,
    },
    #[error("Secret {namespace}/{name} cannot be read: {reason}")]
    Unreadable {
        namespace: String,
        name: String,
        reason: String,
    },
}

/// Reads a Secret's data.
pub(crate) async fn read(
    connection: &Connection,
    namespace: &str,
    name: &str,
) -> Result<BTreeMap<String, Vec<u8>>, SecretError> {
    let secrets: Api<Secret> = Api::namespaced(connection.client().clone(), namespace);
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    match secrets.get_opt(&name).await {
        Ok(Some(secret)) => Ok(secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.0))
            .collect()),
        Ok(None) => Err(SecretError::Missing { namespace, name }),
        Err(error) => Err(SecretError::Unreadable {
            namespace,
            name,
            reason: error.to_string(),
        }),
    }
}

/// Reads one key of a Secret.
pub(crate) async fn read_key(
    connection: &Connection,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<Vec<u8>, SecretError> {
    let mut data = read(connection, namespace, name).await?;
    data.remove(key).ok_or_else(|| SecretError::Key {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        key: key.to_owned(),
        found: data.into_keys().collect(),
    })
}

/// Follows one key of one Secret by a watch: what depends on it never asks the API server.
pub(crate) fn follow(
    connection: &Connection,
    namespace: &str,
    name: &str,
    key: &str,
) -> watch::Receiver<Option<Arc<[u8]>>> {
    let secrets: Api<Secret> = Api::namespaced(connection.client().clone(), namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let (sender, receiver) = watch::channel(None);
    let key = key.to_owned();
    tokio::spawn(async move {
        let mut events = watcher(secrets, config).default_backoff().boxed();
        while let Some(event) = events.next().await {
            let value = match event {
                Ok(watcher::Event::Apply(secret) | watcher::Event::InitApply(secret)) => secret
                    .data
                    .and_then(|mut data| data.remove(&key))
                    .map(|value| Arc::from(value.0)),
                Ok(watcher::Event::Delete(_)) => None,
                Ok(watcher::Event::Init | watcher::Event::InitDone) => continue,
                Err(error) => {
                    tracing::warn!(%error, "the webhook secret cannot be watched; it is tried again");
                    continue;
                }
            };
            if sender.send(value).is_err() {
                return;
            }
        }
    });
    receiver
}
