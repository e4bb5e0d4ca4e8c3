//! The styles in which a string can be written: plain, in quotes, or as a block.

use super::{
    Flavor,
    scalar::{Scalar, is_base_60, is_odd_octal, resolve},
};

/// A style of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// The facts that determine the style of a scalar.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact about the text by itself"
)]
pub(crate) struct Analysis {
    /// Whether the text has line breaks, including those of Unicode.
    pub(crate) multiline: bool,
    has_line_feed: bool,
    plain_allowed: bool,
    single_allowed: bool,
    block_allowed: bool,
}

impl Analysis {
    const HARMLESS: Self = Self {
        multiline: false,
        has_line_feed: false,
        plain_allowed: true,
        single_allowed: true,
        block_allowed: true,
    };

    /// Examines each character of a UTF-8 text.
    pub(crate) fn of(text: &[u8], flavor: Flavor) -> Self {
        if is_harmless(text) {
            return Self::HARMLESS;
        }
        if text.is_empty() {
            return Self {
                block_allowed: false,
                ..Self::HARMLESS
            };
        }
        Scan::default().run(text, flavor)
    }

    /// Returns the style of a string without a tag.
    pub(crate) fn string_style(self, text: &[u8], flavor: Flavor, simple_key: bool) -> Style {
        let wanted = if self.has_line_feed {
            Style::Literal
        } else if is_string_when_plain(text, flavor) {
            Style::Plain
        } else {
            Style::Double
        };
        self.allowed_style(wanted, simple_key)
    }

    /// Returns the style nearest to the wanted one that can hold the text.
    pub(crate) fn allowed_style(self, wanted: Style, simple_key: bool) -> Style {
        let mut style = wanted;
        if simple_key && self.multiline {
            style = Style::Double;
        }
        if style == Style::Plain && !self.plain_allowed {
            style = Style::Single;
        }
        if style == Style::Single && !self.single_allowed {
            style = Style::Double;
        }
        if style == Style::Literal && (!self.block_allowed || simple_key) {
            style = Style::Double;
        }
        style
    }
}

/// Returns whether the text without quotes would be read as a string.
fn is_string_when_plain(text: &[u8], flavor: Flavor) -> bool {
    // Version 3 reads the old words for booleans as strings, but also quotes them.
    resolve(text, true) == Scalar::Text
        && !(text
            .first()
            .is_some_and(|b| matches!(b, b'+' | b'-' | b'0'..=b'9'))
            && (is_base_60(text) || (flavor == Flavor::Pretty && is_odd_octal(text))))
}

/// A byte without special meaning, at the start and elsewhere.
const HARMLESS_ANYWHERE: u8 = 0;
/// A byte without special meaning, except at the start.
const HARMLESS_INSIDE: u8 = 1;
const NEEDS_A_LOOK: u8 = 2;

const CLASSES: [u8; 256] = {
    let mut classes = [NEEDS_A_LOOK; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        classes[byte as usize] = match byte {
            b':' | b'#' => NEEDS_A_LOOK,
            b'-' | b'.' | b',' | b'?' | b'[' | b']' | b'{' | b'}' | b'&' | b'*' | b'!' | b'|'
            | b'>' | b'\'' | b'"' | b'%' | b'@' | b'`' => HARMLESS_INSIDE,
            _ => HARMLESS_ANYWHERE,
        };
        byte += 1;
    }
    classes
};

/// Returns whether a text is one line of ASCII without special meaning in YAML. Nearly all texts are.
fn is_harmless(text: &[u8]) -> bool {
    let (Some(first), Some(last)) = (text.first(), text.last()) else {
        return false;
    };
    if CLASSES[usize::from(*first)] != HARMLESS_ANYWHERE || *last == b' ' {
        return false;
    }
    let mut previous = b' ';
    text.iter().enumerate().all(|(at, &byte)| {
        let before = std::mem::replace(&mut previous, byte);
        match byte {
            b' ' => true,
            b':' => text.get(at + 1).is_some_and(|&next| next != b' '),
            b'#' => before != b' ',
            _ => CLASSES[usize::from(byte)] <= HARMLESS_INSIDE,
        }
    })
}

/// Returns the number of bytes of a character that begins with this byte.
pub(crate) fn width(first: u8) -> usize {
    match first {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

/// Returns the length of the line break at the front of the text; 0 if there is none.
pub(crate) fn line_break(text: &[u8]) -> usize {
    match text {
        [b'\n' | b'\r', ..] => 1,
        [0xc2, 0x85, ..] => 2,
        [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
        _ => 0,
    }
}

/// Returns whether the character at the front is written as it is. The byte order mark and characters beyond U+FFFF are not.
pub(crate) fn is_printable(text: &[u8]) -> bool {
    match text {
        [b'\n' | 0x20..=0x7e | 0xc3..=0xec | 0xee, ..] => true,
        [0xc2, second, ..] => *second >= 0xa0,
        [0xed, second, ..] => *second < 0xa0,
        [0xef, rest @ ..] => !matches!(rest, [0xbb, 0xbf, ..] | [0xbf, 0xbe | 0xbf, ..]),
        _ => false,
    }
}

#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact about the text by itself"
)]
struct Scan {
    indicators: bool,
    line_breaks: bool,
    line_feeds: bool,
    special: bool,
    tabs: bool,
    leading_space: bool,
    leading_break: bool,
    trailing_space: bool,
    trailing_break: bool,
    /// Whether a space follows a line break.
    break_space: bool,
    /// Whether a line break follows a space.
    space_break: bool,
}

impl Scan {
    fn run(mut self, text: &[u8], flavor: Flavor) -> Analysis {
        if text.starts_with(b"---") || text.starts_with(b"...") {
            self.indicators = true;
        }
        let mut after_blank = true;
        let mut previous_space = false;
        let mut previous_break = false;
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            let end = at + width(byte);
            let rest = &text[at..];
            let blank_follows = !matches!(text.get(end), Some(&b) if b != b' ' && b != b'\t');
            self.indicators |= match byte {
                b'#' => at == 0 || after_blank,
                b',' | b'[' | b']' | b'{' | b'}' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\''
                | b'"' | b'%' | b'@' | b'`' => at == 0,
                b'?' | b'-' => at == 0 && blank_follows,
                b':' => blank_follows,
                _ => false,
            };
            if byte == b'\t' && flavor == Flavor::Pretty {
                self.tabs = true;
            } else if !is_printable(rest) {
                self.special = true;
            }
            let is_break = line_break(rest) > 0;
            if byte == b' ' {
                self.leading_space |= at == 0;
                self.trailing_space |= end == text.len();
                self.break_space |= previous_break;
            } else if is_break {
                self.line_breaks = true;
                self.line_feeds |= byte == b'\n';
                self.leading_break |= at == 0;
                self.trailing_break |= end == text.len();
                self.space_break |= previous_space;
            }
            previous_space = byte == b' ';
            previous_break = is_break;
            after_blank = is_break || matches!(byte, b' ' | b'\t' | 0);
            at = end;
        }
        self.finish()
    }

    fn finish(&self) -> Analysis {
        let not_in_lines = self.space_break || self.special;
        Analysis {
            multiline: self.line_breaks,
            has_line_feed: self.line_feeds,
            plain_allowed: !(self.leading_space
                || self.leading_break
                || self.trailing_space
                || self.trailing_break
                || self.break_space
                || not_in_lines
                || self.tabs
                || self.line_breaks
                || self.indicators),
            single_allowed: !(self.break_space || not_in_lines || self.tabs),
            block_allowed: !(self.trailing_space || not_in_lines),
        }
    }
}
