//! Constraints on versions: `>=1.2, <2 || ~3.1 || 4.x`.

use std::cmp::Ordering;

use pintle_gotemplate::print;
use thiserror::Error;

use crate::version::{Version, compare_prereleases};

/// The maximum length of a constraint in bytes.
const MAX_LEN: usize = 512;

/// The maximum number of alternatives in a constraint.
const MAX_GROUPS: usize = 32;

/// A constraint on versions. A version satisfies it by satisfying all conditions of one of the groups.
#[derive(Clone, Debug)]
pub struct Constraint {
    groups: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    conditions: Vec<Condition>,
    /// Whether one of the conditions names a prerelease. The group allows prereleases only then.
    prereleases: bool,
}

/// The text is not a valid constraint. The messages are the library's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConstraintError {
    /// The text does not have the form of a constraint.
    #[error("improper constraint: {0}")]
    Improper(String),
    /// The text contains an invalid version.
    #[error("constraint parser error")]
    Version,
    /// The text has more than 512 bytes.
    #[error("constraint string is too long (max {MAX_LEN} bytes)")]
    TooLong,
    /// The text has more than 32 alternatives.
    #[error("too many constraint groups (max {MAX_GROUPS})")]
    TooManyGroups,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Tilde,
    Caret,
}

#[derive(Clone, Debug)]
struct Condition {
    operator: Operator,
    version: Version,
    /// The count of numbers before the first that is missing or an `x`; 3 if all are given.
    given: usize,
}

impl Constraint {
    /// Parses a constraint: groups separated by `||`, each with conditions separated by commas or spaces.
    pub fn parse(text: &[u8]) -> Result<Self, ConstraintError> {
        if text.len() > MAX_LEN {
            return Err(ConstraintError::TooLong);
        }
        let improper = |text: &[u8]| {
            ConstraintError::Improper(String::from_utf8_lossy(&print::quote(text)).into_owned())
        };
        let text = std::str::from_utf8(text).map_err(|_| improper(text))?;
        let text = rewrite_ranges(text);
        let groups: Vec<_> = text.split("||").collect();
        if groups.len() > MAX_GROUPS {
            return Err(ConstraintError::TooManyGroups);
        }
        let groups = groups.into_iter().map(|group| {
            let written = parse_group(group).ok_or_else(|| improper(group.as_bytes()))?;
            let conditions: Vec<_> = written
                .into_iter()
                .map(Written::condition)
                .collect::<Result<_, _>>()?;
            let prereleases = conditions
                .iter()
                .any(|condition| !condition.version.prerelease.is_empty());
            Ok(Group {
                conditions,
                prereleases,
            })
        });
        Ok(Self {
            groups: groups.collect::<Result<_, _>>()?,
        })
    }

    /// Returns whether a version satisfies the constraint.
    pub fn allows(&self, version: &Version) -> bool {
        self.groups.iter().any(|group| {
            (version.prerelease.is_empty() || group.prereleases)
                && group
                    .conditions
                    .iter()
                    .all(|condition| condition.allows(version))
        })
    }
}

impl Condition {
    fn allows(&self, version: &Version) -> bool {
        let ordering = version.compare(&self.version);
        let all_given = self.given == 3;
        match self.operator {
            Operator::Equal if all_given => ordering == Ordering::Equal,
            Operator::Equal | Operator::Tilde => self.allows_by_tilde(version),
            Operator::NotEqual => self.allows_unless_equal(version),
            Operator::Greater if all_given => ordering == Ordering::Greater,
            Operator::Greater => self.allows_beyond(version),
            Operator::Less => ordering == Ordering::Less,
            Operator::GreaterOrEqual => ordering != Ordering::Less,
            Operator::LessOrEqual if all_given => ordering != Ordering::Greater,
            Operator::LessOrEqual => {
                let (major, minor) = (self.version.major, self.version.minor);
                // `<=11` has no second number, so it allows all of 11.
                version.major <= major
                    && !(version.major == major && version.minor > minor && self.given != 1)
            }
            Operator::Caret => self.allows_by_caret(version),
        }
    }

    /// `>11` begins with 12, and `>11.1` with 11.2.
    fn allows_beyond(&self, version: &Version) -> bool {
        let ordering = version.major.cmp(&self.version.major);
        match (ordering, self.given) {
            (Ordering::Greater, _) => true,
            (Ordering::Less, _) | (_, 1) => false,
            (_, 2) => version.minor > self.version.minor,
            _ => version.compare(&self.version) == Ordering::Greater,
        }
    }

    fn allows_unless_equal(&self, version: &Version) -> bool {
        let wanted = &self.version;
        if self.given == 3 {
            return version.compare(wanted) != Ordering::Equal;
        }
        if version.major != wanted.major {
            return true;
        }
        match self.given {
            1 => false,
            _ if version.minor != wanted.minor => true,
            2 if version.prerelease.is_empty() && wanted.prerelease.is_empty() => false,
            2 => compare_prereleases(&version.prerelease, &wanted.prerelease) != Ordering::Equal,
            _ if version.patch != wanted.patch => true,
            _ => version.compare(wanted) != Ordering::Equal,
        }
    }

    /// `~1.2.3` is `>=1.2.3, <1.3.0`, and `~1` is `>=1, <2`.
    fn allows_by_tilde(&self, version: &Version) -> bool {
        let wanted = &self.version;
        if version.compare(wanted) == Ordering::Less {
            return false;
        }
        // `~0.0.0` allows everything, as `~*` does.
        let zero = wanted.major == 0 && wanted.minor == 0 && wanted.patch == 0;
        if zero && !matches!(self.given, 1 | 2) {
            return true;
        }
        version.major == wanted.major && (version.minor == wanted.minor || self.given == 1)
    }

    /// `^1.2.3` is `>=1.2.3, <2.0.0`; below 1 the first number that is not 0 may not change.
    fn allows_by_caret(&self, version: &Version) -> bool {
        let wanted = &self.version;
        if version.compare(wanted) == Ordering::Less {
            return false;
        }
        if wanted.major > 0 || self.given == 1 {
            return version.major == wanted.major;
        }
        if version.major > 0 {
            return false;
        }
        if wanted.minor > 0 || self.given == 2 {
            return version.minor == wanted.minor;
        }
        version.minor == 0 && version.patch == wanted.patch
    }
}

/// A condition as written.
struct Written<'a> {
    operator: Operator,
    /// The version in full.
    version: &'a str,
    /// The numbers of the version, up to three; any of them may be an `x`.
    numbers: Vec<&'a str>,
    /// The prerelease with its hyphen; empty if there is none.
    prerelease: &'a str,
}

impl Written<'_> {
    fn condition(self) -> Result<Condition, ConstraintError> {
        let is_x = |part: &&str| matches!(*part, "x" | "X" | "*");
        let given = self
            .numbers
            .iter()
            .position(is_x)
            .unwrap_or(self.numbers.len());
        let version = if given == 3 {
            // The length limit applies to the version in full.
            Version::parse(self.version.as_bytes())
        } else {
            let mut numbers = self.numbers[..given].to_vec();
            numbers.resize(3, "0");
            Version::parse((numbers.join(".") + self.prerelease).as_bytes())
        };
        Ok(Condition {
            operator: self.operator,
            version: version.map_err(|_| ConstraintError::Version)?,
            given,
        })
    }
}

/// Returns the conditions of a group; None if the text has any other form.
fn parse_group(text: &str) -> Option<Vec<Written<'_>>> {
    let mut conditions = Vec::new();
    let mut rest = trim(text);
    loop {
        let (condition, after) = parse_condition(rest)?;
        conditions.push(condition);
        let spaced = trim(after);
        if spaced.is_empty() {
            return Some(conditions);
        }
        rest = match spaced.strip_prefix(',') {
            Some(after) => trim(after),
            None if spaced.len() < after.len() => spaced,
            None => return None,
        };
    }
}

/// Trims the characters that Go's `\s` matches from the start.
fn trim(text: &str) -> &str {
    text.trim_start_matches(['\t', '\n', '\x0C', '\r', ' '])
}

fn parse_condition(text: &str) -> Option<(Written<'_>, &str)> {
    const OPERATORS: [(&str, Operator); 12] = [
        ("!=", Operator::NotEqual),
        (">=", Operator::GreaterOrEqual),
        ("=>", Operator::GreaterOrEqual),
        ("<=", Operator::LessOrEqual),
        ("=<", Operator::LessOrEqual),
        ("~>", Operator::Tilde),
        ("=", Operator::Equal),
        (">", Operator::Greater),
        ("<", Operator::Less),
        ("~", Operator::Tilde),
        ("^", Operator::Caret),
        ("", Operator::Equal),
    ];
    let (name, operator) = OPERATORS
        .into_iter()
        .find(|(name, _)| text.starts_with(name))?;
    let (version, rest) = parse_version(trim(&text[name.len()..]))?;
    Some((
        Written {
            operator,
            ..version
        },
        rest,
    ))
}

/// Reads a version at the start of a text, where `x`, `X`, `*` and missing numbers stand for any number.
fn parse_version(text: &str) -> Option<(Written<'_>, &str)> {
    let is_number = |char: char| char.is_ascii_digit() || matches!(char, 'x' | 'X' | '*' | '|');
    let span =
        |text: &str, fits: fn(char) -> bool| text.find(|char| !fits(char)).unwrap_or(text.len());
    let mut rest = text.strip_prefix('v').unwrap_or(text);
    let mut numbers = Vec::new();
    loop {
        let after_dot = if numbers.is_empty() {
            Some(rest)
        } else {
            rest.strip_prefix('.')
        };
        let Some(number) = after_dot.filter(|_| numbers.len() < 3) else {
            break;
        };
        let end = number.find(|char| !is_number(char)).unwrap_or(number.len());
        if end == 0 {
            break;
        }
        numbers.push(&number[..end]);
        rest = &number[end..];
    }
    if numbers.is_empty() {
        return None;
    }
    let identifiers = |text: &str, mark: char| -> usize {
        let Some(mut rest) = text.strip_prefix(mark) else {
            return 0;
        };
        let fits = |char: char| char.is_ascii_alphanumeric() || char == '-';
        let mut len = 0;
        loop {
            let end = span(rest, fits);
            if end == 0 {
                return len;
            }
            // The mark, or the dot between two identifiers.
            len += 1 + end;
            match rest[end..].strip_prefix('.') {
                Some(after) => rest = after,
                None => return len,
            }
        }
    };
    let (prerelease, rest) = rest.split_at(identifiers(rest, '-'));
    let rest = &rest[identifiers(rest, '+')..];
    let written = Written {
        operator: Operator::Equal,
        version: &text[..text.len() - rest.len()],
        numbers,
        prerelease,
    };
    Some((written, rest))
}

/// Rewrites `1.2 - 2` to `>= 1.2, <= 2`.
fn rewrite_ranges(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((low, high, after)) = parse_range(trim(rest)) {
            out.extend([">= ", low, ", <= ", high, " "]);
            rest = after;
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// Reads a range at the start of a text. Returns both versions, and the text after the range and the spaces that follow it.
fn parse_range(text: &str) -> Option<(&str, &str, &str)> {
    let (low, after_low) = parse_version(text)?;
    let hyphen = trim(after_low);
    let after_hyphen = hyphen
        .strip_prefix('-')
        .filter(|_| hyphen.len() < after_low.len())?;
    let high = trim(after_hyphen);
    if high.len() == after_hyphen.len() {
        return None;
    }
    let (high, after) = parse_version(high)?;
    Some((low.version, high.version, trim(after)))
}
