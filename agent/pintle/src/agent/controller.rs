//! The one task that linearises everything that happens.

mod asking;
mod course;
mod dependencies;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt as _, stream::SelectAll};
use pintle_cluster::{Application, ResourceEvent, TrackEvent};
use pintle_core::{
    application::{ApplicationSpec, ApplicationStatus},
    drift::Disputes,
    inventory::Inventory,
    machine::{Cause, Effect, Event, Millis, RunId, State},
    names::{
        ADOPT_HELM_ANNOTATION, ADOPT_RESTARTS_ANNOTATION, ApplicationName,
        CONFIRM_PRUNE_ANNOTATION, RECONCILE_ANNOTATION, TEST_ANNOTATION,
    },
};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::{course::Course, dependencies::Standings};
use super::{
    drift::Disputed,
    job::{Job, Memory, Report, Work},
    lookups::{self, Lookups},
    plugins, run,
    server::Probes,
    shared::Shared,
    sources::{Fetched, SourceKey, Sources},
};
use crate::pipeline::now_ms;

/// Something that another task tells the controller.
pub(crate) enum Message {
    /// A source gave another answer than before, or answers somebody who asked.
    Fetched {
        key: SourceKey,
        fetched: Box<Fetched>,
        is_asked: bool,
    },
    /// A Plugin resource appeared, changed, broke, or went.
    PluginChanged(String),
    /// What an application is to go back to was fetched, or could not be.
    FetchedEarlier {
        name: ApplicationName,
        revision: String,
        fetched: Box<Fetched>,
    },
    /// What a render of an application read from the cluster has changed.
    LookedUp(ApplicationName),
    /// A time has come that an application waits for.
    Woke(ApplicationName),
}

type ApplicationEvent = ResourceEvent<ApplicationSpec, ApplicationStatus>;

/// How long runs may take to come to a safe point when the agent stops.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// One application, as the controller knows it.
pub(super) struct App {
    machine: State,
    pub(super) application: Application,
    source: Option<SourceKey>,
    fetched: Option<Fetched>,
    /// Which revision is to run.
    course: Course,
    /// What it waits for.
    patience: dependencies::Patience,
    /// A failed fetch that came while a run was under way: told when it is over.
    pending_failure: bool,
    /// Whether a person waits for a reconciliation with what the source gives now.
    pending_request: bool,
    /// Whether what the render read from the cluster changed while a run was under way: looked at when it is over.
    pending_lookup: bool,
    pub(super) run: Option<(RunId, CancellationToken)>,
    memory: Option<Arc<Memory>>,
    pub(super) inventory: Inventory,
    /// Whether all objects were healthy at the end of the last run; nothing before the first.
    pub(super) healthy: Option<bool>,
    /// What drift has come to so far.
    pub(super) disputes: Disputes,
    /// For when it is looked at again.
    pub(super) drift_timer: Option<Millis>,
    /// The value of the annotation by which a person asked for the newest reconciliation.
    requested: Option<String>,
    /// The value of the annotation by which a person asked for the newest tests.
    tests: Option<String>,
    /// The values of the annotations by which a person asked for a takeover.
    adopts: [Option<String>; 2],
    /// The value of the annotation by which a person confirmed deletions.
    confirmed: Option<String>,
}

/// Knows all applications, and what to do about them.
pub(crate) struct Controller {
    pub(super) shared: Arc<Shared>,
    namespaces: Vec<String>,
    probes: Arc<Probes>,
    pub(super) apps: BTreeMap<ApplicationName, App>,
    /// How all applications are, for those that wait for others.
    standings: Standings,
    sources: Sources,
    lookups: Lookups,
    messages: mpsc::Sender<Message>,
    inbox: mpsc::Receiver<Message>,
    runs: JoinSet<Report>,
}

impl Controller {
    pub(crate) fn new(shared: Arc<Shared>, namespaces: Vec<String>, probes: Arc<Probes>) -> Self {
        let (messages, inbox) = mpsc::channel(1024);
        let sources = Sources::new(Arc::clone(&shared), messages.clone());
        let lookups = Lookups::new(Arc::clone(&shared), messages.clone());
        let (apps, runs) = (BTreeMap::new(), JoinSet::new());
        Self {
            shared,
            namespaces,
            probes,
            apps,
            standings: Standings::default(),
            sources,
            lookups,
            messages,
            inbox,
            runs,
        }
    }

    /// Works until it is told to stop; then brings what is under way to a safe point.
    pub(crate) async fn run(
        mut self,
        mut pushes: mpsc::Receiver<Vec<String>>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let plugins = self.start_plugins(&stop).await;
        let mut applications = self.watch_applications();
        let mut unlisted = self.namespaces.len().max(1);
        let mut tracked = self.shared.tracker.subscribe();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = applications.next() => {
                    if matches!(event, ResourceEvent::Complete) && unlisted > 0 {
                        unlisted -= 1;
                        if unlisted == 0 {
                            self.probes.ready.store(true, Ordering::Relaxed);
                            tracing::info!(applications = self.apps.len(), "the Applications are read");
                        }
                    }
                    self.application(event);
                }
                Some(message) = self.inbox.recv() => self.message(message),
                event = tracked.recv() => self.tracked(event),
                Some(urls) = pushes.recv() => self.sources.pushed(&urls),
                Some(report) = self.runs.join_next() => match report {
                    Ok(report) => self.finished(report),
                    // A defect of ours: a restart begins from what the cluster says.
                    Err(crash) => return Err(anyhow::Error::new(crash).context("a run crashed")),
                },
            }
        }
        plugins.abort();
        self.drain().await;
        Ok(())
    }

    /// Follows Plugins, and waits until those that are there have been tried: an application must not run with a
    /// built-in plugin first, only because a resource of that name was not read yet.
    async fn start_plugins(&self, stop: &CancellationToken) -> tokio::task::AbortHandle {
        let (ready, are_ready) = oneshot::channel();
        let following = plugins::follow(Arc::clone(&self.shared), self.messages.clone(), ready);
        let task = tokio::spawn(following).abort_handle();
        tokio::select! {
            _ = are_ready => {}
            () = stop.cancelled() => {}
        }
        task
    }

    fn watch_applications(
        &self,
    ) -> SelectAll<futures::stream::BoxStream<'static, ApplicationEvent>> {
        let watch = |namespace: Option<&str>| self.shared.applications.watch(namespace).boxed();
        if self.namespaces.is_empty() {
            return [watch(None)].into_iter().collect();
        }
        self.namespaces
            .iter()
            .map(|namespace| watch(Some(namespace)))
            .collect()
    }

    fn application(&mut self, event: ApplicationEvent) {
        match event {
            ResourceEvent::Seen(application) => {
                let name = application.application_name();
                let is_news = self.standings.see(&application);
                self.seen(*application);
                if is_news {
                    self.release_dependents(&name);
                }
            }
            ResourceEvent::Gone { namespace, name } => {
                let name = ApplicationName::new(namespace.unwrap_or_default(), name);
                self.standings.forget(&name);
                self.gone(&name);
                self.release_dependents(&name);
            }
            ResourceEvent::Complete => {}
            ResourceEvent::Failed(reason) => {
                tracing::warn!(reason, "Applications cannot be watched; it is tried again");
            }
        }
    }

    fn seen(&mut self, application: Application) {
        let name = application.application_name();
        if self
            .apps
            .get(&name)
            .is_some_and(|app| app.application.uid != application.uid)
        {
            // Deleted and made again while nobody looked.
            self.gone(&name);
        }
        let (generation, deleting) = (application.generation, application.deleting);
        let suspended = application.spec.as_ref().is_ok_and(|spec| spec.suspend);
        let requested = application.annotations.get(RECONCILE_ANNOTATION).cloned();
        let confirmed = application
            .annotations
            .get(CONFIRM_PRUNE_ANNOTATION)
            .cloned();
        let tests = application.annotations.get(TEST_ANNOTATION).cloned();
        let adopts = [ADOPT_HELM_ANNOTATION, ADOPT_RESTARTS_ANNOTATION]
            .map(|annotation| application.annotations.get(annotation).cloned());
        let app = self
            .apps
            .entry(name.clone())
            .or_insert_with(|| App::new(&name, application.clone(), adopts.clone()));
        app.update(application);
        let is_request = requested.is_some() && requested != app.requested;
        if is_request {
            app.requested = requested;
        }
        let is_confirmation = confirmed.is_some() && confirmed != app.confirmed;
        app.confirmed = confirmed;
        let is_test = tests.is_some() && tests != app.tests;
        app.tests = tests;
        let is_adoption = adopts != app.adopts;
        app.adopts = adopts;
        self.follow_source(&name);
        self.look_for_rollback(&name);
        self.step(
            &name,
            Event::Spec {
                generation,
                suspended,
            },
        );
        if deleting {
            self.step(&name, Event::Deleted);
        } else if is_request {
            self.request(&name);
        } else if is_confirmation || is_test || is_adoption {
            self.step(&name, Event::Requested);
        }
    }

    fn gone(&mut self, name: &ApplicationName) {
        let Some(app) = self.apps.remove(name) else {
            return;
        };
        if let Some((_, cancel)) = app.run {
            cancel.cancel();
        }
        if let Some(source) = &app.source {
            self.sources.leave(name, source);
        }
        self.lookups.forget(name);
        self.shared.tracker.forget(name);
        self.shared.judges.remove(name);
        self.shared.metrics.forget(&name.namespace, &name.name);
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Fetched {
                key,
                fetched,
                is_asked,
            } => {
                let names = self.sources.fetched(&key, &fetched);
                self.outdate(&names, &fetched);
                for name in names {
                    self.fetched(&name, (*fetched).clone());
                    if is_asked {
                        self.answer_request(&name);
                    }
                }
            }
            Message::FetchedEarlier {
                name,
                revision,
                fetched,
            } => self.fetched_earlier(&name, &revision, *fetched),
            Message::PluginChanged(plugin) => {
                let uses = |app: &App| {
                    app.memory
                        .as_ref()
                        .is_none_or(|memory| memory.plugins.contains(&plugin))
                };
                let names: Vec<_> = self
                    .apps
                    .iter()
                    .filter(|(_, app)| uses(app))
                    .map(|(name, _)| name.clone())
                    .collect();
                for name in names {
                    self.step(&name, Event::PluginChanged);
                }
            }
            Message::LookedUp(name) => match self.apps.get_mut(&name) {
                Some(app) if app.run.is_some() => app.pending_lookup = true,
                Some(_) => self.step(&name, Event::Drifted),
                None => {}
            },
            Message::Woke(name) => {
                self.step(&name, Event::Woke { now: now_ms() });
                self.look_for_drift(&name);
            }
        }
    }

    fn tracked(&mut self, event: Result<TrackEvent, broadcast::error::RecvError>) {
        match event {
            Ok(event) => self.look_for_drift(&event.application),
            // Some were missed: all are looked at.
            Err(broadcast::error::RecvError::Lagged(_)) => {
                for name in self.apps.keys().cloned().collect::<Vec<_>>() {
                    self.look_for_drift(&name);
                }
            }
            // The tracker lives as long as the agent.
            Err(broadcast::error::RecvError::Closed) => {}
        }
    }

    fn finished(&mut self, report: Report) {
        let Report {
            name,
            run,
            outcome,
            application,
            inventory,
            memory,
            healthy,
            drift,
            failed_rollout,
        } = report;
        let Some(app) = self.apps.get_mut(&name) else {
            return;
        };
        // An Application that was deleted and made again has runs of its own, and their numbers begin anew.
        let is_current = app.run.as_ref().is_some_and(|(current, _)| *current == run);
        if !is_current || app.application.uid != application.uid {
            return;
        }
        app.run = None;
        app.update(application);
        app.memory = memory;
        let looked_up = std::mem::take(&mut app.pending_lookup);
        let (account, answers) = match &app.memory {
            Some(memory) => (memory.account.clone(), lookups::answers(&memory.reads)),
            None => (None, lookups::Answers::new()),
        };
        self.lookups.follow(&name, account, answers);
        if let Some(inventory) = inventory {
            app.inventory = inventory;
        }
        app.healthy = healthy.or(app.healthy);
        app.settle(outcome);
        if let Some(drift) = drift {
            self.learn_drift(&name, drift);
        }
        let Some(app) = self.apps.get_mut(&name) else {
            return;
        };
        let pending = std::mem::take(&mut app.pending_failure);
        self.step(
            &name,
            Event::Finished {
                run,
                outcome,
                now: now_ms(),
            },
        );
        if let Some((revision, reason)) = failed_rollout {
            self.failed(&name, &revision, &reason);
        }
        if pending {
            self.tell_revision(&name);
        }
        if looked_up {
            self.step(&name, Event::Drifted);
        }
        self.look_for_drift(&name);
        self.release_dependents(&name);
    }

    /// Feeds an event to an application's state machine, and does what it asks for.
    pub(super) fn step(&mut self, name: &ApplicationName, event: Event) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        let (machine, effects) = app.machine.clone().step(event);
        app.machine = machine;
        for effect in effects {
            self.perform(name, effect);
        }
    }

    fn perform(&mut self, name: &ApplicationName, effect: Effect) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        match effect {
            Effect::Start {
                run,
                cause,
                revision,
            } => {
                let Some(fetched) = app.fetched_of(&revision) else {
                    return;
                };
                let cause = app.begin(revision, cause);
                self.start(
                    name,
                    run,
                    Work::Converge {
                        fetched: Box::new(fetched),
                        cause,
                    },
                );
            }
            Effect::Remove { run } => self.start(name, run, Work::Remove),
            Effect::Cancel { run } => {
                if let Some((_, cancel)) = app.run.as_ref().filter(|(current, _)| *current == run) {
                    cancel.cancel();
                }
            }
            Effect::WakeAt(time) => self.wake_at(name.clone(), time),
        }
    }

    fn start(&mut self, name: &ApplicationName, run: RunId, work: Work) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        if let Work::Converge { cause, .. } = &work {
            tracing::debug!(application = %name, ?cause, "starting");
            if *cause == Cause::Settings {
                // A plugin or the spec is another one: what it gave before says nothing.
                app.memory = app
                    .memory
                    .take()
                    .filter(|memory| memory.generation == app.application.generation);
            }
        }
        let waits_for = self.obstacles(name, &work);
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        let cancel = CancellationToken::new();
        app.run = Some((run, cancel.clone()));
        let job = Job {
            run,
            application: app.application.clone(),
            work,
            memory: app.memory.clone(),
            requested: app.requested.clone(),
            disputed: Disputed {
                held: app.disputes.held(now_ms()),
                fights: app.disputes.going_on(),
            },
            waits_for,
            rollback: app.course.rollback().cloned(),
            rollback_asked: app.course.asked().cloned(),
        };
        self.runs
            .spawn(run::run(Arc::clone(&self.shared), job, cancel));
    }

    pub(super) fn wake_at(&self, name: ApplicationName, time: Millis) {
        let (messages, pause) = (
            self.messages.clone(),
            Duration::from_millis(time.saturating_sub(now_ms())),
        );
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            // The agent may have stopped meanwhile.
            let _ = messages.send(Message::Woke(name)).await;
        });
    }

    /// Stops all runs at their next safe point, and waits for them.
    async fn drain(&mut self) {
        for app in self.apps.values() {
            if let Some((_, cancel)) = &app.run {
                cancel.cancel();
            }
        }
        self.shared.repositories.stop();
        let ended = async { while self.runs.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_LIMIT, ended).await.is_err() {
            tracing::warn!(
                runs = self.runs.len(),
                "some runs did not come to a safe point; the next start takes them up"
            );
        }
    }
}

impl App {
    fn new(name: &ApplicationName, application: Application, adopts: [Option<String>; 2]) -> Self {
        let status = application.status.as_ref().ok();
        let requested = status.and_then(|status| status.last_handled_reconcile.clone());
        let course = Course::of(status);
        let tests = status.and_then(|status| status.last_handled_test.clone());
        let inventory = status
            .and_then(|status| status.inventory.clone())
            .and_then(|stored| Inventory::restore(stored).ok())
            .unwrap_or_default();
        Self {
            machine: State::new(name.to_string()),
            application,
            source: None,
            fetched: None,
            course,
            patience: dependencies::Patience::default(),
            pending_failure: false,
            pending_request: false,
            pending_lookup: false,
            run: None,
            memory: None,
            inventory,
            healthy: None,
            disputes: Disputes::default(),
            drift_timer: None,
            requested,
            tests,
            adopts,
            confirmed: None,
        }
    }

    /// Takes up a newer state of the resource. The watch may tell of our own writes after we know of them.
    fn update(&mut self, application: Application) {
        let version = |application: &Application| application.resource_version.parse::<u64>();
        let is_older = match (version(&application), version(&self.application)) {
            (Ok(new), Ok(known)) => new < known,
            // Versions are opaque by contract; where they are no numbers, what comes last counts.
            _ => false,
        };
        if !is_older {
            self.application = application;
        }
    }
}
