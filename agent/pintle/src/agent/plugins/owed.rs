//! A status that could not be written, and when the write is retried.
//!
//! Nothing else triggers the retry: what is loaded stays loaded, and a watch reports nothing about a resource that did not
//! change.

use pintle_cluster::StatusError;
use pintle_core::causes::chain;
use tokio::time::Instant;

use crate::agent::pauses;

/// How often in a row a status could not be written.
#[derive(Debug, Default)]
pub(super) struct Owed {
    failures: u32,
    /// `None` while nothing is owed.
    due: Option<Instant>,
}

impl Owed {
    /// Records whether the write at this time succeeded. Returns whether it is the first failure in a row.
    pub(super) fn take(&mut self, name: &str, is_written: bool, now: Instant) -> bool {
        if is_written {
            *self = Self::default();
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        self.due = Some(now + pintle_core::machine::pause(name, self.failures));
        self.failures == 1
    }

    /// Records the result of writing a plugin's status. Repeated failures are logged once.
    pub(super) fn settle(&mut self, name: &str, written: Result<(), StatusError>) {
        let is_news = self.take(name, written.is_ok(), Instant::now());
        if let Err(error) = written
            && is_news
        {
            tracing::warn!(plugin = name, error = %chain(&error), "its status was not written; it is tried again");
        }
    }

    /// Returns when to try again, or `None` while nothing is owed.
    pub(super) fn at(&self) -> Option<Instant> {
        self.due
    }

    /// Waits until it is time to try again, or for ever while nothing is owed.
    pub(super) async fn due(&self) {
        pauses::until(self.due).await;
    }
}

#[cfg(test)]
mod tests {
    use pintle_core::machine::LONGEST_PAUSE;

    use super::*;

    #[test]
    fn what_was_not_written_is_due_after_pauses_that_grow() {
        let now = Instant::now();
        let mut owed = Owed::default();
        assert!(!owed.take("slack", true, now));
        assert_eq!(owed.due, None);

        assert!(owed.take("slack", false, now));
        let first = owed.due.unwrap();
        assert!(first > now);
        assert!(!owed.take("slack", false, now));
        assert!(owed.due.unwrap() > first);
        for _ in 0..100 {
            owed.take("slack", false, now);
        }
        assert!(owed.due.unwrap() <= now + LONGEST_PAUSE);

        assert!(!owed.take("slack", true, now));
        assert_eq!(owed.due, None);
        assert!(owed.take("slack", false, now), "and is told anew");
    }
}
