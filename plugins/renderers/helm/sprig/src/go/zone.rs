//! Time zones: UTC, fixed offsets, and the zones of the IANA database with today's rules.
//!
//! The complete history of all zones would make up a fifth of the renderer's size, for dates that charts hardly ever format. A
//! date from before a zone's last change of rules is therefore shown with today's rules.

use std::rc::Rc;

use super::time::{Civil, DAY, is_leap, unix_seconds};

/// Each line has a rule in the form of POSIX's `TZ`, and the names of the zones in which it applies. The file was made from the
/// footers of the database's files, version 2025b.
const ZONES: &str = include_str!("zones.txt");

/// A time zone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Zone {
    Utc,
    /// A constant offset in seconds east of UTC.
    Fixed {
        name: Rc<str>,
        offset: i64,
    },
    /// A zone of the database.
    Named {
        name: &'static str,
        rule: &'static str,
    },
}

impl Zone {
    /// Creates a zone with a constant offset in seconds east of UTC.
    pub(crate) fn fixed(name: &[u8], offset: i64) -> Self {
        Self::Fixed {
            name: String::from_utf8_lossy(name).into(),
            offset,
        }
    }

    /// Loads a zone like Go's `time.LoadLocation`, with UTC as the local zone; None if the database has no such zone.
    pub(crate) fn load(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        if matches!(name, "" | "UTC" | "Local") {
            return Some(Self::Utc);
        }
        ZONES.lines().find_map(|line| {
            let mut words = line.split(' ');
            let rule = words.next()?;
            let name = words.find(|&known| known == name)?;
            Some(Self::Named { name, rule })
        })
    }

    /// Returns the name of the zone, which is that of the place if it has one.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Utc => "UTC",
            Self::Fixed { name, .. } => name,
            Self::Named { name, .. } => name,
        }
    }

    /// Returns the offset in seconds east of UTC at a time since 1970, and the name of the time in effect then.
    pub(crate) fn at(&self, seconds: i64) -> (i64, String) {
        match self {
            Self::Utc => (0, "UTC".to_owned()),
            Self::Fixed { name, offset } => (*offset, name.to_string()),
            Self::Named { rule, .. } => {
                let (offset, name) = Rule::parse(rule).map_or((0, "UTC"), |rule| rule.at(seconds));
                (offset, name.to_owned())
            }
        }
    }
}

/// A rule in the form of POSIX's `TZ`.
struct Rule<'a> {
    standard: (&'a str, i64),
    summer: Option<Summer<'a>>,
}

struct Summer<'a> {
    name: &'a str,
    offset: i64,
    start: Change,
    end: Change,
}

/// The `week`th `weekday` of a month (5 is the last), this many seconds after its midnight.
struct Change {
    month: i64,
    week: i64,
    weekday: i64,
    time: i64,
}

impl<'a> Rule<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (name, rest) = zone_name(text)?;
        let (west, rest) = hours(rest)?;
        let standard = (name, -west);
        if rest.is_empty() {
            return Some(Self {
                standard,
                summer: None,
            });
        }
        let (name, rest) = zone_name(rest)?;
        let (offset, rest) = if rest.starts_with(',') {
            (3600 - west, rest)
        } else {
            let (west, rest) = hours(rest)?;
            (-west, rest)
        };
        let (start, end) = rest.strip_prefix(',')?.split_once(',')?;
        let summer = Summer {
            name,
            offset,
            start: Change::parse(start)?,
            end: Change::parse(end)?,
        };
        Some(Self {
            standard,
            summer: Some(summer),
        })
    }

    fn at(&self, seconds: i64) -> (i64, &'a str) {
        let (name, offset) = self.standard;
        let Some(summer) = &self.summer else {
            return (offset, name);
        };
        let year = Civil::from_seconds(seconds.saturating_add(offset)).year;
        let start = summer.start.in_year(year).saturating_sub(offset);
        let end = summer.end.in_year(year).saturating_sub(summer.offset);
        let is_summer = if start < end {
            (start..end).contains(&seconds)
        } else {
            !(end..start).contains(&seconds)
        };
        if is_summer {
            (summer.offset, summer.name)
        } else {
            (offset, name)
        }
    }
}

impl Change {
    /// Parses `M3.5.0/2`. Without a time, it is two in the morning.
    fn parse(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once('/') {
            Some((date, time)) => (date, hours(time)?.0),
            None => (text, 7200),
        };
        let mut numbers = date.strip_prefix('M')?.split('.').map(str::parse);
        let mut number = || numbers.next()?.ok();
        Some(Self {
            month: number()?,
            week: number()?,
            weekday: number()?,
            time,
        })
    }

    /// Returns the clock time of the change, as seconds since 1970 as if the clock showed UTC.
    fn in_year(&self, year: i64) -> i64 {
        let first = unix_seconds((year, self.month, 1), (0, 0, 0));
        let weekday = (first.div_euclid(DAY) + 4).rem_euclid(7);
        let mut day = (self.weekday - weekday).rem_euclid(7) + 7 * (self.week - 1);
        let days = match self.month {
            2 => 28 + i64::from(is_leap(year)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if day >= days {
            day -= 7;
        }
        first.saturating_add(day * DAY + self.time)
    }
}

/// Reads `CET` or `<+03>` at the start. Also returns the rest.
fn zone_name(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('<') {
        return quoted.split_once('>');
    }
    let end = text.find(|char: char| !char.is_ascii_alphabetic());
    Some(text.split_at(end.unwrap_or(text.len())))
}

/// Reads `-5:30` at the start as seconds. Also returns the rest.
fn hours(text: &str) -> Option<(i64, &str)> {
    let end = text.find([',', '<']).unwrap_or(text.len());
    let letter = text.find(|char: char| char.is_ascii_alphabetic());
    let (time, rest) = text.split_at(end.min(letter.unwrap_or(end)));
    let (sign, time) = match time.strip_prefix('-') {
        Some(time) => (-1, time),
        None => (1, time),
    };
    let mut seconds = 0;
    for (part, unit) in time.split(':').zip([3600, 60, 1]) {
        seconds += part.parse::<i64>().ok()? * unit;
    }
    Some((sign * seconds, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_can_be_read() {
        for line in ZONES.lines() {
            let rule = line.split(' ').next().unwrap();
            assert!(Rule::parse(rule).is_some(), "{line}");
        }
    }

    #[test]
    fn summer_and_winter() {
        let at = |zone: &str, seconds| Zone::load(zone.as_bytes()).unwrap().at(seconds);
        // 2026-03-29T00:59:59Z and one second later.
        assert_eq!(at("Europe/Berlin", 1_774_745_999), (3600, "CET".to_owned()));
        assert_eq!(
            at("Europe/Berlin", 1_774_746_000),
            (7200, "CEST".to_owned())
        );
        assert_eq!(
            at("America/New_York", 1_795_271_767),
            (-18000, "EST".to_owned())
        );
        assert_eq!(at("Asia/Kolkata", 0), (19800, "IST".to_owned()));
        // In the southern hemisphere, summer is at the turn of the year.
        assert_eq!(
            at("Pacific/Auckland", 1_798_761_600),
            (46800, "NZDT".to_owned())
        );
        assert_eq!(at("Europe/Dublin", 1_782_864_000), (3600, "IST".to_owned()));
        assert!(Zone::load(b"Europe/Nowhere").is_none());
    }
}
