//! Matches as the library does.

use memchr::memmem;
use pintle_gotemplate::{
    Call, FunctionError,
    rune::{self, Rune},
};

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    Nothing,
    Text(Vec<u8>),
    /// One character that is not a separator.
    Single,
    /// One character of these, or none of these.
    List {
        chars: Vec<char>,
        negated: bool,
    },
    /// One character inside or outside a range.
    Range {
        low: char,
        high: char,
        negated: bool,
    },
    /// Anything without a separator.
    Any,
    Everything,
    AnyOf(Vec<Matcher>),
    /// Texts that each of the matchers matches as a whole.
    EveryOf(Vec<Matcher>),
    /// A sequence of matchers of fixed lengths, and its total length in characters.
    Row {
        length: usize,
        parts: Vec<Matcher>,
    },
    Tree(Box<Tree>),
    /// At least this many characters.
    Min(usize),
    /// At most this many characters.
    Max(usize),
    Contains {
        needle: Vec<u8>,
        negated: bool,
    },
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    /// A prefix and a suffix, which may overlap.
    PrefixSuffix(Vec<u8>, Vec<u8>),
    /// A prefix with no separator after it.
    PrefixAny(Vec<u8>),
    /// A suffix with no separator before it.
    SuffixAny(Vec<u8>),
}

/// A matcher with the matchers before and after it. Nothing may be where there is no matcher.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) value: Matcher,
    pub(super) left: Option<Matcher>,
    pub(super) right: Option<Matcher>,
    left_length: Option<usize>,
    right_length: Option<usize>,
    length: Option<usize>,
}

/// The first place where a matcher matches, and the possible lengths of the match there, in order.
type Found = (usize, Vec<usize>);

const SEPARATOR: u8 = b'/';

/// The cost of one attempt at one place, which exceeds the few bytes that it examines.
const TRY: usize = 16;

impl Matcher {
    /// Returns the number of characters that the matcher matches, if it is fixed.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Self::Nothing => Some(0),
            Self::Text(text) => Some(rune::count(text)),
            Self::Single | Self::List { .. } | Self::Range { .. } => Some(1),
            Self::Row { length, .. } => Some(*length),
            Self::Tree(tree) => tree.length,
            // An alternative without a fixed length counts only after one that has one.
            Self::AnyOf(parts) => {
                let mut length = None;
                for own in parts.iter().map(Self::length) {
                    if length.is_none() {
                        length = own;
                    } else if length != own {
                        return None;
                    }
                }
                length
            }
            _ => None,
        }
    }

    /// Returns whether the matcher matches a whole text.
    pub(super) fn matches(&self, text: &[u8], call: &mut dyn Call) -> Result<bool, FunctionError> {
        Ok(match self {
            Self::Nothing => text.is_empty(),
            Self::Text(own) => own.as_slice() == text,
            Self::Single | Self::List { .. } | Self::Range { .. } => {
                only_char(text).is_some_and(|c| self.takes(c))
            }
            Self::Any => !text.contains(&SEPARATOR),
            Self::Everything => true,
            Self::AnyOf(parts) => {
                for part in parts {
                    if part.matches(text, call)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::EveryOf(parts) => {
                for part in parts {
                    if !part.matches(text, call)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Row { length, parts } => {
                rune::count(text) == *length && row_begins(parts, text, call)?
            }
            Self::Tree(tree) => tree.matches(text, call)?,
            Self::Min(least) => rune::count(text) >= *least,
            Self::Max(most) => rune::count(text) <= *most,
            Self::Contains { needle, negated } => memmem::find(text, needle).is_some() != *negated,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::PrefixSuffix(prefix, suffix) => {
                text.starts_with(prefix) && text.ends_with(suffix)
            }
            Self::PrefixAny(prefix) => {
                let rest = text.strip_prefix(prefix.as_slice());
                rest.is_some_and(|rest| !rest.contains(&SEPARATOR))
            }
            Self::SuffixAny(suffix) => {
                let rest = text.strip_suffix(suffix.as_slice());
                rest.is_some_and(|rest| !rest.contains(&SEPARATOR))
            }
        })
    }

    /// Returns where the matcher first matches in a text, as far as the library searches.
    fn find(&self, text: &[u8], call: &mut dyn Call) -> Result<Option<Found>, FunctionError> {
        Ok(match self {
            Self::Nothing => Some((0, vec![0])),
            Self::Text(own) => memmem::find(text, own).map(|at| (at, vec![own.len()])),
            Self::Single | Self::List { .. } | Self::Range { .. } => places(text)
                .find(|&(_, c)| self.takes(c))
                .map(|(at, c)| (at, vec![c.len_utf8()])),
            Self::Any => Some((0, before_each(up_to_separator(text), 0))),
            Self::Everything => Some((0, before_each(text, 0))),
            Self::AnyOf(parts) => find_any(parts, text, call)?,
            Self::EveryOf(parts) => find_every(parts, text, call)?,
            Self::Row { length, parts } => find_row(*length, parts, text, call)?,
            // The library does not search for trees.
            Self::Tree(_) => None,
            Self::Min(least) if text.len() < *least => None,
            Self::Min(least) => {
                let ends = places(text).skip(least.saturating_sub(1));
                let ends: Vec<usize> = ends.map(|(at, c)| at + c.len_utf8()).collect();
                (!ends.is_empty()).then_some((0, ends))
            }
            Self::Max(most) => {
                let ends = places(text).take(*most);
                let ends = ends.map(|(at, c)| at + c.len_utf8());
                Some((0, std::iter::once(0).chain(ends).collect()))
            }
            Self::Contains { needle, negated } => match memmem::find(text, needle) {
                Some(at) if *negated => Some((0, before_each(&text[..at], 0))),
                None if *negated => Some((0, before_each(text, 0))),
                Some(at) => {
                    let end = at + needle.len();
                    Some((0, before_each(&text[end..], end)))
                }
                None => None,
            },
            Self::Prefix(prefix) => memmem::find(text, prefix).map(|at| {
                let rest = &text[at + prefix.len()..];
                (at, behind_each(rest, prefix.len()))
            }),
            Self::Suffix(suffix) => {
                memmem::find(text, suffix).map(|at| (0, vec![at + suffix.len()]))
            }
            Self::PrefixSuffix(prefix, suffix) => find_both(prefix, suffix, text),
            Self::PrefixAny(prefix) => memmem::find(text, prefix).map(|at| {
                let rest = up_to_separator(&text[at + prefix.len()..]);
                (at, behind_each(rest, prefix.len()))
            }),
            Self::SuffixAny(suffix) => memmem::find(text, suffix).map(|at| {
                let separator = text[..at].iter().rposition(|&byte| byte == SEPARATOR);
                let start = separator.map_or(0, |separator| separator + 1);
                (start, vec![at + suffix.len() - start])
            }),
        })
    }

    /// Returns whether the matcher stands for one character, and matches this one.
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Single => c != char::from(SEPARATOR),
            Self::List { chars, negated } => chars.contains(&c) != *negated,
            Self::Range { low, high, negated } => (*low..=*high).contains(&c) != *negated,
            _ => false,
        }
    }
}

impl Tree {
    /// Creates a tree around a matcher.
    pub(super) fn around(value: Matcher, left: Option<Matcher>, right: Option<Matcher>) -> Matcher {
        let of = |side: Option<&Matcher>| side.map_or(Some(0), Matcher::length);
        let (left_length, right_length) = (of(left.as_ref()), of(right.as_ref()));
        let lengths = [left_length, value.length(), right_length];
        let length = lengths.into_iter().sum();
        Matcher::Tree(Box::new(Self {
            value,
            left,
            right,
            left_length,
            right_length,
            length,
        }))
    }

    fn matches(&self, text: &[u8], call: &mut dyn Call) -> Result<bool, FunctionError> {
        if self.length.is_some_and(|length| length > text.len()) {
            return Ok(false);
        }
        let mut at = self.left_length.unwrap_or(0);
        let end = text.len().saturating_sub(self.right_length.unwrap_or(0));
        while at < end {
            let Some((start, lengths)) = self.value.find(&text[at..end], call)? else {
                return Ok(false);
            };
            call.charge(TRY + lengths.len())?;
            at += start;
            if side(self.left.as_ref(), &text[..at], call)? {
                for length in lengths.into_iter().rev() {
                    let rest = text.get(at + length..).unwrap_or_default();
                    if side(self.right.as_ref(), rest, call)? {
                        return Ok(true);
                    }
                }
            }
            at += rune::decode(&text[at..]).map_or(0, |rune| rune.len);
        }
        Ok(false)
    }
}

fn side(
    matcher: Option<&Matcher>,
    text: &[u8],
    call: &mut dyn Call,
) -> Result<bool, FunctionError> {
    match matcher {
        Some(matcher) => matcher.matches(text, call),
        None => Ok(text.is_empty()),
    }
}

/// Returns whether matchers of fixed lengths match one after another.
///
/// The library takes a character's first byte for its end, so no row matches a multi-byte character. It also reads past the end
/// of the text if the last matcher is an empty one.
fn row_begins(parts: &[Matcher], text: &[u8], call: &mut dyn Call) -> Result<bool, FunctionError> {
    let mut at = 0;
    for part in parts {
        let length = part.length().unwrap_or(0);
        let (mut count, mut last) = (0, 0);
        for (place, _) in places(&text[at..]) {
            (count, last) = (count + 1, place);
            if count == length {
                break;
            }
        }
        if count < length {
            return Ok(false);
        }
        let end = at + last + 1;
        let Some(own) = text.get(at..end) else {
            return Err(FunctionError::new(format_args!(
                "runtime error: slice bounds out of range [:{end}] with length {}",
                text.len()
            )));
        };
        if !part.matches(own, call)? {
            return Ok(false);
        }
        at = end;
    }
    Ok(true)
}

fn find_row(
    length: usize,
    parts: &[Matcher],
    text: &[u8],
    call: &mut dyn Call,
) -> Result<Option<Found>, FunctionError> {
    for (at, _) in places(text) {
        let rest = &text[at..];
        if rest.len() < length {
            break;
        }
        if row_begins(parts, rest, call)? {
            return Ok(Some((at, vec![length])));
        }
    }
    Ok(None)
}

/// Returns the first match, with the lengths of all matches at that place.
fn find_any(
    parts: &[Matcher],
    text: &[u8],
    call: &mut dyn Call,
) -> Result<Option<Found>, FunctionError> {
    let mut first: Option<Found> = None;
    for part in parts {
        let Some((at, lengths)) = part.find(text, call)? else {
            continue;
        };
        first = Some(match first {
            Some((before, all)) if before < at => (before, all),
            Some((same, mut all)) if same == at => {
                all.extend(lengths);
                all.sort_unstable();
                all.dedup();
                (same, all)
            }
            _ => (at, lengths),
        });
    }
    Ok(first)
}

/// Returns where the last one is found, with the lengths that suit all. Each search begins where the previous one was found.
fn find_every(
    parts: &[Matcher],
    text: &[u8],
    call: &mut dyn Call,
) -> Result<Option<Found>, FunctionError> {
    let mut found: Option<Found> = None;
    for part in parts {
        let before = found.as_ref().map_or(0, |(at, _)| *at);
        let Some((start, lengths)) = part.find(&text[before..], call)? else {
            return Ok(None);
        };
        let lengths: Vec<usize> = match found {
            None => lengths,
            Some((_, all)) => lengths
                .into_iter()
                .filter(|length| all.contains(&(length + start)))
                .collect(),
        };
        if lengths.is_empty() {
            return Ok(None);
        }
        found = Some((before + start, lengths));
    }
    Ok(found)
}

/// Returns the first place of the prefix, and the lengths of all texts from there that end with the suffix.
fn find_both(prefix: &[u8], suffix: &[u8], text: &[u8]) -> Option<Found> {
    let at = memmem::find(text, prefix)?;
    let mut rest = &text[at..];
    let mut lengths = Vec::new();
    while let Some(start) = memmem::rfind(rest, suffix) {
        lengths.push(start + suffix.len());
        rest = &rest[..start];
    }
    lengths.reverse();
    (!lengths.is_empty()).then_some((at, lengths))
}

/// Returns an iterator over the characters and their places.
fn places(text: &[u8]) -> impl Iterator<Item = (usize, char)> + '_ {
    let mut next = 0;
    rune::runes(text).map(move |rune| {
        let at = next;
        next += rune.len;
        (at, rune.char)
    })
}

/// Returns the places before each character and at the end, relative to `from`.
fn before_each(text: &[u8], from: usize) -> Vec<usize> {
    let starts = places(text).map(|(at, _)| at);
    let ends = starts.chain(std::iter::once(text.len()));
    ends.map(|at| from + at).collect()
}

/// Returns the places at the beginning and after each character, relative to `from`.
fn behind_each(text: &[u8], from: usize) -> Vec<usize> {
    let ends = places(text).map(|(at, c)| at + c.len_utf8());
    let ends = std::iter::once(0).chain(ends);
    ends.map(|at| from + at).collect()
}

fn up_to_separator(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|&byte| byte == SEPARATOR);
    &text[..end.unwrap_or(text.len())]
}

/// Returns the character of a text that has at most one. For an empty text, this is the replacement for what cannot be read.
fn only_char(text: &[u8]) -> Option<char> {
    match rune::decode(text) {
        None => Some(Rune::INVALID),
        Some(rune) => (rune.len == text.len()).then_some(rune.char),
    }
}
