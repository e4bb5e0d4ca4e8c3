//! When a source is asked again.

use std::{sync::Arc, time::Duration};

use pintle_core::digest::Digest;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::SourceKey;
use crate::agent::pauses;

/// The shortest pause between two requests to one source, whatever the interval is.
const SHORTEST: Duration = Duration::from_secs(1);

/// Decides when a source is asked again.
pub(super) struct Pace {
    interval: watch::Receiver<Duration>,
    looks: watch::Receiver<u64>,
    /// Notified when what was fetched cannot be read here.
    mending: Arc<Notify>,
}

impl Pace {
    pub(super) fn new(
        interval: watch::Receiver<Duration>,
        looks: watch::Receiver<u64>,
        mending: Arc<Notify>,
    ) -> Self {
        Self {
            interval,
            looks,
            mending,
        }
    }

    /// Returns the number of the newest look, and marks it as seen.
    pub(super) fn newest_look(&mut self) -> u64 {
        *self.looks.borrow_and_update()
    }

    /// Waits for the interval to pass, or for somebody who wants the source now. Failures are retried sooner than a long
    /// interval, if the source does not ask for more time.
    ///
    /// All of it counts from now on: a tenant who shares a source and keeps changing the interval keeps nobody from getting it.
    pub(super) async fn rest(&mut self, key: &SourceKey, failures: u32, wish: Option<Duration>) {
        let since = Instant::now();
        loop {
            let interval = (*self.interval.borrow_and_update()).max(SHORTEST);
            let pause = match failures {
                0 if key.is_pinned() => Duration::MAX,
                0 => spread(key, interval),
                failures => pauses::with_wish(key.pause_within(failures, interval), wish),
            };
            tokio::select! {
                () = tokio::time::sleep(pause.saturating_sub(since.elapsed())) => return,
                // An error means that nobody can ask any more, which ends this task.
                _ = self.looks.changed() => return,
                () = self.mending.notified() => return,
                changed = self.interval.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Spreads the sources of one interval over a tenth of it, so that they are not all asked at once. Sources of one repository stay
/// together because they share what they ask for: references share its list, and charts its index.
pub(super) fn spread(key: &SourceKey, interval: Duration) -> Duration {
    let share = Digest::of(key.url()).as_bytes()[0];
    interval.mul_f64(0.95 + f64::from(share) / 2560.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::sources::tests::key;

    #[tokio::test]
    async fn whoever_changes_the_interval_again_and_again_does_not_begin_the_pause_anew() {
        let (interval, heard) = watch::channel(SHORTEST);
        let (_looks, looks) = watch::channel(0);
        let mut pace = Pace::new(heard, looks, Arc::default());
        let source = key("https://git.example.com/shop", "main");
        for failures in [0, 20] {
            let changes = async {
                // The changes go on far longer than the pause, but each comes sooner than it.
                for round in 0..50 {
                    tokio::time::sleep(SHORTEST / 10).await;
                    interval.send_replace(SHORTEST + Duration::from_millis(round % 2));
                }
            };
            tokio::select! {
                () = pace.rest(&source, failures, None) => {}
                () = changes => panic!("the source is not asked"),
            }
        }
    }
}
