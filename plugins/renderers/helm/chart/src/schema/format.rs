//! The formats of strings that schemas up to draft 7 assert, checked as Helm's library does, which is lenient in places. Formats
//! that are not listed are not checked.

use pintle_goregexp::Regex;
use pintle_gourl::Url;

use super::document::percent_decoded;

/// Returns whether a string has a format. Every string satisfies an unknown format.
pub(super) fn holds(format: &str, text: &str) -> bool {
    match format {
        "date" => is_date(text),
        "date-time" => is_date_time(text),
        "duration" => is_duration(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "ipv4" => is_ipv4(text),
        "ipv6" => is_ipv6(text),
        "json-pointer" => is_json_pointer(text),
        "period" => is_period(text),
        "regex" => Regex::new(text.as_bytes()).is_ok(),
        "relative-json-pointer" => is_relative_json_pointer(text),
        "semver" => is_semver(text),
        "time" => is_time(text),
        "uri" | "iri" => is_absolute(text),
        "uri-reference" | "iri-reference" => is_reference(text),
        "uri-template" => is_template(text),
        "uuid" => is_uuid(text),
        _ => true,
    }
}

/// Returns whether a string is an absolute URL.
pub(super) fn is_absolute(text: &str) -> bool {
    url(text).is_some_and(|url| !url.scheme.is_empty())
}

/// Returns whether a string is a URL, absolute or relative. Blanks are tolerated.
pub(super) fn is_reference(text: &str) -> bool {
    !text.contains('\\') && url(text).is_some()
}

fn url(text: &str) -> Option<Url> {
    let url = Url::parse(text.as_bytes()).ok()?;
    // Go tolerates several colons in a host, and zones of addresses, but the library does not.
    let host = url.hostname();
    let bracketed = b"[]".iter().all(|bracket| url.host.contains(bracket));
    let is_address = || std::str::from_utf8(host).is_ok_and(is_ipv6);
    let holds = !host.contains(&b':') || (bracketed && is_address());
    holds.then_some(url)
}

/// Returns whether a string is a URL with pairs of braces in the segments of its path.
fn is_template(text: &str) -> bool {
    url(text).is_some_and(|url| {
        let path = String::from_utf8_lossy(&url.raw_path);
        path.split('/').all(has_pairs)
    })
}

/// Returns whether each opening brace is closed before the next one opens.
fn has_pairs(segment: &str) -> bool {
    let mut is_open = false;
    for char in percent_decoded(segment).chars() {
        if matches!(char, '{' | '}') {
            if is_open == (char == '{') {
                return false;
            }
            is_open = !is_open;
        }
    }
    !is_open
}

/// Matches four numbers, which may have a sign, as Go parses numbers.
fn is_ipv4(text: &str) -> bool {
    let is_octet = |part: &str| {
        let number = part.parse::<i64>();
        (part.len() < 2 || !part.starts_with('0'))
            && number.is_ok_and(|number| (0..=255).contains(&number))
    };
    text.split('.').count() == 4 && text.split('.').all(is_octet)
}

fn is_ipv6(text: &str) -> bool {
    text.contains(':') && text.parse::<std::net::Ipv6Addr>().is_ok()
}

/// Matches RFC 1123: labels of letters, digits and inner hyphens, with at most 253 bytes in total.
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
    let is_quoted = local.len() > 1 && local.starts_with('"') && local.ends_with('"');
    let local_holds = if is_quoted {
        !local[1..local.len() - 1].contains(['\\', '"'])
    } else {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(c);
        let dotted = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
        dotted && local.chars().all(allowed)
    };
    let address = domain
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'));
    let domain_holds = match address {
        Some(address) => match address.strip_prefix("IPv6:") {
            Some(address) => is_ipv6(address),
            None => is_ipv4(address),
        },
        None => is_hostname(domain),
    };
    text.len() <= 254 && local.len() <= 64 && local_holds && domain_holds
}

/// Matches `YYYY-MM-DD` if the day exists.
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

/// Matches RFC 3339: `hh:mm:ss`, an optional fraction, and `Z` or an offset. A leap second occurs only at the end of a day in
/// UTC.
fn is_time(text: &str) -> bool {
    let Some((clock, rest)) = text.split_at_checked(8) else {
        return false;
    };
    let Some([hour, minute, second]) = clock_numbers::<3>(clock) else {
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
    let minutes = (hour * 60 + minute - offset).rem_euclid(24 * 60);
    let leap = second == 60 && minutes == 23 * 60 + 59;
    hour < 24 && minute < 60 && (second < 60 || leap)
}

/// Parses two-character numbers separated by colons, as Go parses numbers: one of the two characters may be a sign.
fn clock_numbers<const COUNT: usize>(text: &str) -> Option<[i64; COUNT]> {
    let mut numbers = [0; COUNT];
    let mut parts = text.split(':');
    for number in &mut numbers {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *number = part.parse::<i64>().ok().filter(|number| *number >= 0)?;
    }
    parts.next().is_none().then_some(numbers)
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
    let [hours, minutes] = clock_numbers::<2>(rest)?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_at_checked(10) else {
        return false;
    };
    is_date(date) && time.strip_prefix(['T', 't']).is_some_and(is_time)
}

/// Matches RFC 3339, appendix A: weeks, or other units from the largest on. None has a fraction.
fn is_duration(text: &str) -> bool {
    let Some(text) = text.strip_prefix('P').filter(|text| !text.is_empty()) else {
        return false;
    };
    if let Some(weeks) = text.strip_suffix('W') {
        return !weeks.is_empty() && weeks.bytes().all(|byte| byte.is_ascii_digit());
    }
    let (date, time) = cut(text, 'T');
    are_units(date, "YMD") && time.is_none_or(|time| !time.is_empty() && are_units(time, "HMS"))
}

/// Returns whether a string consists of numbers, each followed by a different one of the units, in their order.
fn are_units(mut text: &str, mut units: &str) -> bool {
    while !text.is_empty() {
        let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let mut chars = rest.chars();
        let Some(unit) = chars.next() else {
            return false;
        };
        let Some((_, smaller)) = units.split_once(unit) else {
            return false;
        };
        if rest.len() == text.len() {
            return false;
        }
        (text, units) = (chars.as_str(), smaller);
    }
    true
}

/// Matches a period from one moment to another. A duration may replace one of the two.
fn is_period(text: &str) -> bool {
    let Some((start, end)) = text.split_once('/') else {
        return false;
    };
    if start.starts_with('P') {
        is_duration(start) && is_date_time(end)
    } else {
        is_date_time(start) && (is_date_time(end) || is_duration(end))
    }
}

/// Matches a version of Semantic Versioning 2.0, without a `v`.
fn is_semver(text: &str) -> bool {
    let (text, build) = cut(text, '+');
    let (core, prerelease) = cut(text, '-');
    let is_numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = |part: &str| {
        !part.is_empty() && is_numeric(part) && (part.len() == 1 || !part.starts_with('0'))
    };
    let is_identifier = |part: &str| {
        let mut bytes = part.bytes();
        !part.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && build.is_none_or(|build| build.split('.').all(is_identifier))
        && prerelease.is_none_or(|prerelease| {
            let mut parts = prerelease.split('.');
            parts.all(|part| is_identifier(part) && (is_number(part) || !is_numeric(part)))
        })
}

/// Returns what is before a separator, and what is after it if there is one.
fn cut(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
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

/// Matches the number of levels to go up, followed by a pointer, or by `#` for the key or index there.
fn is_relative_json_pointer(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let levels = &text[..text.len() - rest.len()];
    let is_number = levels == "0" || !(levels.is_empty() || levels.starts_with('0'));
    is_number && (rest == "#" || is_json_pointer(rest))
}

#[cfg(test)]
mod tests;
