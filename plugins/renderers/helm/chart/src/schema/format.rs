//! The formats of texts that schemas up to draft 7 assert. Formats that are not listed are not checked.

use pintle_goregexp::Regex;
use pintle_gourl::Url;

/// Whether a text has a format; unknown formats hold for every text.
pub(super) fn holds(format: &str, text: &str) -> bool {
    match format {
        "ipv4" => is_ipv4(text),
        "ipv6" => text.contains(':') && text.parse::<std::net::Ipv6Addr>().is_ok(),
        "hostname" => is_hostname(text),
        "email" => is_email(text),
        "date" => is_date(text),
        "time" => is_time(text),
        "date-time" => is_date_time(text),
        "uri" => is_absolute(text),
        "uri-reference" => is_reference(text),
        "uuid" => is_uuid(text),
        "regex" => Regex::new(text.as_bytes()).is_ok(),
        "json-pointer" => is_json_pointer(text),
        _ => true,
    }
}

/// Whether a text is an absolute URL.
pub(super) fn is_absolute(text: &str) -> bool {
    Url::parse(text.as_bytes()).is_ok_and(|url| !url.scheme.is_empty())
}

/// Whether a text is a URL, absolute or relative. Blanks are tolerated.
pub(super) fn is_reference(text: &str) -> bool {
    !text.contains('\\') && Url::parse(text.as_bytes()).is_ok()
}

fn is_ipv4(text: &str) -> bool {
    text.parse::<std::net::Ipv4Addr>().is_ok()
}

/// RFC 1123: labels of letters, digits and inner hyphens, 253 bytes in all.
fn is_hostname(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    if text.len() > 254 || local.is_empty() || local.len() > 64 {
        return false;
    }
    let quoted = local.len() > 1 && local.starts_with('"') && local.ends_with('"');
    let atom =
        |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii();
    let dotted = local
        .split('.')
        .all(|part| !part.is_empty() && part.chars().all(atom));
    let address = domain
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'));
    let domain_holds = match address {
        Some(address) => match address.strip_prefix("IPv6:") {
            Some(address) => holds("ipv6", address),
            None => is_ipv4(address),
        },
        None => is_hostname(domain),
    };
    (quoted || dotted) && domain_holds
}

/// `YYYY-MM-DD`, a day that exists.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return false;
    };
    let (Some(year), Some(month), Some(day)) = (digits(year, 4), digits(month, 2), digits(day, 2))
    else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

fn digits(text: &str, count: usize) -> Option<u32> {
    let all = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// RFC 3339: `hh:mm:ss`, perhaps a fraction, and `Z` or an offset. A leap second is only at the end of a day in UTC.
fn is_time(text: &str) -> bool {
    let Some((clock, rest)) = text.split_at_checked(8) else {
        return false;
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = parts.as_slice() else {
        return false;
    };
    let (Some(hour), Some(minute), Some(second)) =
        (digits(hour, 2), digits(minute, 2), digits(second, 2))
    else {
        return false;
    };
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
        None => rest,
    };
    let Some(offset) = offset_minutes(rest) else {
        return false;
    };
    let minutes = i64::from(hour) * 60 + i64::from(minute) - offset;
    let leap = second == 60 && minutes.rem_euclid(24 * 60) == 23 * 60 + 59;
    hour < 24 && minute < 60 && (second < 60 || leap)
}

fn offset_minutes(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 60 + minutes))
}

fn is_date_time(text: &str) -> bool {
    match text.split_once(['T', 't']) {
        Some((date, time)) => is_date(date) && is_time(time),
        None => false,
    }
}

fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let mut parts = text.split('-');
    lengths.iter().all(|&length| {
        parts.next().is_some_and(|part| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }) && parts.next().is_none()
}

fn is_json_pointer(text: &str) -> bool {
    let tildes = text
        .match_indices('~')
        .all(|(at, _)| matches!(text.as_bytes().get(at + 1), Some(b'0' | b'1')));
    (text.is_empty() || text.starts_with('/')) && tildes
}

#[cfg(test)]
mod tests {
    use super::{holds, is_absolute, is_reference};

    #[test]
    fn formats() {
        for (format, good, bad) in [
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "::1", "10.0.0.1"),
            ("hostname", "a-b.example.com", "-a.example"),
            ("email", "joe.bloggs@example.com", "joe@@example.com"),
            ("date", "2024-02-29", "2023-02-29"),
            ("time", "23:59:60Z", "23:58:60Z"),
            (
                "date-time",
                "2024-01-01T00:00:00.5+01:00",
                "2024-01-01 00:00:00Z",
            ),
            ("uri", "https://example.com/%20?a#b", "/relative"),
            ("uri-reference", "/relative", "a\\b"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
            ("regex", "^a+$", "["),
            ("json-pointer", "/a/~0", "a"),
            ("something-else", "anything", "ä"),
        ] {
            assert!(holds(format, good), "{format} {good}");
            assert_eq!(
                holds(format, bad),
                format == "something-else",
                "{format} {bad}"
            );
        }
    }

    #[test]
    fn references() {
        for good in [
            "",
            "#",
            "*",
            "a b",
            "#/definitions/a b",
            "/a?b%",
            "///a",
            "http://user:p@host:80/a%20b?c#d",
            "http://[::1%25eth0]:80/",
            "http://a%25b%C3%A9/",
            "urn:a:b",
        ] {
            assert!(is_reference(good), "{good:?}");
        }
        for bad in [
            ":a",
            "a b:c",
            "1:a",
            "a%",
            "#%zz",
            "a\\b",
            "a\nb",
            "http://a b/",
            "http://a:b/",
            "http://a:1:2/",
            "http://[::1",
            "http://[1.2.3.4]/",
            "http://a%20b/",
        ] {
            assert!(!is_reference(bad), "{bad:?}");
        }
        assert!(is_absolute("https://example.com/a"));
        assert!(is_absolute("urn:a"));
        assert!(!is_absolute("example.com/a"));
    }
}
