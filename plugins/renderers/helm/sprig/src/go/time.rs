//! Go's `time.Time`: a moment, and the zone in which it is shown.

use super::{
    layout::{self, Element, OffsetForm, Pad},
    zone::Zone,
};

pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(crate) const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

pub(crate) const DAY: i64 = 86_400;

/// The number of seconds from Go's zero time, the first day of the year 1, to 1970.
const ZERO_TO_UNIX: i64 = 62_135_596_800;
/// The first second, relative to 1970, for which Go's package `time` has a date (`unixToAbsolute`).
const FIRST: i128 = -9_223_372_028_741_760_000;

/// A moment, and the zone in which it is shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Time {
    /// Seconds since 1970.
    pub(crate) seconds: i64,
    /// Nanoseconds within the second.
    pub(crate) nanos: u32,
    pub(crate) zone: Zone,
}

/// A moment as calendars and clocks show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// The month, from 1.
    pub(crate) month: u8,
    /// The day of the month, from 1.
    pub(crate) day: u8,
    /// The day of the year, from 1.
    pub(crate) day_of_year: u16,
    /// The weekday, from Sunday, 0.
    pub(crate) weekday: u8,
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
}

/// Returns the days from 1970 to the first of a month. The month may be outside 1 to 12.
fn days_before(year: i64, month: i64) -> i64 {
    let year = year.saturating_add((month - 1).div_euclid(12));
    let month = (month - 1).rem_euclid(12);
    // In years that begin in March, the leap day is at the end.
    let (year, month) = if month < 2 {
        (year.saturating_sub(1), month + 10)
    } else {
        (year, month - 2)
    };
    let era = year.div_euclid(400);
    let year = year.rem_euclid(400);
    let days = year * 365 + year / 4 - year / 100 + (month * 153 + 2) / 5;
    era.saturating_mul(146_097).saturating_add(days - 719_468)
}

pub(crate) fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Returns the seconds since 1970 of a civil time in UTC. Parts outside their usual range carry over.
pub(crate) fn unix_seconds(date: (i64, i64, i64), clock: (i64, i64, i64)) -> i64 {
    let (year, month, day) = date;
    let (hour, minute, second) = clock;
    let days = days_before(year, month)
        .saturating_add(day)
        .saturating_sub(1);
    let of_day = hour
        .saturating_mul(3600)
        .saturating_add(minute.saturating_mul(60))
        .saturating_add(second);
    days.saturating_mul(DAY).saturating_add(of_day)
}

impl Civil {
    /// Returns the civil time of seconds since 1970 in UTC.
    pub(crate) fn from_seconds(seconds: i64) -> Self {
        let mut seconds = i128::from(seconds);
        // From there, Go counts in unsigned 64 bits. Earlier times wrap around to its last ones.
        if seconds < FIRST {
            seconds += 1 << 64;
        }
        let day = i128::from(DAY);
        // A 64-bit number, divided by the seconds of a day.
        let part = |number: i128| i64::try_from(number).unwrap_or_default();
        let (days, rest) = (part(seconds.div_euclid(day)), part(seconds.rem_euclid(day)));
        let shifted = days + 719_468;
        let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let in_year = day - (365 * year + year / 4 - year / 100);
        let month = (5 * in_year + 2) / 153;
        let day = in_year - (153 * month + 2) / 5 + 1;
        let (month, carry) = if month < 10 {
            (month + 3, 0)
        } else {
            (month - 9, 1)
        };
        let year = year + era * 400 + carry;
        let small = |number: i64| u8::try_from(number).unwrap_or_default();
        Self {
            year,
            month: small(month),
            day: small(day),
            day_of_year: u16::try_from(days - days_before(year, 1) + 1).unwrap_or_default(),
            weekday: small((days + 4).rem_euclid(7)),
            hour: small(rest / 3600),
            minute: small(rest / 60 % 60),
            second: small(rest % 60),
        }
    }
}

impl Time {
    pub(crate) fn new(seconds: i64, nanos: u32, zone: Zone) -> Self {
        Self {
            seconds,
            nanos,
            zone,
        }
    }

    /// Returns Go's zero time.
    pub(crate) fn zero() -> Self {
        Self::new(-ZERO_TO_UNIX, 0, Zone::Utc)
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.seconds == -ZERO_TO_UNIX && self.nanos == 0
    }

    /// Returns the offset in seconds east of UTC, and the zone's name at that time.
    pub(crate) fn offset(&self) -> (i64, String) {
        self.zone.at(self.seconds)
    }

    pub(crate) fn civil(&self) -> Civil {
        Civil::from_seconds(self.seconds.saturating_add(self.offset().0))
    }

    /// Returns Go's `Date`: the moment at which clocks in the zone show that time. If there are two such moments, this is the one
    /// of the first zone.
    pub(crate) fn from_civil(
        date: (i64, i64, i64),
        clock: (i64, i64, i64),
        nanos: i64,
        zone: Zone,
    ) -> Self {
        let (year, month, day) = date;
        let (hour, minute, second) = clock;
        let second = second.saturating_add(nanos.div_euclid(1_000_000_000));
        let nanos = u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or_default();
        let local = unix_seconds((year, month, day), (hour, minute, second));
        // As in Go: guess with the offset at the same number of seconds, then correct once.
        let guess = zone.at(local).0;
        let corrected = zone.at(local.saturating_sub(guess)).0;
        Self::new(local.saturating_sub(corrected), nanos, zone)
    }

    /// Returns the result of Go's `Add`.
    #[must_use]
    pub(crate) fn add(&self, nanoseconds: i64) -> Self {
        let total = i64::from(self.nanos) + nanoseconds.rem_euclid(1_000_000_000);
        let carry = nanoseconds.div_euclid(1_000_000_000) + total / 1_000_000_000;
        Self::new(
            self.seconds.saturating_add(carry),
            u32::try_from(total % 1_000_000_000).unwrap_or_default(),
            self.zone.clone(),
        )
    }

    /// Returns the result of Go's `Sub` in nanoseconds, limited to 64 bits.
    pub(crate) fn since(&self, earlier: &Self) -> i64 {
        let seconds = i128::from(self.seconds) - i128::from(earlier.seconds);
        let total = seconds * 1_000_000_000 + i128::from(self.nanos) - i128::from(earlier.nanos);
        let limit = if total < 0 { i64::MIN } else { i64::MAX };
        i64::try_from(total).unwrap_or(limit)
    }

    /// Formats like Go's `Format`.
    pub(crate) fn format(&self, layout: &[u8]) -> Vec<u8> {
        let civil = self.civil();
        let (offset, name) = self.offset();
        let mut out = Vec::with_capacity(layout.len() + 10);
        let mut rest = layout;
        loop {
            let (text, found) = layout::next(rest);
            out.extend_from_slice(text);
            let Some((element, _, after)) = found else {
                return out;
            };
            rest = after;
            match element {
                Element::Offset(form) => write_offset(&mut out, offset, form),
                Element::ZoneName if name.is_empty() => {
                    let form = OffsetForm {
                        z: false,
                        colon: false,
                        parts: 2,
                    };
                    write_offset(&mut out, offset, form);
                }
                Element::ZoneName => out.extend_from_slice(name.as_bytes()),
                Element::Fraction {
                    digits,
                    separator,
                    trim,
                } => {
                    write_fraction(&mut out, self.nanos, digits, separator, trim);
                }
                _ => write_civil(&mut out, &civil, element),
            }
        }
    }
}

fn write_civil(out: &mut Vec<u8>, civil: &Civil, element: Element) {
    let month = MONTHS[usize::from(civil.month - 1)];
    let weekday = WEEKDAYS[usize::from(civil.weekday)];
    let hour12 = match civil.hour % 12 {
        0 => 12,
        hour => hour,
    };
    let padded =
        |number: i64, zero| number_text(number, if zero { Pad::Zero } else { Pad::None }, 2);
    let text = match element {
        Element::LongYear => number_text(civil.year, Pad::Zero, 4),
        Element::Year => padded(civil.year.max(0) % 100, true),
        Element::LongMonth => month.to_owned(),
        Element::ShortMonth => month[..3].to_owned(),
        Element::Month { zero } => padded(civil.month.into(), zero),
        Element::LongWeekday => weekday.to_owned(),
        Element::ShortWeekday => weekday[..3].to_owned(),
        Element::Day(pad) => number_text(civil.day.into(), pad, 2),
        Element::DayOfYear(pad) => number_text(civil.day_of_year.into(), pad, 3),
        Element::Hour => padded(civil.hour.into(), true),
        Element::Hour12 { zero } => padded(hour12.into(), zero),
        Element::Minute { zero } => padded(civil.minute.into(), zero),
        Element::Second { zero } => padded(civil.second.into(), zero),
        Element::HalfDay { upper } => match (civil.hour >= 12, upper) {
            (true, true) => "PM",
            (false, true) => "AM",
            (true, false) => "pm",
            (false, false) => "am",
        }
        .to_owned(),
        Element::ZoneName | Element::Offset(_) | Element::Fraction { .. } => String::new(),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Formats a number with at least `width` digits. A sign comes before the padding.
fn number_text(number: i64, pad: Pad, width: usize) -> String {
    match pad {
        Pad::None => number.to_string(),
        Pad::Space => format!("{number:width$}"),
        Pad::Zero => {
            let sign = if number < 0 { "-" } else { "" };
            format!("{sign}{:0width$}", number.unsigned_abs())
        }
    }
}

fn write_offset(out: &mut Vec<u8>, offset: i64, form: OffsetForm) {
    if form.z && offset == 0 {
        out.push(b'Z');
        return;
    }
    // The sign is that of the minutes, so an offset of a few seconds to the west is written with a plus.
    let sign = if offset / 60 < 0 { b'-' } else { b'+' };
    let minutes = (offset / 60).abs();
    let seconds = if sign == b'-' { -offset } else { offset } % 60;
    out.push(sign);
    let parts = [minutes / 60, minutes % 60, seconds];
    for (index, part) in parts.iter().take(form.parts.into()).enumerate() {
        if index > 0 && form.colon {
            out.push(b':');
        }
        out.extend_from_slice(number_text(*part, Pad::Zero, 2).as_bytes());
    }
}

fn write_fraction(out: &mut Vec<u8>, nanos: u32, digits: usize, separator: u8, trim: bool) {
    let text = format!("{nanos:09}");
    let mut text = &text[..digits.min(9)];
    if trim {
        text = text.trim_end_matches('0');
        if text.is_empty() {
            return;
        }
    }
    out.push(separator);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(seconds: i64, layout: &str) -> String {
        let time = Time::new(seconds, 120_300_000, Zone::Utc);
        String::from_utf8(time.format(layout.as_bytes())).unwrap()
    }

    #[test]
    fn elements_of_layouts() {
        let cases = [
            ("Mon Jan _2 15:04:05 2006", "Sat Nov 21 14:36:07 2026"),
            (
                "Monday, January 2 06 3:4:5pm",
                "Saturday, November 21 26 2:36:7pm",
            ),
            ("2006-01-02T15:04:05.000Z07:00", "2026-11-21T14:36:07.120Z"),
            (
                ".999 .99999 .9 MST -0700 -07 Z0700",
                ".12 .1203 .1 UTC +0000 +00 Z",
            ),
            ("002 __2 _2006 Janus Month", "325 325 _2026 Janus Month"),
            ("15h04 .0001 20060102", "14h36 .0011 20261121"),
        ];
        for (layout, expected) in cases {
            assert_eq!(shown(1_795_271_767, layout), expected, "{layout}");
        }
        assert_eq!(shown(-62_135_596_800, "2006-01-02 Mon"), "0001-01-01 Mon");
        assert_eq!(shown(-62_167_219_201, "2006-01-02"), "-0001-12-31");
        assert_eq!(shown(i64::MAX, "2006-01-02"), "292277026596-12-04");
        assert_eq!(shown(i64::MIN, "2006-01-02"), "292277026596-12-04");
    }

    #[test]
    fn civil_times_there_and_back() {
        for seconds in [
            0,
            -1,
            951_782_400,
            4_102_444_799,
            -62_135_596_800,
            253_402_300_800,
        ] {
            let civil = Civil::from_seconds(seconds);
            let date = (civil.year, civil.month.into(), civil.day.into());
            let clock = (civil.hour.into(), civil.minute.into(), civil.second.into());
            assert_eq!(unix_seconds(date, clock), seconds);
        }
        assert_eq!(
            unix_seconds((2025, 14, 31), (0, 0, 0)),
            unix_seconds((2026, 3, 3), (0, 0, 0))
        );
    }
}
