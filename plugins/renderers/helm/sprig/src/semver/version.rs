//! A semantic version, leniently read: `v1.2` is 1.2.0.

use std::{cmp::Ordering, fmt};

use thiserror::Error;

use crate::go::number::{NumberError, parse_uint};

/// The most bytes that a version may have.
const MAX_LEN: usize = 256;

/// A semantic version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) patch: u64,
    /// What is after the hyphen, without it; empty if nothing is.
    pub(super) prerelease: String,
    /// What is after the plus sign, without it; empty if nothing is.
    pub(super) metadata: String,
    /// As it was written.
    pub(super) original: String,
}

/// The text is no version.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VersionError {
    /// It has not the form of one.
    #[error("invalid semantic version")]
    Invalid,
    /// It has more than 256 bytes.
    #[error("version string is too long (max {MAX_LEN} bytes)")]
    TooLong,
    /// A number has more than 64 bits.
    #[error(
        "error parsing version segment: strconv.ParseUint: parsing \"{0}\": value out of range"
    )]
    Range(String),
    /// A number in the prerelease begins with a zero.
    #[error("version segment starts with 0")]
    LeadingZero,
}

impl Version {
    /// Reads a version: up to three numbers, which may begin with zeros, and a `v` may stand before them.
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

    /// Which version is later; metadata does not count, and a prerelease is before the version itself.
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

    /// The first number.
    pub fn major(&self) -> u64 {
        self.major
    }

    /// The second number.
    pub fn minor(&self) -> u64 {
        self.minor
    }

    /// The third number.
    pub fn patch(&self) -> u64 {
        self.patch
    }

    /// What is after the hyphen; empty if nothing is.
    pub fn prerelease(&self) -> &str {
        &self.prerelease
    }

    /// What is after the plus sign; empty if nothing is.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// As it was written.
    pub fn original(&self) -> &str {
        &self.original
    }
}

/// All three numbers, without a `v`.
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
        *number = parse_uint(part.as_bytes(), 10).map_err(|error| match error {
            NumberError::Syntax => VersionError::Invalid,
            NumberError::Range(_) => VersionError::Range(part.to_owned()),
        })?;
    }
    Ok(numbers)
}

/// Letters, digits and hyphens with dots between them.
pub(super) fn are_identifiers(text: &str) -> bool {
    text.split('.').all(|part| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !part.is_empty() && part.bytes().all(fits)
    })
}

pub(super) fn has_leading_zero(part: &str) -> bool {
    part.len() > 1 && part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// Part for part; of two that are equal as far as one goes, the longer is later.
pub(super) fn compare_prereleases(one: &str, two: &str) -> Ordering {
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

/// Nothing is before numbers, and numbers before words.
fn compare_parts(one: &str, two: &str) -> Ordering {
    if one == two {
        return Ordering::Equal;
    }
    if one.is_empty() || two.is_empty() {
        return one.len().cmp(&two.len());
    }
    let number = |part: &str| parse_uint(part.as_bytes(), 10).ok();
    match (number(one), number(two)) {
        (None, None) if one > two => Ordering::Greater,
        (None, Some(_)) => Ordering::Greater,
        (Some(one), Some(two)) if one > two => Ordering::Greater,
        // The library never finds texts equal that differ, as `1` and `01` do.
        _ => Ordering::Less,
    }
}
