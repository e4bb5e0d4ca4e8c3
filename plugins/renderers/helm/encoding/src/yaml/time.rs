//! Detects the scalars that the Go library considers timestamps: those that `time.Parse` accepts with one of its four layouts.

/// Returns whether a scalar looks like a timestamp.
pub(crate) fn is_timestamp(text: &[u8]) -> bool {
    // Each layout begins with four digits and a dash.
    match text {
        [a, b, c, d, b'-', date @ ..] if [a, b, c, d].into_iter().all(u8::is_ascii_digit) => {
            let year = [a, b, c, d]
                .into_iter()
                .fold(0, |year, digit| year * 10 + u32::from(digit - b'0'));
            is_date_time(year, date)
        }
        _ => false,
    }
}

fn is_date_time(year: u32, text: &[u8]) -> bool {
    let Some((month, text)) = number(text, 1..=12) else {
        return false;
    };
    let [b'-', text @ ..] = text else {
        return false;
    };
    let Some((_, text)) = number(text, 1..=days(year, month)) else {
        return false;
    };
    match text {
        [] => true,
        [b'T' | b't', text @ ..] => time(text).is_some_and(is_zone),
        [b' ', ..] => {
            let spaces = text.iter().take_while(|&&b| b == b' ').count();
            time(&text[spaces..]).is_some_and(<[u8]>::is_empty)
        }
        _ => false,
    }
}

/// Reads one or two digits within a range. Also returns the text after them.
fn number(text: &[u8], range: std::ops::RangeInclusive<u32>) -> Option<(u32, &[u8])> {
    let (number, rest) = match text {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', rest @ ..] => {
            (u32::from(a - b'0') * 10 + u32::from(b - b'0'), rest)
        }
        [a @ b'0'..=b'9', rest @ ..] => (u32::from(a - b'0'), rest),
        _ => return None,
    };
    range.contains(&number).then_some((number, rest))
}

/// Reads `15:4:5.999`, with any number of decimals after a dot or a comma. Returns the text after it.
fn time(text: &[u8]) -> Option<&[u8]> {
    let (_, text) = number(text, 0..=23)?;
    let (_, text) = number(text.strip_prefix(b":")?, 0..=59)?;
    let (_, text) = number(text.strip_prefix(b":")?, 0..=59)?;
    Some(match text {
        [b'.' | b',', decimals @ ..] if decimals.first().is_some_and(u8::is_ascii_digit) => {
            &decimals[decimals.iter().take_while(|b| b.is_ascii_digit()).count()..]
        }
        _ => text,
    })
}

/// Matches `Z` or `+07:00`. Go allows 24 hours and 60 minutes.
fn is_zone(text: &[u8]) -> bool {
    match text {
        b"Z" => true,
        [
            b'+' | b'-',
            a @ b'0'..=b'2',
            b @ b'0'..=b'9',
            b':',
            c @ b'0'..=b'6',
            d @ b'0'..=b'9',
        ] => (*a < b'2' || *b <= b'4') && (*c < b'6' || *d == b'0'),
        _ => false,
    }
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        for text in [
            "2001-01-01",
            "2001-1-1",
            "2000-02-29",
            "2001-12-14t21:59:43.10-05:00",
            "2001-12-14T1:2:3Z",
            "2001-12-14   21:59:43,5",
            "0000-02-29",
        ] {
            assert!(is_timestamp(text.as_bytes()), "{text}");
        }
        for text in [
            "2001-02-29",
            "2001-13-01",
            "2001-00-01",
            "2001-01-00",
            "2001-12-14T21:59:43",
            "2001-12-14 21:59:43Z",
            "2001-12-14 21:59",
            "01-01-01",
            "2001-01-01 ",
            "2001-01-01T24:00:00Z",
            "2001-12-14T21:59:43+25:00",
            "2001-12-14T21:59:43.Z",
        ] {
            assert!(!is_timestamp(text.as_bytes()), "{text}");
        }
    }
}
