//! How long an HTTP server wants clients to wait.

use std::time::{Duration, SystemTime};

/// Parses `Retry-After`: either a number of seconds, as git hosts and registries write it, or a date, as proxies in front of them
/// may. A date is relative to the sender's clock if it sends `Date`, because our clock, `now`, may differ. A date in the past
/// requests no wait.
/// <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
pub fn read(wish: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let read = |text: &str| httpdate::parse_http_date(text.trim()).ok();
    if let Ok(seconds) = wish.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let now = date.and_then(read).unwrap_or(now);
    read(wish)?.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_in_seconds_or_until_a_date() {
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        let of = |wish: &str| read(wish, Some(now), SystemTime::now()).map(|wish| wish.as_secs());
        assert_eq!(of("7"), Some(7));
        assert_eq!(of("Sun, 06 Nov 1994 08:51:07 GMT"), Some(90));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:00 GMT"), None);
        for nonsense in [
            "",
            "soon",
            "-5",
            "Sun, 06 Nov 1994 99:49:37 GMT",
            "Thu, 01 Jan 1970 00:00:00",
            "Thu, 01 Jan 1970 00:00:00 CET",
        ] {
            assert_eq!(of(nonsense), None, "{nonsense}");
        }
        let far = "Thu, 31 Dec 9998 23:59:59 GMT";
        assert!(
            read(far, None, SystemTime::now()).is_some(),
            "without a date of the answer, by our own clock"
        );
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Tue, 31 Dec 2024 23:59:59 GMT", 1_735_689_599),
        ] {
            let wish = read(text, None, SystemTime::UNIX_EPOCH);
            assert_eq!(wish, Some(Duration::from_secs(seconds)), "{text}");
        }
    }
}
