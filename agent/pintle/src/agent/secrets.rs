//! Secrets that the agent reads: credentials, pull secrets, what notifiers send.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    runtime::{WatchStreamExt as _, watcher},
};
use pintle_cluster::{Cluster, ConnectError, Connection, RequestError, ServiceAccount};
use serde_json::Value;
use tokio::sync::watch;

/// Why a Secret cannot be used.
#[derive(Debug, thiserror::Error)]
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
    #[error("Secret {namespace}/{name} cannot be read{by}: {reason}")]
    Unreadable {
        namespace: String,
        name: String,
        /// In whose name, if not the agent's.
        by: String,
        reason: Box<Unread>,
    },
}

/// Why it is not known what a Secret holds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// Nobody can be asked in this account's name.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl SecretError {
    /// Says whether the Secret may be read later without a change of it. One that is not there, or lacks a key, has to be
    /// mended first.
    pub(crate) fn is_retryable(&self) -> bool {
        let Self::Unreadable { reason, .. } = self else {
            return false;
        };
        match &**reason {
            Unread::Connect(_) => false,
            // A right is given by a person, who hears of it at once.
            Unread::Request(error) => error.is_retryable() && !error.is_forbidden(),
        }
    }
}

/// Reads a Secret's data, in the name of an application's account. Without one in the agent's own name: for what is the
/// agent's own.
pub(crate) async fn read(
    cluster: &Cluster,
    account: Option<&ServiceAccount>,
    namespace: &str,
    name: &str,
) -> Result<BTreeMap<String, Vec<u8>>, SecretError> {
    let unreadable = |reason: Unread| SecretError::Unreadable {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        by: account.map_or_else(String::new, |account| format!(" in the name of {account}")),
        reason: Box::new(reason),
    };
    let reader = cluster
        .reader_for(account)
        .map_err(|error| unreadable(error.into()))?;
    match reader.get("v1", "Secret", Some(namespace), name).await {
        Ok(Some(secret)) => Ok(data(&secret)),
        Ok(None) => Err(SecretError::Missing {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }),
        Err(error) => Err(unreadable(error.into())),
    }
}

/// Decodes a Secret's data. The API server has seen to it that it is Base64.
fn data(secret: &Value) -> BTreeMap<String, Vec<u8>> {
    let data = secret["data"].as_object().into_iter().flatten();
    data.filter_map(|(key, value)| Some((key.clone(), STANDARD.decode(value.as_str()?).ok()?)))
        .collect()
}

/// Reads one key of a Secret in the name of an application's account.
pub(crate) async fn read_key(
    cluster: &Cluster,
    account: &ServiceAccount,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<Vec<u8>, SecretError> {
    let mut data = read(cluster, Some(account), namespace, name).await?;
    data.remove(key).ok_or_else(|| SecretError::Key {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        key: key.to_owned(),
        found: data.into_keys().collect(),
    })
}

/// Follows one key of one Secret by a watch: what depends on it never asks the API server. A value is without the line's end
/// that files have; nothing is in a Secret that has no such key, or an empty one.
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
        let mut is_listed = false;
        while let Some(event) = events.next().await {
            let value = match event {
                Ok(watcher::Event::Init) => {
                    is_listed = false;
                    continue;
                }
                Ok(watcher::Event::InitApply(secret)) => {
                    is_listed = true;
                    value(secret, &key)
                }
                Ok(watcher::Event::Apply(secret)) => value(secret, &key),
                Ok(watcher::Event::InitDone) if is_listed => continue,
                // It may have gone while there was no watch.
                Ok(watcher::Event::Delete(_) | watcher::Event::InitDone) => None,
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

fn value(secret: Secret, key: &str) -> Option<Arc<[u8]>> {
    let value = secret.data?.remove(key)?.0;
    let value = value.trim_ascii_end();
    (!value.is_empty()).then(|| Arc::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_empty_value_is_none_and_a_line_has_no_end() {
        let of = |text: &str| {
            let data = json!({"data": {"token": STANDARD.encode(text)}});
            let value = value(serde_json::from_value(data).unwrap(), "token");
            value.map(|value| String::from_utf8(value.to_vec()).unwrap())
        };
        assert_eq!(of("a b\n").as_deref(), Some("a b"));
        assert_eq!((of(""), of("\n")), (None, None));
        assert_eq!(value(Secret::default(), "token"), None);
    }
}
