//! From a revision to a healthy cluster.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use pintle_cluster::{InventoryStore as _, PrepareError, Prepared, Release, StatusStore, Waits};
use pintle_core::{
    application::{ApplicationSpec, ApplicationStatus, NotifierUse, Standing},
    causes::chain,
    digest::Digest,
    event::Reason,
    machine::{Cause, Outcome, Retry},
    object::ObjectId,
    rendered::Rendered,
    revision::{Revision, short},
    tree::Tree,
};
use pintle_host::{Context, Facts};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Stopped,
    failures::{folder, plugin_failed, prepare_failed, settings_failed},
    inputs::ForRun,
    memory::plugins_of,
    release,
    slot::Slot,
    status_before, targets,
};
use crate::{
    agent::{
        awaited::Awaited,
        chronicle::Tried,
        claims::RunClaims,
        job::{Applied, Found, Job, Memory, Report, Trial, Work},
        logins::FromSecret,
        lookups::Asked,
        metrics::{ApplicationLabels, OutcomeLabels},
        reasons,
        refused::Refused,
        report::{self, Learned, Stands, Verdict},
        shared::Shared,
    },
    pipeline::{
        cluster::PluginReader,
        health::Judges,
        inputs::Surroundings,
        render::{self, RenderError},
        settings,
        snapshot::Snapshot,
    },
};

/// A run and its results so far.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) job: Job,
    pub(super) cancel: CancellationToken,
    pub(super) before: ApplicationStatus,
    pub(super) learned: Learned,
    pub(super) notifiers: Vec<NotifierUse>,
    pub(super) found: Found,
    /// The claims of others.
    pub(super) claims: Option<Arc<RunClaims>>,
    /// Objects that were refused because other applications have them.
    pub(super) contested: BTreeSet<ObjectId>,
    /// Whether anything may have been written to the cluster.
    pub(super) has_begun: bool,
    /// Whether the cluster has refused the revision for too long.
    pub(super) is_overdue: bool,
    /// Whether the cluster has refused objects.
    pub(super) is_refused: bool,
    /// What the cluster refuses, and has refused before.
    pub(super) refused: Option<Refused>,
    /// What this run waits for, or the one before has waited for.
    pub(super) awaited: Option<Awaited>,
}

pub(super) async fn run(shared: Arc<Shared>, job: Job, cancel: CancellationToken) -> Report {
    let started = std::time::Instant::now();
    let name = job.application.application_name();
    let mut run = Run {
        before: status_before(&job.application),
        learned: Learned {
            requested: answered(&job).cloned(),
            rollback: job.rollback.clone(),
            rollback_answer: job.rollback_answer.clone(),
            ..Learned::default()
        },
        notifiers: job
            .memory
            .as_ref()
            .map(|memory| memory.notifiers.clone())
            .or_else(|| Some(job.application.spec.as_ref().ok()?.notifiers.clone()))
            .unwrap_or_default(),
        found: Found::remembering(job.memory.clone()),
        claims: None,
        contested: BTreeSet::new(),
        has_begun: false,
        is_overdue: false,
        is_refused: false,
        refused: job.refused.clone(),
        awaited: job.awaited.clone(),
        shared,
        job,
        cancel,
    };
    let outcome = Box::pin(run.go()).await;
    let label = match outcome {
        Outcome::Done => "done",
        Outcome::Cancelled => "cancelled",
        Outcome::Failed(Retry::Backoff) => "retrying",
        Outcome::Failed(Retry::OnChange) => "stalled",
    };
    let metrics = &run.shared.metrics;
    metrics
        .runs
        .get_or_create(&OutcomeLabels { outcome: label })
        .inc();
    metrics
        .run_seconds
        .get_or_create(&OutcomeLabels { outcome: label })
        .observe(started.elapsed().as_secs_f64());
    let labels = ApplicationLabels::of(&name);
    let is_wanted = run.is_rollout() && run.learned.rollback.is_none() && run.job.failure.is_none();
    let is_well = run.found.healthy != Some(false) && !run.found.is_unseen;
    let is_ready = outcome == Outcome::Done && is_well && is_wanted;
    metrics
        .ready
        .get_or_create(&labels)
        .set(i64::from(is_ready));
    if let Some(inventory) = &run.found.inventory {
        metrics
            .objects
            .get_or_create(&labels)
            .set(i64::try_from(inventory.managed().count()).unwrap_or(i64::MAX));
    }
    Report {
        name,
        run: run.job.run,
        is_rollout: run.is_rollout(),
        outcome,
        application: run.job.application,
        is_unsure: run.job.is_unsure,
        repaired_for: run.job.repairs_for.filter(|_| outcome == Outcome::Done),
        found: Found {
            is_contested: !run.contested.is_empty(),
            ..run.found
        },
        shared: run.shared,
        // A run that was stopped has no other result.
        refused: run
            .refused
            .filter(|_| run.is_refused || outcome == Outcome::Cancelled),
        awaited: run.awaited,
        rules: run.job.rules,
        told: run.job.told,
    }
}

/// Returns the request for a reconciliation that a run answers. A person who asks wants what is wanted now, and not what was
/// wanted before, which is what a guard looks after.
fn answered(job: &Job) -> Option<&String> {
    let is_guard = matches!(job.work, Work::Guard { .. });
    job.requested.as_ref().filter(|_| !is_guard)
}

/// What a run has when its objects are known.
pub(super) struct Ready {
    pub(super) spec: ApplicationSpec,
    pub(super) release: Release,
    pub(super) prepared: Prepared,
    pub(super) context: Context,
    pub(super) revision: Revision,
}

impl Run {
    async fn go(&mut self) -> Outcome {
        let name = self.job.application.application_name();
        let slots = &self.shared.slots;
        let Some(slot) = Slot::take(slots, &name.namespace, &self.cancel).await else {
            return self.stop(Stopped::cancelled()).await;
        };
        if let Err(stopped) = Box::pin(self.hold()).await {
            return self.stop(stopped).await;
        }
        if matches!(self.job.work, Work::Guard { .. }) {
            return Box::pin(self.guard(slot)).await;
        }
        let spec = match &self.job.application.spec {
            Ok(spec) => spec.clone(),
            Err(error) => {
                return self
                    .stop(Stopped::blocked(reasons::INVALID_SPEC, error.to_string()))
                    .await;
            }
        };
        let away = self.job.failure.as_ref().map(|failure| {
            // The source is asked again at its own pace. A new answer starts a new run.
            Verdict::failed(Standing::Retrying, Reason::SourceFailed, &failure.message)
        });
        let Work::Converge { snapshot, cause } = &self.job.work else {
            return self.stop(Stopped::with(Outcome::Done, away)).await;
        };
        let (snapshot, cause) = (snapshot.clone(), *cause);
        self.learned.stands = away.map(Stands::Away);
        self.learned.attempted = Some(snapshot.revision().commit.clone());
        self.learned.tried = Some(Tried::of(&self.job, cause, snapshot.revision()));
        let revision = snapshot.revision().commit.clone();
        self.claims = Some(RunClaims::new(&self.shared.claims, &name, Some(revision)));
        match Box::pin(self.prepare(spec, &snapshot, cause, &slot)).await {
            Ok(Some((ready, rendered))) => {
                let held = self.held_up(&ready);
                self.claim(&ready, held.is_some());
                match held {
                    Some(stopped) => self.stop(stopped).await,
                    None => Box::pin(self.converge(ready, rendered, slot)).await,
                }
            }
            Ok(None) => Outcome::Done,
            Err(stopped) => {
                self.found.wants_fetch = stopped.copy_is_broken;
                let stopped = self.held_up_as_well(stopped);
                self.stop(stopped).await
            }
        }
    }

    /// Renders the objects and prepares them. Returns `None` if the revision changes nothing that the last render read and the
    /// application has converged to that render, or if the result is the same as what was rolled back from.
    async fn prepare(
        &mut self,
        spec: ApplicationSpec,
        snapshot: &Snapshot,
        cause: Cause,
        slot: &Slot,
    ) -> Result<Option<(Ready, Rendered)>, Stopped> {
        let shared = Arc::clone(&self.shared);
        let mut release = release(&shared, &self.job.application, &spec)?;
        release.claims = self.claims.clone().map(|claims| claims as _);
        targets::record(&mut self.before, &spec);
        let folder = self.cancel.run_until_cancelled(folder(&spec, snapshot));
        let (path, tree) = folder.await.ok_or_else(Stopped::cancelled)??;
        let surroundings = Surroundings::Revision {
            snapshot: snapshot.clone(),
            path,
        };
        let revision = snapshot.revision();
        let context = self.context(&release, revision);
        let context = context.await?;
        let facts = Facts {
            context: context.clone(),
            seed: release.seed.clone(),
        };
        let remembered = self
            .remembered(&*tree, facts, &surroundings, &release, cause)
            .await;
        self.found.asked = remembered.as_deref().map(Memory::asked);
        if remembered.is_some() {
            // This run asks for nothing, and nobody wants the fetch any more that another run has left in progress.
            self.job.fetching.end();
        }
        if let Some(memory) = &remembered
            && cause == Cause::Revision
            && self.job.left.is_none()
            && self.was_converged_to(memory.rendered.digest())
            && self.is_answered()
        {
            tracing::debug!(application = %release.application, "nothing that was read has changed");
            self.found.memory = remembered;
            self.learn_render();
            self.found.trial = self.learned.attempted.clone().map(Trial::Unchanged);
            self.shared
                .metrics
                .renders
                .get_or_create(&OutcomeLabels { outcome: "reused" })
                .inc();
            return Ok(None);
        }
        let remembered =
            remembered.and_then(|memory| Some((memory.spec.clone(), memory.rendered.unpack()?)));
        let (spec, rendered) = match remembered {
            Some(remembered) => remembered,
            None => {
                self.render(spec, tree, surroundings, context.clone(), &release, slot)
                    .await?
            }
        };
        self.learn_render();
        if self.is_as_left() {
            tracing::debug!(application = %release.application, "it comes to what was gone back from");
            return Ok(None);
        }
        self.learned.rendered = Some(rendered.digest());
        release.waits = self.waits(rendered.digest(), cause);
        let revision = revision.clone();
        let ready = self
            .ready(release, spec, &rendered, context, revision)
            .await?;
        Ok(Some((ready, rendered)))
    }

    /// Returns since when a render is waited for. The wait begins anew if somebody asked for the render, or if settings or
    /// plugins have changed.
    fn waits(&self, rendered: Digest, cause: Cause) -> Waits {
        let is_asked = matches!(cause, Cause::Settings | Cause::Request) || self.is_requested();
        let before = self.awaited.as_ref().filter(|_| !is_asked);
        Awaited::waits(before, rendered, self.job.application.generation)
    }

    /// Returns whether a request for a reconciliation has no answer yet.
    fn is_requested(&self) -> bool {
        self.job.requested != self.before.last_handled_reconcile
    }

    /// Records that the rollout of a render begins.
    pub(super) fn begin(&mut self, release: &Release) {
        self.has_begun = true;
        self.job.rules.recorded = Some(release.drift.clone());
        let generation = self.job.application.generation;
        self.awaited = self.learned.rendered.map(|rendered| Awaited {
            rendered,
            generation,
            waits: release.waits.clone(),
        });
    }

    /// Returns where the render of a revision goes.
    pub(super) async fn context(
        &self,
        release: &Release,
        revision: &Revision,
    ) -> Result<Context, Stopped> {
        let kinds = self.shared.cluster.discovery().kinds().await;
        let kinds = kinds.map_err(|error| {
            let message = chain(&error);
            Stopped::failed(Reason::ApplyFailed, Retry::Backoff, message)
        })?;
        Ok(Context {
            name: release.application.name.clone(),
            namespace: release.namespace.clone(),
            kube_version: self.shared.kube_version.clone(),
            api_versions: kinds.api_versions(),
            revision: revision.commit.clone(),
            revision_time: revision.time,
        })
    }

    /// Prepares a render for the cluster.
    pub(super) async fn ready(
        &mut self,
        mut release: Release,
        spec: ApplicationSpec,
        rendered: &Rendered,
        context: Context,
        revision: Revision,
    ) -> Result<Ready, Stopped> {
        release.namespace = spec.namespace.clone().unwrap_or(release.namespace);
        self.set_drift_rules(&mut release, &spec);
        let prepared = self.shared.cluster.prepare(rendered, &release).await;
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.is_refused |= matches!(error, PrepareError::UnknownKind(_));
                let claimed = self.claim_unfit(&release, rendered, &context.revision);
                Box::pin(claimed).await;
                return Err(prepare_failed(error));
            }
        };
        Ok(Ready {
            spec,
            release,
            prepared,
            context,
            revision,
        })
    }

    /// Returns whether the run is about the wanted revision.
    pub(super) fn is_rollout(&self) -> bool {
        matches!(self.job.work, Work::Converge { .. })
    }

    async fn render(
        &mut self,
        spec: ApplicationSpec,
        tree: Arc<dyn Tree>,
        surroundings: Surroundings,
        mut context: Context,
        release: &Release,
        slot: &Slot,
    ) -> Result<(ApplicationSpec, Rendered), Stopped> {
        let failed =
            |message: String| Stopped::failed(Reason::RenderFailed, Retry::OnChange, message);
        let (spec, prior) = settings::complete(spec, &*tree).map_err(settings_failed)?;
        self.notifiers.clone_from(&spec.notifiers);
        if let Some(namespace) = &spec.namespace {
            context.namespace.clone_from(namespace);
        }
        let catalog = self.shared.catalog.within(&release.application.namespace);
        let judges = Judges::find(&catalog, &spec.health, &release.seed)
            .await
            .map_err(plugin_failed)?;
        if self.shared.judges.put(&release.application, judges) {
            // Done whatever the run is for: a commit may bring other checks, and another commit may supersede a change to them.
            self.shared.tracker.reassess(&release.application);
        }
        let home = self
            .shared
            .accounts
            .of(&release.application, spec.service_account_name.as_deref());
        let request = render::Request {
            renderer: spec.renderer.as_ref(),
            tree,
            context,
            seed: &release.seed,
            prior,
            inputs: &ForRun {
                way: FromSecret {
                    shared: &self.shared,
                    namespace: &release.application.namespace,
                    account: home.as_ref().ok(),
                    secret: spec.inputs.credentials.as_ref(),
                    surroundings: &surroundings,
                    is_asked: self.is_requested(),
                },
                fetching: &self.job.fetching,
                slot,
                cancel: &self.cancel,
            },
            cluster: Some(Arc::new(PluginReader(
                self.shared
                    .cluster
                    .reader_for(release.account.as_ref())
                    .map_err(|error| failed(chain(&error)))?,
            ))),
        };
        let fetched = Instant::now();
        let outcome = render::render(&catalog, request).await;
        if !matches!(outcome, Err(RenderError::Cancelled)) {
            // The run's own fetch has ended, and it did not ask for the one that another run has left in progress.
            self.job.fetching.end();
        }
        let outcome = outcome.map_err(|error| {
            let reads = error.looked_up();
            self.found.asked = reads.map(|reads| Asked::of(reads, release.account.as_ref(), None));
            plugin_failed(error)
        })?;
        self.shared
            .metrics
            .renders
            .get_or_create(&OutcomeLabels {
                outcome: "rendered",
            })
            .inc();
        tracing::debug!(application = %release.application, key = %outcome.key, reads = outcome.reads.len(), "rendered");
        for warning in outcome.rendered.warnings() {
            tracing::warn!(application = %release.application, "{warning}");
        }
        self.found.memory = Some(Arc::new(Memory {
            generation: self.job.application.generation,
            rendered: outcome.rendered.pack(),
            reads: outcome.reads,
            account: release.account.clone(),
            fetched,
            plugins: plugins_of(&spec, &outcome.renderer),
            notifiers: spec.notifiers.clone(),
            spec: spec.clone(),
        }));
        self.found.asked = self.found.memory.as_deref().map(Memory::asked);
        Ok((spec, outcome.rendered))
    }

    /// Adds the finalizer to an Application that is seen for the first time, long before its first object is created. That saves
    /// one request at the time when speed matters.
    async fn hold(&mut self) -> Result<(), Stopped> {
        let known = &self.job.application;
        if known.has_finalizer() {
            return Ok(());
        }
        if known.deleting || self.cancel.is_cancelled() {
            return Err(Stopped::cancelled());
        }
        let held = self.shared.applications.add_finalizer(known).await;
        let held = held.map_err(|error| {
            let message = chain(&error);
            Stopped::failed(Reason::ApplyFailed, Retry::Backoff, message)
        })?;
        // The run was begun for the earlier spec. The watch will report this one.
        let is_another = held.generation != known.generation || held.deleting;
        self.job.application = held;
        if is_another {
            return Err(Stopped::cancelled());
        }
        Ok(())
    }

    /// Brings the cluster from objects to health.
    ///
    /// A thousand of these may wait for health at once. Each holds little meanwhile: whatever is over by then, or comes after the
    /// wait, is boxed and so not part of the future, and the objects are dropped.
    pub(super) async fn converge(
        &mut self,
        mut ready: Ready,
        rendered: Rendered,
        slot: Slot,
    ) -> Outcome {
        let mut store = match self.store(&ready) {
            Ok(store) => store,
            Err(stopped) => return self.stop(stopped).await,
        };
        let applying = Box::pin(self.apply(&ready, rendered, &mut store, &slot));
        let applied = match applying.await {
            Ok(applied) => applied,
            Err(stopped) => {
                self.found.inventory = Some(store.inventory().clone());
                self.claim_no_more(&ready, store.inventory(), stopped.outcome);
                // The repairs were not made, or not all of them.
                (self.found.drift, self.learned.drift) = (None, None);
                if !self.is_rollout() {
                    Box::pin(self.leave_drift(store.inventory(), &stopped)).await;
                }
                return self.stop_with(store, stopped).await;
            }
        };
        // Waiting for health costs nothing, so it needs no slot.
        drop(slot);
        let drifted = &applied.drifted;
        let repairs = drifted.iter().filter(|object| !object.is_left).count();
        self.count_repairs(&ready.release.application, repairs);
        Box::pin(self.tell_drift(store.application(), drifted)).await;
        self.found.inventory = Some(applied.inventory.clone());
        if self.is_rollout() {
            self.learned.applied = Some(ready.revision.commit.clone());
            self.found.applied = self.found.memory.clone().map(|memory| {
                Arc::new(Applied {
                    memory,
                    revision: ready.revision.clone(),
                })
            });
        }
        if !self.needs_objects() {
            ready.prepared.forget_objects();
        }
        let waited = self.wait(&ready, &applied, &mut store).await;
        let ended = match waited {
            Ok(verdict) if self.found.healthy == Some(true) && self.is_rollout() => {
                let completed = Box::pin(self.complete(&ready, &mut store)).await;
                completed.map(|()| verdict)
            }
            waited => waited,
        };
        let verdict = match ended {
            Ok(verdict) => verdict,
            Err(stopped) => return self.stop_with(store, stopped).await,
        };
        Box::pin(self.finish(store, &verdict, Outcome::Done)).await
    }

    fn store(&self, ready: &Ready) -> Result<StatusStore, Stopped> {
        let store = StatusStore::new(
            self.shared.applications.clone(),
            self.job.application.clone(),
            self.underway(ready),
        );
        store.map_err(|error| Stopped::blocked(reasons::INVENTORY_UNUSABLE, chain(&error)))
    }

    /// Returns the status while objects are being written.
    pub(super) fn underway(&self, ready: &Ready) -> ApplicationStatus {
        let message = format!("applying {}", short(&ready.revision.commit));
        let verdict = working(reasons::APPLYING, message);
        let generation = self.job.application.generation;
        report::status(&self.before, generation, &self.learned, &verdict)
    }
}

pub(super) fn working(reason: &str, message: String) -> Verdict {
    Verdict {
        standing: Standing::Working,
        reason: reason.to_owned(),
        message,
        event: None,
        details: json!({}),
    }
}
