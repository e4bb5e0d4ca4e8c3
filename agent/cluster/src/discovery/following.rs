//! Learns about new kinds without polling for them.
//!
//! The set of kinds changes with custom resource definitions, and with API servers that are registered, come up or stop
//! answering. Both are watched by their metadata alone: knowing *that* something has changed is enough to ask the server again.

use std::{
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{FutureExt as _, Stream, StreamExt as _};
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
    core::PartialObjectMeta,
    runtime::watcher::{self, Config, Event},
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::Discovery;
use crate::{
    connection::Connection,
    watching::{
        Failure, RENEWAL,
        client::{self, BRIEF},
        refusals::Refusals,
    },
};

/// The pause between a change and asking the server. Definitions come in groups, and the server lists each of them a moment
/// later.
const QUIET: Duration = Duration::from_secs(5);
/// The pause before the server is asked once more. Each of several API servers takes up a change at its own time, and a different
/// one may answer next. One that has just started first has to ask others what they serve.
const LATER: Duration = Duration::from_secs(30);
/// The first pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Asks the server again whenever what it serves may have changed. Never returns.
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

/// The reasons to ask the server.
#[derive(Default)]
struct News {
    /// A watch was opened. It does not report earlier changes.
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

/// The state of the attempts at one watch.
struct Attempts {
    /// The pause before the next attempt.
    pause: Duration,
    /// Since when the current attempt has worked; `None` if it does not.
    works_since: Option<Instant>,
    refusals: Refusals,
}

impl Attempts {
    fn new() -> Self {
        Self {
            pause: FIRST_PAUSE,
            works_since: None,
            refusals: Refusals::default(),
        }
    }

    /// Records that the watch works.
    fn work(&mut self) {
        self.works_since.get_or_insert_with(Instant::now);
        self.refusals.works();
    }

    /// Returns the pause before the next attempt, which begins with a list. The pause after that one is longer, unless this
    /// attempt lasted.
    fn next_pause(&mut self, now: Instant) -> Duration {
        let lived = self.works_since.take();
        if lived.is_some_and(|since| now.saturating_duration_since(since) >= BRIEF) {
            self.pause = FIRST_PAUSE;
        }
        let next = longer(self.pause);
        std::mem::replace(&mut self.pause, next)
    }
}

async fn watch_one(connection: &Connection, resource: &ApiResource, news: &News) {
    let mut attempts = Attempts::new();
    loop {
        let (answered, mut answers) = watch::channel(());
        let client = client::of(connection, answered);
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, resource);
        let events = watcher::watcher(api, Config::default().timeout(RENEWAL));
        let failure = until_failed(events, &mut answers, news, &mut attempts).await;
        if let Some(failure) = failure {
            log(&failure, resource, attempts.refusals.is_news(&failure));
        }
        tokio::time::sleep(attempts.next_pause(Instant::now())).await;
    }
}

/// Reports the events of a watch until it fails, and returns why it failed. `answers` changes with each of its requests that is
/// granted.
async fn until_failed<K>(
    events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    answers: &mut watch::Receiver<()>,
    news: &News,
    attempts: &mut Attempts,
) -> Option<Failure> {
    let mut events = pin!(events);
    let mut is_listed = false;
    loop {
        let event = tokio::select! {
            biased;
            event = events.next() => event?,
            // The right to list does not imply the right to watch: the watch works once the request after the list is granted.
            Ok(()) = answers.changed(), if is_listed => {
                attempts.work();
                continue;
            }
        };
        match event {
            Ok(Event::Init) => is_listed = false,
            Ok(Event::InitApply(_)) => {}
            Ok(Event::InitDone) => {
                // The request granted so far was the list.
                answers.mark_unchanged();
                is_listed = true;
                news.listed.notify_one();
            }
            Ok(Event::Apply(_) | Event::Delete(_)) => {
                attempts.work();
                news.changed.notify_one();
            }
            Err(error) => return Some(Failure::of(&error)),
        }
    }
}

/// Logs why a watch does not work. People need to know if the server does not permit it, so a refusal that is news is a warning.
fn log(failure: &Failure, resource: &ApiResource, is_news: bool) {
    let (kind, error) = (&resource.kind, &failure.text);
    if is_news {
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
    // The other watch has been opened as well by now.
    let _ = listed.notified().now_or_never();
    ask_until_answered(discovery).await;
    let knows_all = |discovery: Arc<Discovery>| discovery.known().is_whole();
    if discovery.upgrade().is_none_or(knows_all) {
        return;
    }
    // No watch reports when the server reaches another server that was registered all along.
    match tokio::time::timeout(LATER, changed.notified()).await {
        Ok(()) => ask_after_changes(discovery, changed).await,
        Err(_) => ask_until_answered(discovery).await,
    }
}

async fn ask_after_changes(discovery: &Weak<Discovery>, changed: &Notify) {
    loop {
        tokio::time::sleep(QUIET).await;
        // Changes up to now are in the answer.
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
        // Dropped before the pause, so that the discovery can end without waiting for it.
        drop(discovery);
        tracing::debug!(%error, "what the server serves cannot be asked for");
        tokio::time::sleep(pause).await;
        pause = longer(pause);
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use kube::core::Status;

    use super::*;

    type Came = Result<Event<()>, watcher::Error>;

    /// Makes an attempt at a watch whose list is granted. The watch is refused, or is first granted, lives for a while, and ends
    /// with the same refusal. Returns whether the failure is news, and the pause after it.
    async fn attempt(attempts: &mut Attempts, lived: Option<Duration>) -> (bool, Duration) {
        let (answered, mut answers) = watch::channel(());
        answered.send_replace(());
        let listed: [Came; 2] = [Ok(Event::Init), Ok(Event::InitDone)];
        let watched = async move {
            if lived.is_some() {
                answered.send_replace(());
                tokio::task::yield_now().await;
            }
            let refusal = Status::failure("no", "Forbidden").with_code(403).boxed();
            Err(watcher::Error::WatchStartFailed(kube::Error::Api(refusal)))
        };
        let events = stream::iter(listed).chain(stream::once(watched));
        let news = News::default();
        let failure = until_failed(events, &mut answers, &news, attempts).await;
        let is_told = attempts.refusals.is_news(&failure.expect("it is refused"));
        let now = Instant::now() + lived.unwrap_or_default();
        (is_told, attempts.next_pause(now))
    }

    #[tokio::test]
    async fn a_watch_that_may_only_be_listed_is_refused_once_and_tried_less_and_less_often() {
        let mut attempts = Attempts::new();
        let (first, second) = (FIRST_PAUSE, FIRST_PAUSE * 2);
        assert_eq!(attempt(&mut attempts, None).await, (true, first));
        assert_eq!(attempt(&mut attempts, None).await, (false, second));
        let lived = Some(BRIEF);
        assert_eq!(attempt(&mut attempts, lived).await, (true, first));
    }

    #[tokio::test]
    async fn a_watch_that_is_granted_and_ends_too_soon_is_listed_less_and_less_often() {
        let mut attempts = Attempts::new();
        for pause in [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4] {
            let (_, waited) = attempt(&mut attempts, Some(Duration::ZERO)).await;
            assert_eq!(waited, pause);
        }
    }
}
