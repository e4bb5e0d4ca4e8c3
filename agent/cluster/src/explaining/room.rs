//! Watches of pods, up to a limit.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{connection::Connection, reader::Changes, watching::Selection};

/// The most watches of pods in one cluster at once. Each is a connection of its own, and a library chart may roll out a thousand
/// applications together.
const MOST: usize = 64;

/// The room for watches of pods, shared by everything that examines why something in one cluster is not ready.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

impl Room {
    /// Watches pods under the connection's own identity; `None` if there is no room.
    pub(super) fn watch(
        &self,
        connection: &Connection,
        selection: Selection,
    ) -> Option<PodChanges> {
        let place = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(PodChanges {
            changes: Changes::of(connection, selection),
            _place: place,
        })
    }
}

/// Reports changes to some pods, until it is dropped.
#[derive(Debug)]
pub(super) struct PodChanges {
    changes: Changes,
    _place: OwnedSemaphorePermit,
}

impl PodChanges {
    /// Waits for a change. The first is reported when the watch is open.
    pub(super) async fn next(&mut self) {
        self.changes.next().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use kube::client::Body;
    use pintle_core::object::ObjectId;
    use serde_json::json;
    use tokio::sync::mpsc;
    use tower::BoxError;

    use super::*;
    use crate::{
        cluster::Cluster, connection::Options, discovery::ResourceType, explaining::look::Looker,
    };

    /// Returns a cluster whose every response is a pod, and a semaphore that gets a permit each time the pod is read.
    fn cluster() -> (Cluster, Arc<Semaphore>) {
        let reads = Arc::new(Semaphore::new(0));
        let noted = Arc::clone(&reads);
        let server = tower::service_fn(move |request: Request<Body>| {
            if request.uri().path().ends_with("/pods/web") {
                noted.add_permits(1);
            }
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}});
            let answer = Bytes::from(pod.to_string());
            async move { Ok::<_, BoxError>(Response::new(Full::new(answer))) }
        });
        let client = kube::Client::new(server, "default");
        let connection = Connection::with_client(client, &Options::default(), None, String::new());
        (Cluster::new(connection), reads)
    }

    #[tokio::test]
    async fn whoever_finds_no_room_for_a_watch_looks_again_by_itself() {
        let (cluster, reads) = cluster();
        let watch = || {
            let config_maps = Selection::of(ResourceType::config_maps(), None, None);
            cluster.room().watch(cluster.connection(), config_maps)
        };
        let all: Vec<PodChanges> = std::iter::from_fn(watch).take(MOST + 1).collect();
        assert_eq!(all.len(), MOST);

        let looker = Arc::new(Looker::new(&cluster, None).unwrap());
        let id = ObjectId {
            group: String::new(),
            kind: "Pod".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        };
        let (tell, _told) = mpsc::channel(1);
        let following = tokio::spawn(looker.follow(id, tell));
        let looks = tokio::time::timeout(Duration::from_mins(1), reads.acquire_many(2));
        let _looks = looks.await.expect("it is looked again").unwrap();
        following.abort();

        drop(all);
        assert!(watch().is_some(), "the room is there again");
    }
}
