//! A server that wants to be left alone.

use std::time::{Duration, Instant};

use crate::error::SourceError;

/// The longest pause that is granted. A date that is a year away is more likely wrong than meant.
const LONGEST: Duration = Duration::from_hours(1);

/// Until when a server wants to be left alone, and the failure with which it asked for that.
#[derive(Debug, Default)]
pub(super) struct Rest(Option<(Instant, SourceError)>);

impl Rest {
    /// Records how a conversation ended. A failure for another reason does not end a pause.
    pub(super) fn heed(&mut self, failure: Option<&SourceError>, now: Instant) {
        let Some(failure) = failure else {
            self.0 = None;
            return;
        };
        if let Some(wish) = failure.retry_after() {
            self.0 = Some((now + wish.min(LONGEST), failure.clone()));
        }
    }

    /// Returns the failure to report instead of contacting the server, with what is left of the pause; `None` if the server may
    /// be contacted.
    pub(super) fn failure(&self, now: Instant) -> Option<SourceError> {
        let (end, failure) = self.0.as_ref()?;
        let left = end.saturating_duration_since(now);
        (!left.is_zero()).then(|| failure.clone().with_retry_after(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(retry_after: Option<Duration>) -> SourceError {
        SourceError::Unavailable {
            url: "URL".to_owned(),
            reason: "HTTP status 429".to_owned(),
            retry_after,
        }
    }

    #[test]
    fn a_pause_lasts_as_long_as_it_was_asked_for_or_until_there_is_an_answer() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut rest = Rest::default();
        assert_eq!(rest.failure(start), None);
        rest.heed(Some(&busy(None)), start);
        assert_eq!(rest.failure(start), None);

        rest.heed(Some(&busy(Some(3 * second))), start);
        rest.heed(Some(&busy(None)), start + second);
        let failure = |rest: &Rest, after: Duration| rest.failure(start + after);
        assert_eq!(failure(&rest, second), Some(busy(Some(2 * second))));
        assert_eq!(failure(&rest, 3 * second), None);

        rest.heed(Some(&busy(Some(Duration::MAX))), start);
        assert_eq!(
            failure(&rest, second),
            Some(busy(Some(LONGEST.saturating_sub(second))))
        );
        assert_eq!(failure(&rest, LONGEST), None);
        rest.heed(None, start);
        assert_eq!(failure(&rest, second), None);
    }
}
