//! Keeps a replica from writing when others may have taken over.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

/// A moment, by the monotonic clock and by the time of day.
///
/// The monotonic clock stands still while the machine is suspended, and the time of day may be set. A moment has passed as soon
/// as either clock says so.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    steady: Instant,
    of_day: SystemTime,
}

impl Moment {
    /// Returns the current moment.
    pub fn now() -> Self {
        Self {
            steady: Instant::now(),
            of_day: SystemTime::now(),
        }
    }

    /// Returns the moment that is `pause` later.
    #[must_use]
    pub fn after(self, pause: Duration) -> Self {
        Self {
            steady: self.steady + pause,
            of_day: self.of_day + pause,
        }
    }

    /// Returns the moment by the monotonic clock.
    pub const fn steady(self) -> Instant {
        self.steady
    }

    fn has_passed(self) -> bool {
        Instant::now() >= self.steady || SystemTime::now() >= self.of_day
    }
}

/// Lets writes through until a moment that is extended again and again. A clone is another handle to the same fence.
///
/// A write in flight when the fence closes is abandoned. What has already been sent arrives before anyone else may write, or not
/// at all.
#[derive(Debug, Clone, Default)]
pub struct Fence {
    until: Arc<watch::Sender<Option<Moment>>>,
}

impl Fence {
    /// Creates a closed fence.
    pub fn closed() -> Self {
        Self::default()
    }

    /// Lets writes through until a moment.
    pub fn open_until(&self, moment: Moment) {
        self.until.send_replace(Some(moment));
    }

    /// Stops letting writes through.
    pub fn close(&self) {
        self.until.send_replace(None);
    }

    /// Returns whether writes are let through.
    pub fn is_open(&self) -> bool {
        self.until.borrow().is_some_and(|until| !until.has_passed())
    }

    /// Waits until writes are no longer let through.
    pub async fn closes(&self) {
        let mut changes = self.until.subscribe();
        loop {
            let until = *changes.borrow_and_update();
            let Some(until) = until.filter(|until| !until.has_passed()) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep_until(until.steady.into()) => {}
                // The sender lives as long as the fence.
                _ = changes.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn it_is_closed_until_it_is_opened_and_by_either_clock() {
        let fence = Fence::closed();
        assert!(!fence.is_open());
        fence.open_until(Moment::now().after(LONG));
        assert!(fence.is_open());
        let now = Moment::now();
        fence.open_until(Moment {
            of_day: now.of_day - LONG,
            ..now.after(LONG)
        });
        assert!(!fence.is_open(), "the time of day has passed");
        fence.open_until(Moment {
            steady: now.steady,
            ..now.after(LONG)
        });
        assert!(!fence.is_open(), "the steady clock has passed");
    }

    #[tokio::test]
    async fn who_waits_is_told_when_it_closes() {
        let fence = Fence::closed();
        fence.closes().await;
        fence.open_until(Moment::now().after(LONG));
        let waiting = tokio::spawn({
            let fence = fence.clone();
            async move { fence.closes().await }
        });
        tokio::task::yield_now().await;
        fence.open_until(Moment::now().after(LONG * 2));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "it was only put off");
        fence.close();
        waiting.await.expect("it does not panic");
        fence.open_until(Moment::now());
        fence.closes().await;
    }
}
