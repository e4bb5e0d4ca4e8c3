//! Room for the connections of one listener. When there is none left, the connection that has been idle longest makes way. A
//! client that opens connections and sends nothing therefore keeps nobody else out.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::agent::pauses::until;

/// The time limit for the head of the first request.
const FIRST_HEAD: Duration = Duration::from_secs(10);

/// How long a connection may be idle between two requests, including the time to write the answer. That is longer than the usual
/// interval between requests for metrics, so that a connection is not closed at the moment of the next request.
const REST: Duration = Duration::from_secs(90);

/// The minimum idle time of a connection that makes way: the head of a request comes right after the connection.
const GRACE: Duration = Duration::from_millis(100);

/// Room for connections.
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<Vec<Weak<Place>>>,
    /// Notified when a connection becomes idle.
    rested: Notify,
    grace: Duration,
}

/// The place of one connection, for as long as the connection exists.
pub(super) struct Place {
    /// `None` while a request is in progress.
    rest: watch::Sender<Option<Rest>>,
    makes_way: CancellationToken,
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    since: Instant,
    until: Instant,
}

impl Places {
    pub(super) fn new(connections: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(connections)),
            taken: Mutex::default(),
            rested: Notify::new(),
            grace: GRACE,
        }
    }

    /// Waits until there is room for one more connection. Only one task may wait.
    pub(super) async fn room(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return permit;
            }
            let next = self.make_way(Instant::now());
            tokio::select! {
                permit = Arc::clone(&self.free).acquire_owned() => {
                    return permit.expect("the semaphore is never closed");
                }
                () = until(next) => {}
                () = self.rested.notified() => {}
            }
        }
    }

    /// Gives a new connection its place.
    pub(super) fn give(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Arc<Place> {
        let place = Arc::new(Place {
            rest: watch::Sender::new(Some(Rest::from_now(FIRST_HEAD))),
            makes_way: CancellationToken::new(),
            places: Arc::clone(self),
            _permit: permit,
        });
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|place| place.strong_count() > 0);
        taken.push(Arc::downgrade(&place));
        place
    }

    /// Has the connection that has been idle longest make way, unless another one is about to. If it is too early for that,
    /// returns the time at which it is not.
    fn make_way(&self, now: Instant) -> Option<Instant> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let places: Vec<_> = taken.iter().filter_map(Weak::upgrade).collect();
        if places.iter().any(|place| place.makes_way.is_cancelled()) {
            return None;
        }
        let resting = places
            .iter()
            .filter_map(|place| Some((place.rests_since()?, place)));
        let (since, longest) = resting.min_by_key(|(since, _)| *since)?;
        let due = since + self.grace;
        if due > now {
            return Some(due);
        }
        longest.makes_way.cancel();
        None
    }
}

impl Place {
    /// Marks a request as in progress until the returned value is dropped.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.rest.send_replace(None);
        Busy(Arc::clone(self))
    }

    /// Waits until the connection has to be closed.
    pub(super) async fn is_over(&self) {
        let mut rest = self.rest.subscribe();
        loop {
            let end = rest.borrow_and_update().map(|rest| rest.until);
            tokio::select! {
                () = self.makes_way.cancelled() => return,
                () = until(end) => return,
                _ = rest.changed() => {}
            }
        }
    }

    fn rests_since(&self) -> Option<Instant> {
        self.rest.borrow().map(|rest| rest.since)
    }
}

/// A request in progress.
pub(super) struct Busy(Arc<Place>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.rest.send_replace(Some(Rest::from_now(REST)));
        self.0.places.rested.notify_one();
    }
}

impl Rest {
    fn from_now(limit: Duration) -> Self {
        let since = Instant::now();
        Self {
            since,
            until: since + limit,
        }
    }
}

#[cfg(test)]
impl Places {
    /// Creates room for a test in which connections make way at once.
    pub(super) fn without_grace(connections: usize) -> Self {
        Self {
            grace: Duration::ZERO,
            ..Self::new(connections)
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    async fn connected(places: &Arc<Places>) -> Arc<Place> {
        let room = places.room().await;
        places.give(room)
    }

    #[tokio::test]
    async fn what_has_rested_longest_makes_way_and_nothing_that_is_under_way() {
        let places = Arc::new(Places::without_grace(3));
        let asked = connected(&places).await;
        let first = connected(&places).await;
        let second = connected(&places).await;
        let busy = asked.busy();
        assert!(places.room().now_or_never().is_none(), "none is free yet");
        assert!(first.is_over().now_or_never().is_some());
        for stays in [&asked, &second] {
            assert!(stays.is_over().now_or_never().is_none());
        }
        // Each new connection displaces one.
        assert!(places.room().now_or_never().is_none());
        assert!(second.is_over().now_or_never().is_none());
        drop(first);
        let third = connected(&places).await;
        let also_busy = [second.busy(), third.busy()];
        assert!(places.room().now_or_never().is_none());
        for stays in [&asked, &second, &third] {
            assert!(stays.is_over().now_or_never().is_none());
        }
        drop(busy);
        assert!(places.room().now_or_never().is_none());
        assert!(asked.is_over().now_or_never().is_some(), "it rests now");
        drop(also_busy);
    }

    #[tokio::test]
    async fn who_has_just_come_may_ask_first() {
        let places = Arc::new(Places::new(1));
        let place = connected(&places).await;
        let since = place.rests_since().unwrap();
        assert_eq!(places.make_way(since), Some(since + GRACE));
        assert!(place.is_over().now_or_never().is_none());
        assert_eq!(places.make_way(since + GRACE), None);
        assert!(place.is_over().now_or_never().is_some());
    }
}
