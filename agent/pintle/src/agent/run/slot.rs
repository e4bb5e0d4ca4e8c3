//! How many runs work at once, and how one lets others work while it waits.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pintle_cluster::{Progress, Step};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time,
};
use tokio_util::sync::CancellationToken;

use super::Stopped;
use crate::agent::claims::RunClaims;

/// How long a run keeps its slot while it waits for a host. What comes from the cache, or from a host that is quick, is there by
/// then: a run that gave its slot away for that would have to wait for those of all others.
const PATIENCE: Duration = Duration::from_millis(100);

/// For each run that may work, how many may wait for a host without a slot, and how many for what comes of what they apply: each has
/// unpacked what it renders, or has its objects and its plan. One that waits for health when all is applied has neither.
const WAITING: usize = 8;

/// How many runs may work at once, and how many may wait meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    working: Arc<Semaphore>,
    /// For hosts.
    waiting: Arc<Semaphore>,
    /// For hooks and objects, in the midst of an apply. That may take as long as the spec allows, and hosts are quicker.
    applying: Arc<Semaphore>,
}

impl Slots {
    /// Lets so many work at once.
    pub(crate) fn new(concurrency: usize) -> Self {
        let waiting = concurrency.saturating_mul(WAITING);
        let places = || Arc::new(Semaphore::new(waiting.min(Semaphore::MAX_PERMITS)));
        Self {
            working: Arc::new(Semaphore::new(concurrency)),
            waiting: places(),
            applying: places(),
        }
    }
}

/// The right to work, until the health of objects, hooks or others' hosts are waited for: that costs no work, so it holds nobody up as
/// long as what is kept meanwhile is not too much.
pub(super) struct Slot {
    slots: Slots,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    /// Told when the apply waits.
    waits: Notify,
}

impl Slot {
    /// Waits for a slot; nothing if the run is not wanted any more by then: whoever waits for its end has something newer to do.
    /// Who need not wait begins, and tells of itself that it was superseded.
    pub(super) async fn take(slots: &Slots, cancel: &CancellationToken) -> Option<Self> {
        let permit = permit(&slots.working, cancel).await?;
        Some(Self {
            slots: slots.clone(),
            permit: Mutex::new(Some(permit)),
            waits: Notify::new(),
        })
    }

    /// Gives the right away: from now on it is waited for others.
    pub(super) fn rest(&self) {
        drop(self.held().take());
    }

    /// Applies, and gives the right away as soon as the apply waits for a hook or an object and there is a place for that. It is not
    /// taken again before the end, and the place kept until then.
    pub(super) async fn while_applied<T>(&self, applying: impl Future<Output = T>) -> T {
        let mut applying = std::pin::pin!(applying);
        let place = async {
            self.waits.notified().await;
            Arc::clone(&self.slots.applying).acquire_owned().await
        };
        let _place = tokio::select! {
            biased;
            applied = &mut applying => return applied,
            Ok(place) = place => place,
        };
        self.rest();
        applying.await
    }

    /// Waits for what a host has to send, and gives the right away meanwhile if that takes long. Then it is taken again, in turn
    /// with all who wait for it. Whoever finds no place to wait without it keeps it until there is one, and waits for nobody else: what
    /// it is sent comes all the same. Nothing if the run is not wanted any more.
    pub(super) async fn while_sent<T>(
        &self,
        sending: impl Future<Output = T>,
        cancel: &CancellationToken,
    ) -> Option<T> {
        self.sent_after(time::sleep(PATIENCE), sending, cancel)
            .await
    }

    /// Waits for what is sent, and gives the right away when patience has an end and there is a place.
    async fn sent_after<T>(
        &self,
        patience: impl Future<Output = ()>,
        sending: impl Future<Output = T>,
        cancel: &CancellationToken,
    ) -> Option<T> {
        let mut sending = std::pin::pin!(sending);
        let place = async {
            patience.await;
            Arc::clone(&self.slots.waiting).acquire_owned().await
        };
        // Kept until the run works again: all that it has in memory is there for so long.
        let _place = tokio::select! {
            biased;
            () = cancel.cancelled() => return None,
            sent = &mut sending => return Some(sent),
            Ok(place) = place => place,
        };
        self.rest();
        let sent = cancel.run_until_cancelled(sending).await?;
        let permit = permit(&self.slots.working, cancel).await?;
        *self.held() = Some(permit);
        Some(sent)
    }

    fn held(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

/// Plans, and gives the right to work away when others are waited for meanwhile.
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
            () = claims.waits() => slot.rest(),
            // A plan writes nothing.
            () = cancel.cancelled() => return Err(Stopped::cancelled()),
        }
    }
}

impl Progress for Slot {
    fn step(&self, step: Step<'_>) {
        if matches!(
            step,
            Step::Hooks { .. } | Step::Settling { .. } | Step::Waiting { .. }
        ) {
            self.waits.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt as _;
    use pintle_core::{hook::HookEvent, object::ObjectId};
    use tokio::{join, sync::oneshot};

    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_host_lets_others_work_and_then_waits_for_them() {
        let (slots, cancel) = (Slots::new(1), CancellationToken::new());
        let slot = Slot::take(&slots, &cancel).await.unwrap();
        let (host, sent) = oneshot::channel();
        let mut waiting = Box::pin(slot.while_sent(sent, &cancel));
        let other = async {
            // There is no slot before the other one rests.
            let other = Slot::take(&slots, &cancel).await.unwrap();
            host.send("a chart").unwrap();
            other
        };
        let other = tokio::select! {
            biased;
            _ = &mut waiting => panic!("what comes is not there yet"),
            other = other => other,
        };
        assert!(waiting.as_mut().now_or_never().is_none());
        let mut third = Box::pin(Slot::take(&slots, &cancel));
        assert!(third.as_mut().now_or_never().is_none());
        drop(other);
        let waited = waiting.await;
        assert_eq!(waited, Some(Ok("a chart")));
        assert_eq!(slots.working.available_permits(), 0, "it works again");
        slot.rest();
        assert!(third.await.is_some());
    }

    #[tokio::test]
    async fn who_finds_no_place_to_wait_keeps_its_slot_until_there_is_one() {
        let (slots, cancel) = (Slots::new(1), CancellationToken::new());
        let wait = || {
            Box::pin(async {
                let slot = Slot::take(&slots, &cancel).await.unwrap();
                slot.sent_after(ready(()), pending::<()>(), &cancel).await
            })
        };
        let mut waiting = Vec::new();
        for _ in 0..WAITING {
            let mut one = wait();
            assert!(one.as_mut().now_or_never().is_none());
            assert_eq!(slots.working.available_permits(), 1, "it rests");
            waiting.push(one);
        }
        let mut last = wait();
        assert!(last.as_mut().now_or_never().is_none());
        assert_eq!(slots.working.available_permits(), 0, "it finds no place");
        drop(waiting.pop());
        assert!(last.as_mut().now_or_never().is_none());
        assert_eq!(slots.working.available_permits(), 1, "there is one now");
    }

    #[tokio::test]
    async fn who_waits_in_an_apply_lets_others_work_while_there_is_a_place() {
        let (slots, cancel) = (Slots::new(1), CancellationToken::new());
        let apply = |step: Step<'static>| {
            let (slots, cancel) = (&slots, &cancel);
            Box::pin(async move {
                let slot = Slot::take(slots, cancel).await.unwrap();
                let applying = async {
                    slot.step(step);
                    pending::<()>().await;
                };
                slot.while_applied(applying).await;
            })
        };
        let hooks = Step::Hooks {
            event: HookEvent::PreUpgrade,
            count: 1,
        };
        let mut waiting = Vec::new();
        for _ in 0..WAITING {
            let mut one = apply(hooks);
            assert!(one.as_mut().now_or_never().is_none());
            assert_eq!(slots.working.available_permits(), 1, "it rests");
            waiting.push(one);
        }
        let mut last = apply(hooks);
        assert!(last.as_mut().now_or_never().is_none());
        assert_eq!(slots.working.available_permits(), 0, "it finds no place");
        drop(waiting.pop());
        assert!(last.as_mut().now_or_never().is_none());
        assert_eq!(slots.working.available_permits(), 1, "there is one now");

        drop(waiting);
        let mut working = apply(Step::Started {
            writes: 1,
            deletions: 0,
        });
        assert!(working.as_mut().now_or_never().is_none());
        assert_eq!(slots.working.available_permits(), 0, "it waits for nothing");
    }

    #[tokio::test]
    async fn who_waits_until_something_is_gone_lets_others_work() {
        let (slots, cancel) = (Slots::new(1), CancellationToken::new());
        let id = ObjectId {
            group: String::new(),
            kind: "Pod".into(),
            namespace: None,
            name: "web".into(),
        };
        let slot = Slot::take(&slots, &cancel).await.unwrap();
        let applying = async {
            slot.step(Step::Waiting {
                id: &id,
                what: "to be gone",
            });
            // The other one works before this one goes on.
            Slot::take(&slots, &cancel).await.is_some()
        };
        assert!(slot.while_applied(applying).await);
    }

    #[tokio::test]
    async fn what_is_there_at_once_keeps_the_slot() {
        let (slots, cancel) = (Slots::new(1), CancellationToken::new());
        let slot = Slot::take(&slots, &cancel).await.unwrap();
        let sent = slot.while_sent(ready(1), &cancel).now_or_never();
        assert_eq!(sent, Some(Some(1)));
        assert_eq!(slots.working.available_permits(), 0);
    }

    #[tokio::test]
    async fn who_is_not_wanted_any_more_waits_for_nothing() {
        let (slots, cancel) = (Slots::new(1), CancellationToken::new());
        let slot = Slot::take(&slots, &cancel).await.unwrap();
        let (waited, other) = join!(slot.while_sent(pending::<()>(), &cancel), async {
            let other = Slot::take(&slots, &cancel).await;
            cancel.cancel();
            other
        });
        assert!(waited.is_none() && other.is_some());
        // Neither for the host, nor for the slot that another one has.
        assert!(Slot::take(&slots, &cancel).await.is_none());
    }
}
