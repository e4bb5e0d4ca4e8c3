//! The time of day, as an API server has it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use pintle_core::machine::Millis;

/// Knows the time of an API server from its answers: each has a `Date` (RFC 9110, section 6.6.1), to the second.
///
/// The times in objects are the control plane's. This machine's own time of day may be another, or be set at any moment,
/// and what was made a second ago would then seem to be hours old.
#[derive(Debug, Default)]
pub(crate) struct ServerClock {
    /// The newest `Date`, and when it came by a clock that only goes forward.
    told: Mutex<Option<(Millis, Instant)>>,
}

impl ServerClock {
    /// Takes up the `Date` of an answer.
    pub(crate) fn told(&self, date: Option<&HeaderValue>) {
        if let Some(date) = date.and_then(read) {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            *told = Some((date, Instant::now()));
        }
    }

    /// Returns the time of the server; that of this machine as long as the server has told none.
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
