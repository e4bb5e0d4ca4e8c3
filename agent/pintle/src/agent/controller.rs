//! The one task that linearises all events.

mod app;
mod asking;
mod claiming;
mod clusters;
mod course;
mod dependencies;
mod handover;
mod looking;
mod starting;
mod warming;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicBool},
};

use futures::{StreamExt as _, stream::SelectAll};
use pintle_cluster::{Application, ResourceEvent};
use pintle_core::{
    application::{ApplicationSpec, ApplicationStatus, ObjectDrift},
    drift::Disputes,
    inventory::Inventory,
    machine::{Event, Millis, RunId, State},
    names::{
        ADOPT_HELM_ANNOTATION, ADOPT_RESTARTS_ANNOTATION, ApplicationName,
        CONFIRM_PRUNE_ANNOTATION, RECONCILE_ANNOTATION, TEST_ANNOTATION,
    },
    object::ObjectId,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::{
    asking::Requests, claiming::Contest, course::Course, dependencies::Standings, handover::Listing,
};
use super::{
    awaited::Awaited,
    fetching::Fetching,
    job::{Applied, Found, Memory, Report, Rules},
    lookups::Lookups,
    moves::{Moved, Moves},
    plugins,
    refused::Refused,
    replicas::{Assignment, Portion, Pushed, has},
    server::Probes,
    shared::Shared,
    sources::{FetchFailure, Fetched, SourceKey, Sources},
    targets::{TargetKey, Targets},
    told::Told,
};
use crate::pipeline::{snapshot::Snapshot, steady_ms};

/// A message from another task to the controller.
pub(crate) enum Message {
    /// A source gave another answer than before, or one that somebody asked for.
    Fetched {
        key: Box<SourceKey>,
        fetched: Box<Fetched>,
        /// The newest look that this answers ([`Sources::look`]).
        looked: u64,
    },
    /// A source gave the same revision as before, which can be read from this snapshot from now on.
    Refetched {
        key: Box<SourceKey>,
        snapshot: Snapshot,
    },
    /// A Plugin resource appeared, changed, broke or was deleted.
    PluginChanged(String),
    /// The fetch of a revision that an application is to roll back to has succeeded or failed.
    FetchedEarlier {
        name: ApplicationName,
        revision: String,
        fetched: Box<Fetched>,
    },
    /// A cluster is connected, or cannot be. The runs for it use this from now on.
    Connected {
        key: Box<TargetKey>,
        shared: Arc<Shared>,
    },
    /// Objects in another cluster have changed.
    Moved {
        key: Box<TargetKey>,
        moves: Arc<Moves>,
    },
    /// Another cluster, or the agent's own, serves other kinds than before.
    Served(Option<Box<TargetKey>>),
    /// Somebody needs fresh answers from sources that may be behind.
    Look(Vec<SourceKey>),
    /// Applications may now have objects that others had.
    Released(Vec<ApplicationName>),
    /// Something that a render of an application read from the cluster has changed.
    LookedUp(ApplicationName),
    /// The time has come at which an application wanted to be woken.
    Woke(ApplicationName),
}

type ApplicationEvent = ResourceEvent<ApplicationSpec, ApplicationStatus>;

/// The controller's knowledge of one application.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is another thing that the next run has to know"
)]
pub(super) struct App {
    pub(super) machine: State,
    pub(super) application: Application,
    /// Whether the status in the cluster may differ from this one: the last run's write of it got no answer.
    is_unsure: bool,
    /// Whether it is suspended, for a run in progress to see.
    is_suspended: Arc<AtomicBool>,
    source: Option<SourceKey>,
    /// The last snapshot from the source.
    fetched: Option<Snapshot>,
    /// Why the source does not answer now.
    failure: Option<FetchFailure>,
    /// Decides which revision runs.
    course: Course,
    /// Which other applications it waits for.
    patience: dependencies::Patience,
    /// Whether something that the render read from the cluster changed during a run. Handled when the run is over.
    pending_lookup: bool,
    /// Whether the cluster began to serve other kinds during a run.
    pending_kinds: bool,
    /// Plugins that changed during a run which may since have asked for them. Handled when the run is over.
    pending_plugins: BTreeSet<String>,
    pub(super) run: Option<(RunId, CancellationToken)>,
    /// The fetches for its renders, which end with the application.
    fetching: Arc<Fetching>,
    memory: Option<Arc<Memory>>,
    /// The state that was applied to the cluster. Its drift is repaired whatever the newest revision waits for.
    applied: Option<Arc<Applied>>,
    /// Whether the run in progress renders with a plugin that has changed since.
    is_render_void: bool,
    pub(super) inventory: Inventory,
    /// Whether all objects were healthy at the end of the last run, or `None` before the first run in their cluster.
    pub(super) healthy: Option<bool>,
    /// Whether objects were out of sight when that was last checked or reported.
    pub(super) is_unseen: bool,
    contest: Contest,
    /// The state of its drift so far.
    pub(super) disputes: Disputes,
    /// The drift that the last run which looked for any has left in place. None of it is news.
    pub(super) told_drift: BTreeMap<ObjectId, ObjectDrift>,
    /// The time for which the next check for drift is scheduled.
    pub(super) drift_timer: Option<Millis>,
    /// The reconciliations that people have requested by annotation.
    requests: Requests,
    /// The value of the annotation that requested the newest tests.
    tests: Option<String>,
    /// The values of the annotations that requested a takeover.
    adopts: [Option<String>; 2],
    /// The value of the annotation that confirmed deletions.
    confirmed: Option<String>,
    /// The render of the last rollout, if the cluster has refused it.
    refused: Option<Refused>,
    /// The render that the last rollout waited for, and since when.
    awaited: Option<Awaited>,
    /// The rules for detecting drift.
    rules: Rules,
    /// What was logged last.
    told: Told,
}

/// Holds the state of all applications and decides what to do about them.
pub(crate) struct Controller {
    pub(super) shared: Arc<Shared>,
    namespaces: Vec<String>,
    probes: Arc<Probes>,
    pub(super) apps: BTreeMap<ApplicationName, App>,
    /// The standing of all applications, for those that wait for others.
    standings: Standings,
    portion: Portion,
    /// This replica's share of the work.
    assigned: Assignment,
    /// Applications that were let go of during one of their runs. The value is the application if it comes back before that run
    /// has ended.
    leaving: BTreeMap<ApplicationName, Option<Application>>,
    sources: Sources,
    pub(super) targets: Targets,
    lookups: Lookups,
    messages: mpsc::Sender<Message>,
    inbox: mpsc::Receiver<Message>,
    runs: JoinSet<Report>,
}

impl Controller {
    pub(crate) fn new(
        shared: Arc<Shared>,
        namespaces: Vec<String>,
        probes: Arc<Probes>,
        portion: Portion,
    ) -> Self {
        let (messages, inbox) = mpsc::channel(1024);
        let sources = Sources::new(Arc::clone(&shared), messages.clone());
        let targets = Targets::new(Arc::clone(&shared), messages.clone());
        let lookups = Lookups::new(messages.clone());
        shared.claims.connect(messages.clone());
        let (apps, runs) = (BTreeMap::new(), JoinSet::new());
        Self {
            shared,
            namespaces,
            probes,
            apps,
            standings: Standings::default(),
            portion,
            assigned: Assignment::default(),
            leaving: BTreeMap::new(),
            sources,
            targets,
            lookups,
            messages,
            inbox,
            runs,
        }
    }

    /// Works until it is told to stop, then brings runs in progress to a safe point.
    pub(crate) async fn run(
        mut self,
        mut pushes: mpsc::Receiver<Pushed>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let plugins = self.start_plugins(&stop).await;
        self.portion.join();
        // Nothing is watched before it is known what to work on.
        let mut applications = SelectAll::new();
        let mut listing = Listing::default();
        let mut tracked = self.shared.tracker.subscribe();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.portion.changed() => {
                    if self.reassigned() {
                        // The new watch lists the applications that were left out until now. None of them is kept in the
                        // meantime.
                        applications = self.watch_applications();
                        listing = Listing::of(self.namespaces.len().max(1));
                    }
                }
                Some((watch, event)) = applications.next() => {
                    if listing.is_complete_after(watch, &event) {
                        self.listed(&std::mem::take(&mut listing));
                    }
                    self.application(event);
                }
                Some(message) = self.inbox.recv() => self.message(message),
                Some(moved) = Moved::next(&mut tracked) => self.tracked(moved),
                Some(repositories) = pushes.recv() => self.sources.pushed(&repositories),
                Some(report) = self.runs.join_next() => match report {
                    Ok(report) => self.finished(report),
                    // This is a bug in the agent. A restart begins from the state in the cluster.
                    Err(crash) => return Err(anyhow::Error::new(crash).context("a run crashed")),
                },
            }
        }
        plugins.abort();
        self.drain().await;
        Ok(())
    }

    /// Follows Plugins, and waits until the existing ones have been tried. An application must not first run with a built-in
    /// plugin only because a Plugin resource of that name has not been read yet.
    async fn start_plugins(&self, stop: &CancellationToken) -> tokio::task::AbortHandle {
        let (ready, are_ready) = oneshot::channel();
        let following = plugins::follow(
            Arc::clone(&self.shared),
            self.messages.clone(),
            self.portion.follow(),
            ready,
        );
        let task = tokio::spawn(following).abort_handle();
        tokio::select! {
            _ = are_ready => {}
            () = stop.cancelled() => {}
        }
        task
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
                self.take_up_no_more(&name);
                self.went(&name);
                self.release_dependents(&name);
            }
            ResourceEvent::Complete | ResourceEvent::Resumed => {}
            ResourceEvent::Failed { text, .. } => {
                tracing::warn!(
                    reason = text,
                    "Applications cannot be watched; it is tried again"
                );
            }
        }
    }

    fn seen(&mut self, application: Application) {
        let name = application.application_name();
        if self.is_left_alone(&application) {
            return;
        }
        if self
            .apps
            .get(&name)
            .is_some_and(|app| app.application.uid != application.uid)
        {
            // It was deleted and created again while nobody watched.
            self.gone(&name);
            self.deleted(&name);
            if self.is_left_alone(&application) {
                return;
            }
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
        let is_request = app.requests.hear(requested);
        let is_confirmation = confirmed.is_some() && confirmed != app.confirmed;
        app.confirmed = confirmed;
        let is_test = tests.is_some() && tests != app.tests;
        app.tests = tests;
        let is_adoption = adopts != app.adopts;
        app.adopts = adopts;
        self.follow_cluster(&name);
        self.follow_claims(&name);
        self.follow_source(&name);
        self.warm_up(&name);
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
            self.leaving.insert(name.clone(), None);
        }
        if let Some(source) = &app.source {
            self.sources.leave(name, source);
        }
        self.lookups.forget(name);
        self.forget(name);
        self.targets.leave(name);
        self.shared.claims.forget(name);
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Fetched {
                key,
                fetched,
                looked,
            } => {
                if !self.sources.is_of_now(&key, looked) {
                    return;
                }
                let mut names = self.sources.fetched(&key, &fetched);
                names.retain(|name| self.is_recent(name, looked));
                self.outdate(&names, &fetched);
                for name in names {
                    let is_answer = self.is_answer(&name, looked);
                    self.fetched(&name, (*fetched).clone());
                    if is_answer {
                        self.step(&name, Event::Requested);
                    }
                }
                self.told(&key, &fetched);
            }
            Message::Refetched { key, snapshot } => self.refetched(&key, &snapshot),
            Message::Look(sources) => self.look_at(&sources),
            Message::Released(names) => self.retry_contested(&names),
            Message::FetchedEarlier {
                name,
                revision,
                fetched,
            } => self.fetched_earlier(&name, &revision, *fetched),
            Message::PluginChanged(plugin) => self.plugin_changed(plugin),
            Message::LookedUp(name) => self.looked_up(&name),
            Message::Served(key) => self.served(key.as_deref()),
            Message::Woke(name) => {
                self.step(&name, Event::Woke { now: steady_ms() });
                self.look_for_drift(&name);
            }
            Message::Connected { key, shared } => self.connected(&key, shared),
            Message::Moved { key, moves } => self.moved(&key, moves.take()),
        }
    }

    fn finished(&mut self, report: Report) {
        let Report {
            name,
            run,
            is_rollout,
            outcome,
            application,
            is_unsure,
            repaired_for,
            found:
                Found {
                    inventory,
                    memory,
                    asked,
                    applied,
                    healthy,
                    is_unseen,
                    has_left,
                    is_contested,
                    is_held,
                    drift,
                    came_to,
                    trial,
                    has_superseded,
                    wants_fetch,
                },
            shared,
            refused,
            awaited,
            rules,
            told,
        } = report;
        if self.has_left(&name, &shared) {
            return;
        }
        let Some(app) = self.apps.get_mut(&name) else {
            return;
        };
        // An Application that was deleted and created again has runs of its own, and their numbers start again.
        let is_current = app.run.as_ref().is_some_and(|(current, _)| *current == run);
        if !is_current || app.application.uid != application.uid {
            return;
        }
        app.run = None;
        // If the application is for another cluster by now, it no longer uses what the run used.
        let now = self.targets.of(&name);
        let is_here = now.is_some_and(|now| Arc::ptr_eq(&now, &shared));
        if !is_here {
            shared.tracker.forget(&name);
        }
        app.update(application);
        app.is_unsure = is_unsure;
        let is_void = std::mem::take(&mut app.is_render_void);
        app.memory = memory.filter(|_| !is_void);
        let looked_up = app.take_lookup();
        let plugins = std::mem::take(&mut app.pending_plugins);
        if let Some(inventory) = inventory {
            app.inventory = inventory;
        }
        app.applied = applied.or(app.applied.take());
        app.healthy = healthy.filter(|_| is_here).or(app.healthy);
        app.is_unseen |= is_unseen;
        app.rules = rules;
        app.told = told;
        app.patience.settle(outcome, is_held);
        if let Some(request) = repaired_for {
            app.requests.repaired(&request);
        }
        if is_rollout {
            app.contest.is_refused = is_contested;
            (app.refused, app.awaited) = (refused, awaited);
        }
        if has_superseded {
            app.course.supersede();
        }
        if let Some((revision, whole)) = came_to {
            app.course.found_render(&revision, whole);
        }
        let released = std::mem::take(&mut app.contest.is_released);
        if let Some(drift) = drift {
            self.learn_drift(&name, drift);
        }
        // The lookups of the newest render are followed, whatever else is done meanwhile. A run without a render leaves them
        // alone: the watch that reported a change would only find the same change again and start another such run, for ever.
        if let Some(asked) = asked {
            self.follow_lookups(&name, asked);
        }
        self.step(
            &name,
            Event::Finished {
                run,
                outcome,
                now: steady_ms(),
            },
        );
        if let Some(trial) = trial {
            self.tried(&name, &trial);
        }
        if wants_fetch {
            self.fetch_again(&name);
        }
        if looked_up {
            self.render_again(&name);
        }
        self.plugins_changed(&name, &plugins);
        self.look_for_drift(&name);
        self.release_dependents(&name);
        self.settle_claims(&name, released, has_left);
    }

    /// Feeds an event to an application's state machine and performs the effects that it returns.
    pub(super) fn step(&mut self, name: &ApplicationName, event: Event) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        // A run in progress will have something to render after it.
        if let Event::Revision(revision) | Event::Steered(revision) = &event
            && app.run.is_some()
        {
            self.shared.claims.hear(name, revision);
        }
        let (machine, effects) = app.machine.clone().step(event);
        app.machine = machine;
        for effect in effects {
            self.perform(name, effect);
        }
    }
}
