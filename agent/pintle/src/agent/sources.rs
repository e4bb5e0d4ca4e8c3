//! The sources of all applications. A thousand applications on one reference of one repository cost one fetch.

mod fetcher;
mod looks;
mod pace;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pintle_cluster::ServiceAccount;
use pintle_core::{
    application::{self, OciReference, Reference},
    digest::Digest,
    names::ApplicationName,
};
use pintle_registry::{Place, Wanted};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::AbortHandle,
};

use self::{
    fetcher::Fetcher,
    looks::{Looks, Numbers},
    pace::Pace,
};
use super::{
    accounts::NoAccount, controller::Message, metrics::OutcomeLabels, pauses, replicas::Pushed,
    shared::Shared, webhook::normal_url,
};
use crate::pipeline::snapshot::Snapshot;

/// A unit of fetching.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceKey {
    what: What,
    /// Identifies where it is fetched from, whatever is fetched from there.
    origin: Digest,
    /// The namespace and name of the Secret, and the account that it is read as.
    credentials: Option<Credentials>,
    /// Identifies what is fetched.
    topic: Digest,
}

type Credentials = (String, String, ServiceAccount);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Git { url: String, reference: Reference },
    Artifact { place: Place, wanted: Wanted },
}

impl What {
    /// Replicas of two versions use this text in their questions. If it changes, neither waits for those applications of the
    /// other that follow the same source, and one of them deletes what is about to move to these applications.
    fn topic(&self) -> Digest {
        Digest::of(format!("{self:?}"))
    }
}

impl SourceKey {
    fn new(what: What, origin: Digest, credentials: Option<Credentials>) -> Self {
        Self {
            topic: what.topic(),
            what,
            origin,
            credentials,
        }
    }

    /// Returns the key of an application's source, with the account that its requests are made as.
    pub(crate) fn of(
        source: &application::Source,
        application: &ApplicationName,
        account: Result<ServiceAccount, NoAccount>,
    ) -> Result<Self, String> {
        let what = match source {
            application::Source::Git(git) => What::Git {
                url: git.url.clone(),
                reference: git.reference().map_err(|error| error.to_string())?,
            },
            application::Source::Oci(oci) => What::Artifact {
                place: Place::Oci(
                    oci.url
                        .parse()
                        .map_err(|error| format!("`source.oci.url`: {error}"))?,
                ),
                wanted: match oci.reference().map_err(|error| error.to_string())? {
                    OciReference::Tag(tag) => Wanted::Exact(tag),
                    OciReference::Semver(range) => Wanted::Range(range),
                    OciReference::Digest(digest) => Wanted::Digest(digest),
                },
            },
            application::Source::Chart(chart) => What::Artifact {
                place: Place::Chart {
                    repository: chart.repository.clone(),
                    name: chart.name.clone(),
                },
                wanted: Wanted::version(&chart.version),
            },
        };
        let credentials = match source.credentials() {
            Some(secret) => {
                let account = account.map_err(|error| error.to_string())?;
                Some((application.namespace.clone(), secret.name.clone(), account))
            }
            None => None,
        };
        Ok(Self::new(what, source.origin(), credentials))
    }

    /// Identifies the repository in the way that webhooks do.
    fn repository(&self) -> Digest {
        Digest::of(normal_url(&self.url()))
    }

    /// Returns the address. It is matched with webhooks, and spreads sources that have the same interval.
    fn url(&self) -> String {
        match &self.what {
            What::Git { url, .. } => url.clone(),
            What::Artifact { place, .. } => match place {
                Place::Oci(repository) => format!("oci://{repository}"),
                Place::Chart { repository, .. } => repository.clone(),
            },
        }
    }

    /// Returns the key of one revision of the source, or `None` if this kind of source has no such revision. `reference` is the
    /// version that led to it.
    pub(crate) fn at(&self, revision: &str, reference: &str) -> Option<Self> {
        let what = match &self.what {
            What::Git { url, .. } => What::Git {
                url: url.clone(),
                reference: Reference::Commit(revision.to_owned()),
            },
            What::Artifact { place, .. } => What::Artifact {
                place: place.clone(),
                wanted: match place {
                    Place::Oci(_) => Wanted::Digest(revision.parse().ok()?),
                    // A repository knows charts by their versions only. The digest is compared after the fetch.
                    Place::Chart { .. } => Wanted::Exact(reference.to_owned()),
                },
            },
        };
        Some(Self::new(what, self.origin, self.credentials.clone()))
    }

    /// Identifies where it is fetched from, as histories do: what came from there can be fetched from there again.
    pub(crate) fn origin(&self) -> Digest {
        self.origin
    }

    /// Identifies what is fetched, whoever fetches it and with whichever account. It is the same in all replicas.
    pub(crate) fn topic(&self) -> Digest {
        self.topic
    }

    /// Returns the pause before the next try. References of one repository that failed together do not come back together: one of
    /// them may be what made the others fail.
    fn pause(&self, failures: u32) -> Duration {
        pintle_core::machine::pause(&self.topic().to_string(), failures)
    }

    /// Returns the pause before the next try. It is no longer than the interval, and differs between sources even at that limit.
    fn pause_within(&self, failures: u32, interval: Duration) -> Duration {
        let share = self.topic().as_bytes()[0];
        let most = interval.mul_f64(1.0 - f64::from(share) / 1024.0);
        self.pause(failures).min(most)
    }

    /// Returns whether the revision can never change.
    fn is_pinned(&self) -> bool {
        matches!(
            &self.what,
            What::Artifact {
                wanted: Wanted::Digest(_),
                ..
            }
        )
    }
}

/// The result of a fetch.
pub(crate) type Fetched = Result<Snapshot, FetchFailure>;

/// Why a fetch failed.
#[derive(Debug, Clone)]
pub(crate) struct FetchFailure {
    pub(crate) message: String,
    /// How long the source asks to be left alone, whatever our own pause is.
    pub(crate) retry_after: Option<Duration>,
}

impl FetchFailure {
    /// Creates a failure for which nobody asked for a pause.
    pub(crate) fn new(message: String) -> Self {
        Self {
            message,
            retry_after: None,
        }
    }
}

struct Source {
    /// Identifies the repository as webhooks do.
    repository: Digest,
    subscribers: BTreeMap<ApplicationName, Duration>,
    interval: watch::Sender<Duration>,
    looks: Looks,
    mending: Arc<Notify>,
    task: AbortHandle,
    /// The newest result, for subscribers that come later.
    latest: Option<Fetched>,
}

/// All sources that are followed.
pub(crate) struct Sources {
    shared: Arc<Shared>,
    messages: mpsc::Sender<Message>,
    followed: BTreeMap<SourceKey, Source>,
    numbers: Numbers,
    /// The number among the looks at which this replica was given its share.
    assigned: u64,
}

impl Sources {
    pub(crate) fn new(shared: Arc<Shared>, messages: mpsc::Sender<Message>) -> Self {
        Self {
            shared,
            messages,
            followed: BTreeMap::new(),
            numbers: Numbers::default(),
            assigned: 0,
        }
    }

    /// Has an application follow a source, and returns what is already known of the source.
    pub(crate) fn follow(
        &mut self,
        application: &ApplicationName,
        key: &SourceKey,
        interval: Duration,
    ) -> Option<Fetched> {
        self.shared.claims.asking(key);
        let source = self.followed.entry(key.clone()).or_insert_with(|| {
            let (sender, receiver) = watch::channel(interval);
            let (looks, asked) = Looks::begin(&mut self.numbers);
            let mending = Arc::new(Notify::new());
            let follower = Follower {
                fetcher: Fetcher::new(Arc::clone(&self.shared), key.clone()),
                messages: self.messages.clone(),
                pace: Pace::new(receiver, asked, Arc::clone(&mending)),
                answered: looks.began,
            };
            let task = tokio::spawn(follower.run()).abort_handle();
            Source {
                repository: key.repository(),
                subscribers: BTreeMap::new(),
                interval: sender,
                looks,
                mending,
                task,
                latest: None,
            }
        });
        source.subscribers.insert(application.clone(), interval);
        source.renew_interval();
        source.latest.clone()
    }

    /// Ends an application's subscription. When the last one leaves, the source is no longer fetched.
    pub(crate) fn leave(&mut self, application: &ApplicationName, key: &SourceKey) {
        let Some(source) = self.followed.get_mut(key) else {
            return;
        };
        source.subscribers.remove(application);
        if source.subscribers.is_empty() {
            source.task.abort();
            self.followed.remove(key);
            self.shared.claims.leave_source(key);
        } else {
            source.renew_interval();
        }
    }

    /// Takes a result, and returns the applications that follow the source.
    pub(crate) fn fetched(&mut self, key: &SourceKey, fetched: &Fetched) -> Vec<ApplicationName> {
        let Some(source) = self.followed.get_mut(key) else {
            return Vec::new();
        };
        source.latest = Some(fetched.clone());
        source.subscribers.keys().cloned().collect()
    }

    /// Returns whether a fetch that knows of a look belongs to the current subscription. A result from before the source was left
    /// and followed again comes too late: the source is fetched again.
    pub(crate) fn is_of_now(&self, key: &SourceKey, looked: u64) -> bool {
        let source = self.followed.get(key);
        source.is_some_and(|source| source.looks.is_of_now(looked))
    }

    /// Records that this replica was given more to work on. Others may have rolled out revisions that were not fetched here yet.
    pub(crate) fn assigned(&mut self) {
        self.assigned = self.numbers.next();
    }

    /// Returns whether everything that was fetched from a source was asked for after this replica was given its share.
    pub(crate) fn is_fresh(&self, key: &SourceKey) -> bool {
        let source = self.followed.get(key);
        source.is_some_and(|source| source.looks.began > self.assigned)
    }

    /// Fetches now, and returns the number of this look. A fetch that began before it answers with a lower number.
    pub(crate) fn look(&mut self, key: &SourceKey) -> Option<u64> {
        let source = self.followed.get(key)?;
        Some(source.looks.look(&mut self.numbers))
    }

    /// Fetches again what could not be read here. Nobody has asked for that, so the source is left alone while it asks for a
    /// pause.
    pub(crate) fn mend(&self, key: &SourceKey) {
        if let Some(source) = self.followed.get(key) {
            source.mending.notify_one();
        }
    }

    /// Fetches the sources now whose push a webhook reports.
    pub(crate) fn pushed(&mut self, repositories: &Pushed) {
        let mut is_followed = false;
        for source in self.followed.values() {
            if repositories.contains(&source.repository) {
                source.looks.look(&mut self.numbers);
                is_followed = true;
            }
        }
        if !is_followed {
            tracing::info!("no application of this replica follows the repository of a push");
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

/// Fetches one source repeatedly.
struct Follower {
    fetcher: Fetcher,
    messages: mpsc::Sender<Message>,
    pace: Pace,
    /// The newest look that it has answered.
    answered: u64,
}

/// A revision that an application is to roll back to.
pub(crate) struct Earlier {
    pub(crate) name: ApplicationName,
    pub(crate) revision: String,
}

impl Earlier {
    /// Fetches the revision until it is found. The first failure is reported, and so is the final success.
    pub(crate) async fn fetch(
        self,
        shared: Arc<Shared>,
        key: SourceKey,
        messages: mpsc::Sender<Message>,
    ) {
        let mut source = Fetcher::new(shared, key);
        let mut failures = 0;
        loop {
            // Somebody wants to roll back to it, so the first try is urgent. Later tries are no longer asked for by anybody.
            let fetched = source.fetch(failures == 0).await;
            let fetched = fetched.and_then(|one| self.checked(one));
            let is_found = fetched.is_ok();
            let wish = wish(&fetched);
            if is_found || failures == 0 {
                let message = Message::FetchedEarlier {
                    name: self.name.clone(),
                    revision: self.revision.clone(),
                    fetched: Box::new(fetched),
                };
                // The agent may have stopped meanwhile.
                let _ = messages.send(message).await;
            }
            if is_found {
                return;
            }
            failures += 1;
            let pause = pauses::with_wish(source.key.pause(failures), wish);
            tokio::time::sleep(pause).await;
        }
    }

    /// Checks the revision: a version of a chart may have been published again.
    fn checked(&self, snapshot: Snapshot) -> Fetched {
        let found = &snapshot.revision().commit;
        if *found == self.revision {
            return Ok(snapshot);
        }
        let message = format!("the source gives {found} where {} was", self.revision);
        Err(FetchFailure::new(message))
    }
}

impl Follower {
    async fn run(mut self) {
        let mut told: Option<Result<String, String>> = None;
        let mut failures = 0;
        loop {
            let looked = self.pace.newest_look();
            let fetched = self.fetcher.fetch(looked > self.answered).await;
            let outcome = if fetched.is_ok() { "ok" } else { "failed" };
            self.fetcher
                .shared
                .metrics
                .fetches
                .get_or_create(&OutcomeLabels { outcome })
                .inc();
            failures = if fetched.is_ok() { 0 } else { failures + 1 };
            let wish = wish(&fetched);
            // The requested pause is not part of what counts as news.
            let state = fetched
                .as_ref()
                .map(|snapshot| snapshot.revision().commit.clone())
                .map_err(|failure| failure.message.clone());
            let is_news = looked > self.answered || told.as_ref() != Some(&state);
            (told, self.answered) = (Some(state), looked);
            let message = if is_news {
                Some(Message::Fetched {
                    key: Box::new(self.fetcher.key.clone()),
                    fetched: Box::new(fetched),
                    looked,
                })
            } else {
                self.known(fetched)
            };
            if let Some(message) = message
                && self.messages.send(message).await.is_err()
            {
                return;
            }
            self.pace.rest(&self.fetcher.key, failures, wish).await;
        }
    }

    /// Returns the message about a result that is already known. The copy of a repository on this disk may have been replaced.
    /// Without the message, applications would continue to read from a copy that is damaged or deleted until the next commit.
    fn known(&self, fetched: Fetched) -> Option<Message> {
        match fetched {
            Ok(snapshot @ Snapshot::Git(_)) => Some(Message::Refetched {
                key: Box::new(self.fetcher.key.clone()),
                snapshot,
            }),
            Ok(Snapshot::Archive(_)) | Err(_) => None,
        }
    }
}

/// Returns how long a source that failed asks to be left alone.
fn wish(fetched: &Fetched) -> Option<Duration> {
    fetched.as_ref().err()?.retry_after
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{pace::spread, *};

    pub(super) fn key(url: &str, branch: &str) -> SourceKey {
        let what = What::Git {
            url: url.to_owned(),
            reference: Reference::Branch(branch.to_owned()),
        };
        SourceKey::new(what, Digest::of(url), None)
    }

    fn chart(repository: &str, name: &str) -> SourceKey {
        let place = Place::Chart {
            repository: repository.to_owned(),
            name: name.to_owned(),
        };
        let wanted = Wanted::version("*");
        SourceKey::new(What::Artifact { place, wanted }, Digest::of(name), None)
    }

    #[test]
    fn what_replicas_of_two_versions_follow_has_the_same_name_for_both() {
        let place = Place::Oci("registry.example.com/shop/web".parse().unwrap());
        let wanted = Wanted::Exact("1".to_owned());
        let artifact = SourceKey::new(What::Artifact { place, wanted }, Digest::of(""), None);
        for (key, text) in [
            (
                key("https://git.example.com/shop", "main"),
                r#"Git { url: "https://git.example.com/shop", reference: Branch("main") }"#,
            ),
            (
                chart("https://charts.example.com", "web"),
                r#"Artifact { place: Chart { repository: "https://charts.example.com", name: "web" }, wanted: Range("*") }"#,
            ),
            (
                artifact,
                r#"Artifact { place: Oci(registry.example.com/shop/web), wanted: Exact("1") }"#,
            ),
        ] {
            assert_eq!(key.topic(), Digest::of(text), "{text}");
        }
    }

    #[test]
    fn what_shares_a_request_is_asked_for_together() {
        let minute = Duration::from_mins(1);
        let one = "https://charts.example.com";
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let shared = names.map(|name| spread(&chart(one, name), minute));
        assert!(shared.iter().all(|pause| *pause == shared[0]));
        let url = |name| format!("{one}/{name}");
        let apart = names.map(|name| spread(&chart(&url(name), "web"), minute));
        assert!(apart.iter().any(|pause| *pause != apart[0]));
    }

    #[test]
    fn what_failed_together_is_not_tried_again_together() {
        let minute = Duration::from_mins(1);
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        for failures in [1, 3, 20] {
            let pauses = |keys: [SourceKey; 8]| -> BTreeSet<Duration> {
                keys.iter()
                    .map(|key| key.pause_within(failures, minute))
                    .collect()
            };
            let one = pauses(names.map(|name| key("https://example.com/a.git", name)));
            let url = |name| format!("https://example.com/{name}.git");
            let many = pauses(names.map(|name| key(&url(name), "main")));
            assert!(one.len() > 1, "references of one repository: {one:?}");
            assert!(many.len() > 1, "repositories: {many:?}");
            assert!(one.union(&many).all(|pause| *pause <= minute));
        }
    }
}
