//! Watches what renders read from the cluster, so that a change to it causes another render.

mod pace;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use pintle_cluster::ServiceAccount;
use pintle_core::{
    causes::chain,
    digest::Digest,
    names::ApplicationName,
    readset::{Question, ReadSet},
};
use pintle_host::ClusterQuestion;
use tokio::{
    sync::{Semaphore, mpsc},
    task::AbortHandle,
    time::Instant,
};

use self::pace::Pace;
use super::{controller::Message, shared::Shared};
use crate::pipeline::cluster::PluginReader;

/// The wait before changed objects are read: changes come in groups.
const QUIET: Duration = Duration::from_millis(100);
/// The pause between two attempts to open a watch.
const PAUSE: Duration = Duration::from_secs(30);
/// How many questions of one application are asked again at a time. A watch that is reopened makes all questions of its kind due
/// at once.
const AT_ONCE: usize = 8;

/// The questions that were asked, each with the digest of its answer.
pub(crate) type Answers = BTreeMap<ClusterQuestion, Digest>;

/// What a render asked of the cluster, the service account that it used, and the result of the render.
#[derive(Debug)]
pub(crate) struct Asked {
    account: Option<ServiceAccount>,
    answers: Answers,
    /// The digest of the objects, or `None` if the render failed.
    rendered: Option<Digest>,
}

impl Asked {
    pub(crate) fn of(
        reads: &ReadSet,
        account: Option<&ServiceAccount>,
        rendered: Option<Digest>,
    ) -> Self {
        Self {
            account: account.cloned(),
            answers: answers(reads),
            rendered,
        }
    }

    /// Returns whether another render got the same answers as the same service account.
    fn is_answered_as(&self, other: &Self) -> bool {
        (&self.account, &self.answers) == (&other.account, &other.answers)
    }
}

/// Returns what a render asked of the cluster.
pub(crate) fn answers(reads: &ReadSet) -> Answers {
    let asked = reads.questions().filter_map(|question| match question {
        Question::Cluster(text) => Some((ClusterQuestion::parse(text)?, reads.answer(question)?)),
        _ => None,
    });
    asked.collect()
}

/// Returns whether a render asked which kinds the cluster serves.
pub(crate) fn asks_for_kinds(reads: &ReadSet) -> bool {
    let question = Question::Context("api-versions".to_owned());
    reads.answer(&question).is_some()
}

/// What is watched for one application.
struct Followed {
    asked: Asked,
    /// The cluster that is watched.
    shared: Arc<Shared>,
    /// How soon a change is reported.
    pace: Pace,
    task: AbortHandle,
}

impl Followed {
    /// Returns whether this is watched now. The same answers as another service account, or through another connection, are not
    /// the same.
    fn is_of(&self, asked: &Asked, shared: &Arc<Shared>) -> bool {
        let is_same = self.asked.is_answered_as(asked) && Arc::ptr_eq(&self.shared, shared);
        is_same && !self.task.is_finished()
    }
}

/// All watches for renders.
pub(crate) struct Lookups {
    messages: mpsc::Sender<Message>,
    followed: BTreeMap<ApplicationName, Followed>,
}

impl Lookups {
    pub(crate) fn new(messages: mpsc::Sender<Message>) -> Self {
        Self {
            messages,
            followed: BTreeMap::new(),
        }
    }

    /// Watches what the last render of an application asked for, in its cluster. Ends the watches of earlier renders.
    pub(crate) fn follow(
        &mut self,
        shared: Arc<Shared>,
        application: &ApplicationName,
        asked: Asked,
    ) {
        let now = Instant::now();
        let pace = match self.followed.get_mut(application) {
            Some(known) if known.is_of(&asked, &shared) => {
                known.pace.learn(asked.rendered);
                return;
            }
            Some(known) => known.pace.after(asked.rendered, now),
            None => Pace::of(asked.rendered, now),
        };
        self.forget(application);
        // The placeholder for a cluster that cannot be used would read from the agent's own cluster.
        if asked.answers.is_empty() || shared.problem.is_some() {
            return;
        }
        let one = One {
            shared: Arc::clone(&shared),
            messages: self.messages.clone(),
            application: application.clone(),
            account: asked.account.clone(),
            not_before: pace.due(),
            asking: Semaphore::new(AT_ONCE),
        };
        let task = tokio::spawn(one.run(asked.answers.clone())).abort_handle();
        let followed = Followed {
            asked,
            shared,
            pace,
            task,
        };
        self.followed.insert(application.clone(), followed);
    }

    /// Ends the watches for an application.
    pub(crate) fn forget(&mut self, application: &ApplicationName) {
        if let Some(followed) = self.followed.remove(application) {
            followed.task.abort();
        }
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        for followed in self.followed.values() {
            followed.task.abort();
        }
    }
}

/// The questions of one application.
struct One {
    shared: Arc<Shared>,
    messages: mpsc::Sender<Message>,
    application: ApplicationName,
    account: Option<ServiceAccount>,
    /// The earliest time at which a change is reported.
    not_before: Instant,
    asking: Semaphore,
}

impl One {
    /// Reports once that an answer has changed. The render that follows starts a new task.
    async fn run(self, answers: Answers) {
        let watches = answers
            .iter()
            .map(|(question, answer)| self.until_changed(question, *answer));
        let mut watches: FuturesUnordered<_> = watches.collect();
        if watches.next().await.is_some() {
            // The render that follows reads whatever else changes until then.
            drop(watches);
            tokio::time::sleep_until(self.not_before).await;
            tracing::debug!(application = %self.application, "what was read from the cluster has changed");
            // The agent may have stopped meanwhile.
            let _ = self
                .messages
                .send(Message::LookedUp(self.application.clone()))
                .await;
        }
    }

    /// Waits until the answer to a question, asked as the application's service account, has changed.
    async fn until_changed(&self, question: &ClusterQuestion, known: Digest) {
        let cluster = &self.shared.cluster;
        let mut kinds = cluster.follow_kinds();
        let ClusterQuestion {
            api_version,
            kind,
            namespace,
            name,
        } = question;
        loop {
            let opened = cluster.changes(api_version, kind, namespace.as_deref(), name.as_deref());
            match opened.await {
                Ok(Some(mut changes)) => loop {
                    changes.next().await;
                    if self.answer_now(question).await != known {
                        return;
                    }
                },
                // A kind that is not served now may be served later.
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(application = %self.application, %question, error = %chain(&error), "cannot be watched");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                // The sender lives as long as the cluster, which is in use here.
                _ = kinds.changed() => {}
            }
        }
    }

    /// Returns the answer to a question after a change, however long that takes: no watch reports this change again.
    async fn answer_now(&self, question: &ClusterQuestion) -> Digest {
        tokio::time::sleep(QUIET).await;
        let mut failures = 0;
        loop {
            match self.ask(question).await {
                Ok(answer) => return answer,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(application = %self.application, %question, error, "cannot be read again; it is tried again");
                }
            }
            let seed = self.application.to_string();
            tokio::time::sleep(pintle_core::machine::pause(&seed, failures)).await;
        }
    }

    async fn ask(&self, question: &ClusterQuestion) -> Result<Digest, String> {
        // The semaphore is never closed.
        let _turn = self.asking.acquire().await;
        let reader = self
            .shared
            .cluster
            .reader_for(self.account.as_ref())
            .map_err(|error| error.to_string())?;
        let seed = self.shared.seeds.of(&self.application);
        question
            .ask(&PluginReader(reader), &seed)
            .await
            .map_err(|error| error.to_string())
    }
}
