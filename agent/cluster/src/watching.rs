//! Watches that survive failures of connections and servers.

pub(crate) mod client;
mod pause;
pub(crate) mod refusals;

use std::{fmt, pin::pin, sync::Arc};

use futures::{Stream, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api,
    api::ApiResource,
    core::{DynamicResourceScope, Status},
    runtime::watcher::{self, Config, Error as WatcherError, Event},
};
use pintle_core::causes::chain;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use self::pause::Pause;
use crate::{connection::Connection, discovery::ResourceType, retry};

/// How many seconds pass before the server ends a watch, which is then renewed where it left off.
pub(crate) const RENEWAL: u32 = 290;
/// The number of objects in a page of a list: even if they are large, the page stays below the limit of one response.
const PAGE: u32 = 100;
/// The weight of failures to stream the initial state after which it is listed instead.
const UNSTREAMED: u32 = 8;

/// The objects of a kind that are watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Selection {
    pub(crate) resource: ResourceType,
    /// The namespace; all namespaces if `None`.
    pub(crate) namespace: Option<String>,
    pub(crate) labels: Option<String>,
    pub(crate) fields: Option<String>,
}

impl Selection {
    /// Selects the objects of a kind in one namespace or in all, or only the one with a name.
    pub(crate) fn of(resource: ResourceType, namespace: Option<&str>, name: Option<&str>) -> Self {
        Self {
            resource,
            namespace: namespace.map(ToOwned::to_owned),
            labels: None,
            fields: name.map(|name| format!("metadata.name={name}")),
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.resource)?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in namespace {namespace}")?;
        }
        for selector in [&self.labels, &self.fields].into_iter().flatten() {
            write!(f, ", {selector}")?;
        }
        Ok(())
    }
}

/// Why a watch does not work.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    /// Whether the server answers but does not permit the watch.
    pub(crate) is_refused: bool,
    /// Whether the server does not serve the kind, at least for now.
    pub(crate) is_unserved: bool,
}

impl Failure {
    /// Describes why a kube watch does not work.
    pub(crate) fn of(error: &WatcherError) -> Self {
        let refusal = refusal(error);
        let code = refusal.map(|refusal| refusal.code);
        Self {
            text: refusal.map_or_else(|| chain(error), said),
            is_refused: code.is_some_and(|code| code != 410 && !retry::is_transient(code)),
            is_unserved: code == Some(404),
        }
    }
}

/// What a watch reports. After `Restarted`, each existing object is reported as `Seen`, followed by `Complete`: objects that were
/// not reported are gone. After `Failed` follows either that sequence or `Resumed`.
#[derive(Debug)]
pub(crate) enum Told {
    Restarted,
    Seen(Value),
    Complete,
    Gone(Value),
    /// The watch does not work at the moment. It is retried.
    Failed(Failure),
    /// It continues where it left off.
    Resumed,
}

/// An object of any kind: its whole JSON, and the part of its metadata that the watcher needs.
#[derive(Clone)]
struct Watched {
    value: Value,
    metadata: ObjectMeta,
}

impl fmt::Debug for Watched {
    /// Leaves out the content: it may be a Secret.
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

/// Watches until the receiver is dropped. Holds one object in memory at a time, besides the few in the channel.
///
/// The initial state is streamed if the server can do that (beta since Kubernetes 1.32), and otherwise listed in pages.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>
pub(crate) async fn watch(connection: Connection, selection: Selection, told: mpsc::Sender<Told>) {
    watch_nudged(connection, selection, told, Arc::default()).await;
}

/// Like [`watch`], but retries a watch that does not work at once when it is nudged.
pub(crate) async fn watch_nudged(
    connection: Connection,
    selection: Selection,
    told: mpsc::Sender<Told>,
    nudge: Arc<Notify>,
) {
    let mut pause = Pause::new(nudge);
    let (mut can_stream, mut streaming) = (true, true);
    loop {
        let (answered, mut answers) = tokio::sync::watch::channel(());
        let events = open(&connection, &selection, streaming, answered);
        let following = follow(
            events,
            &mut answers,
            &selection,
            streaming,
            &told,
            &mut pause,
        );
        match following.await {
            End::Closed => return,
            // The server does not support streaming lists: it refuses `sendInitialEvents` as invalid.
            End::NoStreaming => (can_stream, streaming) = (false, false),
            End::Unstreamed => streaming = false,
            // Its position is too old, and kube's watcher would request it forever.
            End::Expired => {
                streaming = can_stream;
                pause.wait().await;
            }
        }
    }
}

enum End {
    /// The receiver was dropped.
    Closed,
    NoStreaming,
    /// The initial state cannot be streamed at the moment, but may well be listed.
    Unstreamed,
    Expired,
}

fn open(
    connection: &Connection,
    selection: &Selection,
    streaming: bool,
    answered: tokio::sync::watch::Sender<()>,
) -> impl Stream<Item = Result<Event<Watched>, WatcherError>> + Send + use<> {
    let resource = &selection.resource;
    let dynamic = ApiResource {
        group: resource.group.clone(),
        version: resource.version.clone(),
        api_version: resource.api_version(),
        kind: resource.kind.clone(),
        plural: resource.plural.clone(),
    };
    let client = client::of(connection, answered);
    let api: Api<Watched> = match selection
        .namespace
        .as_deref()
        .filter(|_| resource.namespaced)
    {
        Some(namespace) => Api::namespaced_with(client, namespace, &dynamic),
        None => Api::all_with(client, &dynamic),
    };
    let mut config = Config::default().timeout(RENEWAL).page_size(PAGE);
    config.label_selector.clone_from(&selection.labels);
    config.field_selector.clone_from(&selection.fields);
    if streaming {
        config = config.streaming_lists();
    }
    watcher::watcher(api, config)
}

/// Reports the events of a watch until it has to be reopened. `answers` changes with each successful response to one of its
/// requests.
async fn follow(
    events: impl Stream<Item = Result<Event<Watched>, WatcherError>>,
    answers: &mut tokio::sync::watch::Receiver<()>,
    selection: &Selection,
    streaming: bool,
    told: &mpsc::Sender<Told>,
    pause: &mut Pause,
) -> End {
    let mut events = pin!(events);
    let mut is_listing = true;
    // The weight of failures to stream the initial state since it was last streamed.
    let mut unstreamed = 0;
    // Since when changes are reported: `None` while the initial state is listed, and after a failure.
    let mut works_since: Option<Instant> = None;
    loop {
        let event = tokio::select! {
            biased;
            () = told.closed() => return End::Closed,
            event = events.next() => Some(event),
            // kube's watcher does not report this. Events that it emits at once, such as the start of a list, come first.
            Ok(()) = answers.changed(), if !is_listing && works_since.is_none() => None,
        };
        let goes_on = matches!(
            event,
            None | Some(Some(Ok(Event::Apply(_) | Event::Delete(_))))
        );
        if goes_on && !is_listing && works_since.is_none() {
            works_since = Some(Instant::now());
            if told.send(Told::Resumed).await.is_err() {
                return End::Closed;
            }
        }
        let tell = match event {
            None => continue,
            // What has only begun may still fail: a list is announced before the server is asked for it, and of a paged list
            // every page but the last may arrive.
            Some(Some(Ok(Event::Init))) => {
                (is_listing, works_since) = (true, None);
                Told::Restarted
            }
            Some(Some(Ok(Event::InitApply(object) | Event::Apply(object)))) => {
                Told::Seen(typed(object.value, &selection.resource))
            }
            Some(Some(Ok(Event::InitDone))) => {
                (is_listing, works_since) = (false, Some(Instant::now()));
                unstreamed = 0;
                Told::Complete
            }
            Some(Some(Ok(Event::Delete(object)))) => {
                Told::Gone(typed(object.value, &selection.resource))
            }
            Some(Some(Err(error))) => {
                let code = refusal(&error).map(|refusal| refusal.code);
                if streaming && matches!(code, Some(400 | 422)) {
                    return End::NoStreaming;
                }
                if streaming && is_listing {
                    unstreamed += speaks_for_a_list(&error);
                    if unstreamed >= UNSTREAMED {
                        return End::Unstreamed;
                    }
                }
                let failure = Failure::of(&error);
                tracing::debug!(kind = %selection.resource, error = failure.text, "watch failed");
                // A list is not a watch yet, and a working watch may have nothing to report for days.
                if let Some(since) = works_since.take() {
                    pause.worked(since.elapsed());
                }
                answers.mark_unchanged();
                if told.send(Told::Failed(failure)).await.is_err() {
                    return End::Closed;
                }
                if code == Some(410) {
                    return End::Expired;
                }
                pause.wait().await;
                continue;
            }
            // The watcher's stream never ends.
            Some(None) => return End::Expired,
        };
        if let Told::Seen(value) | Told::Gone(value) = &tell
            && !value.is_object()
        {
            tracing::warn!(kind = %selection.resource, "the API server tells of something that is no object");
            continue;
        }
        if told.send(tell).await.is_err() {
            return End::Closed;
        }
    }
}

/// Returns how strongly a failure suggests listing instead of streaming: not at all if it is about who asks, for what, or how
/// often. A server whose etcd sends no progress fails each time after it has granted the request, so two such failures are
/// enough. A server that does not get that far is usually just away for a moment.
fn speaks_for_a_list(error: &WatcherError) -> u32 {
    let is_granted = matches!(error, WatcherError::WatchError(_));
    match refusal(error).map(|refusal| refusal.code) {
        None | Some(401 | 403 | 404 | 410 | 429) => 0,
        Some(code) if is_granted || !retry::is_transient(code) => UNSTREAMED / 2,
        Some(_) => 1,
    }
}

/// Adds the type that objects in lists lack. A value that is not an object stays as it is.
pub(crate) fn typed(mut object: Value, resource: &ResourceType) -> Value {
    if let Value::Object(fields) = &mut object
        && fields.get("kind").is_none_or(Value::is_null)
    {
        fields.insert("kind".into(), resource.kind.as_str().into());
        fields.insert("apiVersion".into(), resource.api_version().into());
    }
    object
}

/// Formats a refusal. The client's own text repeats it as a debug dump.
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
    use futures::stream;
    use serde_json::json;
    use tokio::sync::watch::channel;

    use super::*;

    type Came = Result<Event<Watched>, WatcherError>;

    fn config_maps() -> Selection {
        Selection {
            resource: ResourceType::config_maps(),
            namespace: None,
            labels: None,
            fields: None,
        }
    }

    fn failed() -> Came {
        Err(WatcherError::NoResourceVersion)
    }

    fn object() -> Watched {
        Watched {
            value: json!({}),
            metadata: ObjectMeta::default(),
        }
    }

    #[test]
    fn only_what_is_an_object_is_given_a_type() {
        let resource = ResourceType::config_maps();
        let all = [json!({}), json!({"kind": "Other"}), json!("x"), Value::Null];
        let [none, other, text, null] = all.map(|value| typed(value, &resource));
        assert_eq!(none, json!({"kind": "ConfigMap", "apiVersion": "v1"}));
        assert_eq!(other, json!({"kind": "Other"}));
        assert_eq!((text, null), (json!("x"), Value::Null));
    }

    #[tokio::test]
    async fn what_is_no_object_is_passed_over() {
        let strange = Watched {
            value: json!("x"),
            ..object()
        };
        let came: Vec<Came> = vec![
            Ok(Event::Init),
            Ok(Event::InitApply(strange)),
            Ok(Event::InitApply(object())),
            Ok(Event::InitDone),
        ];
        let (sender, mut told) = mpsc::channel(16);
        let (_answered, mut answers) = channel(());
        let mut pause = Pause::new(Arc::default());
        let (events, resource) = (stream::iter(came), config_maps());
        follow(events, &mut answers, &resource, false, &sender, &mut pause).await;
        assert!(matches!(told.try_recv(), Ok(Told::Restarted)));
        assert!(matches!(told.try_recv(), Ok(Told::Seen(Value::Object(_)))));
        assert!(matches!(told.try_recv(), Ok(Told::Complete)));
    }

    /// Returns the factor by which the pause after the events of a list is longer than the first pause.
    async fn growth_after(came: Vec<Came>) -> u128 {
        let (sender, _told) = mpsc::channel(16);
        let (_answered, mut answers) = channel(());
        let mut pause = Pause::new(Arc::default());
        let (events, resource) = (stream::iter(came), config_maps());
        let following = follow(events, &mut answers, &resource, false, &sender, &mut pause);
        let end = following.await;
        assert!(matches!(end, End::Expired), "there was nothing more");
        pause.growth()
    }

    #[tokio::test]
    async fn a_list_that_keeps_failing_is_asked_for_less_and_less_often() {
        let first_page = Ok(Event::InitApply(object()));
        let came = vec![
            Ok(Event::Init),
            failed(),
            Ok(Event::Init),
            first_page,
            failed(),
        ];
        assert_eq!(growth_after(came).await, 4);
    }

    #[tokio::test]
    async fn a_watch_that_never_lives_is_listed_less_and_less_often() {
        let expired = || -> Came {
            let status = Status::failure("too old resource version", "Expired").with_code(410);
            Err(WatcherError::WatchError(status.boxed()))
        };
        for told in [None, Some(Event::Apply(object()))] {
            let listed = [Event::Init, Event::InitDone].map(Ok);
            let mut came: Vec<Came> = vec![Ok(Event::Init), failed()];
            came.extend(listed);
            came.extend(told.map(Ok));
            came.push(expired());
            assert_eq!(growth_after(came).await, 2);
        }
    }

    /// Returns whether what cannot be streamed is listed after some refusals.
    async fn is_listed_after(codes: &[u16], error: fn(Box<Status>) -> WatcherError) -> bool {
        let refused = |code: &u16| {
            let status = Status::failure("no", "").with_code(*code);
            Err(error(status.boxed()))
        };
        let came: Vec<Came> = codes
            .iter()
            .flat_map(|code| [Ok(Event::Init), refused(code)])
            .collect();
        let (sender, _told) = mpsc::channel(16);
        let (_answered, mut answers) = channel(());
        let mut pause = Pause::new(Arc::default());
        let (events, resource) = (stream::iter(came), config_maps());
        let following = follow(events, &mut answers, &resource, true, &sender, &mut pause);
        matches!(following.await, End::Unstreamed | End::NoStreaming)
    }

    #[tokio::test]
    async fn what_the_server_keeps_failing_to_stream_is_listed() {
        let granted = WatcherError::WatchError;
        assert!(is_listed_after(&[422], granted).await);
        assert!(is_listed_after(&[500, 500], granted).await);
        assert!(is_listed_after(&[500, 429, 503], granted).await);
        for codes in [&[500][..], &[403, 403], &[404, 404], &[429, 429]] {
            assert!(!is_listed_after(codes, granted).await, "{codes:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_was_away_is_asked_for_a_stream_again() {
        let start = |status| WatcherError::WatchStartFailed(kube::Error::Api(status));
        for codes in [[500, 500], [502, 503], [503, 504], [403, 403]] {
            assert!(!is_listed_after(&codes, start).await, "{codes:?}");
        }
        assert!(is_listed_after(&[422], start).await);
        assert!(is_listed_after(&[405, 405], start).await);
        // A server that never gets that far has nothing to stream.
        let away = start(Status::failure("no", "").with_code(503).boxed());
        assert_eq!(speaks_for_a_list(&away), 1);
    }

    #[tokio::test]
    async fn a_watch_that_goes_on_where_it_was_says_so_although_nothing_happens() {
        let (come, coming) = mpsc::unbounded_channel::<Came>();
        let events = stream::unfold(coming, |mut coming| async move {
            let event = coming.recv().await?;
            Some((event, coming))
        });
        let (sender, mut told) = mpsc::channel(1);
        let (answered, mut answers) = channel(());
        let (resource, mut pause) = (config_maps(), Pause::new(Arc::default()));
        let following = follow(events, &mut answers, &resource, false, &sender, &mut pause);
        let telling = async {
            let mut next = async || told.recv().await.expect("it is followed");
            come.send(Ok(Event::Init)).unwrap();
            // The list is answered, and then the watch.
            answered.send_replace(());
            assert!(matches!(next().await, Told::Restarted));
            come.send(Ok(Event::InitDone)).unwrap();
            assert!(matches!(next().await, Told::Complete));
            answered.send_replace(());
            for _ in 0..2 {
                come.send(failed()).unwrap();
                assert!(matches!(next().await, Told::Failed(_)));
            }
            answered.send_replace(());
            assert!(matches!(next().await, Told::Resumed));
            come.send(failed()).unwrap();
            assert!(matches!(next().await, Told::Failed(_)));
            come.send(Ok(Event::Apply(object()))).unwrap();
            assert!(matches!(next().await, Told::Resumed));
            assert!(matches!(next().await, Told::Seen(_)));
            // The receiver is gone.
            drop(told);
        };
        let (end, ()) = tokio::join!(following, telling);
        assert!(matches!(end, End::Closed));
    }
}
