//! Finds out why objects are not ready: from their pods, the events about them, and the end of a log.
//!
//! Nothing is asked while all goes well. An object that is not ready after a moment is examined once, as the application's
//! account. Its pods are then watched, and changes to them trigger further looks, less and less often while these find nothing
//! new. A look that an API server has not answered in full is repeated, and so is a look at pods for whose watch there is no
//! room. A look at a Deployment costs a read of it, two lists, the events of one pod and the end of one log; with many pods,
//! further pages until one is in trouble.

mod look;
mod pace;
mod room;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pintle_core::{
    explanation::Explanation, health::Status, names::ApplicationName, object::ObjectId,
};
use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::room::Room;

use self::look::Looker;
use crate::{
    cluster::Cluster,
    connection::{ConnectError, ServiceAccount},
    tracker::{Tracker, Unsettled, Waited},
};

/// The most objects that are examined: if more are not ready, the reason is the same.
const WIDTH: usize = 5;
/// How long the first looks may take when a rollout has failed and its report waits for them.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// How long to wait for a rollout, and when to look for reasons.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long objects may take to become healthy.
    pub limit: Duration,
    /// How long an object may be in progress before it is examined.
    pub moment: Duration,
}

/// Finds out why objects are not ready, for as long as it lives.
#[derive(Debug)]
pub struct Explainer {
    looker: Arc<Looker>,
    followed: BTreeMap<ObjectId, AbortHandle>,
    known: BTreeMap<ObjectId, Explanation>,
    tell: mpsc::Sender<(ObjectId, Explanation)>,
    told: mpsc::Receiver<(ObjectId, Explanation)>,
}

impl Explainer {
    /// Creates an explainer that acts as an account, if one is given. No request is made.
    pub fn new(cluster: &Cluster, account: Option<&ServiceAccount>) -> Result<Self, ConnectError> {
        let (tell, told) = mpsc::channel(WIDTH);
        Ok(Self {
            looker: Arc::new(Looker::new(cluster, account)?),
            followed: BTreeMap::new(),
            known: BTreeMap::new(),
            tell,
            told,
        })
    }

    /// Waits as [`Tracker::wait`] does, and adds to each object that is not healthy the reason, as soon as it is known.
    ///
    /// `report` gets the objects that are still in progress whenever these, or what is known about them, change.
    pub async fn wait(
        &mut self,
        tracker: &Tracker,
        application: &ApplicationName,
        ids: &[ObjectId],
        patience: Patience,
        cancel: &CancellationToken,
        report: &(dyn Fn(&Arc<[Unsettled]>) + Send + Sync),
    ) -> Waited {
        let latest: Mutex<Arc<[Unsettled]>> = Mutex::default();
        let changed = Notify::new();
        let keep = |unsettled: &Arc<[Unsettled]>| {
            let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
            *latest = Arc::clone(unsettled);
            changed.notify_one();
        };
        let unsettled = || -> Arc<[Unsettled]> {
            let latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
            latest.clone()
        };
        let waiting = tracker.wait(application, ids, patience.limit, cancel, &keep);
        let mut waiting = std::pin::pin!(waiting);
        let moment = Instant::now() + patience.moment;
        let mut is_looking = false;
        let waited = loop {
            tokio::select! {
                waited = &mut waiting => break waited,
                () = sleep_until(moment), if !is_looking => {
                    is_looking = true;
                    self.look_at(&unsettled());
                }
                () = changed.notified() => {
                    let unsettled = unsettled();
                    if is_looking {
                        self.look_at(&unsettled);
                    }
                    report(&self.explained(unsettled));
                }
                () = self.news() => report(&self.explained(unsettled())),
            }
        };
        match waited {
            Waited::Failed(unsettled) => Waited::Failed(self.last_look(unsettled).await),
            Waited::TimedOut(unsettled) => Waited::TimedOut(self.last_look(unsettled).await),
            Waited::Healthy | Waited::Cancelled => waited,
        }
    }

    /// Follows objects that are not healthy, and drops those that are no longer among them.
    fn look_at(&mut self, unsettled: &[Unsettled]) {
        let wanted: BTreeSet<&ObjectId> = unsettled.iter().map(|object| &object.id).collect();
        self.known.retain(|id, _| wanted.contains(id));
        self.followed.retain(|id, task| {
            // A task that has ended waits for a change of the object, which this may be.
            let stays = wanted.contains(id) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        for object in unsettled {
            if self.followed.len() == WIDTH {
                return;
            }
            let id = &object.id;
            if !self.followed.contains_key(id) {
                let (looker, tell) = (Arc::clone(&self.looker), self.tell.clone());
                let task = tokio::spawn(looker.follow(id.clone(), tell));
                self.followed.insert(id.clone(), task.abort_handle());
            }
        }
    }

    /// Waits until something new is known.
    async fn news(&mut self) {
        // The sender lives in `self`.
        if let Some((id, explanation)) = self.told.recv().await
            && self.followed.contains_key(&id)
        {
            self.known.insert(id, explanation);
        }
    }

    /// Examines what has failed, if that was not done yet, for as long as a report may wait.
    async fn last_look(&mut self, unsettled: Vec<Unsettled>) -> Vec<Unsettled> {
        // A failed object says more than one that is only in progress.
        let failed = |object: &&Unsettled| object.assessment.status == Status::Degraded;
        let failed: Vec<Unsettled> = unsettled.iter().filter(failed).cloned().collect();
        self.look_at(if failed.is_empty() {
            &unsettled
        } else {
            &failed
        });
        let looks = async {
            while self.followed.keys().any(|id| !self.known.contains_key(id)) {
                self.news().await;
            }
        };
        // Whatever is known by then is reported.
        let _ = tokio::time::timeout(LAST_LOOK, looks).await;
        self.explain(unsettled)
    }

    /// Like [`Self::explain`] for shared objects: while nothing is known, they are returned unchanged.
    fn explained(&self, unsettled: Arc<[Unsettled]>) -> Arc<[Unsettled]> {
        if self.known.is_empty() {
            return unsettled;
        }
        self.explain(unsettled.to_vec()).into()
    }

    /// Adds to each object what is known about it.
    fn explain(&self, mut unsettled: Vec<Unsettled>) -> Vec<Unsettled> {
        for object in &mut unsettled {
            let known = self.known.get(&object.id).filter(|known| !known.is_empty());
            object.explanation = known.cloned().map(Box::new);
        }
        unsettled
    }
}

impl Drop for Explainer {
    fn drop(&mut self) {
        for task in self.followed.values() {
            task.abort();
        }
    }
}
