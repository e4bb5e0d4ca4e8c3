//! Room in memory for what the API servers of other clusters answer.
//!
//! Each answer has a bound, and whoever may write Secrets may name any number of clusters. So answers that are large wait for a
//! place, of which there are few for all of them together. Whoever parses an answer keeps its place for as long as that takes.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

/// What an answer, or an event, may weigh without a place. Most objects do not weigh as much.
pub(super) const FREE: usize = 256 << 10;

/// Places for all other clusters.
const PLACES: usize = 4;

/// Most places of one cluster: one that is slow leaves some to the others.
const SHARE: usize = 2;

/// How long a place is kept at most: a server that sends a byte from time to time has it no longer.
const TIME: Duration = Duration::from_secs(30);

/// The places that the answers of one cluster may have.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self::of_cluster(Arc::new(Semaphore::new(PLACES)))
    }
}

impl Room {
    fn of_cluster(all: Arc<Semaphore>) -> Self {
        Self {
            own: Arc::new(Semaphore::new(SHARE)),
            all,
        }
    }

    /// Returns the room of another cluster, which shares all places with this one.
    pub(super) fn of_another(&self) -> Self {
        Self::of_cluster(Arc::clone(&self.all))
    }

    async fn place(&self) -> Place {
        // Who waits for one of all takes none from another cluster.
        let own = Arc::clone(&self.own).acquire_owned().await;
        let all = Arc::clone(&self.all).acquire_owned().await;
        let permits = (own, all);
        let until = Instant::now() + TIME;
        let keeping = tokio::spawn(async move {
            let _permits = permits;
            sleep_until(until).await;
        });
        Place {
            keeping: keeping.abort_handle(),
            until,
        }
    }
}

/// A place, until it is dropped or its time is over.
#[derive(Debug)]
struct Place {
    keeping: AbortHandle,
    until: Instant,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

/// The place of one answer, if it is so large that it needs one. Clones are of the same place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Option<Place>>>);

impl Held {
    /// Waits for a place, unless there is one.
    pub(super) async fn take(&self, room: &Room) {
        if self.until().is_none() {
            let place = room.place().await;
            *self.lock() = Some(place);
        }
    }

    /// Says until when there is a place.
    pub(super) fn until(&self) -> Option<Instant> {
        self.lock().as_ref().map(|place| place.until)
    }

    pub(super) fn let_go(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Place>> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_cluster_leaves_places_to_others_and_all_together_have_few() {
        let one = Room::default();
        let (other, third) = (one.of_another(), one.of_another());
        let held = [Held::default(), Held::default()];
        for held in &held {
            held.take(&one).await;
        }
        assert!(one.place().now_or_never().is_none(), "it has its share");
        let others = [other.place().await, other.place().await];
        assert!(third.place().now_or_never().is_none(), "all are taken");
        let kept = held[0].clone();
        drop(held);
        let waiting = tokio::time::timeout(Duration::from_mins(1), third.place());
        let found = waiting.await.expect("one that nobody keeps is free");
        assert!(third.place().now_or_never().is_none(), "another is kept");
        drop((found, others, kept));
    }
}
