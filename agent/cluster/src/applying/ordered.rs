//! Writes and deletions as the order of the objects allows: as many at once as do not have to wait.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use pintle_core::{
    inventory::Entry,
    object::ObjectId,
    order::{Item, Links, Order, Schedule, Task, Usable},
    plan::{Action, Change},
};

use super::{Applier, Done, Run, Step, removal::deleted};
use crate::{
    facts::{Fact, Facts as _},
    planning::WIDTH,
    prepare::definition_of,
    rejection::WriteError,
    store::InventoryStore,
    tracker::{Unsettled, Waited},
};

/// After a wait of this length, the inventory is recorded with what was done so far.
const SOON: Duration = Duration::from_secs(1);

/// The outcome of a task.
enum Ended<'a> {
    /// An object was written or deleted, or that failed.
    Done(Done<'a>),
    /// The wait for an object ended.
    Settled(ObjectId, Result<(), WriteError>),
    /// The run was asked to stop.
    Cancelled,
}

type Going<'a> = BoxFuture<'a, (Task, Ended<'a>)>;

/// What to do with the objects of an order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Write,
    Delete,
}

impl Applier<'_> {
    /// Writes objects. What comes before everything else is usable at once.
    pub(super) async fn write_all(
        &self,
        writes: &[&Change],
        usable: Usable,
        run: &mut Run,
        store: &mut dyn InventoryStore,
    ) {
        let ids = writes.iter().map(|change| &change.id).collect();
        let schedule = Schedule::new(self.prepared.order(), &ids, usable);
        self.carry_out(Work::Write, writes, schedule, run, store)
            .await;
    }

    /// Deletes objects, starting with what was written last.
    pub(super) async fn delete_all(
        &self,
        deletions: &[&Change],
        run: &mut Run,
        store: &mut dyn InventoryStore,
    ) {
        let items: Vec<Item> = deletions.iter().map(|change| item(change)).collect();
        let order = Order::of_removal(&items);
        let ids = deletions.iter().map(|change| &change.id).collect();
        let schedule = Schedule::new(&order, &ids, Usable::Settled);
        self.carry_out(Work::Delete, deletions, schedule, run, store)
            .await;
    }

    /// Carries out the tasks of a schedule. What comes after a failure is left out; what does not depend on it is still done.
    async fn carry_out(
        &self,
        work: Work,
        changes: &[&Change],
        mut schedule: Schedule<'_>,
        run: &mut Run,
        store: &mut dyn InventoryStore,
    ) {
        let changes: BTreeMap<&ObjectId, &Change> =
            changes.iter().map(|change| (&change.id, *change)).collect();
        let mut queue: VecDeque<Task> = VecDeque::new();
        let mut going: FuturesUnordered<Going<'_>> = FuturesUnordered::new();
        let mut writing = 0;
        let mut is_recorded = false;
        loop {
            for task in schedule.take() {
                match task {
                    Task::Write(_) => queue.push_back(task),
                    Task::Await(_) => {
                        let id = schedule.object(task).clone();
                        let change = changes.get(&id).filter(|_| work == Work::Delete);
                        if let Some(entry) = change.and_then(|change| deleted(change)) {
                            // It may still exist, and then the next attempt has to wait for it, too.
                            run.inventory.insert(entry);
                        }
                        going.push(self.settle(work, task, id, run, &changes));
                    }
                }
            }
            while writing < WIDTH
                && let Some(task) = queue.pop_front()
            {
                if let Some(change) = changes.get(schedule.object(task)).copied() {
                    let entry = run.inventory.get(&change.id).cloned();
                    going.push(self.begin(work, task, change, entry, &changes));
                    writing += 1;
                }
            }
            // Further waiting can neither undo a failure nor help if someone else has written the inventory.
            if writing == 0 && !run.is_well() {
                return;
            }
            let next = if writing == 0 && !is_recorded {
                let Ok(next) = tokio::time::timeout(SOON, going.next()).await else {
                    is_recorded = true;
                    run.keep_now(store).await;
                    continue;
                };
                next
            } else {
                going.next().await
            };
            let Some((task, ended)) = next else { return };
            let is_done = match ended {
                Ended::Done(done) => {
                    writing -= 1;
                    let is_done = matches!(done.result, Some(Ok(())));
                    match work {
                        Work::Write => run.written(done, self.progress),
                        Work::Delete => run.deleted(done, self.progress),
                    }
                    is_done
                }
                Ended::Settled(id, Ok(())) => {
                    if work == Work::Delete {
                        run.inventory.remove(&id);
                        run.gone.insert(id);
                    }
                    true
                }
                Ended::Settled(id, Err(error)) => {
                    run.failed_object(&id, None, error, self.progress);
                    false
                }
                Ended::Cancelled => {
                    run.cancelled = true;
                    false
                }
            };
            if is_done {
                schedule.done(task);
            }
        }
    }
}

impl<'c> Applier<'c> {
    fn begin<'a>(
        &'a self,
        work: Work,
        task: Task,
        change: &'a Change,
        entry: Option<Entry>,
        all: &'a BTreeMap<&'a ObjectId, &'a Change>,
    ) -> Going<'a>
    where
        'c: 'a,
    {
        match work {
            Work::Write => {
                self.release.waits.written(&change.id);
                async move { (task, Ended::Done(self.write(change, entry.as_ref()).await)) }.boxed()
            }
            Work::Delete => async move {
                let done = self.delete(change, entry.as_ref(), all).await;
                (task, Ended::Done(done))
            }
            .boxed(),
        }
    }

    fn settle<'a>(
        &'a self,
        work: Work,
        task: Task,
        id: ObjectId,
        run: &Run,
        all: &BTreeMap<&'a ObjectId, &'a Change>,
    ) -> Going<'a>
    where
        'c: 'a,
    {
        let change = all.get(&id).copied();
        let is_known = run.inventory.get(&id).is_some();
        async move {
            let ended = match (work, change) {
                (Work::Write, None) if !is_known || self.is_missing(&id) => {
                    Ended::Settled(id, Ok(()))
                }
                (Work::Write, _) => self.healthy(id).await,
                (Work::Delete, Some(change)) => {
                    match self.cancel.run_until_cancelled(self.away(change)).await {
                        Some(result) => Ended::Settled(id, result),
                        None => Ended::Cancelled,
                    }
                }
                (Work::Delete, None) => Ended::Settled(id, Ok(())),
            };
            (task, ended)
        }
        .boxed()
    }

    /// Returns whether an object that is not written was deleted and is left so.
    fn is_missing(&self, id: &ObjectId) -> bool {
        let tracker = self.tracker.as_ref();
        tracker
            .is_some_and(|tracker| tracker.facts(&self.release.application).of(id) == Fact::Missing)
    }

    /// Waits until an object is healthy.
    async fn healthy<'a>(&self, id: ObjectId) -> Ended<'a> {
        // Without a judge, being written is all that can be asked for.
        let Some(tracker) = &self.tracker else {
            return Ended::Settled(id, Ok(()));
        };
        // Its kind, or that version of it, may have come with this plan.
        if let Some(object) = self.prepared.find(&id) {
            tracker.observe_one(self.release, &id, &object.resource);
        }
        let (limit, waits) = (self.release.hook_timeout.get(), &self.release.waits);
        let left = waits.left_for(&id, limit, Instant::now());
        let report = |unsettled: &Arc<[Unsettled]>| {
            for object in &**unsettled {
                self.progress.step(Step::Settling { object });
            }
        };
        let (application, ids) = (&self.release.application, std::slice::from_ref(&id));
        let waited = tracker
            .wait(application, ids, left, self.cancel, &report)
            .await;
        if waited != Waited::Cancelled {
            waits.ended(&id);
        }
        let error = |unsettled: &[Unsettled], time| {
            let assessment = unsettled.first().map(|object| &object.assessment);
            WriteError::NotHealthy {
                message: assessment.map_or_else(String::new, |one| one.message.clone()),
                limit: time,
            }
        };
        match waited {
            Waited::Healthy => Ended::Settled(id, Ok(())),
            Waited::Cancelled => Ended::Cancelled,
            Waited::Failed(unsettled) => Ended::Settled(id, Err(error(&unsettled, None))),
            Waited::TimedOut(unsettled) => Ended::Settled(id, Err(error(&unsettled, Some(limit)))),
        }
    }
}

/// Returns an object that is deleted, with its place in the order according to the cluster.
fn item(change: &Change) -> Item {
    let live = change.live.as_ref();
    let links = live.and_then(|live| Links::of(&change.id, live).ok());
    Item {
        id: change.id.clone(),
        links: links.unwrap_or_default(),
        defines: live.and_then(|live| definition_of(&change.id, live)),
    }
}

pub(super) fn is_write(action: Action) -> bool {
    matches!(action, Action::Create | Action::Update | Action::Replace)
}
