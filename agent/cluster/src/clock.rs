//! The time of day according to an API server.

use std::{
    sync::{Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use pintle_core::machine::Millis;

/// Learns the time of an API server from its responses: each has a `Date` header (RFC 9110, section 6.6.1), accurate to the
/// second.
///
/// The times in objects come from the control plane. This machine's own clock may differ or be set at any moment, and an object
/// made a second ago would then seem to be hours old.
#[derive(Debug, Default)]
pub(crate) struct ServerClock {
    /// The newest `Date`, and when it arrived by the monotonic clock.
    told: Mutex<Option<(Millis, Instant)>>,
}

impl ServerClock {
    /// Records the `Date` of a response.
    pub(crate) fn told(&self, date: Option<&HeaderValue>) {
        if let Some(date) = date.and_then(read) {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            *told = Some((date, Instant::now()));
        }
    }

    /// Returns the server's time, or this machine's time until the server has sent one.
    pub(crate) fn now(&self) -> Millis {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, since) = match told {
            Some((date, at)) => (date, at.elapsed()),
            None => (
                0,
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default(),
            ),
        };
        start.saturating_add(Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX))
    }
}

fn read(date: &HeaderValue) -> Option<Millis> {
    let time = httpdate::parse_http_date(date.to_str().ok()?).ok()?;
    Millis::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_time_goes_on_from_its_last_answer() {
        let clock = ServerClock::default();
        let year = 366 * 24 * 3_600_000;
        let of_day = clock.now();
        assert!(
            of_day > 50 * year,
            "without an answer it is this machine's: {of_day}"
        );
        clock.told(Some(&HeaderValue::from_static(
            "Sun, 06 Nov 1994 08:49:37 GMT",
        )));
        let date = 784_111_777_000;
        assert!((date..date + year).contains(&clock.now()));
        for nonsense in ["", "yesterday", "Sun, 06 Nov 1894 08:49:37 GMT"] {
            clock.told(Some(&HeaderValue::from_str(nonsense).unwrap()));
        }
        clock.told(None);
        assert!((date..date + year).contains(&clock.now()));
    }
}
