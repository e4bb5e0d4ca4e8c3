//! Coming to know of other kinds without asking for them.
//!
//! Which kinds there are changes with definitions of custom resources, and with API servers that are registered, come, or stop
//! to answer. Both are watched by their metadata alone: *that* something has changed is enough to ask the server anew.

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

/// How the attempts at a watch have gone.
struct Attempts {
    /// Before the next one.
    pause: Duration,
    /// Since when this one works; nothing if it does not.
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

    /// Takes note that the watch works.
    fn work(&mut self) {
        self.works_since.get_or_insert_with(Instant::now);
        self.refusals.works();
    }

    /// Returns the pause before the next one, which begins with a list. The one after that is longer, unless this one has lived.
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

/// Tells what comes of a watch until it fails, and returns why. `answers` changes with each request of it that is granted.
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
            // Who may list it need not have the right to watch it: it works when the request after the list is granted.
            Ok(()) = answers.changed(), if is_listed => {
                attempts.work();
                continue;
            }
        };
        match event {
            Ok(Event::Init) => is_listed = false,
            Ok(Event::InitApply(_)) => {}
            Ok(Event::InitDone) => {
                // What was granted so far was the list.
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

/// Logs why a watch does not work. That the server does not let it be watched concerns people.
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

#[cfg(test)]
mod tests {
    use futures::stream;
    use kube::core::Status;

    use super::*;

    type Came = Result<Event<()>, watcher::Error>;

    /// Makes an attempt at a watch that may be listed: it is refused, or it is granted first, lives for a time, and ends with the same
    /// refusal. Returns whether that is told, and the pause after it.
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
