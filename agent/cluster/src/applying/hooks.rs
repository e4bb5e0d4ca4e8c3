//! The hooks of one event, run one after the other.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use pintle_core::{
    check::Approved,
    health::Status,
    hook::{HookEvent, HookOutcome, HookState, completes, progress, trouble},
    inventory::{Entry, Inventory},
    names::HOOK_RUN_ANNOTATION,
    object::ObjectId,
    plan::Summary,
    release::{HookRun, ReleaseRecord, order},
    stage::{Effect, Event, Sighting, Stage},
};
use serde_json::Value;
use tokio::sync::watch;

use super::{Applied, Applier, ApplyError, Run, Step};
use crate::{
    awaiting,
    departure::Departure,
    objects::{Mode, Preconditions},
    ownership::may_run_hook,
    prepare::{PreparedObject, annotated, is_definition},
    rejection::{ObjectFailure, WriteError},
    removal_hooks,
    store::InventoryStore,
    tracker::{SOONEST, until},
};

/// Why a hook is abandoned.
enum Stop {
    /// The run was asked to stop.
    Cancelled,
    /// A request or a hook failed.
    Failed(usize, WriteError),
    /// A success could not be recorded.
    Unkept,
}

/// One run of a hook, with its object.
type Planned<'a> = (HookRun, &'a PreparedObject);

impl Applier<'_> {
    /// Finishes a release whose objects are healthy: runs the hooks of the event after it, and records that all is done.
    pub(crate) async fn complete(
        &self,
        inventory: Inventory,
        store: &mut dyn InventoryStore,
    ) -> Result<Applied, ApplyError> {
        let mut run = Run::new(inventory);
        let open = |record: &&ReleaseRecord| !record.completed;
        let after = run.inventory.release.as_ref().filter(open);
        if let Some(event) = after.map(|record| record.operation.after()) {
            if self.has_hooks(event) {
                self.run_hooks(event, &mut run, store).await;
            }
            if run.is_well()
                && let Some(record) = &mut run.inventory.release
            {
                record.complete();
            }
        }
        run.finish_with(store, Summary::default()).await
    }

    /// Runs the tests, if the plan has any.
    pub(crate) async fn test(
        &self,
        approved: &Approved,
        inventory: Inventory,
        store: &mut dyn InventoryStore,
    ) -> Result<Applied, ApplyError> {
        let mut run = Run::new(inventory);
        let before = run.inventory.release.clone();
        let changes = approved.plan().changes();
        if changes
            .iter()
            .any(|change| change.hook.contains(&HookEvent::Test))
        {
            self.run_hooks(HookEvent::Test, &mut run, store).await;
        }
        // The next request has no use for their success.
        run.inventory.release = before;
        run.finish_with(store, Summary::default()).await
    }

    /// Returns whether any hook is rendered for an event.
    pub(super) fn has_hooks(&self, event: HookEvent) -> bool {
        let mut hooks = self.prepared.hooks().iter();
        hooks.any(|object| object.is_hook_of(event))
    }

    fn runs(&self, event: HookEvent, record: &ReleaseRecord) -> Vec<Planned<'_>> {
        let hooks = self.prepared.hooks().iter();
        let mut runs: Vec<Planned<'_>> = hooks
            .filter(|object| object.is_hook_of(event))
            .filter_map(|object| {
                let run = HookRun {
                    id: object.id().clone(),
                    hook: object.hook.clone()?,
                    ticket: record.ticket(event, object.id(), object.desired, self.attempt),
                };
                Some((run, object))
            })
            .collect();
        runs.sort_by(|(one, _), (other, _)| order((&one.hook, &one.id), (&other.hook, &other.id)));
        runs
    }

    /// Runs the hooks of an event that have not succeeded yet. The outcome is in `run`.
    pub(super) async fn run_hooks(
        &self,
        event: HookEvent,
        run: &mut Run,
        store: &mut dyn InventoryStore,
    ) {
        let Some(record) = run.inventory.release.clone().filter(|_| run.is_well()) else {
            return;
        };
        let runs = self.runs(event, &record);
        self.progress.step(Step::Hooks {
            event,
            count: runs.len(),
        });
        let is_due = |(hook, _): &&Planned<'_>| !record.succeeded.contains(&hook.ticket);
        let mut is_new = false;
        for (hook, object) in runs.iter().filter(is_due) {
            if run.inventory.get(&hook.id).is_none() {
                run.inventory.insert(intended(object));
                is_new = true;
            }
        }
        if is_new {
            run.keep_now(store).await;
        }
        if !run.is_well() {
            return;
        }
        match self.drive(event, &runs, record, run, store).await {
            // The run already holds what could not be kept.
            Ok(()) | Err(Stop::Unkept) => {}
            Err(Stop::Cancelled) => run.cancelled = true,
            Err(Stop::Failed(index, error)) => {
                let (hook, object) = &runs[index];
                self.progress.step(Step::Failed {
                    id: &hook.id,
                    error: &error,
                });
                run.failures.push(ObjectFailure {
                    id: hook.id.clone(),
                    position: object.source.clone(),
                    error,
                });
            }
        }
    }

    /// Carries out the stage's effects until it is over.
    async fn drive(
        &self,
        event: HookEvent,
        runs: &[Planned<'_>],
        record: ReleaseRecord,
        run: &mut Run,
        store: &mut dyn InventoryStore,
    ) -> Result<(), Stop> {
        let hooks = runs.iter().map(|(hook, _)| hook.clone()).collect();
        let mut stage = Stage::new(hooks, record.succeeded);
        loop {
            let effect = stage.effect();
            // A success is always recorded: otherwise the hook would run again.
            if self.cancel.is_cancelled() && !matches!(effect, Effect::Record(_)) {
                return Err(Stop::Cancelled);
            }
            let failed = |index| move |error| Stop::Failed(index, error);
            let answer = match effect {
                Effect::Look(at) => {
                    let entry = run.inventory.get(&runs[at].0.id).cloned();
                    let sighting = self.look(&runs[at], entry.as_ref()).await;
                    Event::Found(sighting.map_err(failed(at))?)
                }
                Effect::Delete(at) => {
                    self.clear(&runs[at], None).await.map_err(failed(at))?;
                    run.inventory.insert(intended(runs[at].1));
                    Event::Gone
                }
                Effect::Make(at) => {
                    let entry = self.make(&runs[at]).await.map_err(failed(at))?;
                    run.inventory.insert(entry);
                    Event::Made
                }
                Effect::Await(at) => Event::Ended(self.wait(event, &runs[at]).await?),
                Effect::Record(at) => {
                    if let Some(record) = &mut run.inventory.release {
                        record.succeeded.insert(runs[at].0.ticket);
                    }
                    run.keep_now(store).await;
                    if !run.is_well() {
                        return Err(Stop::Unkept);
                    }
                    Event::Recorded
                }
                Effect::CleanUp(at) => {
                    let hook = &runs[at].0;
                    if run.inventory.get(&hook.id).is_some() {
                        let cleared = self.clear(&runs[at], Some(hook)).await;
                        cleared.map_err(failed(at))?;
                        run.inventory.remove(&hook.id);
                    }
                    Event::Gone
                }
                Effect::Succeeded => return Ok(()),
                Effect::Failed(at, reason) => {
                    return Err(Stop::Failed(at, WriteError::HookFailed { event, reason }));
                }
            };
            stage = stage.step(answer);
        }
    }

    async fn look(
        &self,
        (hook, object): &Planned<'_>,
        entry: Option<&Entry>,
    ) -> Result<Sighting, WriteError> {
        let live = match self.connection.read(&object.resource, &hook.id).await {
            // Its definition came with this plan, and will be served shortly.
            Err(error) if error.is_unserved() && self.is_of_new_kind(&hook.id) => None,
            live => live.map_err(|error| self.hook_error(error, object))?,
        };
        let Some(live) = live else {
            return Ok(Sighting::Absent);
        };
        may_run_hook(&live, self.release, object, entry).await?;
        Ok(Sighting::Present {
            ticket: ticket_of(&live),
            state: progress(&hook.id, &live).unwrap_or(HookState::Succeeded),
        })
    }

    /// Deletes whatever is in the place of a hook's object, and waits until it is gone. With `of_run`, deletes it only if that
    /// run created it.
    async fn clear(
        &self,
        (hook, object): &Planned<'_>,
        of_run: Option<&HookRun>,
    ) -> Result<(), WriteError> {
        let live = self.connection.read(&object.resource, &hook.id).await;
        let Some(live) = live.map_err(|error| self.hook_error(error, object))? else {
            return Ok(());
        };
        if of_run.is_some_and(|run| ticket_of(&live) != Some(run.ticket)) {
            return Ok(());
        }
        let preconditions = Preconditions::of_any_state(&live);
        let deleted = self
            .connection
            .delete_with_dependents(&object.resource, &hook.id, &preconditions)
            .await;
        if !deleted.map_err(|error| self.hook_error(error, object))? {
            return Ok(());
        }
        let departure = if of_run.is_some() {
            Departure::AfterHook
        } else {
            Departure::Renewal
        };
        let uid = preconditions.uid.as_deref();
        self.gone(departure, &object.resource, &hook.id, uid)
            .await?;
        self.progress.step(Step::Deleted { id: &hook.id });
        Ok(())
    }

    async fn make(&self, (hook, object): &Planned<'_>) -> Result<Entry, WriteError> {
        self.release.waits.ended(&hook.id);
        let payload = annotated(&object.object, HOOK_RUN_ANNOTATION, hook.ticket);
        // Ownership was checked before.
        let mode = Mode {
            force: true,
            dry_run: false,
        };
        let live = self
            .put_payload(&hook.id, &object.resource, &payload, mode)
            .await
            .map_err(|error| self.hook_error(error, object))?;
        if is_definition(&hook.id) {
            self.establish(&hook.id, &object.resource, live.clone())
                .await?;
        }
        Ok(Entry {
            uid: live["metadata"]["uid"].as_str().map(ToOwned::to_owned),
            ..intended(object)
        })
    }

    /// Waits until a hook has ended, and reports it.
    async fn wait(
        &self,
        event: HookEvent,
        planned: &Planned<'_>,
    ) -> Result<Result<(), String>, Stop> {
        let (hook, object) = planned;
        let (limit, waits) = (self.release.hook_timeout.get(), &self.release.waits);
        let left = waits.left_for(&hook.id, limit, Instant::now());
        let ended = if completes(&hook.id) {
            self.completion(hook, object, left).boxed()
        } else {
            self.usability(object, left).boxed()
        };
        let result = tokio::select! {
            result = ended => result,
            () = self.cancel.cancelled() => return Err(Stop::Cancelled),
        };
        waits.ended(&hook.id);
        let result = result.unwrap_or_else(|last| {
            Err(format!("it has not ended after {}: {last}", pretty(limit)))
        });
        let outcome = if result.is_ok() {
            HookOutcome::Succeeded
        } else {
            HookOutcome::Failed
        };
        let shows_logs = event == HookEvent::Test || hook.hook.logs.contains(&outcome);
        let tells_logs = shows_logs && self.progress.wants_logs();
        if tells_logs {
            self.tell_logs(object).await;
        }
        let result = match result {
            Ok(()) => Ok(()),
            Err(why) => match self.explain(object, !tells_logs).await {
                more if more.is_empty() => Err(why),
                more => Err(format!("{why}; {more}")),
            },
        };
        self.progress.step(Step::HookEnded {
            id: &hook.id,
            event,
            failure: result.as_ref().err().map(String::as_str),
        });
        Ok(result)
    }

    /// Waits for a Job or a Pod to complete. After a timeout, returns what was last seen as the error.
    async fn completion(
        &self,
        hook: &HookRun,
        object: &PreparedObject,
        limit: Duration,
    ) -> Result<Result<(), String>, String> {
        self.progress.step(Step::Waiting {
            id: &hook.id,
            what: "to complete",
        });
        let mut last = "it has not been seen in the cluster".to_owned();
        let (own, discovery, resource) = (self.own, self.discovery, &object.resource);
        let ended = awaiting::until(own, discovery, resource, &hook.id, limit, |live| {
            let Some(live) = live else {
                return Some(Err("it was deleted before it had completed".to_owned()));
            };
            if ticket_of(live) != Some(hook.ticket) {
                // It is either what was there before, or something that will never complete as this run.
                "another object is in its place".clone_into(&mut last);
                return None;
            }
            match progress(&hook.id, live)? {
                HookState::Succeeded => Some(Ok(())),
                HookState::Failed(why) => Some(Err(why)),
                HookState::Running => {
                    last = activity(live);
                    None
                }
            }
        });
        ended.await.ok_or(last)
    }

    /// Waits until an object that does not end by itself is usable, if that takes time at all.
    async fn usability(
        &self,
        object: &PreparedObject,
        limit: Duration,
    ) -> Result<Result<(), String>, String> {
        let Some(judge) = self.judge.filter(|_| is_awaited(object.id())) else {
            return Ok(Ok(()));
        };
        let id = object.id();
        let (tell, mut told) = watch::channel(None::<Value>);
        let tell_all = |live: Option<&Value>| {
            tell.send_modify(|now| *now = live.cloned());
            None::<()>
        };
        let (own, discovery) = (self.own, self.discovery);
        let watching = awaiting::until(own, discovery, &object.resource, id, limit, tell_all);
        let mut watching = pin!(watching);
        let mut last = "it has not been seen in the cluster".to_owned();
        let mut again = None;
        loop {
            tokio::select! {
                biased;
                _ = &mut watching => return Err(last),
                _ = told.changed() => {}
                // When a verdict that depends on time has to be checked again.
                () = until(again) => {}
            }
            let Some(live) = told.borrow_and_update().clone() else {
                return Ok(Err("it was deleted before it was usable".to_owned()));
            };
            let now = self.connection.clock().now();
            let assessment = judge
                .assess(&self.release.application, id, &live, now)
                .await;
            match assessment.status {
                Status::Healthy | Status::Suspended => return Ok(Ok(())),
                // Waiting will bring no verdict.
                Status::Unknown if assessment.recheck_after.is_none() => return Ok(Ok(())),
                Status::Degraded => return Ok(Err(assessment.message)),
                // A check that could not be asked is asked again.
                Status::Progressing | Status::Unknown => last = assessment.message,
            }
            let pause = assessment.recheck_after;
            again = pause.map(|pause| tokio::time::Instant::now() + pause.max(SOONEST));
        }
    }

    /// Keeps the removal hooks that are in the plan: those that are already kept are not in it.
    pub(super) async fn keep_removal_hooks(&self, approved: &Approved, run: &mut Run) {
        if self.release.is_removal() || !run.is_well() {
            return;
        }
        let Some(record) = &mut run.inventory.release else {
            return;
        };
        let kept = removal_hooks::keep(
            self.home,
            self.release,
            self.prepared,
            approved,
            record.removal_hooks,
        );
        match kept.await {
            Ok(digest) => record.removal_hooks = digest,
            Err((id, error)) => {
                // An admission message may quote the hooks.
                let error = WriteError::of(error, &id, "v1", None);
                run.failures.push(ObjectFailure {
                    id,
                    position: None,
                    error,
                });
            }
        }
    }

    pub(super) fn hook_error(
        &self,
        error: crate::request::RequestError,
        object: &PreparedObject,
    ) -> WriteError {
        self.understood(error, object.id(), object.object.version())
    }
}

fn intended(object: &PreparedObject) -> Entry {
    Entry {
        hook: true,
        keep: object.keep,
        ..Entry::intended(object.id(), object.object.version())
    }
}

fn ticket_of(live: &Value) -> Option<pintle_core::digest::Digest> {
    let ticket = live["metadata"]["annotations"][HOOK_RUN_ANNOTATION].as_str()?;
    ticket.parse().ok()
}

/// Returns whether an object takes time to become usable and reports when it is: workloads, and resources of other controllers. A
/// claim may wait for its first user, which comes only later, and a Service for what it routes to.
fn is_awaited(id: &ObjectId) -> bool {
    id.group == "apps" || (id.group.contains('.') && !id.group.ends_with(".k8s.io"))
}

/// Returns what a Job or a Pod is doing, for the message of a timeout.
fn activity(live: &Value) -> String {
    let status = &live["status"];
    if let Some(phase) = status["phase"].as_str() {
        return trouble(live).map_or_else(|| format!("the Pod is {phase}"), |found| found.what);
    }
    let count = |field: &str| status[field].as_u64().unwrap_or_default();
    format!(
        "of its pods, {} are active and {} have failed",
        count("active"),
        count("failed")
    )
}

fn pretty(time: Duration) -> String {
    pintle_core::duration::Span::seconds(time.as_secs()).to_string()
}
