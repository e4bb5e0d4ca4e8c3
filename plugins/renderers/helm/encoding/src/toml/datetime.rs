//! Dates and times in TOML.

/// A date, a time, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// The year; 0 for a time without a date.
    pub year: u16,
    /// The month, from 1.
    pub month: u8,
    /// The day, from 1.
    pub day: u8,
    /// The hour, from 0.
    pub hour: u8,
    /// The minute, from 0.
    pub minute: u8,
    /// The second, from 0. There are no leap seconds.
    pub second: u8,
    /// The nanoseconds.
    pub nanos: u32,
    /// The time zone information in the text.
    pub offset: Offset,
}

/// The time zone information in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// The offset in seconds east of UTC.
    Known(i32),
    /// No offset: a local date and time.
    LocalDateTime,
    /// No offset: a date.
    LocalDate,
    /// No offset: a time.
    LocalTime,
}

impl Offset {
    /// Returns the name that Go's library gives the location of times without an offset.
    pub fn location(self) -> Option<&'static str> {
        match self {
            Self::Known(_) => None,
            Self::LocalDateTime => Some("datetime-local"),
            Self::LocalDate => Some("date-local"),
            Self::LocalTime => Some("time-local"),
        }
    }
}

/// Reads a date or time. `T` separates the two, and `Z` stands for UTC.
pub(super) fn parse(text: &[u8]) -> Option<DateTime> {
    let mut time = DateTime {
        year: 0,
        month: 1,
        day: 1,
        hour: 0,
        minute: 0,
        second: 0,
        nanos: 0,
        offset: Offset::LocalTime,
    };
    if text.get(2) == Some(&b':') {
        let rest = clock(text, &mut time)?;
        return rest.is_empty().then_some(time);
    }
    let rest = date(text, &mut time)?;
    time.offset = Offset::LocalDate;
    if rest.is_empty() {
        return Some(time);
    }
    let rest = clock(rest.strip_prefix(b"T")?, &mut time)?;
    time.offset = match rest {
        [] => Offset::LocalDateTime,
        b"Z" => Offset::Known(0),
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let (hours, rest) = number::<2>(zone)?;
            let (minutes, rest) = number::<2>(rest.strip_prefix(b":")?)?;
            if !rest.is_empty() || hours > 24 || minutes > 60 {
                return None;
            }
            let seconds = (i32::from(hours) * 60 + i32::from(minutes)) * 60;
            Offset::Known(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => return None,
    };
    Some(time)
}

/// Reads a number with this many digits. Also returns the text after it.
fn number<const DIGITS: usize>(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = text.split_at_checked(DIGITS)?;
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u16::from(digit - b'0');
    }
    Some((number, rest))
}

/// Reads a two-digit number within a range.
fn two(text: &[u8], range: std::ops::RangeInclusive<u8>) -> Option<(u8, &[u8])> {
    let (number, rest) = number::<2>(text)?;
    let number = u8::try_from(number).ok()?;
    range.contains(&number).then_some((number, rest))
}

fn date<'t>(text: &'t [u8], time: &mut DateTime) -> Option<&'t [u8]> {
    let (year, rest) = number::<4>(text)?;
    let (month, rest) = two(rest.strip_prefix(b"-")?, 1..=12)?;
    let (day, rest) = two(rest.strip_prefix(b"-")?, 1..=days(year, month))?;
    (time.year, time.month, time.day) = (year, month, day);
    Some(rest)
}

fn days(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Reads hours and minutes, optionally followed by seconds with a fraction. Nine digits of the fraction count.
fn clock<'t>(text: &'t [u8], time: &mut DateTime) -> Option<&'t [u8]> {
    let (hour, rest) = two(text, 0..=23)?;
    let (minute, rest) = two(rest.strip_prefix(b":")?, 0..=59)?;
    (time.hour, time.minute) = (hour, minute);
    let Some(rest) = rest.strip_prefix(b":") else {
        return Some(rest);
    };
    let (second, rest) = two(rest, 0..=59)?;
    time.second = second;
    let Some(decimals) = rest.strip_prefix(b".") else {
        return Some(rest);
    };
    let len = decimals.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    let (digits, rest) = decimals.split_at(len);
    for place in 0..9 {
        let digit = digits.get(place).map_or(0, |digit| digit - b'0');
        time.nanos = time.nanos * 10 + u32::from(digit);
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for good in [
            "1979-05-27T07:32:00Z",
            "1979-05-27T00:32:00.999999-07:00",
            "1979-05-27T07:32:00",
            "1979-05-27T07:32Z",
            "1979-05-27T07:32",
            "2000-02-29",
            "07:32:00.5",
            "07:32",
        ] {
            assert!(parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "1979-5-27",
            "1979-05-27T7:32:00",
            "1979-05-27T07:32:00.",
            "1979-05-27T24:00:00",
            "1900-02-29",
            "1979-13-01",
            "07:32:60",
            "07:32Z",
            "1979-05-27Z",
            "1979-05-27T07:32:00+25:00",
            "",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        let time = parse(b"1979-05-27T00:32:00.1234567891-07:30").unwrap();
        assert_eq!(
            (time.nanos, time.offset),
            (123_456_789, Offset::Known(-27_000))
        );
    }
}
