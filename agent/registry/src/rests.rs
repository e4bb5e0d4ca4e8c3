//! Hosts that want to be left alone.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use pintle_core::digest::Digest;

use crate::error::Cause;

/// The longest pause that is granted. A date that is a year away is more likely wrong than meant.
const LONGEST: Duration = Duration::from_hours(1);

/// Until when hosts want to be left alone, and by which callers, with the failures with which they asked for that.
#[derive(Debug, Default)]
pub(crate) struct Rests(HashMap<Digest, Rest>);

#[derive(Debug)]
struct Rest {
    since: Instant,
    end: Instant,
    cause: Cause,
}

impl Rests {
    /// Records a failure of the callers that a digest names, and returns whether they must leave the host alone now. A failure
    /// for another reason does not end a pause.
    pub(crate) fn heed(&mut self, whom: Digest, host: &str, cause: &Cause, now: Instant) -> bool {
        let Some(wish) = wish(host, cause) else {
            return false;
        };
        // Pauses that are over only take up memory.
        self.0.retain(|_, rest| now < rest.end);
        let rest = Rest {
            since: now,
            end: now + wish.min(LONGEST),
            cause: cause.clone(),
        };
        self.0.insert(whom, rest);
        true
    }

    /// Records that the host has answered a caller that began to ask at a given time. A pause that the host asked for after
    /// that time stays.
    pub(crate) fn answered(&mut self, whom: Digest, began: Instant) {
        if self.0.get(&whom).is_some_and(|rest| rest.since < began) {
            self.0.remove(&whom);
        }
    }

    /// Returns the failure to report instead of asking, with what is left of the pause; `None` if the host may be asked.
    pub(crate) fn failure(&self, whom: Digest, now: Instant) -> Option<Cause> {
        let rest = self.0.get(&whom)?;
        let left = rest.end.saturating_duration_since(now);
        (!left.is_zero()).then(|| rest.cause.clone().with_retry_after(left))
    }
}

/// Returns how long the host itself wants to be left alone. The failure may be of another host, to which this one has sent us.
fn wish(own: &str, cause: &Cause) -> Option<Duration> {
    match cause {
        Cause::RateLimited { host, .. } | Cause::Server { host, .. } if host == own => {
            cause.retry_after().filter(|wish| !wish.is_zero())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "registry.example.com";

    fn busy(retry_after: Option<Duration>) -> Cause {
        Cause::RateLimited {
            host: HOST.to_owned(),
            retry_after,
            message: None,
        }
    }

    #[test]
    fn a_pause_lasts_as_long_as_it_was_asked_for_or_until_there_is_an_answer() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let [us, others] = ["us", "others"].map(Digest::of);
        let mut rests = Rests::default();
        for nothing in [None, Some(Duration::ZERO)] {
            assert!(!rests.heed(us, HOST, &busy(nothing), start));
        }
        let wish = busy(Some(3 * second));
        assert!(!rests.heed(us, "elsewhere.example.com", &wish, start));
        let left = |rests: &Rests, whom: Digest, after: Duration| {
            let failure = rests.failure(whom, start + after);
            failure.map(|cause| cause.retry_after().unwrap())
        };
        assert_eq!(left(&rests, us, Duration::ZERO), None);

        assert!(rests.heed(us, HOST, &wish, start));
        assert!(!rests.heed(us, HOST, &busy(None), start + second));
        assert_eq!(left(&rests, us, second), Some(2 * second));
        assert_eq!(left(&rests, others, second), None);
        assert_eq!(left(&rests, us, 3 * second), None);

        rests.heed(us, HOST, &busy(Some(Duration::MAX)), start);
        assert_eq!(
            left(&rests, us, second),
            Some(LONGEST.saturating_sub(second))
        );
        assert_eq!(left(&rests, us, LONGEST), None);
        rests.answered(us, start);
        assert!(left(&rests, us, second).is_some(), "it had asked before");
        rests.answered(us, start + second);
        assert_eq!(left(&rests, us, second), None);
    }

    #[test]
    fn what_is_over_takes_no_memory() {
        let start = Instant::now();
        let mut rests = Rests::default();
        let second = busy(Some(Duration::from_secs(1)));
        for (number, who) in (0..).zip(["one", "another"]) {
            let now = start + Duration::from_mins(number);
            assert!(rests.heed(Digest::of(who), HOST, &second, now));
        }
        assert_eq!(rests.0.len(), 1);
    }
}
