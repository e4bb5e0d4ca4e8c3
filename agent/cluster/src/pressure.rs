//! The API server's back-pressure, obeyed jointly by all requests under one identity.
//!
//! Priority and fairness answers 429 when the queue of a flow is full, and says how long to wait. A flow belongs to a user, so
//! the refusal of one request applies to all requests under the same identity: sending the others anyway would only fill the
//! queue again. Requests under other identities continue.
//!
//! <https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::connection::ServiceAccount;

/// How long requests pause when the server does not say.
const REST: Duration = Duration::from_secs(1);
/// The longest pause that a request waits out; a longer one is an error at once.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// Until when requests pause, by the account they are made as; `None` is the connection's own identity.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    until: Mutex<BTreeMap<Option<ServiceAccount>, Instant>>,
}

impl Pressure {
    /// Pauses all requests under an identity for as long as the server asks.
    pub(crate) fn rest(&self, name: Option<&ServiceAccount>, wish: Option<Duration>, now: Instant) {
        let until = now + wish.unwrap_or(REST);
        let mut rests = self.lock();
        rests.retain(|_, until| *until > now);
        let known = rests.entry(name.cloned()).or_insert(until);
        *known = (*known).max(until);
    }

    /// Returns how long requests under an identity still have to pause; `None` if they may be sent.
    pub(crate) fn left(&self, name: Option<&ServiceAccount>, now: Instant) -> Option<Duration> {
        let rests = self.lock();
        if rests.is_empty() {
            return None;
        }
        let until = rests.get(&name.cloned())?;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Waits until requests under an identity may be sent. If the wait is too long, returns its length as the error.
    pub(crate) async fn pass(&self, name: Option<&ServiceAccount>) -> Result<(), Duration> {
        while let Some(left) = self.left(name, Instant::now()) {
            if left > LONGEST {
                return Err(left);
            }
            // Up to half as long again at random, so that requests that paused together are not sent together.
            tokio::time::sleep(left + (left / 2).mul_f64(rand::random())).await;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Option<ServiceAccount>, Instant>> {
        // No code panics while it holds the lock.
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_requests_in_a_name_rest_and_those_in_others_do_not() {
        let (pressure, now) = (Pressure::default(), Instant::now());
        let (one, other) = (
            ServiceAccount::new("shop", "a"),
            ServiceAccount::new("shop", "b"),
        );
        let seconds = Duration::from_secs;
        pressure.rest(Some(&one), Some(seconds(3)), now);
        pressure.rest(Some(&one), Some(seconds(1)), now);
        let left = |name, after| pressure.left(name, now + seconds(after));
        assert_eq!(left(Some(&one), 0), Some(seconds(3)), "the longest counts");
        assert_eq!(left(Some(&one), 2), Some(seconds(1)));
        assert_eq!(
            (left(Some(&one), 3), left(Some(&other), 0), left(None, 0)),
            (None, None, None)
        );
        pressure.rest(None, None, now + seconds(9));
        assert_eq!(left(None, 9), Some(REST));
    }

    #[tokio::test]
    async fn a_long_rest_is_an_error_at_once() {
        let pressure = Pressure::default();
        assert_eq!(pressure.pass(None).await, Ok(()));
        pressure.rest(None, Some(Duration::from_hours(1)), Instant::now());
        let left = pressure.pass(None).await.unwrap_err();
        assert!(left > LONGEST && left <= Duration::from_hours(1));
    }
}
