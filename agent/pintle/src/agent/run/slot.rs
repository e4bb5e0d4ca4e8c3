//! How many runs work at once, and how a run lets others work while it waits.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use pintle_cluster::{Progress, Step};
use pintle_core::{names::GROUP, object::ObjectId};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tokio_util::sync::CancellationToken;

use super::Stopped;
use crate::agent::claims::RunClaims;

/// How long a run keeps its slot while it waits for a host. What comes from the cache, or from a fast host, arrives within this
/// time. A run that gave its slot away for that would have to wait for the slots of all others.
const PATIENCE: Duration = Duration::from_millis(100);

/// For each run that may work, the number of runs that may wait without a slot, either for a host or for the results of their
/// apply. Each of these holds its unpacked render, or its objects and its plan. A run that waits for health after everything is
/// applied holds neither. A run that waits for other Applications is not counted, because they have to run for it to end.
const WAITING: usize = 12;
/// How many of them may belong to one namespace. Runs that hang there, for as long as its specs allow, leave room for the others.
const WAITING_OF_ONE: usize = 8;

/// Limits how many runs may work at once, and how many may be in progress: those that work, and those that have worked and wait.
/// The second limit is checked before a run begins, so that each run can give its slot away whenever it waits.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    working: Arc<Semaphore>,
    underway: Arc<Semaphore>,
    /// The places of each namespace of Applications in which a run is in progress, or about to be.
    namespaces: Arc<Mutex<BTreeMap<String, Weak<Semaphore>>>>,
    underway_of_one: usize,
}

impl Slots {
    /// Lets this many runs work at once.
    pub(crate) fn new(concurrency: usize) -> Self {
        let underway = |waiting: usize| {
            let underway = concurrency.saturating_mul(1 + waiting);
            underway.min(Semaphore::MAX_PERMITS)
        };
        Self {
            working: Arc::new(Semaphore::new(concurrency)),
            underway: Arc::new(Semaphore::new(underway(WAITING))),
            namespaces: Arc::default(),
            underway_of_one: underway(WAITING_OF_ONE),
        }
    }

    /// Returns the places for runs in progress of a namespace.
    fn of(&self, namespace: &str) -> Arc<Semaphore> {
        let mut namespaces = lock(&self.namespaces);
        if let Some(places) = namespaces.get(namespace).and_then(Weak::upgrade) {
            return places;
        }
        namespaces.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(self.underway_of_one));
        namespaces.insert(namespace.to_owned(), Arc::downgrade(&places));
        places
    }
}

/// The right to work, until the run waits for the health of objects, for hooks, or for hosts of others. Such a wait costs no
/// work, so it must not hold up anybody.
pub(super) struct Slot {
    slots: Slots,
    /// The places among the runs in progress of its namespace, and among all. The run keeps them while it waits, as it keeps what
    /// it has in memory.
    places: Mutex<Option<[OwnedSemaphorePermit; 2]>>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Slot {
    /// Waits for a slot. Returns `None` if the run is no longer wanted by then: the one who waits for its end has something newer
    /// to do. A run that need not wait begins, and reports on its own that it was superseded. Where too many runs of a namespace
    /// are in progress, the next one waits for one of them before it queues with those of others.
    pub(super) async fn take(
        slots: &Slots,
        namespace: &str,
        cancel: &CancellationToken,
    ) -> Option<Self> {
        let of_one = permit(&slots.of(namespace), cancel).await?;
        let of_all = permit(&slots.underway, cancel).await?;
        let permit = permit(&slots.working, cancel).await?;
        Some(Self {
            slots: slots.clone(),
            places: Mutex::new(Some([of_one, of_all])),
            permit: Mutex::new(Some(permit)),
        })
    }

    /// Gives up the right to work: from now on the run waits for a host, or for the results of its apply.
    fn rest(&self) {
        drop(lock(&self.permit).take());
    }

    /// Gives up the right to work and the places: from now on the run waits for others, which may have to begin first.
    fn leave(&self) {
        self.rest();
        drop(lock(&self.places).take());
    }

    /// Waits for what a host sends, and gives up the right to work meanwhile if that takes long. Afterwards, the right is taken
    /// again, in turn with all others that wait for it. Returns `None` if the run is no longer wanted.
    pub(super) async fn while_sent<T>(
        &self,
        sending: impl Future<Output = T>,
        cancel: &CancellationToken,
    ) -> Option<T> {
        let mut sending = std::pin::pin!(sending);
        tokio::select! {
            biased;
            () = cancel.cancelled() => return None,
            sent = &mut sending => return Some(sent),
            () = time::sleep(PATIENCE) => self.rest(),
        }
        let sent = cancel.run_until_cancelled(sending).await?;
        let permit = permit(&self.slots.working, cancel).await?;
        *lock(&self.permit) = Some(permit);
        Some(sent)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn permit(
    slots: &Arc<Semaphore>,
    cancel: &CancellationToken,
) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(slots).try_acquire_owned() {
        return Some(permit);
    }
    let permit = Arc::clone(slots).acquire_owned();
    cancel.run_until_cancelled(permit).await?.ok()
}

/// Makes a plan, and gives up the right to work when that waits for others.
pub(super) async fn resting<T>(
    planning: impl Future<Output = T>,
    claims: &RunClaims,
    slot: &Slot,
    cancel: &CancellationToken,
) -> Result<T, Stopped> {
    let mut planning = std::pin::pin!(planning);
    loop {
        tokio::select! {
            biased;
            planned = &mut planning => return Ok(planned),
            () = claims.waits() => slot.leave(),
            // A plan writes nothing.
            () = cancel.cancelled() => return Err(Stopped::cancelled()),
        }
    }
}

impl Progress for Slot {
    /// Gives up the right to work as soon as the apply waits for a hook or an object. It is not taken again before the end. While
    /// another Application is waited for, the places are given up as well: its run needs them, and so do the runs that it waits
    /// for in turn.
    fn step(&self, step: Step<'_>) {
        match step {
            Step::Settling { object } if is_application(&object.id) => self.leave(),
            Step::Waiting { id, .. } if is_application(id) => self.leave(),
            Step::Hooks { .. } | Step::Settling { .. } | Step::Waiting { .. } => self.rest(),
            _ => {}
        }
    }
}

fn is_application(id: &ObjectId) -> bool {
    id.is(GROUP, "Application")
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt as _;
    use pintle_cluster::Unsettled;
    use pintle_core::{
        health::{Assessment, Status},
        hook::HookEvent,
    };
    use tokio::{join, sync::oneshot};

    use super::*;

    const SHOP: &str = "shop";

    /// Takes a slot for a run of a namespace, if it need not wait.
    fn taken(slots: &Slots, namespace: &str) -> Option<Slot> {
        let cancel = CancellationToken::new();
        Slot::take(slots, namespace, &cancel)
            .now_or_never()
            .flatten()
    }

    /// Begins as many runs of a namespace as can begin one after the other, and has all of them wait.
    fn all_waiting(slots: &Slots, namespace: &str) -> Vec<Slot> {
        let begun = std::iter::from_fn(|| taken(slots, namespace));
        begun.inspect(Slot::rest).collect()
    }

    #[tokio::test]
    async fn who_waits_for_a_host_lets_others_work_and_then_waits_for_them() {
        let (slots, cancel) = (Slots::new(1), CancellationToken::new());
        let slot = taken(&slots, SHOP).unwrap();
        let (host, sent) = oneshot::channel();
        let mut waiting = Box::pin(slot.while_sent(sent, &cancel));
        let other = async {
            // There is no slot before the other one rests.
            let other = Slot::take(&slots, SHOP, &cancel).await.unwrap();
            host.send("a chart").unwrap();
            other
        };
        let other = tokio::select! {
            biased;
            _ = &mut waiting => panic!("what comes is not there yet"),
            other = other => other,
        };
        assert!(waiting.as_mut().now_or_never().is_none());
        let mut third = Box::pin(Slot::take(&slots, SHOP, &cancel));
        assert!(third.as_mut().now_or_never().is_none());
        drop(other);
        let waited = waiting.await;
        assert_eq!(waited, Some(Ok("a chart")));
        assert_eq!(slots.working.available_permits(), 0, "it works again");
        slot.rest();
        assert!(third.await.is_some());
    }

    #[test]
    fn one_namespace_has_all_slots_that_no_other_one_asks_for() {
        let slots = Slots::new(3);
        let working: Vec<_> = std::iter::from_fn(|| taken(&slots, SHOP)).collect();
        assert_eq!(working.len(), 3);
    }

    #[test]
    fn a_namespace_of_which_all_wait_holds_up_itself_alone() {
        let (slots, cancel) = (Slots::new(2), CancellationToken::new());
        let mut waiting = all_waiting(&slots, SHOP);
        assert_eq!(waiting.len(), 2 * (1 + WAITING_OF_ONE));
        let mut next = Box::pin(Slot::take(&slots, SHOP, &cancel));
        assert!(next.as_mut().now_or_never().is_none());
        assert_eq!(slots.working.available_permits(), 2, "it waits without one");
        let others: Vec<_> = std::iter::from_fn(|| taken(&slots, "other")).collect();
        assert_eq!(others.len(), 2, "they have all slots");
        drop((others, waiting.pop()));
        assert!(next.now_or_never().flatten().is_some());
    }

    #[test]
    fn all_that_wait_are_bounded() {
        let slots = Slots::new(1);
        let mut waiting = all_waiting(&slots, SHOP);
        waiting.extend(all_waiting(&slots, "other"));
        assert_eq!(waiting.len(), 1 + WAITING);
        assert!(taken(&slots, "third").is_none());
        drop(waiting.pop());
        assert!(taken(&slots, "third").is_some());
    }

    #[test]
    fn who_waits_for_others_lets_them_begin() {
        let slots = Slots::new(1);
        let waiting = all_waiting(&slots, SHOP);
        assert!(taken(&slots, SHOP).is_none());
        waiting[0].leave();
        assert!(taken(&slots, SHOP).is_some());
    }

    #[test]
    fn namespaces_of_which_nothing_runs_are_forgotten() {
        let slots = Slots::new(1);
        drop(taken(&slots, SHOP));
        let other = taken(&slots, "other");
        assert_eq!(lock(&slots.namespaces).len(), 1);
        drop(other);
    }

    #[test]
    fn who_waits_in_an_apply_lets_others_work() {
        let id = ObjectId {
            group: String::new(),
            kind: "Pod".into(),
            namespace: None,
            name: "web".into(),
        };
        let slots = Slots::new(1);
        let hooks = Step::Hooks {
            event: HookEvent::PreUpgrade,
            count: 1,
        };
        let gone = Step::Waiting {
            id: &id,
            what: "to be gone",
        };
        for step in [hooks, gone] {
            let slot = taken(&slots, SHOP).unwrap();
            slot.step(Step::Started {
                writes: 1,
                deletions: 0,
            });
            assert!(taken(&slots, SHOP).is_none(), "it waits for nothing");
            slot.step(step);
            assert!(taken(&slots, SHOP).is_some());
        }
    }

    #[test]
    fn applications_that_wait_for_others_let_them_begin() {
        let child = ObjectId {
            group: GROUP.into(),
            kind: "Application".into(),
            namespace: Some(SHOP.into()),
            name: "child".into(),
        };
        let object = Unsettled {
            id: child.clone(),
            assessment: Assessment::new(Status::Progressing, "has not converged yet"),
            explanation: None,
        };
        let unhealthy = Step::Settling { object: &object };
        let gone = Step::Waiting {
            id: &child,
            what: "to be gone",
        };
        for step in [unhealthy, gone] {
            let slots = Slots::new(1);
            let parents = all_waiting(&slots, SHOP);
            assert!(taken(&slots, SHOP).is_none());
            parents[0].step(step);
            assert!(taken(&slots, SHOP).is_some());
        }
    }

    #[tokio::test]
    async fn what_is_there_at_once_keeps_the_slot() {
        let (slots, cancel) = (Slots::new(1), CancellationToken::new());
        let slot = taken(&slots, SHOP).unwrap();
        let sent = slot.while_sent(ready(1), &cancel).now_or_never();
        assert_eq!(sent, Some(Some(1)));
        assert_eq!(slots.working.available_permits(), 0);
    }

    #[tokio::test]
    async fn who_is_not_wanted_any_more_waits_for_nothing() {
        let (slots, cancel) = (Slots::new(1), CancellationToken::new());
        let slot = taken(&slots, SHOP).unwrap();
        let (waited, other) = join!(slot.while_sent(pending::<()>(), &cancel), async {
            let other = Slot::take(&slots, SHOP, &cancel).await;
            cancel.cancel();
            other
        });
        assert!(waited.is_none() && other.is_some());
        // It waits neither for the host, nor for the slot that another run has.
        assert!(Slot::take(&slots, SHOP, &cancel).await.is_none());
    }
}
