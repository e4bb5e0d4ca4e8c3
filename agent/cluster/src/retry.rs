//! When a failed request is retried: a pure decision, so that it can be tested without a server.

use std::time::Duration;

/// The maximum number of times one request is sent.
pub(crate) const ATTEMPTS: u32 = 6;
/// The first pause; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause that the client chooses itself.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause that the server may ask for within one call. A longer one is left to the next run.
const LONGEST_WISH: Duration = Duration::from_secs(30);

/// The longest accepted pause in seconds, so that adding it to a time cannot overflow.
const DAY: u64 = 24 * 60 * 60;

/// Returns whether an HTTP status may be temporary, so that the same request is retried right away.
///
/// 429 comes from API priority and fairness; 5xx from a server, an admission webhook or etcd in trouble; 408, 425 and 52x from
/// whatever stands before a server. 401 is not temporary: the client rereads its token once a minute, and not because of a
/// refusal.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#api-server-errors>
pub(crate) const fn is_transient(code: u16) -> bool {
    matches!(code, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 520..=529)
}

/// Returns whether a request with this HTTP status may have succeeded all the same: etcd may have stored what the server could
/// not wait for.
pub(crate) const fn leaves_open(code: u16) -> bool {
    matches!(code, 408 | 500..)
}

/// Returns whether an HTTP status is about the request itself or the object in it: only a different request changes the outcome.
pub(crate) const fn is_about_the_request(code: u16) -> bool {
    matches!(code, 400 | 405 | 406 | 413 | 415 | 422)
}

/// Returns whether a 500 is really about the request. Applying something that does not fit the kind's schema is answered with 500
/// without a reason, and would be every time. Seen with Kubernetes 1.33 to 1.36.
pub(crate) fn is_misfit(code: u16, reason: &str, message: &str) -> bool {
    const STARTS: [&str; 3] = [
        "failed to create typed patch object",
        "failed to convert new object",
        "failed to decode patch",
    ];
    code == 500 && reason.is_empty() && STARTS.iter().any(|start| message.starts_with(start))
}

/// Returns the pause before the next attempt, or `None` if this was the last one.
///
/// `attempt` counts from 1. `spread` is a random number from 0 to 1, so that clients that failed together do not retry together.
/// The pause that the server asks for (`Retry-After`) is a lower bound.
pub(crate) fn pause(attempt: u32, wish: Option<Duration>, spread: f64) -> Option<Duration> {
    if attempt >= ATTEMPTS {
        return None;
    }
    let doubled = FIRST_PAUSE
        .saturating_mul(1 << attempt.saturating_sub(1).min(16))
        .min(LONGEST_PAUSE);
    let own = doubled.mul_f64(0.5 + spread / 2.0);
    match wish {
        Some(wish) if wish > LONGEST_WISH => None,
        Some(wish) => Some(wish + own),
        None => Some(own),
    }
}

/// Reads `Retry-After` in seconds, at most a day; the API server never sends a date.
pub(crate) fn retry_after(header: Option<&http::HeaderValue>) -> Option<Duration> {
    let seconds: u64 = header?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(DAY)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_are_spread_and_end() {
        let at = |attempt| pause(attempt, None, 1.0);
        assert_eq!(at(1), Some(Duration::from_millis(100)));
        assert_eq!(at(2), Some(Duration::from_millis(200)));
        assert_eq!(pause(2, None, 0.0), Some(Duration::from_millis(100)));
        assert!(at(ATTEMPTS - 1).is_some_and(|pause| pause <= LONGEST_PAUSE));
        assert_eq!(at(ATTEMPTS), None);
    }

    #[test]
    fn what_the_server_asks_for_is_obeyed_or_left_to_the_next_run() {
        let wish = |seconds| pause(1, Some(Duration::from_secs(seconds)), 0.0);
        assert!(wish(2).is_some_and(|pause| pause >= Duration::from_secs(2)));
        assert_eq!(wish(3600), None);
    }

    #[test]
    fn an_object_that_does_not_fit_is_not_sent_again() {
        let message = "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.replicaz: field not declared in schema";
        assert!(is_misfit(500, "", message));
        assert!(!is_misfit(500, "InternalError", message));
        assert!(!is_misfit(500, "", "etcdserver: request timed out"));
    }

    #[test]
    fn a_header_that_is_no_number_is_ignored() {
        let read = |text| retry_after(Some(&http::HeaderValue::from_static(text)));
        assert_eq!(read("3"), Some(Duration::from_secs(3)));
        assert_eq!(read("18446744073709551615"), Some(Duration::from_hours(24)));
        assert_eq!(read("soon"), None);
        assert_eq!(retry_after(None), None);
    }
}
