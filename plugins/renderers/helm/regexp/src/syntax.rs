//! Parses the syntax of Go's regular expressions into the form from which the matcher is compiled.
//!
//! Go's own parser determines what is an error and what the error names. This parser therefore goes through a text in the same
//! order.

use regex_syntax::hir::{Class, ClassUnicode, Hir, Look, Repetition};
use thiserror::Error;

use super::{
    class,
    group::{Flags, Groups, Item},
};

/// The maximum nesting depth of groups. Go allows 1000, but the stack of a Wasm guest is smaller.
pub(super) const MAX_DEPTH: usize = 250;

/// The largest count of a repetition, and the largest product of the counts of nested repetitions.
const MAX_REPEAT: u32 = 1000;

/// The text is not a valid regular expression. The messages are Go's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("error parsing regexp: {code}: `{part}`")]
pub struct SyntaxError {
    code: Code,
    part: String,
}

/// What is wrong, in Go's words.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Code {
    #[error("invalid character class range")]
    CharRange,
    #[error("invalid escape sequence")]
    Escape,
    #[error("invalid named capture")]
    NamedCapture,
    #[error("invalid or unsupported Perl syntax")]
    PerlOperator,
    #[error("invalid nested repetition operator")]
    RepeatOperator,
    #[error("invalid repeat count")]
    RepeatSize,
    #[error("invalid UTF-8")]
    Utf8,
    #[error("missing closing ]")]
    MissingBracket,
    #[error("missing closing )")]
    MissingParen,
    #[error("missing argument to repetition operator")]
    MissingArgument,
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    #[error("unexpected )")]
    UnexpectedParen,
    #[error("expression nests too deeply")]
    Depth,
    #[error("expression too large")]
    Large,
}

impl SyntaxError {
    pub(super) fn new(code: Code, part: &str) -> Self {
        Self {
            code,
            part: part.to_owned(),
        }
    }
}

/// Returns the part of the text before its tail `rest`.
pub(super) fn before<'a>(text: &'a str, rest: &str) -> &'a str {
    &text[..text.len() - rest.len()]
}

/// Returns the meaning of a regular expression and the names of its groups by number, including the entry for the whole match.
pub(super) fn parse(pattern: &[u8]) -> Result<(Hir, Vec<Option<String>>), SyntaxError> {
    let pattern = std::str::from_utf8(pattern).map_err(|error| {
        let rest = &pattern[error.valid_up_to()..];
        SyntaxError::new(Code::Utf8, &String::from_utf8_lossy(rest))
    })?;
    let mut groups = Groups::new();
    let mut rest = pattern;
    // The start of the repetition directly before this one, if there is one.
    let mut last_repeat: Option<&str> = None;
    while let Some(next) = rest.chars().next() {
        let mut repeat = None;
        rest = match next {
            '(' if rest.starts_with("(?") => groups.open_special(rest)?,
            '(' => {
                groups.open_numbered(pattern)?;
                &rest[1..]
            }
            '|' => {
                groups.next_alternative();
                &rest[1..]
            }
            ')' => {
                groups
                    .close()
                    .ok_or_else(|| SyntaxError::new(Code::UnexpectedParen, pattern))?;
                &rest[1..]
            }
            '*' | '+' | '?' => {
                let bounds = match next {
                    '*' => (0, None),
                    '+' => (1, None),
                    _ => (0, Some(1)),
                };
                repeat = Some(rest);
                apply_repeat(&mut groups, bounds, rest, &rest[1..], last_repeat)?
            }
            '{' => {
                if let Some((bounds, after)) = read_counts(rest) {
                    let too_large = || SyntaxError::new(Code::RepeatSize, before(rest, after));
                    let bounds = bounds.ok_or_else(too_large)?;
                    repeat = Some(rest);
                    apply_repeat(&mut groups, bounds, rest, after, last_repeat)?
                } else {
                    groups.push_char('{');
                    &rest[1..]
                }
            }
            '[' => {
                let (class, after) = parse_class(rest, groups.flags)?;
                groups.push_class(class);
                after
            }
            '\\' => parse_backslash(&mut groups, rest)?,
            _ => {
                parse_plain(&mut groups, next);
                &rest[next.len_utf8()..]
            }
        };
        last_repeat = repeat;
    }
    groups
        .finish()
        .ok_or_else(|| SyntaxError::new(Code::MissingParen, pattern))
}

fn parse_plain(groups: &mut Groups, next: char) {
    let flags = groups.flags;
    match next {
        '^' if flags.multi_line => groups.push_look(Look::StartLF),
        '^' => groups.push_look(Look::Start),
        '$' if flags.multi_line => groups.push_look(Look::EndLF),
        '$' => groups.push_look(Look::End),
        '.' => {
            let mut class = ClassUnicode::empty();
            if !flags.dot_matches_line_end {
                class = class::of(&[('\n', '\n')]);
            }
            class.negate();
            groups.push_class(class);
        }
        _ => groups.push_char(next),
    }
}

type Bounds = (u32, Option<u32>);

/// Applies a repetition to the last item. Returns the rest of the text, after a `?` that makes the repetition lazy.
fn apply_repeat<'a>(
    groups: &mut Groups,
    (min, max): Bounds,
    start: &'a str,
    after: &'a str,
    last_repeat: Option<&'a str>,
) -> Result<&'a str, SyntaxError> {
    let (lazy, after) = match after.strip_prefix('?') {
        Some(after) => (true, after),
        None => (false, after),
    };
    if let Some(last) = last_repeat {
        return Err(SyntaxError::new(Code::RepeatOperator, before(last, after)));
    }
    let written = before(start, after);
    let greedy = lazy == groups.flags.lazy;
    let item = groups
        .pop_item()
        .ok_or_else(|| SyntaxError::new(Code::MissingArgument, written))?;
    let times = max.unwrap_or(min);
    let counted = !matches!((min, max), (0 | 1, None) | (0, Some(1)));
    let factor = match times {
        0 if max == Some(0) => 1,
        times => item
            .factor
            .saturating_mul(if counted { times.max(1) } else { 1 }),
    };
    if (min >= 2 || max.is_some_and(|max| max >= 2)) && factor > MAX_REPEAT {
        return Err(SyntaxError::new(Code::RepeatSize, written));
    }
    let hir = Hir::repetition(Repetition {
        min,
        max,
        greedy,
        sub: Box::new(item.hir),
    });
    groups.push(Item { hir, factor });
    Ok(after)
}

/// Reads `{2}`, `{2,}` or `{2,5}`, and returns the text after it. There are no bounds if they are too large or in the wrong
/// order. None if the text does not have this form; the brace then stands for itself.
fn read_counts(text: &str) -> Option<(Option<Bounds>, &str)> {
    let (min, rest) = read_count(&text[1..])?;
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => {
            let (max, rest) = read_count(rest)?;
            (Some(max), rest)
        }
    };
    let rest = rest.strip_prefix('}')?;
    let largest = max.unwrap_or(min);
    let valid = min <= MAX_REPEAT && largest <= MAX_REPEAT && min <= largest;
    Some((valid.then_some((min, max)), rest))
}

fn read_count(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), rest))
}

/// Parses anything that begins with a backslash outside brackets.
fn parse_backslash<'a>(groups: &mut Groups, text: &'a str) -> Result<&'a str, SyntaxError> {
    let look = match text.as_bytes().get(1) {
        Some(b'A') => Some(Look::Start),
        Some(b'z') => Some(Look::End),
        Some(b'b') => Some(Look::WordAscii),
        Some(b'B') => Some(Look::WordAsciiNegate),
        Some(b'C') => return Err(SyntaxError::new(Code::Escape, &text[..2])),
        Some(b'Q') => {
            let (literal, rest) = text[2..].split_once("\\E").unwrap_or((&text[2..], ""));
            literal.chars().for_each(|char| groups.push_char(char));
            return Ok(rest);
        }
        _ => None,
    };
    if let Some(look) = look {
        groups.push_look(look);
        return Ok(&text[2..]);
    }
    if let Some((class, rest)) = parse_class_escape(text, groups.flags)? {
        groups.push_class(class);
        return Ok(rest);
    }
    let (char, rest) = parse_escape(text)?;
    groups.push_code(char);
    Ok(rest)
}

/// Reads `\d`, `\pL` and the like at the start of a text.
fn parse_class_escape(
    text: &str,
    flags: Flags,
) -> Result<Option<(ClassUnicode, &str)>, SyntaxError> {
    match text.as_bytes().get(1) {
        Some(b'p' | b'P') => class::unicode(text, flags.fold_case).map(Some),
        Some(&letter) => {
            let found = class::perl(letter, flags.fold_case);
            Ok(found.map(|class| (class, &text[2..])))
        }
        None => Ok(None),
    }
}

/// Reads one escaped character as a number, which need not be a Unicode character. Also returns the text after it.
fn parse_escape(text: &str) -> Result<(u32, &str), SyntaxError> {
    let mut chars = text[1..].chars();
    let Some(char) = chars.next() else {
        return Err(SyntaxError::new(Code::TrailingBackslash, ""));
    };
    let rest = chars.as_str();
    let error = |rest: &str| Err(SyntaxError::new(Code::Escape, before(text, rest)));
    let is_octal = |char: char| matches!(char, '0'..='7');
    let control = |code: u32| Ok((code, rest));
    match char {
        '0'..='7' => {
            // A single digit other than 0 would be a backreference, which does not exist here.
            if char != '0' && !rest.starts_with(is_octal) {
                return error(rest);
            }
            let digits = rest
                .bytes()
                .take(2)
                .take_while(|byte| is_octal(char::from(*byte)))
                .count();
            let number = u32::from_str_radix(&text[1..2 + digits], 8).unwrap_or_default();
            Ok((number, &rest[digits..]))
        }
        'x' => parse_hexadecimal(text, rest),
        'a' => control(7),
        'f' => control(12),
        'n' => control(10),
        'r' => control(13),
        't' => control(9),
        'v' => control(11),
        _ if char.is_ascii() && !char.is_ascii_alphanumeric() => Ok((char.into(), rest)),
        _ => error(rest),
    }
}

/// Reads `\x7F` or `\x{10FFFF}`. `rest` is the text after the `x`.
fn parse_hexadecimal<'a>(text: &'a str, rest: &'a str) -> Result<(u32, &'a str), SyntaxError> {
    let error = |rest: &str| Err(SyntaxError::new(Code::Escape, before(text, rest)));
    let mut chars = rest.chars();
    if let Some(braced) = rest.strip_prefix('{') {
        let mut chars = braced.chars();
        let mut number = None;
        loop {
            match chars.next() {
                None => return error(""),
                Some('}') => break,
                Some(char) => {
                    let Some(digit) = char.to_digit(16) else {
                        return error(chars.as_str());
                    };
                    let next = number.unwrap_or(0) * 16 + digit;
                    if next > u32::from(char::MAX) {
                        return error(chars.as_str());
                    }
                    number = Some(next);
                }
            }
        }
        return match number {
            Some(number) => Ok((number, chars.as_str())),
            None => error(chars.as_str()),
        };
    }
    let (one, two) = (chars.next(), chars.next());
    match (
        one.and_then(|one| one.to_digit(16)),
        two.and_then(|two| two.to_digit(16)),
    ) {
        (Some(one), Some(two)) => Ok((one * 16 + two, chars.as_str())),
        _ => error(chars.as_str()),
    }
}

/// Reads a bracket expression at the start of a text. Also returns the text after it.
fn parse_class(text: &str, flags: Flags) -> Result<(ClassUnicode, &str), SyntaxError> {
    let (negated, mut rest) = match text[1..].strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, &text[1..]),
    };
    let mut class = ClassUnicode::empty();
    let mut first = true;
    while first || !rest.starts_with(']') {
        // A hyphen that is neither first nor last must be escaped, unless more of Perl's syntax follows it.
        first = false;
        if let Some(inner) = rest.strip_prefix("[:")
            && let Some((name, after)) = inner.split_once(":]")
        {
            let written = before(rest, after);
            let found = class::posix(name, flags.fold_case)
                .ok_or_else(|| SyntaxError::new(Code::CharRange, written))?;
            class.union(&found);
            rest = after;
            continue;
        }
        if rest.starts_with('\\')
            && let Some((found, after)) = parse_class_escape(rest, flags)?
        {
            class.union(&found);
            rest = after;
            continue;
        }
        let (low, mut after) = parse_class_char(rest, text)?;
        let mut high = low;
        if let Some(end) = after.strip_prefix('-')
            && !end.starts_with(']')
            && !end.is_empty()
        {
            (high, after) = parse_class_char(end, text)?;
            if high < low {
                return Err(SyntaxError::new(Code::CharRange, before(rest, after)));
            }
        }
        // Surrogates do not occur in any text.
        let last = char::from_u32(high).unwrap_or('\u{D7FF}');
        let first = char::from_u32(low).unwrap_or('\u{E000}');
        if first <= last {
            let mut range = class::of(&[(first, last)]);
            if flags.fold_case {
                class::fold_case(&mut range);
            }
            class.union(&range);
        }
        rest = after;
    }
    if negated {
        class.negate();
    }
    Ok((class, &rest[1..]))
}

fn parse_class_char<'a>(text: &'a str, whole: &str) -> Result<(u32, &'a str), SyntaxError> {
    let mut chars = text.chars();
    match chars.next() {
        None => Err(SyntaxError::new(Code::MissingBracket, whole)),
        Some('\\') => parse_escape(text),
        Some(char) => Ok((char.into(), chars.as_str())),
    }
}

/// Converts a character class to an expression.
pub(super) fn class_hir(class: ClassUnicode) -> Hir {
    Hir::class(Class::Unicode(class))
}
