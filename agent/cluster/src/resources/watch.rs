//! Watches Applications and Plugins as they are created, changed and deleted.

use std::collections::{BTreeMap, BTreeSet};

use futures::Stream;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

use super::{CustomResource, Resources};
use crate::watching::{Selection, Told, watch};

/// How many events may be queued for the receiver.
const WAITING: usize = 64;

/// What happened to a resource.
#[derive(Debug, Clone, PartialEq)]
pub enum ResourceEvent<Spec, Status> {
    /// It exists or has changed.
    Seen(Box<CustomResource<Spec, Status>>),
    /// It is gone.
    Gone {
        /// The namespace; absent for Plugins.
        namespace: Option<String>,
        /// The name.
        name: String,
    },
    /// All existing resources have been seen.
    Complete,
    /// The watch does not work at the moment; it is retried automatically.
    Failed {
        /// Why it does not work.
        text: String,
        /// Whether the server answers but does not permit the watch: that ends only when someone acts.
        is_refused: bool,
    },
    /// The watch works again, and continues where it left off.
    Resumed,
}

impl<Spec, Status> Resources<Spec, Status>
where
    Spec: DeserializeOwned + PartialEq + Send + 'static,
    Status: DeserializeOwned + Serialize + Default + PartialEq + Send + 'static,
{
    /// Watches one namespace or all, until the stream is dropped. What happened while the connection was lost is reported when it
    /// is back, including deletions.
    pub fn watch(
        &self,
        namespace: Option<&str>,
    ) -> impl Stream<Item = ResourceEvent<Spec, Status>> + Send + 'static + use<Spec, Status> {
        let selection = Selection {
            resource: self.resource.clone(),
            namespace: namespace.map(ToOwned::to_owned),
            labels: None,
            fields: None,
        };
        let (sender, told) = mpsc::channel(WAITING);
        tokio::spawn(watch(self.connection.clone(), selection, sender));
        let state = Following {
            told,
            known: BTreeMap::new(),
            seen: None,
            waiting: Vec::new(),
        };
        futures::stream::unfold(state, |mut state: Following<Spec, Status>| async move {
            let event = state.next().await?;
            Some((event, state))
        })
    }
}

type Key = (Option<String>, String);

struct Following<Spec, Status> {
    told: mpsc::Receiver<Told>,
    /// The existing resources, by uid: one that was deleted and made again is a different resource.
    known: BTreeMap<Key, String>,
    /// The resources seen since a restart.
    seen: Option<BTreeSet<Key>>,
    waiting: Vec<ResourceEvent<Spec, Status>>,
}

impl<Spec: DeserializeOwned, Status: DeserializeOwned + Default> Following<Spec, Status> {
    async fn next(&mut self) -> Option<ResourceEvent<Spec, Status>> {
        loop {
            if let Some(event) = self.waiting.pop() {
                return Some(event);
            }
            match self.told.recv().await? {
                Told::Restarted => self.seen = Some(BTreeSet::new()),
                Told::Seen(value) => {
                    let resource: CustomResource<Spec, Status> = CustomResource::read(value);
                    let key = (resource.namespace.clone(), resource.name.clone());
                    if let Some(seen) = &mut self.seen {
                        seen.insert(key.clone());
                    }
                    let before = self.known.insert(key.clone(), resource.uid.clone());
                    let is_another = before.is_some_and(|before| before != resource.uid);
                    let event = ResourceEvent::Seen(Box::new(resource));
                    if is_another {
                        self.waiting.push(event);
                        return Some(gone(key));
                    }
                    return Some(event);
                }
                Told::Gone(value) => {
                    let resource: CustomResource<Spec, Status> = CustomResource::read(value);
                    let key = (resource.namespace, resource.name);
                    self.known.remove(&key);
                    return Some(gone(key));
                }
                Told::Complete => {
                    // Popped from the end: deletions are reported first.
                    self.waiting.push(ResourceEvent::Complete);
                    if let Some(seen) = self.seen.take() {
                        let missing: Vec<Key> = self
                            .known
                            .keys()
                            .filter(|key| !seen.contains(*key))
                            .cloned()
                            .collect();
                        for key in missing {
                            self.known.remove(&key);
                            self.waiting.push(gone(key));
                        }
                    }
                }
                Told::Failed(failure) => {
                    return Some(ResourceEvent::Failed {
                        text: failure.text,
                        is_refused: failure.is_refused,
                    });
                }
                Told::Resumed => return Some(ResourceEvent::Resumed),
            }
        }
    }
}

fn gone<Spec, Status>((namespace, name): Key) -> ResourceEvent<Spec, Status> {
    ResourceEvent::Gone { namespace, name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watching::Failure;
    use pintle_core::application::{ApplicationSpec, ApplicationStatus};
    use serde_json::{Value, json};

    async fn events(tell: Vec<Told>) -> Vec<String> {
        let (sender, told) = mpsc::channel(64);
        for tell in tell {
            sender.send(tell).await.unwrap();
        }
        drop(sender);
        let mut state: Following<ApplicationSpec, ApplicationStatus> = Following {
            told,
            known: BTreeMap::new(),
            seen: None,
            waiting: Vec::new(),
        };
        let mut all = Vec::new();
        while let Some(event) = state.next().await {
            all.push(match event {
                ResourceEvent::Seen(resource) => format!("seen {}", resource.name),
                ResourceEvent::Gone { name, .. } => format!("gone {name}"),
                ResourceEvent::Complete => "complete".to_owned(),
                ResourceEvent::Failed { text, is_refused } => {
                    let how = if is_refused { " for good" } else { "" };
                    text + how
                }
                ResourceEvent::Resumed => "resumed".to_owned(),
            });
        }
        all
    }

    fn seen(name: &str, uid: &str) -> Told {
        Told::Seen(object(name, uid))
    }

    fn object(name: &str, uid: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "n", "uid": uid}, "spec": {}})
    }

    #[tokio::test]
    async fn what_went_while_nobody_watched_is_told_before_the_list_is_complete() {
        let told = vec![
            Told::Restarted,
            seen("a", "1"),
            seen("b", "2"),
            Told::Complete,
            Told::Gone(object("a", "1")),
            Told::Failed(Failure {
                text: "lost".into(),
                is_refused: false,
                is_unserved: false,
            }),
            Told::Failed(Failure {
                text: "forbidden".into(),
                is_refused: true,
                is_unserved: false,
            }),
            Told::Resumed,
            Told::Restarted,
            seen("c", "3"),
            Told::Complete,
        ];
        assert_eq!(
            events(told).await,
            [
                "seen a",
                "seen b",
                "complete",
                "gone a",
                "lost",
                "forbidden for good",
                "resumed",
                "seen c",
                "gone b",
                "complete"
            ]
        );
    }

    #[tokio::test]
    async fn a_resource_that_was_made_again_has_gone_first() {
        let told = vec![
            Told::Restarted,
            seen("a", "1"),
            Told::Complete,
            Told::Restarted,
            seen("a", "2"),
            Told::Complete,
        ];
        assert_eq!(
            events(told).await,
            ["seen a", "complete", "gone a", "seen a", "complete"]
        );
    }
}
