//! Version ranges as Helm and Flux write them.
//!
//! The syntax is that of the Go library `Masterminds/semver` 3, which both use for everything that has versions. Comparisons
//! joined by commas or spaces must all hold, alternatives are joined by `||`, a missing part or `x` matches any number, and
//! `1.2 - 2.3` is a span. <https://github.com/Masterminds/semver#checking-version-constraints>

use std::{cmp::Ordering, str::FromStr};

use semver::{BuildMetadata, Prerelease, Version};

/// The length of the longest text that is examined, in bytes.
const MAX_TEXT: usize = 512;
/// The maximum number of comparisons in one range.
const MAX_COMPARISONS: usize = 64;

/// The error for a text that is not a version range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a version range: {reason}; expected one such as `1.2.3`, `1.2.x`, `^1.2`, `~1.2.3`, `>=1.2, <2` or `1.2 - 1.4`"
)]
pub struct ParseRangeError {
    text: String,
    reason: String,
}

impl ParseRangeError {
    /// Returns what is wrong, without the text itself and without what was expected.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// A range of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange {
    text: String,
    /// At least one of these must hold.
    alternatives: Vec<Alternative>,
}

/// Comparisons that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Alternative {
    comparisons: Vec<Comparison>,
    /// Whether a comparison names a pre-release. Only then are pre-releases candidates at all.
    names_prerelease: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Comparison {
    operator: Operator,
    version: Version,
    /// The number of parts (major, minor, patch) that are written.
    parts: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Tilde,
    Caret,
}

/// Longer operators come first, so that none hides another.
const OPERATORS: [(&str, Operator); 11] = [
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterEqual),
    ("=>", Operator::GreaterEqual),
    ("<=", Operator::LessEqual),
    ("=<", Operator::LessEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

impl VersionRange {
    /// Returns whether a version is in the range.
    pub fn contains(&self, version: &Version) -> bool {
        self.alternatives
            .iter()
            .any(|alternative| alternative.contains(version))
    }

    /// Returns the text from which it was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the highest of the given versions that is in the range. Texts that are not versions are skipped.
    pub fn highest<'a>(&self, versions: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let mut best: Option<(Version, &str)> = None;
        for text in versions {
            let Some(version) = loose(text).filter(|version| self.contains(version)) else {
                continue;
            };
            // Of equal versions, the first one stays: versions that differ only in build metadata have no order.
            if best
                .as_ref()
                .is_none_or(|(known, _)| version.cmp_precedence(known) == Ordering::Greater)
            {
                best = Some((version, text));
            }
        }
        best.map(|(_, text)| text)
    }
}

impl FromStr for VersionRange {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason: String| ParseRangeError {
            text: text.chars().take(MAX_TEXT).collect(),
            reason,
        };
        if text.len() > MAX_TEXT {
            return Err(error(format!("it is longer than {MAX_TEXT} bytes")));
        }
        let alternatives = text
            .split("||")
            .map(alternative)
            .collect::<Result<Vec<_>, _>>()
            .map_err(error)?;
        let all: usize = alternatives.iter().map(|one| one.comparisons.len()).sum();
        if all > MAX_COMPARISONS {
            return Err(error(format!("it has more than {MAX_COMPARISONS} parts")));
        }
        Ok(Self {
            text: text.to_owned(),
            alternatives,
        })
    }
}

fn alternative(text: &str) -> Result<Alternative, String> {
    let mut comparisons = Vec::new();
    let mut words = Words::of(text);
    while let Some(word) = words.next() {
        let (operator, version) = match OPERATORS
            .iter()
            .find_map(|(sign, operator)| Some((*operator, word.strip_prefix(sign)?)))
        {
            // The version may be separated from its operator.
            Some((operator, "")) => (operator, words.next().ok_or("a version is missing")?),
            Some((operator, version)) => (operator, version),
            None => (Operator::Equal, word),
        };
        if operator == Operator::Equal && words.skip("-") {
            let end = words.next().ok_or("the end of a span is missing")?;
            comparisons.push(comparison(Operator::GreaterEqual, version)?);
            comparisons.push(comparison(Operator::LessEqual, end)?);
        } else {
            comparisons.push(comparison(operator, version)?);
        }
    }
    if comparisons.is_empty() {
        comparisons.push(comparison(Operator::Equal, "*")?);
    }
    let names_prerelease = comparisons.iter().any(|one| !one.version.pre.is_empty());
    Ok(Alternative {
        comparisons,
        names_prerelease,
    })
}

/// The words of one alternative, between spaces and commas.
struct Words<'a>(std::iter::Peekable<std::vec::IntoIter<&'a str>>);

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        let words: Vec<&str> = text
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|word| !word.is_empty())
            .collect();
        Self(words.into_iter().peekable())
    }

    fn next(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    fn skip(&mut self, word: &str) -> bool {
        self.0.next_if_eq(&word).is_some()
    }
}

fn comparison(operator: Operator, text: &str) -> Result<Comparison, String> {
    let malformed = || format!("`{text}` is not a version");
    let (numbers, build) = split(text, '+');
    let (numbers, pre) = split(numbers, '-');
    let numbers: Vec<&str> = numbers
        .strip_prefix('v')
        .unwrap_or(numbers)
        .split('.')
        .collect();
    if numbers.len() > 3 {
        return Err(malformed());
    }
    let is_any = |part: &str| matches!(part, "x" | "X" | "*");
    let parts = numbers
        .iter()
        .position(|part| is_any(part))
        .unwrap_or(numbers.len());
    let mut values = [0; 3];
    for (index, part) in numbers.iter().enumerate() {
        if is_any(part) {
            continue;
        }
        let value = number(part).ok_or_else(malformed)?;
        // `1.x.3` means `1.x`: whatever follows a wildcard does not count.
        if index < parts {
            values[index] = value;
        }
    }
    let pre = Prerelease::new(pre.unwrap_or_default()).map_err(|_| malformed())?;
    let build = BuildMetadata::new(build.unwrap_or_default()).map_err(|_| malformed())?;
    let [major, minor, patch] = values;
    let version = Version {
        major,
        minor,
        patch,
        pre,
        build,
    };
    Ok(Comparison {
        operator,
        version,
        parts,
    })
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Parses a number. `parse` alone would accept a sign.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// Parses a version as leniently as Helm does: a leading `v` is accepted, and so are one or two numbers instead of three.
pub fn loose(text: &str) -> Option<Version> {
    let (numbers, build) = split(text, '+');
    let (numbers, pre) = split(numbers, '-');
    let mut values = [0; 3];
    let numbers = numbers.strip_prefix('v').unwrap_or(numbers);
    for (index, part) in numbers.split('.').enumerate() {
        *values.get_mut(index)? = number(part)?;
    }
    let [major, minor, patch] = values;
    Some(Version {
        major,
        minor,
        patch,
        pre: Prerelease::new(pre.unwrap_or_default()).ok()?,
        build: BuildMetadata::new(build.unwrap_or_default()).ok()?,
    })
}

impl Alternative {
    fn contains(&self, version: &Version) -> bool {
        (self.names_prerelease || version.pre.is_empty())
            && self.comparisons.iter().all(|one| one.holds(version))
    }
}

impl Comparison {
    fn holds(&self, version: &Version) -> bool {
        let order = version.cmp_precedence(&self.version);
        match self.operator {
            Operator::Equal if self.parts < 3 => order != Ordering::Less && self.within(version),
            Operator::Equal => order == Ordering::Equal,
            Operator::NotEqual if self.parts < 3 => !self.same(version, self.parts),
            Operator::NotEqual => order != Ordering::Equal,
            // `>1.2` means later than every 1.2 version, and `<=1.2` includes the last of them.
            Operator::Greater if self.parts < 3 => {
                order == Ordering::Greater && !self.same(version, self.parts)
            }
            Operator::Greater => order == Ordering::Greater,
            Operator::GreaterEqual => order != Ordering::Less,
            Operator::Less => order == Ordering::Less,
            Operator::LessEqual if self.parts < 3 => {
                order != Ordering::Greater || self.same(version, self.parts)
            }
            Operator::LessEqual => order != Ordering::Greater,
            Operator::Tilde => order != Ordering::Less && self.within(version),
            Operator::Caret => order != Ordering::Less && self.same(version, self.fixed_by_caret()),
        }
    }

    /// Returns whether a version is within what `~` or a shortened version leaves open: the patch if the minor number is written,
    /// otherwise the minor number too.
    fn within(&self, version: &Version) -> bool {
        let is_zero = self.version.major == 0 && self.version.minor == 0 && self.version.patch == 0;
        // `~0.0.0` means everything from there on, as in the Go library.
        (is_zero && self.parts == 3) || self.same(version, self.parts.min(2))
    }

    /// Returns how many parts `^` fixes: those up to the first number that is not 0.
    fn fixed_by_caret(&self) -> usize {
        match (&self.version, self.parts) {
            (_, 0) => 0,
            (version, _) if version.major > 0 => 1,
            (_, 1) => 1,
            (version, _) if version.minor > 0 => 2,
            (_, 2) => 2,
            _ => 3,
        }
    }

    /// Returns whether the first `parts` numbers are equal.
    fn same(&self, version: &Version, parts: usize) -> bool {
        let numbers = |version: &Version| [version.major, version.minor, version.patch];
        numbers(version)[..parts] == numbers(&self.version)[..parts]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holds(range: &str, version: &str) -> bool {
        range
            .parse::<VersionRange>()
            .unwrap()
            .contains(&loose(version).unwrap())
    }

    /// Checks cases whose answers are those of Masterminds/semver 3.5.
    #[test]
    fn ranges_mean_what_helm_means() {
        for (range, inside, outside) in [
            ("", "1.2.3 0.0.1", "1.0.0-rc.1"),
            ("*", "1.2.3 0.0.1", "1.0.0-rc.1"),
            ("1.2.3", "1.2.3 v1.2.3 1.2.3+b", "1.2.4 1.2.3-rc.1"),
            ("=1.2.3-rc.1", "1.2.3-rc.1", "1.2.3"),
            ("1.2", "1.2.0 1.2.9", "1.3.0 1.1.9"),
            ("1", "1.0.0 1.9.9", "2.0.0 0.9.0"),
            ("1.2.x", "1.2.0 1.2.9", "1.3.0"),
            ("1.X", "1.0.0 1.9.9", "2.0.0"),
            ("!=1.2.3", "1.2.4", "1.2.3"),
            ("!=1.2.x", "1.3.0", "1.2.3"),
            ("!=1", "2.0.0 0.1.0", "1.2.3"),
            (">1.2.3", "1.2.4", "1.2.3"),
            (">1.2", "1.3.0", "1.2.9"),
            (">1", "2.0.0", "1.9.0"),
            (">=1.2, <2", "1.2.0 1.99.0", "2.0.0 1.1.9"),
            (">= 1.2 < 2", "1.2.0 1.99.0", "2.0.0 1.1.9"),
            ("<=1.2", "1.2.9 1.1.0", "1.3.0"),
            ("<=1", "1.9.9 0.1.0", "2.0.0"),
            ("<1.2", "1.1.9", "1.2.0"),
            ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
            ("~1.2", "1.2.0 1.2.9", "1.3.0"),
            ("~1", "1.9.0", "2.0.0"),
            ("~>1.2.3", "1.2.9", "1.3.0"),
            ("~0.0.0", "0.0.1 5.0.0", "1.0.0-rc.1"),
            ("^1.2.3", "1.2.3 1.9.9", "1.2.2 2.0.0"),
            ("^1.x", "1.0.0 1.9.9", "2.0.0"),
            ("^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2"),
            ("^0.0.3", "0.0.3", "0.0.4 0.0.2"),
            ("^0.0", "0.0.9", "0.1.0"),
            ("^0", "0.9.9", "1.0.0"),
            ("^0.2", "0.2.9", "0.3.0"),
            ("1.2 - 1.4", "1.2.0 1.4.9", "1.5.0 1.1.0"),
            ("1.2.0 - 1.4.5", "1.4.5", "1.4.6"),
            ("1.2.x || >=3", "1.2.9 3.0.0", "2.0.0"),
            (">0.0.0-0", "1.0.0 1.0.0-rc.1", "0.0.0-0"),
            (
                ">=1.2.3-beta.1",
                "1.2.3-beta.2 1.2.3 1.3.0-a",
                "1.2.3-alpha",
            ),
        ] {
            for version in inside.split(' ') {
                assert!(holds(range, version), "`{range}` has {version}");
            }
            for version in outside.split(' ') {
                assert!(!holds(range, version), "`{range}` has not {version}");
            }
        }
    }

    #[test]
    fn the_highest_is_found_among_other_texts() {
        let range: VersionRange = "^1".parse().unwrap();
        let tags = [
            "latest",
            "1.9.0",
            "1.10.0",
            "v1.2.0",
            "2.0.0",
            "1.11.0-rc.1",
            "1.10.0+b",
        ];
        assert_eq!(range.highest(tags), Some("1.10.0"));
        assert_eq!(range.highest(["main"]), None);
    }

    #[test]
    fn what_is_no_range_is_told() {
        let said: Vec<String> = [
            "latest",
            ">=",
            "1.2 -",
            "1.2.3.4",
            ">=1.a",
            &"1 ".repeat(300),
        ]
        .iter()
        .map(|text| text.parse::<VersionRange>().unwrap_err().reason)
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        `latest` is not a version
        a version is missing
        the end of a span is missing
        `1.2.3.4` is not a version
        `1.a` is not a version
        it is longer than 512 bytes
        ");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9vx.*<>=!~^|, a+\\-]{0,24}") {
            if let Ok(range) = text.parse::<VersionRange>() {
                let _ = range.contains(&Version::new(1, 2, 3));
            }
        }
    }
}
