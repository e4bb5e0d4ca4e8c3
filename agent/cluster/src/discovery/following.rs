//! Coming to know of other kinds without asking for them.
//!
//! Which kinds there are changes with definitions of custom resources, and with API servers that are registered, come, or stop
//! to answer. Both are watched by their metadata alone: *that* something has changed is enough to ask the server anew.

use std::{
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _};
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
    core::PartialObjectMeta,
    runtime::watcher::{self, Config, Event},
};
use tokio::sync::{Notify, watch};

use super::Discovery;
use crate::{
    connection::Connection,
    watching::{Failure, RENEWAL, client, refusals::Refusals},
};

/// After a change, before the server is asked: definitions come in groups, and its list has each of them a moment later.
const QUIET: Duration = Duration::from_secs(5);
/// After that, before it is asked once more: of several API servers each takes a change up at its own time, and another one may
/// answer next. One that has just started has to ask others first what they serve.
const LATER: Duration = Duration::from_secs(30);
/// The first pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Has the server asked anew whenever it may serve something else than before. Does not end.
pub(super) async fn follow(discovery: Weak<Discovery>, connection: Connection) {
    let definitions = resource(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
    );
    let services = resource("apiregistration.k8s.io", "APIService", "apiservices");
    let news = News::default();
    futures::join!(
        watch_one(&connection, &definitions, &news),
        watch_one(&connection, &services, &news),
        ask(&discovery, &news),
    );
}

/// Why the server is to be asked.
#[derive(Default)]
struct News {
    /// A watch was opened: what has changed before is not told by itself.
    listed: Notify,
    /// Something changed just now.
    changed: Notify,
}

fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version: format!("{group}/v1"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

async fn watch_one(connection: &Connection, resource: &ApiResource, news: &News) {
    let mut pause = FIRST_PAUSE;
    let mut refusals = Refusals::default();
    loop {
        let client = client::of(connection, watch::Sender::new(()));
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, resource);
        let mut events = pin!(watcher::watcher(api, Config::default().timeout(RENEWAL)));
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init | Event::InitApply(_)) => {}
                Ok(Event::InitDone) => {
                    pause = FIRST_PAUSE;
                    refusals.works();
                    news.listed.notify_one();
                }
                Ok(Event::Apply(_) | Event::Delete(_)) => {
                    pause = FIRST_PAUSE;
                    refusals.works();
                    news.changed.notify_one();
                }
                Err(error) => {
                    log(&Failure::of(&error), resource, &mut refusals);
                    break;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = longer(pause);
    }
}

/// Logs why a watch does not work. That the server does not let it be watched concerns people.
fn log(failure: &Failure, resource: &ApiResource, refusals: &mut Refusals) {
    let (kind, error) = (&resource.kind, &failure.text);
    if refusals.is_news(failure) {
        tracing::warn!(
            kind,
            error,
            "new kinds may not be noticed: the watch is refused"
        );
    } else {
        tracing::debug!(kind, error, "watch failed");
    }
}

async fn ask(discovery: &Weak<Discovery>, news: &News) {
    loop {
        tokio::select! {
            () = news.changed.notified() => ask_after_changes(discovery, &news.changed).await,
            () = news.listed.notified() => ask_after_opening(discovery, news).await,
        }
    }
}

async fn ask_after_opening(discovery: &Weak<Discovery>, news: &News) {
    let News { listed, changed } = news;
    tokio::time::sleep(QUIET).await;
    // The other watch was opened as well by now.
    let _ = listed.notified().now_or_never();
    ask_until_answered(discovery).await;
    let knows_all = |discovery: Arc<Discovery>| discovery.known().is_whole();
    if discovery.upgrade().is_none_or(knows_all) {
        return;
    }
    // Nobody tells when the server reaches another one that was registered all along.
    match tokio::time::timeout(LATER, changed.notified()).await {
        Ok(()) => ask_after_changes(discovery, changed).await,
        Err(_) => ask_until_answered(discovery).await,
    }
}

async fn ask_after_changes(discovery: &Weak<Discovery>, changed: &Notify) {
    loop {
        tokio::time::sleep(QUIET).await;
        // What has changed by now is in the answer.
        let _ = changed.notified().now_or_never();
        ask_until_answered(discovery).await;
        let more = tokio::time::timeout(LATER, changed.notified()).await;
        if more.is_err() {
            return ask_until_answered(discovery).await;
        }
    }
}

async fn ask_until_answered(discovery: &Weak<Discovery>) {
    let mut pause = FIRST_PAUSE;
    while let Some(discovery) = discovery.upgrade() {
        let Err(error) = discovery.ask_anew().await else {
            return;
        };
        // Nobody is kept waiting for its end.
        drop(discovery);
        tracing::debug!(%error, "what the server serves cannot be asked for");
        tokio::time::sleep(pause).await;
        pause = longer(pause);
    }
}
