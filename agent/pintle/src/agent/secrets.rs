//! Secrets that the agent reads: credentials, pull secrets, and the secrets that notifiers send.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pintle_cluster::{Changes, Cluster, ConnectError, Reader, RequestError, ServiceAccount};
use pintle_core::causes::chain;
use serde_json::Value;
use tokio::sync::watch;

/// The pause between two attempts to open the watch of a Secret.
const UNWATCHED: Duration = Duration::from_secs(30);

/// Why a Secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("Secret {namespace}/{name} does not exist")]
    Missing { namespace: String, name: String },
    #[error("Secret {namespace}/{name} has no key `{key}`: there are {}", list(.found))]
    Key {
        namespace: String,
        name: String,
        key: String,
        found: Vec<String>,
    },
    #[error("Secret {namespace}/{name} cannot be read{by}")]
    Unreadable {
        namespace: String,
        name: String,
        /// The account that the read was made as, if not the agent's.
        by: String,
        #[source]
        reason: Box<Unread>,
    },
}

fn list(keys: &[String]) -> String {
    match keys {
        [] => "none".to_owned(),
        keys => keys.join(", "),
    }
}

/// Why the contents of a Secret are unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// No requests can be made as this account.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl SecretError {
    /// Returns whether the Secret may become readable without a change to it. A Secret that does not exist, or lacks a key, has
    /// to be fixed first.
    pub(crate) fn is_retryable(&self) -> bool {
        let Self::Unreadable { reason, .. } = self else {
            return false;
        };
        match &**reason {
            Unread::Connect(_) => false,
            // A person has to grant a missing right, and should learn of it at once.
            Unread::Request(error) => error.is_retryable() && !error.is_forbidden(),
        }
    }
}

/// Reads a Secret's data as an application's account. Without an account it is read as the agent itself, for what belongs to the
/// agent.
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

/// Decodes a Secret's data. The API server guarantees that it is Base64.
fn data(secret: &Value) -> BTreeMap<String, Vec<u8>> {
    let data = secret["data"].as_object().into_iter().flatten();
    data.filter_map(|(key, value)| Some((key.clone(), STANDARD.decode(value.as_str()?).ok()?)))
        .collect()
}

/// Reads one key of a Secret as an application's account.
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

/// The changes to one Secret, which is watched as the agent itself.
pub(crate) struct SecretChanges {
    reader: Reader,
    namespace: String,
    name: String,
    /// The watch, once it is open.
    changes: Option<Changes>,
}

impl SecretChanges {
    pub(crate) fn new(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        Self {
            reader: cluster.reader(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            changes: None,
        }
    }

    /// Waits for a change. The first one is reported when the watch is open: what was read before may be out of date by then.
    pub(crate) async fn next(&mut self) {
        loop {
            if let Some(changes) = &mut self.changes {
                return changes.next().await;
            }
            let (namespace, name) = (self.namespace.as_str(), self.name.as_str());
            let opened = self
                .reader
                .changes("v1", "Secret", Some(namespace), Some(name));
            self.changes = opened.await.ok().flatten();
            if self.changes.is_none() {
                tokio::time::sleep(UNWATCHED).await;
            }
        }
    }
}

/// Follows one key of one of the agent's own Secrets by a watch, so that what depends on it never asks the API server. The line
/// end that files have is removed from the value. The value is `None` while the Secret lacks the key, or the key is empty.
pub(crate) fn follow(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    key: &str,
) -> watch::Receiver<Option<Arc<[u8]>>> {
    let (sender, receiver) = watch::channel(None);
    let (cluster, key) = (cluster.clone(), key.to_owned());
    let mut changes = SecretChanges::new(&cluster, namespace, name);
    tokio::spawn(async move {
        let mut failures = 0;
        loop {
            let (namespace, name) = (&changes.namespace, &changes.name);
            match read(&cluster, None, namespace, name).await {
                Ok(data) => {
                    failures = 0;
                    sender.send_replace(data.get(&key).and_then(|value| trimmed(value)));
                }
                Err(SecretError::Missing { .. }) => {
                    failures = 0;
                    sender.send_replace(None);
                }
                // Until then, the value that was read before stays in use.
                Err(error) => {
                    failures += 1;
                    tracing::warn!(error = chain(&error), "it is tried again");
                }
            }
            let pause = match failures {
                0 => Duration::MAX,
                failures => pintle_core::machine::pause(&changes.name, failures),
            };
            tokio::select! {
                () = sender.closed() => return,
                () = changes.next() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    });
    receiver
}

/// Returns a value without the line end, or `None` if it is empty.
fn trimmed(value: &[u8]) -> Option<Arc<[u8]>> {
    let value = value.trim_ascii_end();
    (!value.is_empty()).then(|| Arc::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_secret_cannot_be_read_is_told_once() {
        let reason = Unread::Request(RequestError::Credentials {
            detail: "the token has expired".to_owned(),
        });
        let error = SecretError::Unreadable {
            namespace: "shop".to_owned(),
            name: "key".to_owned(),
            by: String::new(),
            reason: Box::new(reason),
        };
        assert_eq!(
            chain(&error),
            "Secret shop/key cannot be read: cannot get credentials for the API server: the token has expired"
        );
    }

    #[test]
    fn a_key_that_is_not_there_is_told_with_those_that_are() {
        let found = |keys: &[&str]| {
            let error = SecretError::Key {
                namespace: "shop".to_owned(),
                name: "prod".to_owned(),
                key: "value".to_owned(),
                found: keys.iter().map(|&key| key.to_owned()).collect(),
            };
            error.to_string()
        };
        assert_eq!(
            found(&["a", "b"]),
            "Secret shop/prod has no key `value`: there are a, b"
        );
        assert_eq!(
            found(&[]),
            "Secret shop/prod has no key `value`: there are none"
        );
    }

    #[test]
    fn an_empty_value_is_none_and_a_line_has_no_end() {
        let of = |text: &str| {
            let value = trimmed(text.as_bytes());
            value.map(|value| String::from_utf8(value.to_vec()).unwrap())
        };
        assert_eq!(of("a b\n").as_deref(), Some("a b"));
        assert_eq!((of(""), of("\n")), (None, None));
    }
}
