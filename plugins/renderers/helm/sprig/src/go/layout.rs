//! The layouts of Go's `time` package. A layout is the reference time, Mon Jan 2 15:04:05 MST 2006, in the desired form.

/// An element of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    /// `2006`
    LongYear,
    /// `06`
    Year,
    /// `January`
    LongMonth,
    /// `Jan`
    ShortMonth,
    /// `1`, or `01` if padded
    Month { zero: bool },
    /// `Monday`
    LongWeekday,
    /// `Mon`
    ShortWeekday,
    /// `2`, `_2` or `02`
    Day(Pad),
    /// `__2` or `002`
    DayOfYear(Pad),
    /// `15`
    Hour,
    /// `3`, or `03` if padded
    Hour12 { zero: bool },
    /// `4`, or `04` if padded
    Minute { zero: bool },
    /// `5`, or `05` if padded
    Second { zero: bool },
    /// `PM`, or `pm` in lowercase
    HalfDay { upper: bool },
    /// `MST`
    ZoneName,
    /// `-0700`, `-07:00`, `-07`, `-070000`, `-07:00:00`, or with `Z` for the sign
    Offset(OffsetForm),
    /// `.000` or `.999`, or with a comma
    Fraction {
        digits: usize,
        separator: u8,
        trim: bool,
    },
}

/// The padding before a number with fewer digits than usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pad {
    None,
    Space,
    Zero,
}

/// The notation of the offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetForm {
    /// Whether UTC itself is written as `Z`.
    pub(crate) z: bool,
    pub(crate) colon: bool,
    /// 1: hours; 2: also minutes; 3: also seconds.
    pub(crate) parts: u8,
}

/// An element, its notation, and the text after it.
pub(crate) type Found<'a> = (Element, &'a [u8], &'a [u8]);

/// Returns the first element of a layout, with the text before and after it; None if there is only text.
pub(crate) fn next(layout: &[u8]) -> (&[u8], Option<Found<'_>>) {
    for at in 0..layout.len() {
        if let Some((element, skip, len)) = element_at(&layout[at..]) {
            let start = at + skip;
            let (written, after) = layout[start..].split_at(len);
            return (&layout[..start], Some((element, written, after)));
        }
    }
    (layout, None)
}

/// Returns the element at the start, the number of bytes before it that are text after all, and its length.
fn element_at(text: &[u8]) -> Option<(Element, usize, usize)> {
    let found = |element, len| Some((element, 0, len));
    match text {
        [b'J', b'a', b'n', ..] => {
            if text.starts_with(b"January") {
                found(Element::LongMonth, 7)
            } else {
                not_a_word(&text[3..]).then_some((Element::ShortMonth, 0, 3))
            }
        }
        [b'M', b'o', b'n', ..] => {
            if text.starts_with(b"Monday") {
                found(Element::LongWeekday, 6)
            } else {
                not_a_word(&text[3..]).then_some((Element::ShortWeekday, 0, 3))
            }
        }
        [b'M', b'S', b'T', ..] => found(Element::ZoneName, 3),
        [b'0', b'1', ..] => found(Element::Month { zero: true }, 2),
        [b'0', b'2', ..] => found(Element::Day(Pad::Zero), 2),
        [b'0', b'3', ..] => found(Element::Hour12 { zero: true }, 2),
        [b'0', b'4', ..] => found(Element::Minute { zero: true }, 2),
        [b'0', b'5', ..] => found(Element::Second { zero: true }, 2),
        [b'0', b'6', ..] => found(Element::Year, 2),
        [b'0', b'0', b'2', ..] => found(Element::DayOfYear(Pad::Zero), 3),
        [b'1', b'5', ..] => found(Element::Hour, 2),
        [b'1', ..] => found(Element::Month { zero: false }, 1),
        [b'2', b'0', b'0', b'6', ..] => found(Element::LongYear, 4),
        [b'2', ..] => found(Element::Day(Pad::None), 1),
        [b'_', b'2', b'0', b'0', b'6', ..] => Some((Element::LongYear, 1, 4)),
        [b'_', b'2', ..] => found(Element::Day(Pad::Space), 2),
        [b'_', b'_', b'2', ..] => found(Element::DayOfYear(Pad::Space), 3),
        [b'3', ..] => found(Element::Hour12 { zero: false }, 1),
        [b'4', ..] => found(Element::Minute { zero: false }, 1),
        [b'5', ..] => found(Element::Second { zero: false }, 1),
        [b'P', b'M', ..] => found(Element::HalfDay { upper: true }, 2),
        [b'p', b'm', ..] => found(Element::HalfDay { upper: false }, 2),
        [sign @ (b'-' | b'Z'), rest @ ..] => {
            let (form, len) = offset_form(rest)?;
            let form = OffsetForm {
                z: *sign == b'Z',
                ..form
            };
            found(Element::Offset(form), len + 1)
        }
        [separator @ (b'.' | b','), digit @ (b'0' | b'9'), ..] => {
            let digits = text[1..].iter().take_while(|byte| *byte == digit).count();
            let ended = !text.get(1 + digits).is_some_and(u8::is_ascii_digit);
            let element = Element::Fraction {
                digits,
                separator: *separator,
                trim: *digit == b'9',
            };
            ended.then_some((element, 0, 1 + digits))
        }
        _ => None,
    }
}

/// Reads the form of an offset. The longest matching form counts.
fn offset_form(text: &[u8]) -> Option<(OffsetForm, usize)> {
    const FORMS: [(&[u8], bool, u8); 5] = [
        (b"070000", false, 3),
        (b"07:00:00", true, 3),
        (b"0700", false, 2),
        (b"07:00", true, 2),
        (b"07", false, 1),
    ];
    let (written, colon, parts) = FORMS
        .into_iter()
        .find(|(form, ..)| text.starts_with(form))?;
    let form = OffsetForm {
        z: false,
        colon,
        parts,
    };
    Some((form, written.len()))
}

/// Returns whether `Jan` or `Mon` is not the start of another word (`Janus`, `Month`).
fn not_a_word(after: &[u8]) -> bool {
    !after.first().is_some_and(u8::is_ascii_lowercase)
}
