//! How long a watch that has failed waits before it is retried.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::client::BRIEF;

/// The first pause; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pauses between retries; see the module's documentation.
pub(super) struct Pause {
    next: Duration,
    /// Ends the pause, because a retry is known to be worthwhile.
    nudge: Arc<Notify>,
}

impl Pause {
    pub(super) fn new(nudge: Arc<Notify>) -> Self {
        Self {
            next: FIRST_PAUSE,
            nudge,
        }
    }

    /// Records how long the watch worked before it failed. Without this, a watch that fails too soon and is listed again because
    /// of that would be listed as fast as the server answers.
    pub(super) fn worked(&mut self, time: Duration) {
        if time >= BRIEF {
            self.next = FIRST_PAUSE;
        }
    }

    /// Waits. The next pause is longer.
    pub(super) async fn wait(&mut self) {
        let spread: f64 = rand::random();
        tokio::select! {
            () = tokio::time::sleep(self.next.mul_f64(0.5 + spread / 2.0)) => {
                self.next = (self.next * 2).min(LONGEST_PAUSE);
            }
            () = self.nudge.notified() => self.next = FIRST_PAUSE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    impl Pause {
        /// Returns the factor by which the next pause is longer than the first.
        pub(in crate::watching) fn growth(&self) -> u128 {
            self.next.as_millis() / FIRST_PAUSE.as_millis()
        }
    }

    #[test]
    fn only_what_has_lived_makes_the_next_one_short() {
        let mut pause = Pause::new(Arc::default());
        pause.next = LONGEST_PAUSE;
        pause.worked(BRIEF.saturating_sub(Duration::from_millis(1)));
        assert_eq!(pause.next, LONGEST_PAUSE);
        pause.worked(BRIEF);
        assert_eq!(pause.growth(), 1);
    }

    #[tokio::test]
    async fn it_ends_when_somebody_knows_that_it_is_worth_another_try() {
        let nudge = Arc::new(Notify::new());
        let mut pause = Pause {
            next: LONGEST_PAUSE,
            nudge: Arc::clone(&nudge),
        };
        assert!(pause.wait().now_or_never().is_none());
        // Also if the nudge came during a retry.
        nudge.notify_one();
        assert!(pause.wait().now_or_never().is_some());
        assert_eq!(pause.growth(), 1, "the next try may come too early");
    }
}
