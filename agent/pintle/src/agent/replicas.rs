//! This replica among others: carries out what [`pintle_core::sharding`] decides.
//!
//! One task renews the replica's Lease, watches those of others, and reads and writes which replica holds which shards. In the
//! steady state, that is one request for each third of the lease's duration. Kubernetes is the only coordinator.

mod exchange;
mod leases;
mod portion;
mod pushes;
mod versions;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered},
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::{WatchStreamExt as _, watcher};
use pintle_cluster::{Connection, Fence, Moment};
use pintle_core::{
    causes::chain,
    digest::Digest,
    machine::Millis,
    sharding::{
        ReplicaId, ShardSet,
        replica::{Effect, Event, Replica, Stored},
    },
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::portion::{Assignment, Portion, Pushed, has};
use self::{
    exchange::Exchange,
    leases::{LeaseError, Leases, Notes, Pushes, Seen, is_refused_watch},
};
use super::{
    claims::{Answer, Ask, Asked},
    metrics::Metrics,
};
use crate::pipeline::now_ms;

/// The maximum length of a Lease's name.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>
const NAME_LIMIT: usize = 253;

/// Returns the name of this replica. A restarted container of a pod is the same replica, so that it need not wait for its own
/// lease. Any other process is a different replica, whatever it is called.
pub(crate) fn identity() -> String {
    let given = |variable| {
        std::env::var(variable)
            .ok()
            .filter(|value| !value.is_empty())
    };
    let name = given("POD_NAME").unwrap_or_else(|| "pintle".to_owned());
    match given("POD_UID") {
        Some(uid) => format!("{name}.{}", Digest::of(uid).short()),
        None => format!("{name}.{:012x}", rand::random::<u64>() >> 16),
    }
}

/// How a replica takes part.
pub(crate) struct Options {
    /// The agent's own namespace.
    pub(crate) namespace: String,
    /// The name of the shared Lease, and the prefix of the others' names.
    pub(crate) fleet: String,
    pub(crate) identity: String,
    pub(crate) duration: Duration,
}

/// What one replica passes to the others.
pub(crate) struct Talk {
    /// The pushes that this replica's webhooks report.
    pub(crate) pushes: mpsc::Receiver<Pushed>,
    /// The questions of this replica.
    pub(crate) asks: mpsc::Receiver<Ask>,
    /// The questions of others.
    pub(crate) questions: mpsc::Sender<Asked>,
}

/// A replica that takes part in a task of its own.
pub(crate) struct Replicas {
    quit: CancellationToken,
    task: JoinHandle<Result<(), LeaseError>>,
}

impl Replicas {
    /// Begins to take part as soon as the controller joins.
    pub(crate) fn start(
        connection: &Connection,
        options: Options,
        fence: Fence,
        metrics: &Metrics,
        channels: Talk,
    ) -> anyhow::Result<(Self, Portion, mpsc::Receiver<Pushed>)> {
        let fleet = &options.fleet;
        if fleet.len() + options.identity.len() + 1 > NAME_LIMIT {
            anyhow::bail!(
                "the Lease {fleet}.{} would have too long a name: expected at most {NAME_LIMIT} characters",
                options.identity
            );
        }
        let me = ReplicaId::new(options.identity);
        let leases = Leases::new(
            connection,
            &options.namespace,
            fleet,
            me.clone(),
            options.duration,
        );
        let (work, work_receiver) = watch::channel(Assignment::default());
        let (busy, busy_receiver) = watch::channel(Assignment::default());
        let (told, told_receiver) = mpsc::channel(64);
        let (join, joined) = oneshot::channel();
        let quit = CancellationToken::new();
        let duration = options.duration;
        let task = Task {
            machine: Replica::new(me, millis(duration)),
            leases,
            duration,
            fence,
            started: Instant::now(),
            own: None,
            sent: Moment::now(),
            renewing: false,
            next_renewal: Instant::now(),
            legacy: None,
            members: BTreeMap::new(),
            listed: None,
            pushes: Pushes::new(),
            has_unsent: false,
            seen_pushes: BTreeMap::new(),
            exchange: Exchange::default(),
            questions: channels.questions,
            work,
            busy: Some(busy_receiver),
            told,
            shards: metrics.shards.clone(),
            requests: FuturesUnordered::new(),
            left: false,
        };
        let task = tokio::spawn(task.run(joined, (channels.pushes, channels.asks), quit.clone()));
        let portion = Portion {
            work: work_receiver,
            busy,
            join: Some(join),
        };
        Ok((Self { quit, task }, portion, told_receiver))
    }

    /// Waits until this replica can no longer take part, and returns the reason.
    pub(crate) async fn ended(&mut self) -> anyhow::Error {
        match (&mut self.task).await {
            Ok(Ok(())) => anyhow::anyhow!("this replica has left the others"),
            Ok(Err(error)) => error.into(),
            Err(crash) => {
                anyhow::Error::new(crash).context("the task that renews the lease crashed")
            }
        }
    }

    /// Hands everything over to the others, so that they need not wait. No work may be in progress any more.
    pub(crate) async fn leave(self) -> anyhow::Result<()> {
        self.quit.cancel();
        match self.task.await {
            Ok(result) => Ok(result?),
            Err(crash) => Err(crash).context("the task that renews the lease crashed"),
        }
    }
}

/// The result of a request.
enum Told {
    Renewed {
        sent: Moment,
        result: Result<Box<Lease>, LeaseError>,
    },
    Read {
        number: u64,
        result: Result<(Stored, Option<Event>), LeaseError>,
    },
    Wrote(Result<Stored, LeaseError>),
    /// Nothing was written: the Lease of a replica that seemed to be dead differs from its last known state.
    News(Vec<Event>),
    Forgot(Result<(), LeaseError>),
    /// The answer to another replica's question, or `None` if nobody could answer it.
    Answer {
        key: (ReplicaId, u64),
        answer: Option<Answer>,
    },
    Left(Result<(), LeaseError>),
}

struct Task {
    machine: Replica,
    leases: Leases,
    duration: Duration,
    fence: Fence,
    started: Instant,
    /// This replica's own Lease as it was last written.
    own: Option<Lease>,
    /// When the newest renewal that succeeded was sent.
    sent: Moment,
    renewing: bool,
    next_renewal: Instant,
    /// An agent from before there were shards, while it holds the shared Lease.
    legacy: Option<ReplicaId>,
    /// The resource versions of the others' Leases.
    members: BTreeMap<ReplicaId, String>,
    /// The replicas whose Leases were seen since the watch began anew.
    listed: Option<BTreeSet<ReplicaId>>,
    pushes: Pushes,
    /// Whether there is something that the own Lease does not say yet.
    has_unsent: bool,
    /// The newest known push of each other replica.
    seen_pushes: BTreeMap<ReplicaId, u64>,
    exchange: Exchange,
    /// Answers the questions of others.
    questions: mpsc::Sender<Asked>,
    work: watch::Sender<Assignment>,
    /// `None` once the controller has ended.
    busy: Option<watch::Receiver<Assignment>>,
    told: mpsc::Sender<Pushed>,
    shards: prometheus_client::metrics::gauge::Gauge,
    requests: FuturesUnordered<BoxFuture<'static, Told>>,
    left: bool,
}

impl Task {
    async fn run(
        mut self,
        joined: oneshot::Receiver<()>,
        (mut pushes, mut asks): (mpsc::Receiver<Pushed>, mpsc::Receiver<Ask>),
        quit: CancellationToken,
    ) -> Result<(), LeaseError> {
        tokio::select! {
            Ok(()) = joined => {}
            () = quit.cancelled() => return Ok(()),
        }
        tracing::info!(replica = %self.leases.name(), "joining the other replicas");
        let mut leases = self.watch();
        let mut stopping = false;
        while !self.left {
            let wake = self.wake(stopping);
            tokio::select! {
                Some(event) = leases.next() => self.watched(event)?,
                Some(told) = self.requests.next() => self.answered(told)?,
                busy = changed(&mut self.busy) => self.is_busy(busy)?,
                Some(repositories) = pushes.recv() => self.pushed(repositories),
                Some(ask) = asks.recv() => self.asked(ask, now_ms()),
                () = quit.cancelled(), if !stopping => {
                    stopping = true;
                    self.step(Event::Stop)?;
                }
                () = tokio::time::sleep_until(wake.into()) => self.step(Event::Tick)?,
            }
            if !stopping {
                self.renew_if_due();
            }
        }
        self.fence.close();
        Ok(())
    }

    fn watch(&self) -> BoxStream<'static, watcher::Result<watcher::Event<Lease>>> {
        watcher(self.leases.api().clone(), watcher::Config::default())
            .default_backoff()
            .boxed()
    }

    fn millis(&self, moment: Instant) -> Millis {
        millis(moment.saturating_duration_since(self.started))
    }

    fn wake(&self, stopping: bool) -> Instant {
        let by_machine = self.machine.next_wake(self.millis(Instant::now()));
        let by_machine = by_machine.map(|wake| self.started + Duration::from_millis(wake));
        let renewal = (!self.renewing && !stopping).then_some(self.next_renewal);
        let soonest = by_machine.into_iter().chain(renewal).min();
        soonest.unwrap_or_else(|| Instant::now() + self.duration)
    }

    fn renew_if_due(&mut self) {
        if self.renewing || Instant::now() < self.next_renewal {
            return;
        }
        (self.renewing, self.has_unsent) = (true, false);
        let (leases, own) = (self.leases.clone(), self.own.clone());
        let (questions, answers) = self.exchange.notes();
        let notes = Notes {
            pushes: self.pushes.clone(),
            questions,
            answers,
        };
        self.requests.push(Box::pin(async move {
            let sent = Moment::now();
            let result = leases.renew(own, &notes).await.map(Box::new);
            Told::Renewed { sent, result }
        }));
    }

    fn answered(&mut self, told: Told) -> Result<(), LeaseError> {
        match told {
            Told::Renewed { sent, result } => {
                self.renewing = false;
                match result {
                    Ok(lease) => {
                        self.own = Some(*lease);
                        self.sent = sent;
                        self.next_renewal = if self.has_unsent {
                            Instant::now()
                        } else {
                            sent.steady() + self.duration / 3
                        };
                        self.step(Event::Renewed {
                            sent: self.millis(sent.steady()),
                            lapsed: !self.fence.is_open(),
                        })
                    }
                    Err(error) => {
                        self.next_renewal = Instant::now() + self.duration / 15;
                        self.failed(error)
                    }
                }
            }
            Told::Read { number, result } => {
                let stored = match result {
                    Ok((stored, legacy)) => {
                        self.legacy(legacy)?;
                        Some(stored)
                    }
                    Err(error) => {
                        self.failed(error)?;
                        None
                    }
                };
                self.step(Event::Read { number, stored })
            }
            Told::Wrote(result) => {
                let done = result.is_ok();
                match result {
                    Ok(stored) => self.step(Event::Table(stored))?,
                    Err(error) => self.failed(error)?,
                }
                self.step(Event::Wrote { done })
            }
            Told::News(members) => {
                for event in members {
                    self.step(event)?;
                }
                self.step(Event::Wrote { done: false })
            }
            Told::Answer { key, answer } => {
                self.answer(key, answer);
                Ok(())
            }
            Told::Forgot(result) => result.or_else(|error| self.failed(error)),
            Told::Left(result) => {
                self.left = true;
                result.or_else(|error| self.failed(error))
            }
        }
    }

    /// Tolerates a failure that another try may fix. What was requested is requested again.
    fn failed(&self, error: LeaseError) -> Result<(), LeaseError> {
        if error.is_final() {
            self.fence.close();
            return Err(error);
        }
        if error.is_refusal() {
            tracing::warn!(error = %chain(&error), "a request about leases was refused; it is tried again");
        } else {
            tracing::debug!(error = %chain(&error), "a request about leases failed; it is tried again");
        }
        Ok(())
    }

    fn watched(&mut self, event: watcher::Result<watcher::Event<Lease>>) -> Result<(), LeaseError> {
        match event {
            Ok(watcher::Event::Init) => self.listed = Some(BTreeSet::new()),
            Ok(watcher::Event::InitApply(lease) | watcher::Event::Apply(lease)) => {
                self.seen(&lease)?;
            }
            Ok(watcher::Event::InitDone) => {
                let listed = self.listed.take().unwrap_or_default();
                let known = self.members.keys().cloned();
                let gone: Vec<_> = known.filter(|member| !listed.contains(member)).collect();
                for member in gone {
                    self.gone(member)?;
                }
            }
            Ok(watcher::Event::Delete(lease)) => {
                if let Some(stored) = self.leases.deleted_table(&lease)? {
                    self.step(Event::Table(stored))?;
                } else if let Some(member) = self.leases.replica(&lease) {
                    self.gone(member)?;
                }
            }
            Err(error) if is_refused_watch(&error) => {
                tracing::warn!(error = %chain(&error), "the Leases cannot be watched; it is tried again");
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the Leases cannot be watched; it is tried again");
            }
        }
        Ok(())
    }

    fn seen(&mut self, lease: &Lease) -> Result<(), LeaseError> {
        match self.leases.read(lease)? {
            Some(Seen::Table(stored, legacy)) => {
                self.legacy(legacy)?;
                self.step(Event::Table(stored))
            }
            Some(Seen::Member {
                event,
                replica,
                version,
                notes,
            }) if replica != *self.leases.name() => {
                if let Some(listed) = &mut self.listed {
                    listed.insert(replica.clone());
                }
                self.members.insert(replica.clone(), version);
                self.look_at_notes(&replica, &notes);
                self.look_at_pushes(replica, &notes.pushes);
                self.step(event)
            }
            Some(Seen::Member { .. }) | None => Ok(()),
        }
    }

    fn gone(&mut self, member: ReplicaId) -> Result<(), LeaseError> {
        self.members.remove(&member);
        self.seen_pushes.remove(&member);
        self.end_exchange(&member);
        self.step(Event::MemberGone(member))
    }

    /// Treats an agent from before there were shards as a replica that holds everything.
    fn legacy(&mut self, event: Option<Event>) -> Result<(), LeaseError> {
        let now = match &event {
            Some(Event::Member { replica, .. }) => Some(replica.clone()),
            _ => None,
        };
        if let Some(before) = std::mem::replace(&mut self.legacy, now)
            && self.legacy.as_ref() != Some(&before)
        {
            self.step(Event::MemberGone(before))?;
        }
        match event {
            Some(event) => self.step(event),
            None => Ok(()),
        }
    }

    /// Has the own Lease renewed at once with everything that it has to say.
    fn renew_now(&mut self) {
        self.has_unsent = true;
        self.next_renewal = Instant::now();
    }

    fn is_busy(&mut self, busy: Option<Assignment>) -> Result<(), LeaseError> {
        let busy = match busy {
            Some(busy) => busy,
            // The controller has ended, and all its work with it.
            None => Assignment {
                number: self.work.borrow().number,
                shards: ShardSet::NONE,
            },
        };
        self.step(Event::Busy {
            number: busy.number,
            shards: busy.shards,
        })
    }

    fn step(&mut self, event: Event) -> Result<(), LeaseError> {
        let now = self.millis(Instant::now());
        for effect in self.machine.step(event, now) {
            self.perform(effect)?;
        }
        self.shards.set(i64::from(self.machine.held().len()));
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result<(), LeaseError> {
        let leases = self.leases.clone();
        match effect {
            Effect::Work { number, shards } => {
                tracing::info!(%shards, count = shards.len(), "working on these shards");
                self.work.send_replace(Assignment { number, shards });
                if self.busy.is_none() {
                    self.is_busy(None)?;
                }
            }
            // The deadline is always counted from the newest renewal.
            Effect::Open { .. } => {
                let open = Duration::from_millis(Replica::fence(millis(self.duration)));
                self.fence.open_until(self.sent.after(open));
            }
            Effect::Close => {
                tracing::warn!("nothing is written for now: others may have taken over");
                self.fence.close();
            }
            Effect::Read { number } => self.requests.push(Box::pin(async move {
                let result = leases.read_table().await;
                Told::Read { number, result }
            })),
            Effect::Write {
                table,
                replaces,
                robbed,
            } => self.requests.push(Box::pin(async move {
                match leases.news(&robbed).await {
                    Ok(news) if news.is_empty() => {
                        Told::Wrote(leases.write_table(&table, replaces).await)
                    }
                    Ok(news) => Told::News(news),
                    Err(error) => Told::Wrote(Err(error)),
                }
            })),
            Effect::Forget(replica) => {
                if let Some(version) = self.members.get(&replica).cloned() {
                    self.requests.push(Box::pin(async move {
                        Told::Forgot(leases.forget(&replica, version).await)
                    }));
                }
            }
            Effect::Leave => match self.own.clone() {
                Some(own) => {
                    let left = async move { Told::Left(leases.leave(&own).await) };
                    self.requests.push(Box::pin(left));
                }
                None => self.left = true,
            },
        }
        Ok(())
    }
}

/// Waits until the controller reports another assignment. Returns `None` once if it has ended.
async fn changed(busy: &mut Option<watch::Receiver<Assignment>>) -> Option<Assignment> {
    let Some(receiver) = busy else {
        return std::future::pending().await;
    };
    if receiver.changed().await.is_ok() {
        return Some(*receiver.borrow_and_update());
    }
    *busy = None;
    None
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
