//! Watches that survive what happens to connections and servers.

mod client;

use std::{fmt, pin::pin, time::Duration};

use futures::{Stream, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api,
    api::ApiResource,
    core::{DynamicResourceScope, Status},
    runtime::watcher::{self, Config, Error as WatcherError, Event},
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{connection::Connection, discovery::ResourceType, request::chain};

/// The first pause after a watch failed; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The server ends a watch after this many seconds, and it is renewed from where it was.
const RENEWAL: u32 = 290;

/// What of a kind is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Selection {
    pub(crate) resource: ResourceType,
    /// All namespaces without one.
    pub(crate) namespace: Option<String>,
    pub(crate) labels: Option<String>,
    pub(crate) fields: Option<String>,
}

/// What a watch tells. After `Restarted` each object that there is comes as `Seen`, then `Complete`: what did not come is
/// gone.
#[derive(Debug)]
pub(crate) enum Told {
    Restarted,
    Seen(Value),
    Complete,
    Gone(Value),
    /// The watch does not work at the moment. It is tried again.
    Failed(String),
}

/// An object of any kind: its whole JSON, and of its metadata what the watcher needs.
#[derive(Clone)]
struct Watched {
    value: Value,
    metadata: ObjectMeta,
}

impl fmt::Debug for Watched {
    /// Without the content: it may be a Secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Watched({:?}/{:?})",
            self.metadata.namespace, self.metadata.name
        )
    }
}

impl<'de> Deserialize<'de> for Watched {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = |field: &str| value["metadata"][field].as_str().map(ToOwned::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { value, metadata })
    }
}

impl kube::Resource for Watched {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(dt: &ApiResource) -> std::borrow::Cow<'_, str> {
        dt.kind.as_str().into()
    }

    fn group(dt: &ApiResource) -> std::borrow::Cow<'_, str> {
        dt.group.as_str().into()
    }

    fn version(dt: &ApiResource) -> std::borrow::Cow<'_, str> {
        dt.version.as_str().into()
    }

    fn api_version(dt: &ApiResource) -> std::borrow::Cow<'_, str> {
        dt.api_version.as_str().into()
    }

    fn plural(dt: &ApiResource) -> std::borrow::Cow<'_, str> {
        dt.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Watches until the receiver is dropped. One object is in memory at a time: the channel holds few.
///
/// The initial state is streamed where the server can (beta since Kubernetes 1.32), else listed in pages.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>
pub(crate) async fn watch(connection: Connection, selection: Selection, told: mpsc::Sender<Told>) {
    let mut pause = FIRST_PAUSE;
    let mut streaming = true;
    loop {
        let events = open(&connection, &selection, streaming);
        match follow(events, &selection, streaming, &told, &mut pause).await {
            End::Closed => return,
            // The server knows no streaming lists: it refuses `sendInitialEvents` as invalid.
            End::NoStreaming => streaming = false,
            // Its position is too old, and kube's watcher would ask for it forever.
            End::Expired => {
                tokio::time::sleep(pause).await;
                pause = longer(pause);
            }
        }
    }
}

enum End {
    /// Nobody listens any more.
    Closed,
    NoStreaming,
    Expired,
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

fn open(
    connection: &Connection,
    selection: &Selection,
    streaming: bool,
) -> impl Stream<Item = Result<Event<Watched>, WatcherError>> + Send + use<> {
    let resource = &selection.resource;
    let dynamic = ApiResource {
        group: resource.group.clone(),
        version: resource.version.clone(),
        api_version: resource.api_version(),
        kind: resource.kind.clone(),
        plural: resource.plural.clone(),
    };
    let client = client::of(connection);
    let api: Api<Watched> = match selection
        .namespace
        .as_deref()
        .filter(|_| resource.namespaced)
    {
        Some(namespace) => Api::namespaced_with(client, namespace, &dynamic),
        None => Api::all_with(client, &dynamic),
    };
    let mut config = Config::default().timeout(RENEWAL);
    config.label_selector.clone_from(&selection.labels);
    config.field_selector.clone_from(&selection.fields);
    if streaming {
        config = config.streaming_lists();
    }
    watcher::watcher(api, config)
}

async fn follow(
    events: impl Stream<Item = Result<Event<Watched>, WatcherError>>,
    selection: &Selection,
    streaming: bool,
    told: &mpsc::Sender<Told>,
    pause: &mut Duration,
) -> End {
    let mut events = pin!(events);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = told.closed() => return End::Closed,
        };
        let tell = match event {
            Some(Ok(event)) => {
                // What only begins may fail again: a list is announced before the server is asked for it, and of one in
                // pages each page may come but the last.
                if !matches!(event, Event::Init | Event::InitApply(_)) {
                    *pause = FIRST_PAUSE;
                }
                match event {
                    Event::Init => Told::Restarted,
                    Event::InitApply(object) | Event::Apply(object) => {
                        Told::Seen(typed(object.value, &selection.resource))
                    }
                    Event::InitDone => Told::Complete,
                    Event::Delete(object) => Told::Gone(typed(object.value, &selection.resource)),
                }
            }
            Some(Err(error)) => {
                let refusal = refusal(&error);
                match refusal.map(|refusal| refusal.code) {
                    Some(410) => return End::Expired,
                    Some(400 | 422) if streaming => return End::NoStreaming,
                    _ => {}
                }
                let text = refusal.map_or_else(|| chain(&error), said);
                tracing::debug!(kind = %selection.resource, error = %text, "watch failed");
                if told.send(Told::Failed(text)).await.is_err() {
                    return End::Closed;
                }
                let spread: f64 = rand::random();
                tokio::time::sleep(pause.mul_f64(0.5 + spread / 2.0)).await;
                *pause = longer(*pause);
                continue;
            }
            // The watcher's stream never ends.
            None => return End::Expired,
        };
        if told.send(tell).await.is_err() {
            return End::Closed;
        }
    }
}

/// Objects in lists have no type.
pub(crate) fn typed(mut object: Value, resource: &ResourceType) -> Value {
    if object["kind"].is_null() {
        object["kind"] = Value::from(resource.kind.as_str());
        object["apiVersion"] = Value::from(resource.api_version());
    }
    object
}

/// The client's own text of a refusal repeats it as a debug dump.
fn said(refusal: &Status) -> String {
    let Status {
        code,
        reason,
        message,
        ..
    } = refusal;
    format!("the API server answered {code} {reason}: {message}")
}

fn refusal(error: &WatcherError) -> Option<&Status> {
    match error {
        WatcherError::WatchError(status)
        | WatcherError::InitialListFailed(kube::Error::Api(status))
        | WatcherError::WatchStartFailed(kube::Error::Api(status))
        | WatcherError::WatchFailed(kube::Error::Api(status)) => Some(status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the pause after what came of a list.
    async fn pause_after(came: Vec<Result<Event<Watched>, WatcherError>>) -> Duration {
        let selection = Selection {
            resource: ResourceType::config_maps(),
            namespace: None,
            labels: None,
            fields: None,
        };
        let (sender, _told) = mpsc::channel(16);
        let mut pause = FIRST_PAUSE;
        let events = futures::stream::iter(came);
        let end = follow(events, &selection, false, &sender, &mut pause).await;
        assert!(matches!(end, End::Expired), "there was nothing more");
        pause
    }

    fn failed<T>() -> Result<T, WatcherError> {
        Err(WatcherError::NoResourceVersion)
    }

    #[tokio::test]
    async fn a_list_that_keeps_failing_is_asked_for_less_and_less_often() {
        let object = Watched {
            value: Value::Null,
            metadata: ObjectMeta::default(),
        };
        let first_page = Ok(Event::InitApply(object));
        let came = vec![
            Ok(Event::Init),
            failed(),
            Ok(Event::Init),
            first_page,
            failed(),
        ];
        assert_eq!(pause_after(came).await, FIRST_PAUSE * 4);
        let came = vec![
            Ok(Event::Init),
            failed(),
            Ok(Event::Init),
            Ok(Event::InitDone),
        ];
        assert_eq!(pause_after(came).await, FIRST_PAUSE);
    }
}
