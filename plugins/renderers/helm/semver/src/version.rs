//! Semantic versions, parsed leniently: `v1.2` is 1.2.0.

use std::{cmp::Ordering, fmt};

use thiserror::Error;

/// The maximum length of a version in bytes.
const MAX_LEN: usize = 256;

/// A semantic version. The default is 0.0.0, without an original text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) patch: u64,
    /// The part after the hyphen, without the hyphen; empty if there is none.
    pub(crate) prerelease: String,
    /// The part after the plus sign, without the sign; empty if there is none.
    metadata: String,
    /// The version as written.
    original: String,
}

/// The text is not a valid version.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VersionError {
    /// The text does not have the form of a version.
    #[error("invalid semantic version")]
    Invalid,
    /// The text has more than 256 bytes.
    #[error("version string is too long (max {MAX_LEN} bytes)")]
    TooLong,
    /// A number needs more than 64 bits.
    #[error(
        "error parsing version segment: strconv.ParseUint: parsing \"{0}\": value out of range"
    )]
    Range(String),
    /// A number in the prerelease begins with a zero.
    #[error("version segment starts with 0")]
    LeadingZero,
}

/// A version cannot be changed in the requested way. The messages are the library's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChangeError {
    /// The number is already the largest with 64 bits. The library panics here.
    #[error("{0} version increment would overflow uint64")]
    Overflow(&'static str),
    /// The text is not a valid prerelease.
    #[error("invalid prerelease string")]
    Prerelease,
    /// A number in the prerelease begins with a zero.
    #[error("version segment starts with 0")]
    LeadingZero,
    /// The text is not valid metadata.
    #[error("invalid metadata string")]
    Metadata,
}

impl Version {
    /// Parses a version: up to three numbers, which may begin with zeros, optionally preceded by a `v`.
    pub fn parse(text: &[u8]) -> Result<Self, VersionError> {
        if text.len() > MAX_LEN {
            return Err(VersionError::TooLong);
        }
        let original = std::str::from_utf8(text).map_err(|_| VersionError::Invalid)?;
        let rest = original.strip_prefix('v').unwrap_or(original);
        let end = rest.find(['-', '+']).unwrap_or(rest.len());
        let (numbers, rest) = rest.split_at(end);
        let (prerelease, metadata) = match rest.split_once('+') {
            Some((prerelease, metadata)) => (prerelease, Some(metadata)),
            None => (rest, None),
        };
        let prerelease = prerelease.strip_prefix('-');
        let parts = [prerelease, metadata];
        if !parts.into_iter().flatten().all(are_identifiers) {
            return Err(VersionError::Invalid);
        }
        let [major, minor, patch] = parse_numbers(numbers)?;
        let prerelease = prerelease.unwrap_or_default();
        if prerelease.split('.').any(has_leading_zero) {
            return Err(VersionError::LeadingZero);
        }
        Ok(Self {
            major,
            minor,
            patch,
            prerelease: prerelease.to_owned(),
            metadata: metadata.unwrap_or_default().to_owned(),
            original: original.to_owned(),
        })
    }

    /// Compares two versions; the later one is greater. Metadata does not count, and a prerelease comes before the version
    /// itself.
    pub fn compare(&self, other: &Self) -> Ordering {
        let numbers = |version: &Self| (version.major, version.minor, version.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| {
            match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => compare_prereleases(&self.prerelease, &other.prerelease),
            }
        })
    }

    /// Returns the first number.
    pub fn major(&self) -> u64 {
        self.major
    }

    /// Returns the second number.
    pub fn minor(&self) -> u64 {
        self.minor
    }

    /// Returns the third number.
    pub fn patch(&self) -> u64 {
        self.patch
    }

    /// Returns the part after the hyphen; empty if there is none.
    pub fn prerelease(&self) -> &str {
        &self.prerelease
    }

    /// Returns the part after the plus sign; empty if there is none.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// Returns the version as written.
    pub fn original(&self) -> &str {
        &self.original
    }

    /// Returns the first version with the next major number.
    pub fn next_major(&self) -> Result<Self, ChangeError> {
        let major = increment(self.major, "major")?;
        Ok(self.with_numbers([major, 0, 0]))
    }

    /// Returns the first version with the next minor number.
    pub fn next_minor(&self) -> Result<Self, ChangeError> {
        let minor = increment(self.minor, "minor")?;
        Ok(self.with_numbers([self.major, minor, 0]))
    }

    /// Returns the version with the next patch number. For a prerelease, this is the version that it precedes.
    pub fn next_patch(&self) -> Result<Self, ChangeError> {
        let patch = if self.prerelease.is_empty() {
            increment(self.patch, "patch")?
        } else {
            self.patch
        };
        Ok(self.with_numbers([self.major, self.minor, patch]))
    }

    /// Returns the version with another prerelease, or without one if the text is empty.
    pub fn with_prerelease(&self, text: &str) -> Result<Self, ChangeError> {
        if !text.is_empty() {
            for part in text.split('.') {
                if !is_identifier(part) {
                    return Err(ChangeError::Prerelease);
                }
                if has_leading_zero(part) {
                    return Err(ChangeError::LeadingZero);
                }
            }
        }
        Ok(self.rewritten(Self {
            prerelease: text.to_owned(),
            ..self.clone()
        }))
    }

    /// Returns the version with other metadata, or without any if the text is empty.
    pub fn with_metadata(&self, text: &str) -> Result<Self, ChangeError> {
        if !text.is_empty() && !are_identifiers(text) {
            return Err(ChangeError::Metadata);
        }
        Ok(self.rewritten(Self {
            metadata: text.to_owned(),
            ..self.clone()
        }))
    }

    /// Returns a version with other numbers and nothing after them.
    fn with_numbers(&self, [major, minor, patch]: [u64; 3]) -> Self {
        self.rewritten(Self {
            major,
            minor,
            patch,
            prerelease: String::new(),
            metadata: String::new(),
            original: String::new(),
        })
    }

    /// Sets the original text of a changed version, with a `v` if `self` was written with one.
    fn rewritten(&self, mut changed: Self) -> Self {
        let prefix = if self.original.starts_with('v') {
            "v"
        } else {
            ""
        };
        changed.original = format!("{prefix}{changed}");
        changed
    }
}

/// Writes all three numbers, the prerelease and the metadata, without a `v`.
impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.prerelease.is_empty() {
            write!(out, "-{}", self.prerelease)?;
        }
        if !self.metadata.is_empty() {
            write!(out, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

fn parse_numbers(text: &str) -> Result<[u64; 3], VersionError> {
    let parts: Vec<_> = text.split('.').collect();
    let is_number =
        |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if parts.len() > 3 || !parts.iter().all(is_number) {
        return Err(VersionError::Invalid);
    }
    let mut numbers = [0; 3];
    for (number, part) in numbers.iter_mut().zip(parts) {
        // All characters are digits, so the only possible error is that there are too many of them.
        *number = part
            .parse::<u64>()
            .map_err(|_| VersionError::Range(part.to_owned()))?;
    }
    Ok(numbers)
}

fn increment(number: u64, name: &'static str) -> Result<u64, ChangeError> {
    number.checked_add(1).ok_or(ChangeError::Overflow(name))
}

/// Returns whether the text consists of letters, digits and hyphens, with dots as separators.
fn are_identifiers(text: &str) -> bool {
    text.split('.').all(is_identifier)
}

fn is_identifier(part: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !part.is_empty() && part.bytes().all(fits)
}

fn has_leading_zero(part: &str) -> bool {
    part.len() > 1 && part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// Compares part by part. If one is a prefix of the other, the longer one is later.
pub(crate) fn compare_prereleases(one: &str, two: &str) -> Ordering {
    let (mut one, mut two) = (one.split('.'), two.split('.'));
    loop {
        let ordering = match (one.next(), two.next()) {
            (None, None) => return Ordering::Equal,
            (one, two) => compare_parts(one.unwrap_or_default(), two.unwrap_or_default()),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
}

/// An empty part comes before numbers, and numbers come before words.
fn compare_parts(one: &str, two: &str) -> Ordering {
    if one == two {
        return Ordering::Equal;
    }
    if one.is_empty() || two.is_empty() {
        return one.len().cmp(&two.len());
    }
    // Only identifiers get here, so this accepts no more than Go's `ParseUint`: no sign.
    let number = |part: &str| part.parse::<u64>().ok();
    match (number(one), number(two)) {
        (None, None) if one > two => Ordering::Greater,
        (None, Some(_)) => Ordering::Greater,
        (Some(one), Some(two)) if one > two => Ordering::Greater,
        // The library never considers different texts equal, such as `1` and `01`.
        _ => Ordering::Less,
    }
}
