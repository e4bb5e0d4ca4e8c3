//! How soon an object is examined again.

use std::time::Duration;

/// How long to wait for changes that belong together: pods change in groups, and the event about a change comes after it.
pub(super) const QUIET: Duration = Duration::from_secs(1);
/// The pause before repeating a look that could not see everything or whose pods are not watched; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest such pause, and the longest rest after a look.
const LONGEST: Duration = Duration::from_secs(30);

/// The times between the looks at one object.
#[derive(Debug)]
pub(super) struct Pace {
    cause: Option<String>,
    rest: Duration,
    pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            cause: None,
            rest: QUIET,
            pause: FIRST_PAUSE,
        }
    }
}

impl Pace {
    /// Returns for how long changes of pods trigger no further look, after a look that found this cause.
    ///
    /// In a rollout that goes well, pods change all the time, and each look finds a different one that is not ready. Only a new
    /// cause makes the next look come soon.
    pub(super) fn rest(&mut self, cause: Option<&str>) -> Duration {
        if cause.is_some() && cause != self.cause.as_deref() {
            self.cause = cause.map(ToOwned::to_owned);
            self.rest = QUIET;
        }
        let rest = self.rest;
        self.rest = (rest * 2).min(LONGEST);
        rest
    }

    /// Returns after how long the object is examined again even if no pod changes: only if not everything could be seen, or
    /// changes are not reported.
    pub(super) fn pause(&mut self, is_blind: bool) -> Option<Duration> {
        if !is_blind {
            self.pause = FIRST_PAUSE;
            return None;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_grows_until_there_is_another_cause() {
        let mut pace = Pace::default();
        let mut rest = |cause| pace.rest(cause).as_secs();
        let of_none: Vec<u64> = (0..7).map(|_| rest(None)).collect();
        assert_eq!(of_none, [1, 2, 4, 8, 16, 30, 30]);
        let unready = Some("main runs and is not ready");
        assert_eq!(rest(unready), 1);
        // Between two pods that start, one has only been created.
        assert_eq!([rest(None), rest(unready)], [2, 4]);
        assert_eq!(rest(Some("main keeps ending")), 1);
    }

    #[test]
    fn what_cannot_be_seen_is_tried_again_ever_less_often() {
        let mut pace = Pace::default();
        let mut pause = |is_blind| pace.pause(is_blind).map(|pause| pause.as_secs());
        let blind: Vec<Option<u64>> = (0..6).map(|_| pause(true)).collect();
        assert_eq!(blind, [2, 4, 8, 16, 30, 30].map(Some));
        assert_eq!([pause(false), pause(true)], [None, Some(2)]);
    }
}
