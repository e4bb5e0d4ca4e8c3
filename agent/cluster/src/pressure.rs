//! The API server's back-pressure, obeyed by all requests of one name together.
//!
//! Priority and fairness answers 429 when the queue of a flow is full, and says after which time to come again. A flow is a
//! user's, so one request's refusal speaks for all that are made in the same name: sending the others all the same would only fill
//! the queue anew. Requests in other names go on.
//!
//! <https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::connection::ServiceAccount;

/// How long requests rest when the server does not say.
const REST: Duration = Duration::from_secs(1);
/// The longest rest that is waited for within a request; a longer one is an error at once.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// Until when requests rest, by the name in which they are made; nothing is one's own.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    until: Mutex<BTreeMap<Option<ServiceAccount>, Instant>>,
}

impl Pressure {
    /// Lets all requests in a name rest for as long as the server wishes.
    pub(crate) fn rest(&self, name: Option<&ServiceAccount>, wish: Option<Duration>, now: Instant) {
        let until = now + wish.unwrap_or(REST);
        let mut rests = self.lock();
        rests.retain(|_, until| *until > now);
        let known = rests.entry(name.cloned()).or_insert(until);
        *known = (*known).max(until);
    }

    /// Returns how long requests in a name still rest; nothing if they may be sent.
    pub(crate) fn left(&self, name: Option<&ServiceAccount>, now: Instant) -> Option<Duration> {
        let rests = self.lock();
        if rests.is_empty() {
            return None;
        }
        let until = rests.get(&name.cloned())?;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Waits until requests in a name may be sent. The error says how long that would take, if it is too long.
    pub(crate) async fn pass(&self, name: Option<&ServiceAccount>) -> Result<(), Duration> {
        while let Some(left) = self.left(name, Instant::now()) {
            if left > LONGEST {
                return Err(left);
            }
            // Spread over half as long again, so that what rested together is not sent together.
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
