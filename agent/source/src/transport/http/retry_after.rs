//! How long a server wants to be left alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// Days from the first of March of the year 0 to the first of January 1970.
const DAYS_BEFORE_1970: i64 = 719_468;

/// Reads it from the headers of an answer: in seconds, as git hosts write it, or until a date, as what stands before them may. A
/// date counts from what the clock of who wrote it shows, if he says that, because ours may show something else.
/// <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.trim());
    let wish = text(RETRY_AFTER)?;
    if let Ok(seconds) = wish.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let end = date(wish)?;
    let now = text(DATE).and_then(date).or_else(now)?;
    // One that is over asks for nothing.
    let seconds = u64::try_from(end.checked_sub(now)?).ok()?;
    Some(Duration::from_secs(seconds))
}

/// Reads a date as HTTP has it, `Sun, 06 Nov 1994 08:49:37 GMT`, in seconds since 1970.
fn date(text: &str) -> Option<i64> {
    let words: Vec<&str> = text.split(' ').collect();
    let [_, day, month, year, time, "GMT"] = words[..] else {
        return None;
    };
    let number = |text: &str, most: i64| {
        let number = text.parse::<i64>().ok()?;
        (0..=most).contains(&number).then_some(number)
    };
    let (hour, rest) = time.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    let (hour, minute, second) = (number(hour, 23)?, number(minute, 59)?, number(second, 60)?);
    let (day, year) = (number(day, 31)?, number(year, 9999)?);
    let month = MONTHS.iter().position(|name| *name == month)?;
    let month = i64::try_from(month).ok()?;
    // Counted from March, so that the leap day is the last of its year.
    let (year, month) = if month < 2 {
        (year - 1, month + 10)
    } else {
        (year, month - 2)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - DAYS_BEFORE_1970;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Returns the seconds since 1970 that our own clock shows.
fn now() -> Option<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn it_is_in_seconds_or_until_a_date() {
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        let read = |wish: &'static str| {
            let headers = [(RETRY_AFTER, wish), (DATE, now)];
            let headers = headers.map(|(name, text)| (name, HeaderValue::from_static(text)));
            retry_after(&headers.into_iter().collect()).map(|wish| wish.as_secs())
        };
        assert_eq!(read("7"), Some(7));
        assert_eq!(read("Sun, 06 Nov 1994 08:51:07 GMT"), Some(90));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:00 GMT"), None);
        for nonsense in ["", "soon", "-5", "Sun, 06 Nov 1994 99:49:37 GMT"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
        let far = HeaderValue::from_static("Thu, 31 Dec 9998 23:59:59 GMT");
        let far: HeaderMap = [(RETRY_AFTER, far)].into_iter().collect();
        assert!(
            retry_after(&far).is_some(),
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
            assert_eq!(date(text), Some(seconds), "{text}");
        }
        for other in ["Thu, 01 Jan 1970 00:00:00", "Thu, 01 Jan 1970 00:00:00 CET"] {
            assert_eq!(date(other), None, "{other}");
        }
    }
}
