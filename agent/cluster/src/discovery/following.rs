//! Coming to know of other kinds without asking for them.
//!
//! Which kinds there are changes with definitions of custom resources, and with API servers that are registered, come, or stop
//! to answer. Both are watched by their metadata alone: *that* something has changed is enough to ask the server anew.

use std::{pin::pin, sync::Weak, time::Duration};

use futures::{FutureExt as _, StreamExt as _};
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
    core::PartialObjectMeta,
    runtime::watcher::{self, Config, Event},
};
use tokio::sync::Notify;

use super::Discovery;
use crate::{connection::Connection, request::chain};

/// After a change, before the server is asked: definitions come in groups, and its list has each of them a moment later.
const QUIET: Duration = Duration::from_secs(5);
/// After that, before it is asked once more: of several API servers each takes a change up at its own time, and another one may
/// answer next.
const LATER: Duration = Duration::from_secs(30);
/// The first pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// The server ends a watch after this many seconds, and it is renewed from where it was.
const RENEWAL: u32 = 290;

/// Has the server asked anew whenever it may serve something else than before. Does not end.
pub(super) async fn follow(discovery: Weak<Discovery>, connection: Connection) {
    let definitions = resource(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
    );
    let services = resource("apiregistration.k8s.io", "APIService", "apiservices");
    let changed = Notify::new();
    futures::join!(
        watch(&connection, &definitions, &changed),
        watch(&connection, &services, &changed),
        ask(&discovery, &changed),
    );
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

async fn watch(connection: &Connection, resource: &ApiResource, changed: &Notify) {
    let mut pause = FIRST_PAUSE;
    loop {
        let client = connection.client().clone();
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, resource);
        let mut events = pin!(watcher::watcher(api, Config::default().timeout(RENEWAL)));
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init | Event::InitApply(_)) => {}
                // What has changed before the watch was open is not told by itself.
                Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_)) => {
                    pause = FIRST_PAUSE;
                    changed.notify_one();
                }
                Err(error) => {
                    tracing::debug!(kind = resource.kind, error = %chain(&error), "watch failed");
                    break;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = longer(pause);
    }
}

async fn ask(discovery: &Weak<Discovery>, changed: &Notify) {
    loop {
        changed.notified().await;
        loop {
            tokio::time::sleep(QUIET).await;
            // What has changed by now is in the answer.
            let _ = changed.notified().now_or_never();
            ask_until_answered(discovery).await;
            if tokio::time::timeout(LATER, changed.notified())
                .await
                .is_err()
            {
                break;
            }
        }
        ask_until_answered(discovery).await;
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
