//! Sets of characters in regular expressions.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

use super::syntax::{Code, SyntaxError};

/// The set of the given ranges.
pub(super) fn of(ranges: &[(char, char)]) -> ClassUnicode {
    let ranges = ranges.iter();
    ClassUnicode::new(ranges.map(|&(first, last)| ClassUnicodeRange::new(first, last)))
}

/// `\d`, `\s`, `\w` and their opposites; ASCII only.
pub(super) fn perl(letter: u8, fold: bool) -> Option<ClassUnicode> {
    let ranges: &[(char, char)] = match letter.to_ascii_lowercase() {
        b'd' => &[('0', '9')],
        b's' => &[('\t', '\n'), ('\x0C', '\r'), (' ', ' ')],
        b'w' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        _ => return None,
    };
    Some(signed(of(ranges), letter.is_ascii_uppercase(), fold))
}

/// The set of `[:alpha:]` and its like; None for a name that does not exist.
pub(super) fn posix(name: &str, fold: bool) -> Option<ClassUnicode> {
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let ranges: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7F')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1F'), ('\x7F', '\x7F')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some(signed(of(ranges), negated, fold))
}

/// `\p{Greek}`, `\pN`, `\P{^L}` at the start of a text, and what is after it.
pub(super) fn unicode(text: &str, fold: bool) -> Result<(ClassUnicode, &str), SyntaxError> {
    let mut negated = text.starts_with("\\P");
    let name = &text[2..];
    let Some(first) = name.chars().next() else {
        return Err(SyntaxError::new(Code::CharRange, text));
    };
    let (name, rest) = match name.strip_prefix('{') {
        Some(name) => name
            .split_once('}')
            .ok_or_else(|| SyntaxError::new(Code::CharRange, text))?,
        None => name.split_at(first.len_utf8()),
    };
    let written = &text[..text.len() - rest.len()];
    let name = match name.strip_prefix('^') {
        Some(name) => {
            negated = !negated;
            name
        }
        None => name,
    };
    let found = named(name).ok_or_else(|| SyntaxError::new(Code::CharRange, written))?;
    Ok((signed(found, negated, fold), rest))
}

/// A category or a script of Unicode.
fn named(name: &str) -> Option<ClassUnicode> {
    if name.is_empty()
        || !name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "_- ".contains(char))
    {
        return None;
    }
    let parsed = regex_syntax::parse(&format!("\\p{{{name}}}")).ok()?;
    match parsed.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            let only = text.chars().next()?;
            Some(of(&[(only, only)]))
        }
        _ => None,
    }
}

/// Adds the other cases of letters, then turns to all other characters, if asked for.
pub(super) fn signed(mut class: ClassUnicode, negated: bool, fold: bool) -> ClassUnicode {
    if fold {
        fold_case(&mut class);
    }
    if negated {
        class.negate();
    }
    class
}

/// Adds the other cases of the letters.
pub(super) fn fold_case(class: &mut ClassUnicode) {
    class
        .try_case_fold_simple()
        .expect("the tables of cases are built in");
}
