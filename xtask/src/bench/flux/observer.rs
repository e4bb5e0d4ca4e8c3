//! What a watch reports, and when.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use futures::StreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// HTTP's "gone": the version from which a watch was to resume is no longer kept.
const GONE: u16 = 410;

/// An object as it was at one moment.
#[derive(Debug)]
pub(super) struct Sight<T> {
    pub(super) name: String,
    pub(super) state: T,
    /// When the watch reported it.
    pub(super) at: Instant,
}

/// Watches the objects of one kind in one namespace.
///
/// It runs in a runtime of its own, so that waiting for it neither polls nor misses a state in between.
#[derive(Debug)]
pub(super) struct Observer<T> {
    sights: mpsc::Receiver<Result<Sight<T>>>,
    task: AbortHandle,
}

impl<T: Send + 'static> Observer<T> {
    /// Starts with the existing objects. `reduce` extracts the relevant part of an object.
    pub(super) fn start(
        runtime: &Handle,
        client: kube::Client,
        resource: &ApiResource,
        namespace: &str,
        reduce: fn(&DynamicObject) -> T,
    ) -> Self {
        let api = Api::namespaced_with(client, namespace, resource);
        let (sender, sights) = mpsc::channel();
        let what = resource.plural.clone();
        let task = runtime.spawn(async move {
            if let Err(error) = follow(&api, reduce, &sender).await {
                // If the observer is gone, there is nobody left to tell.
                let _ = sender.send(Err(error.context(format!("watch {what}"))));
            }
        });
        Self {
            sights,
            task: task.abort_handle(),
        }
    }

    /// Waits for the next state of any object. Returns `None` if there is none within the limit.
    pub(super) fn next(&self, limit: Duration) -> Result<Option<Sight<T>>> {
        match self.sights.recv_timeout(limit) {
            Ok(sight) => sight.map(Some),
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the watch has ended"),
        }
    }
}

impl<T> Drop for Observer<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lists, and watches from there on. Ends when the receiver is gone.
async fn follow<T>(
    api: &Api<DynamicObject>,
    reduce: fn(&DynamicObject) -> T,
    sender: &mpsc::Sender<Result<Sight<T>>>,
) -> Result<()> {
    let tell = |object: &DynamicObject| {
        sender.send(Ok(Sight {
            name: object.metadata.name.clone().unwrap_or_default(),
            state: reduce(object),
            at: Instant::now(),
        }))
    };
    let mut version = None;
    loop {
        let from = if let Some(version) = version.take() {
            version
        } else {
            let listed = api.list(&ListParams::default()).await.context("list")?;
            for object in &listed.items {
                if tell(object).is_err() {
                    return Ok(());
                }
            }
            let version = listed.metadata.resource_version;
            version.context("a list has a version")?
        };
        let params = WatchParams::default();
        let mut events = std::pin::pin!(api.watch(&params, &from).await.context("watch")?);
        let mut last = Some(from.clone());
        while let Some(event) = events.next().await {
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    last.clone_from(&object.metadata.resource_version);
                    if tell(&object).is_err() {
                        return Ok(());
                    }
                }
                Ok(WatchEvent::Deleted(object)) => last = object.metadata.resource_version,
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    last = Some(bookmark.metadata.resource_version);
                }
                Ok(WatchEvent::Error(status)) if status.code == GONE => last = None,
                Ok(WatchEvent::Error(status)) => return Err(anyhow!("{}", status.message)),
                // A lost connection. If the position is no longer there, the next connection reports that.
                Err(_) => break,
            }
        }
        version = last;
    }
}
