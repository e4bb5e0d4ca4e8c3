//! Go's `time.ParseInLocation`.

use thiserror::Error;

use crate::encodings::hex;

use super::{
    duration::leading_int,
    layout::{self, Element, OffsetForm, Pad},
    time::{MONTHS, Time, WEEKDAYS, is_leap},
    zone::Zone,
};

/// The text does not have the form of the layout. The messages are Go's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum TimeError {
    #[error("parsing time {value} as {layout}: cannot parse {part} as {element}")]
    Mismatch {
        value: String,
        layout: String,
        part: String,
        element: String,
    },
    #[error("parsing time {value}: {problem}")]
    Problem { value: String, problem: String },
}

/// The fields that the layout's elements have set so far.
#[derive(Default)]
struct Fields {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    /// Whether the time is after noon, if this is specified.
    afternoon: Option<bool>,
    utc: bool,
    offset: Option<i64>,
    zone_name: Vec<u8>,
}

/// Why an element does not match.
enum Misfit {
    Bad,
    OutOfRange(&'static str),
}

use Misfit::{Bad, OutOfRange};

/// Parses a time in the form of the layout. If the layout has no zone, the time is in UTC, which is the local zone here.
pub(crate) fn parse(layout: &[u8], value: &[u8]) -> Result<Time, TimeError> {
    let mut fields = Fields::default();
    let (mut rest_of_layout, mut rest) = (layout, value);
    let mismatch = |part: &[u8], element: &[u8]| TimeError::Mismatch {
        value: quote(value),
        layout: quote(layout),
        part: quote(part),
        element: quote(element),
    };
    let problem = |problem: String| TimeError::Problem {
        value: quote(value),
        problem,
    };
    loop {
        let (text, found) = layout::next(rest_of_layout);
        rest = skip(rest, text).map_err(|at| mismatch(at, text))?;
        let Some((element, written, after)) = found else {
            if rest.is_empty() {
                break;
            }
            return Err(problem(format!("extra text: {}", quote(rest))));
        };
        rest_of_layout = after;
        rest = match fields.read(element, rest, after) {
            Ok(after) => after,
            Err(OutOfRange(what)) => return Err(problem(format!("{what} out of range"))),
            Err(Bad) => return Err(mismatch(rest, written)),
        };
    }
    fields.finish().map_err(|what| problem(what.to_owned()))
}

/// Skips the text between elements. A run of spaces matches any number of them.
fn skip<'a>(mut value: &'a [u8], mut text: &[u8]) -> Result<&'a [u8], &'a [u8]> {
    let without_spaces = |text: &mut &[u8]| {
        while let [b' ', rest @ ..] = text {
            *text = rest;
        }
    };
    while let [first, after @ ..] = text {
        if *first == b' ' {
            if value.first().is_some_and(|byte| *byte != b' ') {
                return Err(value);
            }
            without_spaces(&mut text);
            while let [b' ', rest @ ..] = value {
                value = rest;
            }
            continue;
        }
        match value {
            [byte, rest @ ..] if byte == first => value = rest,
            _ => return Err(value),
        }
        text = after;
    }
    Ok(value)
}

type Read<'a> = Result<&'a [u8], Misfit>;

impl Fields {
    /// Reads one element from the start of a text. Returns the text after it.
    fn read<'a>(&mut self, element: Element, text: &'a [u8], layout: &[u8]) -> Read<'a> {
        match element {
            Element::LongYear | Element::Year => self.read_year(element, text),
            Element::LongMonth | Element::ShortMonth => {
                let (month, rest) = lookup(&MONTHS, element == Element::ShortMonth, text)?;
                self.month = Some(month + 1);
                Ok(rest)
            }
            Element::Month { zero } => {
                let (month, rest) = number(text, zero)?;
                self.month = Some(in_range(month, 1..=12, "month")?);
                Ok(rest)
            }
            Element::LongWeekday => Ok(lookup(&WEEKDAYS, false, text)?.1),
            Element::ShortWeekday => Ok(lookup(&WEEKDAYS, true, text)?.1),
            Element::Day(pad) => {
                let text = match text {
                    [b' ', rest @ ..] if pad == Pad::Space => rest,
                    _ => text,
                };
                let (day, rest) = number(text, pad == Pad::Zero)?;
                self.day = Some(day);
                Ok(rest)
            }
            Element::DayOfYear(pad) => self.read_day_of_year(pad, text),
            Element::Hour | Element::Hour12 { .. } => {
                let fixed = element == Element::Hour12 { zero: true };
                let most = if element == Element::Hour { 23 } else { 12 };
                let (hour, rest) = number(text, fixed)?;
                self.hour = in_range(hour, 0..=most, "hour")?;
                Ok(rest)
            }
            Element::Minute { zero } => {
                let (minute, rest) = number(text, zero)?;
                self.minute = in_range(minute, 0..=59, "minute")?;
                Ok(rest)
            }
            Element::Second { zero } => self.read_second(zero, text, layout),
            Element::HalfDay { upper } => {
                let (half, rest) = text.split_at_checked(2).ok_or(Bad)?;
                self.afternoon = Some(match (half, upper) {
                    (b"PM", true) | (b"pm", false) => true,
                    (b"AM", true) | (b"am", false) => false,
                    _ => return Err(Bad),
                });
                Ok(rest)
            }
            Element::Offset(form) => self.read_offset(form, text),
            Element::ZoneName => {
                if let Some(rest) = text.strip_prefix(b"UTC") {
                    self.utc = true;
                    return Ok(rest);
                }
                let (name, rest) = text.split_at(zone_name_len(text).ok_or(Bad)?);
                self.zone_name = name.to_vec();
                Ok(rest)
            }
            Element::Fraction {
                digits,
                trim: false,
                ..
            } => {
                let (fraction, rest) = text.split_at_checked(digits + 1).ok_or(Bad)?;
                self.nanos = nanoseconds(fraction)?;
                Ok(rest)
            }
            Element::Fraction { .. } => match fraction_len(text) {
                0 => Ok(text),
                len => {
                    let (fraction, rest) = text.split_at(len);
                    self.nanos = nanoseconds(fraction)?;
                    Ok(rest)
                }
            },
        }
    }

    fn read_year<'a>(&mut self, element: Element, text: &'a [u8]) -> Read<'a> {
        let len = if element == Element::Year { 2 } else { 4 };
        let (year, rest) = text.split_at_checked(len).ok_or(Bad)?;
        if len == 4 && !year[0].is_ascii_digit() {
            return Err(Bad);
        }
        let year = signed(year).ok_or(Bad)?;
        self.year = match (len, year) {
            (4, year) => year,
            (_, 69..) => year + 1900,
            _ => year + 2000,
        };
        Ok(rest)
    }

    fn read_day_of_year<'a>(&mut self, pad: Pad, mut text: &'a [u8]) -> Read<'a> {
        for _ in 0..2 {
            if let ([b' ', rest @ ..], Pad::Space) = (text, pad) {
                text = rest;
            }
        }
        let digits = text
            .iter()
            .take(3)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 || (pad == Pad::Zero && digits != 3) {
            return Err(Bad);
        }
        let (day, rest) = text.split_at(digits);
        self.day_of_year = signed(day);
        Ok(rest)
    }

    /// Reads the second. A fraction may follow even if the layout has none.
    fn read_second<'a>(&mut self, fixed: bool, text: &'a [u8], layout: &[u8]) -> Read<'a> {
        let (second, rest) = number(text, fixed)?;
        self.second = in_range(second, 0..=59, "second")?;
        let fraction = fraction_len(rest);
        let expected = matches!(layout::next(layout).1, Some((Element::Fraction { .. }, ..)));
        if fraction == 0 || expected {
            return Ok(rest);
        }
        let (fraction, rest) = rest.split_at(fraction);
        self.nanos = nanoseconds(fraction)?;
        Ok(rest)
    }

    fn read_offset<'a>(&mut self, form: OffsetForm, text: &'a [u8]) -> Read<'a> {
        if let ([b'Z', rest @ ..], true) = (text, form.z) {
            self.utc = true;
            return Ok(rest);
        }
        let parts = usize::from(form.parts);
        let step = if form.colon { 3 } else { 2 };
        let (offset, rest) = text.split_at_checked(3 + (parts - 1) * step).ok_or(Bad)?;
        let mut values = [0; 3];
        let mut range = Ok(());
        let limits = [
            (24, "time zone offset hour"),
            (60, "time zone offset minute"),
            (60, "time zone offset second"),
        ];
        for (index, value) in values.iter_mut().take(parts).enumerate() {
            let start = 1 + index * step;
            if index > 0 && form.colon && offset[start - 1] != b':' {
                return Err(Bad);
            }
            let (part, _) = number(&offset[start..start + 2], true)?;
            *value = part;
            let (most, name) = limits[index];
            if part > most {
                range = Err(OutOfRange(name));
            }
        }
        range?;
        let [hours, minutes, seconds] = values;
        let offset_seconds = (hours * 60 + minutes) * 60 + seconds;
        self.offset = Some(match offset[0] {
            b'+' => offset_seconds,
            b'-' => -offset_seconds,
            _ => return Err(Bad),
        });
        Ok(rest)
    }

    fn finish(mut self) -> Result<Time, &'static str> {
        match (self.afternoon, self.hour) {
            (Some(true), 0..12) => self.hour += 12,
            (Some(false), 12) => self.hour = 0,
            _ => {}
        }
        let (month, day) = self.month_and_day()?;
        let last = match month {
            2 if is_leap(self.year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if !(1..=last).contains(&day) {
            return Err("day out of range");
        }
        let (date, clock) = (
            (self.year, month, day),
            (self.hour, self.minute, self.second),
        );
        let mut time = Time::from_civil(date, clock, self.nanos, Zone::Utc);
        if self.utc {
            return Ok(time);
        }
        // The local zone is UTC, so an offset of 0 means UTC if no other name is given. Go marks the absence of an offset with
        // -1, which is also the value of an offset of one second to the west.
        if let Some(offset) = self.offset.filter(|&offset| offset != -1) {
            time.seconds -= offset;
            if offset != 0 || !(self.zone_name.is_empty() || self.zone_name == b"UTC") {
                time.zone = Zone::fixed(&self.zone_name, offset);
            }
        } else if !self.zone_name.is_empty() {
            // Only GMT may have an offset in its name. All other names say nothing about the offset. The clock is read as UTC,
            // and shown with that offset.
            let offset = self.zone_name.strip_prefix(b"GMT").and_then(signed);
            time.zone = Zone::fixed(&self.zone_name, offset.unwrap_or(0) * 3600);
        }
        Ok(time)
    }

    fn month_and_day(&self) -> Result<(i64, i64), &'static str> {
        let Some(of_year) = self.day_of_year else {
            return Ok((self.month.unwrap_or(1), self.day.unwrap_or(1)));
        };
        let leap = is_leap(self.year);
        if of_year < 1 || of_year > 365 + i64::from(leap) {
            return Err("day-of-year out of range");
        }
        let start = super::time::unix_seconds((self.year, 1, of_year), (0, 0, 0));
        let civil = super::time::Civil::from_seconds(start);
        let (month, day) = (i64::from(civil.month), i64::from(civil.day));
        if self.month.is_some_and(|given| given != month) {
            return Err("day-of-year does not match month");
        }
        if self.day.is_some_and(|given| given != day) {
            return Err("day-of-year does not match day");
        }
        Ok((month, day))
    }
}

/// Reads one or two digits; two if `fixed`.
fn number(text: &[u8], fixed: bool) -> Result<(i64, &[u8]), Misfit> {
    let digit = |index: usize| text.get(index).filter(|byte| byte.is_ascii_digit());
    let value = |digit: &u8| i64::from(digit - b'0');
    match (digit(0), digit(1)) {
        (Some(one), Some(two)) => Ok((value(one) * 10 + value(two), &text[2..])),
        (Some(one), None) if !fixed => Ok((value(one), &text[1..])),
        _ => Err(Bad),
    }
}

fn in_range(
    number: i64,
    range: std::ops::RangeInclusive<i64>,
    what: &'static str,
) -> Result<i64, Misfit> {
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(OutOfRange(what))
    }
}

/// Looks up a name from a table, or its first three letters, regardless of case.
fn lookup<'a>(table: &[&str], short: bool, text: &'a [u8]) -> Result<(i64, &'a [u8]), Misfit> {
    for (index, name) in table.iter().enumerate() {
        let name = if short { &name[..3] } else { name };
        if let Some((start, rest)) = text.split_at_checked(name.len())
            && start.eq_ignore_ascii_case(name.as_bytes())
        {
            return Ok((i64::try_from(index).unwrap_or_default(), rest));
        }
    }
    Err(Bad)
}

/// Parses a whole text as a number with an optional sign.
fn signed(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (number, _, rest) = leading_int(digits)?;
    let number = i64::try_from(number).ok().filter(|_| rest.is_empty())?;
    Some(if negative { -number } else { number })
}

/// Returns the length of a point or comma with the digits after it, or 0.
fn fraction_len(text: &[u8]) -> usize {
    match text {
        [b'.' | b',', rest @ ..] => {
            match rest.iter().take_while(|byte| byte.is_ascii_digit()).count() {
                0 => 0,
                digits => digits + 1,
            }
        }
        _ => 0,
    }
}

/// Returns the value of `.123`. Digits after the ninth are ignored.
fn nanoseconds(fraction: &[u8]) -> Result<i64, Misfit> {
    let [b'.' | b',', digits @ ..] = fraction else {
        return Err(Bad);
    };
    let digits = &digits[..digits.len().min(9)];
    let value = signed(digits).ok_or(Bad)?;
    if value < 0 {
        return Err(OutOfRange("fractional second"));
    }
    let missing = u32::try_from(9 - digits.len()).unwrap_or_default();
    Ok(value * 10i64.pow(missing))
}

/// Returns the length of a zone name at the start of a text: three to five capitals, with some exceptions.
fn zone_name_len(text: &[u8]) -> Option<usize> {
    if text.len() < 3 {
        return None;
    }
    if text.starts_with(b"ChST") || text.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(rest) = text.strip_prefix(b"GMT") {
        return Some(3 + signed_offset_len(rest));
    }
    if matches!(text[0], b'+' | b'-') {
        return Some(signed_offset_len(text)).filter(|&len| len > 0);
    }
    let capitals = text
        .iter()
        .take(6)
        .take_while(|byte| byte.is_ascii_uppercase())
        .count();
    match capitals {
        3 => Some(3),
        4 if text[3] == b'T' || text.starts_with(b"WITA") => Some(4),
        5 if text[4] == b'T' => Some(5),
        _ => None,
    }
}

/// Returns the length of `+03`; 0 if there is no such offset, or if it is above 23.
fn signed_offset_len(text: &[u8]) -> usize {
    match text {
        [b'+' | b'-', rest @ ..] => match leading_int(rest) {
            Some((0..=23, digits @ 1.., _)) => digits + 1,
            _ => 0,
        },
        _ => 0,
    }
}

/// Formats a text in double quotes as in the errors of Go's `time`, where everything except printable ASCII is hexadecimal.
pub(crate) fn quote(text: &[u8]) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            0..b' ' | 0x80.. => quoted.extend(["\\x", &hex(&[byte])]),
            _ => quoted.push(char::from(byte)),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(layout: &str, value: &str) -> String {
        match parse(layout.as_bytes(), value.as_bytes()) {
            Ok(time) => {
                String::from_utf8(time.format(b"2006-01-02 15:04:05.999 -0700 MST")).unwrap()
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn read_as_in_go() {
        let cases = [
            ("2006-01-02", "2026-02-28", "2026-02-28 00:00:00 +0000 UTC"),
            (
                "Jan 2, 2006 3:04pm",
                "feb 3,  2020 12:30am",
                "2020-02-03 00:30:00 +0000 UTC",
            ),
            (
                "2006-01-02T15:04:05Z07:00",
                "2026-02-28T10:00:00.25+02:00",
                "2026-02-28 10:00:00.25 +0200 +0200",
            ),
            (
                "2006-01-02 MST",
                "2026-02-28 CET",
                "2026-02-28 00:00:00 +0000 CET",
            ),
            (
                "2006-01-02 MST",
                "2026-02-28 GMT-3",
                "2026-02-27 21:00:00 -0300 GMT-3",
            ),
            ("2006 002", "2024 366", "2024-12-31 00:00:00 +0000 UTC"),
            (
                "2006-01-02",
                "2026-02-30",
                "parsing time \"2026-02-30\": day out of range",
            ),
            (
                "2006-01-02",
                "2026-13-01",
                "parsing time \"2026-13-01\": month out of range",
            ),
            (
                "2006-01-02",
                "2026-1-01",
                "parsing time \"2026-1-01\" as \"2006-01-02\": cannot parse \"1-01\" as \"01\"",
            ),
            (
                "2006-01-02",
                "2026/01/02",
                "parsing time \"2026/01/02\" as \"2006-01-02\": cannot parse \"/01/02\" as \"-\"",
            ),
            (
                "2006-01-02",
                "2026-01-02x",
                "parsing time \"2026-01-02x\": extra text: \"x\"",
            ),
        ];
        for (layout, value, expected) in cases {
            assert_eq!(read(layout, value), expected, "{layout} {value}");
        }
    }
}
