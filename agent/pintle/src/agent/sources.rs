//! Sources of all applications. A thousand applications on one reference of one repository cost one fetch.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pintle_core::{
    application::{GitSource, Reference},
    digest::Digest,
    names::ApplicationName,
};
use pintle_source::{Credentials, Remote, Snapshot};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::AbortHandle,
};

use super::{
    controller::Message, metrics::OutcomeLabels, secrets, shared::Shared, webhook::normal_url,
};
use crate::cli::output;

/// What is fetched as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceKey {
    url: String,
    reference: Reference,
    /// Namespace and name of the Secret.
    credentials: Option<(String, String)>,
}

impl SourceKey {
    /// Names the source of an application in a namespace.
    pub(crate) fn of(git: &GitSource, namespace: &str) -> Result<Self, String> {
        Ok(Self {
            url: git.url.clone(),
            reference: git.reference().map_err(|error| error.to_string())?,
            credentials: git
                .credentials
                .as_ref()
                .map(|secret| (namespace.to_owned(), secret.name.clone())),
        })
    }
}

/// What a fetch gave.
pub(crate) type Fetched = Result<Snapshot, FetchFailure>;

/// Why a fetch gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchFailure {
    pub(crate) message: String,
}

struct Source {
    subscribers: BTreeMap<ApplicationName, Duration>,
    interval: watch::Sender<Duration>,
    look: Arc<Notify>,
    task: AbortHandle,
    /// The newest result, for who comes later.
    latest: Option<Fetched>,
}

/// All sources that are followed.
pub(crate) struct Sources {
    shared: Arc<Shared>,
    messages: mpsc::Sender<Message>,
    followed: BTreeMap<SourceKey, Source>,
}

impl Sources {
    pub(crate) fn new(shared: Arc<Shared>, messages: mpsc::Sender<Message>) -> Self {
        Self {
            shared,
            messages,
            followed: BTreeMap::new(),
        }
    }

    /// Lets an application follow a source, and returns what is known of it already.
    pub(crate) fn follow(
        &mut self,
        application: &ApplicationName,
        key: &SourceKey,
        interval: Duration,
    ) -> Option<Fetched> {
        let source = self.followed.entry(key.clone()).or_insert_with(|| {
            let (sender, receiver) = watch::channel(interval);
            let look = Arc::new(Notify::new());
            let follower = Follower {
                shared: Arc::clone(&self.shared),
                messages: self.messages.clone(),
                key: key.clone(),
                interval: receiver,
                look: Arc::clone(&look),
                credentials: None,
            };
            let task = tokio::spawn(follower.run()).abort_handle();
            Source {
                subscribers: BTreeMap::new(),
                interval: sender,
                look,
                task,
                latest: None,
            }
        });
        source.subscribers.insert(application.clone(), interval);
        source.renew_interval();
        source.latest.clone()
    }

    /// Ends following; the last one to leave ends the fetching.
    pub(crate) fn leave(&mut self, application: &ApplicationName, key: &SourceKey) {
        let Some(source) = self.followed.get_mut(key) else {
            return;
        };
        source.subscribers.remove(application);
        if source.subscribers.is_empty() {
            source.task.abort();
            self.followed.remove(key);
        } else {
            source.renew_interval();
        }
    }

    /// Takes a result, and returns who follows it.
    pub(crate) fn fetched(&mut self, key: &SourceKey, fetched: &Fetched) -> Vec<ApplicationName> {
        let Some(source) = self.followed.get_mut(key) else {
            return Vec::new();
        };
        source.latest = Some(fetched.clone());
        source.subscribers.keys().cloned().collect()
    }

    /// Fetches now.
    pub(crate) fn look(&self, key: &SourceKey) {
        if let Some(source) = self.followed.get(key) {
            source.look.notify_one();
        }
    }

    /// Fetches now what a webhook tells of.
    pub(crate) fn pushed(&self, urls: &[String]) {
        for (key, source) in &self.followed {
            if urls.contains(&normal_url(&key.url)) {
                source.look.notify_one();
            }
        }
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        for source in self.followed.values() {
            source.task.abort();
        }
    }
}

impl Source {
    fn renew_interval(&self) {
        let shortest = self
            .subscribers
            .values()
            .min()
            .copied()
            .unwrap_or(Duration::MAX);
        self.interval
            .send_if_modified(|interval| std::mem::replace(interval, shortest) != shortest);
    }
}

/// Fetches one source again and again.
struct Follower {
    shared: Arc<Shared>,
    messages: mpsc::Sender<Message>,
    key: SourceKey,
    interval: watch::Receiver<Duration>,
    look: Arc<Notify>,
    credentials: Option<Credentials>,
}

impl Follower {
    async fn run(mut self) {
        let mut told: Option<Result<String, FetchFailure>> = None;
        let mut failures = 0;
        loop {
            let fetched = self.fetch().await;
            let outcome = if fetched.is_ok() { "ok" } else { "failed" };
            self.shared
                .metrics
                .fetches
                .get_or_create(&OutcomeLabels { outcome })
                .inc();
            failures = if fetched.is_ok() { 0 } else { failures + 1 };
            let state = fetched
                .as_ref()
                .map(|snapshot| snapshot.revision.commit.clone())
                .map_err(Clone::clone);
            if told.as_ref() != Some(&state) {
                told = Some(state);
                let message = Message::Fetched {
                    key: self.key.clone(),
                    fetched: Box::new(fetched),
                };
                if self.messages.send(message).await.is_err() {
                    return;
                }
            }
            self.rest(failures).await;
        }
    }

    async fn fetch(&mut self) -> Fetched {
        let credentials = match self.credentials().await {
            Ok(credentials) => credentials,
            Err(message) => return Err(FetchFailure { message }),
        };
        let remote = Remote {
            url: self.key.url.clone(),
            credentials,
        };
        let fetched = self
            .shared
            .repositories
            .fetch(&remote, &self.key.reference)
            .await;
        fetched.map_err(|error| {
            // They may have been changed meanwhile: read them again for the next try.
            self.credentials = None;
            FetchFailure {
                message: output::chain(&error.into()),
            }
        })
    }

    /// Reads the Secret once: nothing is asked of the API server while all is well.
    async fn credentials(&mut self) -> Result<Credentials, String> {
        let Some((namespace, name)) = &self.key.credentials else {
            return Ok(Credentials::default());
        };
        if let Some(credentials) = &self.credentials {
            return Ok(credentials.clone());
        }
        let data = secrets::read(&self.shared.connection, namespace, name)
            .await
            .map_err(|error| error.to_string())?;
        let credentials = Credentials::from_secret(&data)
            .map_err(|error| format!("Secret {namespace}/{name}: {error}"))?;
        self.credentials = Some(credentials.clone());
        Ok(credentials)
    }

    /// Waits for the interval, or for somebody who wants it now. Failures are tried again sooner than a long interval.
    async fn rest(&mut self, failures: u32) {
        loop {
            let interval = *self.interval.borrow_and_update();
            let pause = match failures {
                0 => spread(&self.key, interval),
                failures => pintle_core::machine::pause(&self.key.url, failures).min(interval),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => return,
                () = self.look.notified() => return,
                changed = self.interval.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Spreads the sources of one interval over a tenth of it, so that they are not all asked at once.
fn spread(key: &SourceKey, interval: Duration) -> Duration {
    let share = Digest::of(&key.url).as_bytes()[0];
    interval.mul_f64(0.95 + f64::from(share) / 2560.0)
}
