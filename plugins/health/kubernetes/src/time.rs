//! Times in objects.

/// Returns the milliseconds since the epoch of an RFC 3339 time, such as `2026-03-01T10:00:00Z`; `None` if the text is not such
/// a time or lies before 1970.
///
/// The API server writes `metav1.Time` in UTC to the second and `metav1.MicroTime` to the microsecond; controllers of
/// custom resources may write offsets. A date library would double the size of this component.
pub(crate) fn epoch_ms(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', 't'])?;
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));

    let days = days_since_epoch(date)?;
    let [hours, minutes, seconds] = numbers(clock, ':')?;
    if hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    let seconds = ((days * 24 + hours) * 60 + minutes) * 60 + seconds - offset_seconds(zone)?;
    u64::try_from(seconds * 1000 + milliseconds(fraction)?).ok()
}

/// Returns the time that many seconds after another one, in milliseconds since the epoch.
pub(crate) fn after(since_ms: u64, seconds: u64) -> u64 {
    since_ms.saturating_add(seconds.saturating_mul(1000))
}

/// Returns the days from 1970-01-01 to a date of the proleptic Gregorian calendar.
fn days_since_epoch(date: &str) -> Option<i64> {
    let [year, month, day] = numbers(date, '-')?;
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March put the leap day last, so that the days before a month need no table.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let before_month = (153 * month + 2) / 5;
    Some(year * 365 + leap_days + before_month + day - 1 - 719_468)
}

fn offset_seconds(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60)
}

fn milliseconds(fraction: &str) -> Option<i64> {
    fraction
        .chars()
        .all(|digit| digit.is_ascii_digit())
        .then(|| {
            let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
            digits.parse().unwrap_or(0)
        })
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(number);
    let all = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(all)
}

fn number(text: &str) -> Option<i64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2026-03-01T10:00:00Z", 1_772_359_200_000),
            ("2026-03-01T12:00:00+02:00", 1_772_359_200_000),
            ("2026-03-01T04:30:00.123456-05:30", 1_772_359_200_123),
            ("2026-12-31t23:59:60.5z", 1_798_761_600_500),
        ] {
            assert_eq!(epoch_ms(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_time() {
        for text in [
            "",
            "now",
            "2026-03-01",
            "2026-03-01T10:00:00",
            "2026-13-01T10:00:00Z",
            "2026-03-01T25:00:00Z",
            "2026-03-01T10:00Z",
            "2026-03-01T10:00:00.x1Z",
            "2026-03-01T10:00:00+2",
            "1969-12-31T23:59:59Z",
            "99999-01-01T00:00:00Z",
            "2026-03-01T10:00:00é",
            "2026-03-01-01T10:00:00Z",
            "T",
            "TZ",
            "é-é-éTé:é:éZ",
        ] {
            assert_eq!(epoch_ms(text), None, "{text}");
        }
    }
}
