//! Components that do not compile. Compiling one takes minutes at worst, and only one is compiled at a time: a caller that kept
//! requesting such a component would hold up all others.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use pintle_core::digest::Digest;

use crate::world::Unloadable;

/// How long a failure is remembered. It does not last for ever: a compiler crash or timeout may be the machine's fault.
const STANDS: Duration = Duration::from_hours(1);

/// Failures that only time may change, by the digest of the component.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<Digest, Failure>>);

#[derive(Debug)]
struct Failure {
    reason: Unloadable,
    at: Instant,
}

impl Failure {
    fn stands(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < STANDS
    }
}

impl Failures {
    /// Rejects a component whose failure is still remembered, with the original reason.
    pub(super) fn check(&self, digest: Digest, now: Instant) -> Result<(), Unloadable> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.get(&digest) {
            Some(failure) if failure.stands(now) => Err(failure.reason.clone()),
            _ => Ok(()),
        }
    }

    /// Records why a component failed, unless the failure is retryable.
    pub(super) fn note(&self, digest: Digest, reason: &Unloadable, now: Instant) {
        if reason.is_retryable() {
            return;
        }
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, failure| failure.stands(now));
        let failure = Failure {
            reason: reason.clone(),
            at: now,
        };
        failures.insert(digest, failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_for_good_is_refused_for_an_hour() {
        let failures = Failures::default();
        let (bad, good) = (Digest::of("bad"), Digest::of("good"));
        let start = Instant::now();
        let after = |minutes| start + Duration::from_mins(minutes);
        let reason = Unloadable::Compile("the compiler ended with signal: 6".to_owned());
        failures.note(bad, &reason, start);
        assert_eq!(failures.check(bad, after(59)), Err(reason));
        assert_eq!(failures.check(good, after(59)), Ok(()));
        assert_eq!(failures.check(bad, after(60)), Ok(()));
        // An expired failure takes no memory once another one is recorded.
        failures.note(good, &Unloadable::Empty, after(60));
        assert_eq!(failures.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn what_may_be_loaded_later_is_not_refused() {
        let failures = Failures::default();
        let (digest, now) = (Digest::of("killed"), Instant::now());
        failures.note(digest, &Unloadable::Interrupted, now);
        assert_eq!(failures.check(digest, now), Ok(()));
    }
}
