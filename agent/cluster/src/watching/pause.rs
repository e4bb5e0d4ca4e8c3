//! How long a watch that has failed waits before it is tried again.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::client::BRIEF;

/// The first pause; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// See the module's documentation.
pub(super) struct Pause {
    next: Duration,
    /// Ends it: somebody knows that it is worth another try.
    nudge: Arc<Notify>,
}

impl Pause {
    pub(super) fn new(nudge: Arc<Notify>) -> Self {
        Self {
            next: FIRST_PAUSE,
            nudge,
        }
    }

    /// Takes note of how long the watch worked before it failed. One that fails too soon, and is listed anew because of that, would be
    /// listed as fast as it is answered.
    pub(super) fn worked(&mut self, time: Duration) {
        if time >= BRIEF {
            self.next = FIRST_PAUSE;
        }
    }

    /// Waits, and longer the next time.
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
        /// Returns by how much the next one is longer than the first.
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
        // Also if that was said while it was tried.
        nudge.notify_one();
        assert!(pause.wait().now_or_never().is_some());
        assert_eq!(pause.growth(), 1, "the next try may come too early");
    }
}
