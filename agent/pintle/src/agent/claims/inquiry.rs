//! Asking which applications claim objects, among this replica's applications and those of the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use pintle_cluster::{Claim, UnknownClaims};
use pintle_core::{names::ApplicationName, object::ObjectId};
use tokio::{
    sync::{Notify, Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    super::{controller::Message, sources::SourceKey},
    Answer, Ask, Asked, Claims, Key, Question,
};

/// How long other applications may take to render objects that may have moved to them.
const LIMIT: Duration = Duration::from_mins(5);
/// How long the owner's replica may take to say whether the owner still wants an object. Until then the owner is assumed to want
/// it, and the next try asks again.
const OWNER_LIMIT: Duration = Duration::from_secs(30);
/// How long other replicas may take to answer before they are asked again: replicas may have come or gone.
const AGAIN: Duration = Duration::from_secs(30);
/// The pause between two questions while shards move from one replica to another.
const PAUSE: Duration = Duration::from_secs(1);
/// How often to check whether an application is still waited for if nothing happens. None is waited for without end.
const LOOK: Duration = Duration::from_secs(10);
/// The maximum number of objects in one question.
const WIDTH: usize = 500;
/// The maximum number of objects in all open questions together. The questions are kept in an annotation, and annotations may
/// take 256 KiB. <https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/>
static OPEN: Semaphore = Semaphore::const_new(2000);
/// What a question takes of that besides its objects.
const QUESTION: usize = 10;

impl Claims {
    /// Answers for the applications of this replica, once what the answer depends on is known. Notifies the applications that
    /// were refused these objects that they may have them now.
    async fn answer(&self, question: &Question) -> Answer {
        let mut changes = self.changes.subscribe();
        let mut awaited: Option<BTreeMap<SourceKey, u64>> = None;
        loop {
            let asked = awaited.get_or_insert_with(|| self.look(question));
            {
                let state = self.lock();
                let has_answered = |(key, before): (&SourceKey, &u64)| {
                    state
                        .sources
                        .get(key)
                        .is_none_or(|told| told.answers > *before)
                };
                let is_settled = question.owner.is_some()
                    || asked.iter().all(has_answered)
                        && state.unsettled(question, Instant::now()).is_none();
                if state.is_complete && is_settled {
                    let (answer, claimants) = state.answer(question);
                    drop(state);
                    self.release(question, claimants);
                    return answer;
                }
            }
            // An error means nothing here: the sender is ours, and time also passes without a change.
            let _ = timeout(LOOK, changes.changed()).await;
        }
    }

    /// Requests a look at those sources that should give the question's revision and do not. Returns how often each of them has
    /// answered so far.
    fn look(&self, question: &Question) -> BTreeMap<SourceKey, u64> {
        let Some((topic, revision)) = &question.source else {
            return BTreeMap::new();
        };
        let state = self.lock();
        let behind = state.sources.iter().filter(|(key, told)| {
            key.topic() == *topic && told.revision.as_ref() != Some(revision)
        });
        let behind: BTreeMap<_, _> = behind
            .map(|(key, told)| (key.clone(), told.answers))
            .collect();
        drop(state);
        if !behind.is_empty() {
            self.tell(Message::Look(behind.keys().cloned().collect()));
        }
        behind
    }

    fn release(&self, question: &Question, claimants: BTreeSet<ApplicationName>) {
        if question.owner.is_none() && !claimants.is_empty() {
            self.tell(Message::Released(claimants.into_iter().collect()));
        }
    }

    fn tell(&self, message: Message) {
        // Sent by a task of its own: the task that reads these messages must not wait for itself.
        if let Some(controller) = self.controller.get().cloned() {
            tokio::spawn(async move {
                // The agent may be stopping.
                let _ = controller.send(message).await;
            });
        }
    }

    /// Asks all replicas, this one first.
    async fn ask(&self, question: &Question) -> Answer {
        loop {
            let own = self.answer(question).await;
            let Some(replicas) = self.replicas.get().filter(|_| !own.is_complete()) else {
                return own;
            };
            let (reply, answers) = oneshot::channel();
            let ask = Ask {
                question: question.clone(),
                own: own.shards,
                reply,
            };
            let weight = u32::try_from(question.objects.len() + QUESTION).unwrap_or(u32::MAX);
            let open = OPEN.acquire_many(weight).await;
            if replicas.send(ask).await.is_ok()
                && let Ok(Ok(answers)) = timeout(AGAIN, answers).await
            {
                let all = answers.into_iter().fold(own, Answer::and);
                if all.is_complete() {
                    return all;
                }
            }
            drop(open);
            sleep(PAUSE).await;
        }
    }

    /// Describes what keeps a question from being answered.
    pub(super) fn obstacle(&self, question: &Question) -> String {
        let state = self.lock();
        let minutes = LIMIT.as_secs() / 60;
        match state.unsettled(question, Instant::now()) {
            Some(other) => {
                format!(
                    "the application {other} has not rendered its newest revision within {minutes} minutes"
                )
            }
            None if !state.is_complete => "the Applications are not read yet".to_owned(),
            None if state.shards.len() < 128 => {
                format!("not all other replicas have answered within {minutes} minutes")
            }
            None => format!("its source was not fetched within {minutes} minutes"),
        }
    }
}

/// Answers the questions of other replicas until no replica can ask any more.
pub(crate) async fn serve(claims: Arc<Claims>, mut asked: mpsc::Receiver<Asked>) {
    while let Some(Asked {
        question,
        mut reply,
    }) = asked.recv().await
    {
        let claims = Arc::clone(&claims);
        tokio::spawn(async move {
            tokio::select! {
                answer = claims.answer(&question) => drop(reply.send(answer)),
                () = reply.closed() => {}
            }
        });
    }
}

/// What one run asks of all applications.
#[derive(Debug)]
pub(crate) struct RunClaims {
    all: Arc<Claims>,
    application: ApplicationName,
    /// The revision that the run is about, or `None` for a removal.
    revision: Option<String>,
    waits: Notify,
}

impl RunClaims {
    pub(crate) fn new(
        all: &Arc<Claims>,
        application: &ApplicationName,
        revision: Option<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::clone(all),
            application: application.clone(),
            revision,
            waits: Notify::new(),
        })
    }

    /// Waits until this run waits for other applications.
    pub(crate) async fn waits(&self) {
        self.waits.notified().await;
    }

    fn question(&self, ids: &[ObjectId], owner: Option<&str>) -> Question {
        let (cluster, topic) = self.all.place(&self.application);
        let revision = self.revision.clone().filter(|_| owner.is_none());
        Question {
            by: self.application.label_value(),
            objects: ids.iter().map(|id| Key::of(&cluster, id)).collect(),
            cluster,
            source: topic.zip(revision),
            owner: owner.map(ToOwned::to_owned),
        }
    }

    async fn claimants_of(
        &self,
        ids: &[ObjectId],
    ) -> Result<BTreeMap<ObjectId, String>, UnknownClaims> {
        self.waits.notify_one();
        let mut found = BTreeMap::new();
        for ids in ids.chunks(WIDTH) {
            let question = self.question(ids, None);
            let answer = timeout(LIMIT, self.all.ask(&question)).await;
            let answer = answer.map_err(|_| UnknownClaims {
                reason: self.all.obstacle(&question),
            })?;
            let claims = ids.iter().zip(&question.objects);
            found.extend(
                claims.filter_map(|(id, key)| Some((id.clone(), answer.claims.get(key)?.clone()))),
            );
        }
        Ok(found)
    }

    /// Asks about objects without waiting for the answer: the question itself notifies the applications that were refused them.
    /// Only which applications want them already matters, so no revision is waited for.
    fn tell_of(&self, ids: &[ObjectId]) {
        let all = Arc::clone(&self.all);
        let questions = ids.chunks(WIDTH).map(|ids| Question {
            source: None,
            ..self.question(ids, None)
        });
        let questions: Vec<Question> = questions.collect();
        tokio::spawn(async move {
            for question in questions {
                if timeout(LIMIT, all.ask(&question)).await.is_err() {
                    tracing::debug!(by = question.by, "not all replicas were told what has left");
                }
            }
        });
    }

    async fn claim_of(&self, owner: &str, id: &ObjectId) -> Claim {
        if let Some(claim) = self.all.claim_here(owner, id) {
            return claim;
        }
        let question = self.question(std::slice::from_ref(id), Some(owner));
        match timeout(OWNER_LIMIT, self.all.ask(&question)).await {
            Ok(answer) if !answer.claims.is_empty() => Claim::Wanted,
            Ok(answer) if answer.knows_owner => Claim::Left,
            Ok(answer) if !answer.has_owner => Claim::Unknown,
            Ok(answer) if answer.is_owner_beginning => Claim::Beginning,
            Ok(_) | Err(_) => Claim::Unanswered,
        }
    }
}

impl pintle_cluster::Claims for RunClaims {
    fn claimants<'a>(
        &'a self,
        ids: &'a [ObjectId],
    ) -> BoxFuture<'a, Result<BTreeMap<ObjectId, String>, UnknownClaims>> {
        self.claimants_of(ids).boxed()
    }

    fn left(&self, ids: &[ObjectId]) {
        self.tell_of(ids);
    }

    fn claim<'a>(&'a self, owner: &'a str, id: &'a ObjectId) -> BoxFuture<'a, Claim> {
        self.claim_of(owner, id).boxed()
    }
}
