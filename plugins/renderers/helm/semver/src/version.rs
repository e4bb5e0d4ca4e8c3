//! A semantic version, leniently read: `v1.2` is 1.2.0.

use std::{cmp::Ordering, fmt};

use thiserror::Error;

/// The most bytes that a version may have.
const MAX_LEN: usize = 256;

/// A semantic version; by default 0.0.0, which nobody wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) patch: u64,
    /// What is after the hyphen, without it; empty if nothing is.
    pub(crate) prerelease: String,
    /// What is after the plus sign, without it; empty if nothing is.
    metadata: String,
    /// As it was written.
    original: String,
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

/// A version cannot be changed like that; the library's words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChangeError {
    /// There is no greater number with 64 bits, and the library panics.
    #[error("{0} version increment would overflow uint64")]
    Overflow(&'static str),
    /// The text is no prerelease.
    #[error("invalid prerelease string")]
    Prerelease,
    /// A number in the prerelease begins with a zero.
    #[error("version segment starts with 0")]
    LeadingZero,
    /// The text is no metadata.
    #[error("invalid metadata string")]
    Metadata,
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

    /// The first version with the next major number.
    pub fn next_major(&self) -> Result<Self, ChangeError> {
        let major = increment(self.major, "major")?;
        Ok(self.with_numbers([major, 0, 0]))
    }

    /// The first version with the next minor number.
    pub fn next_minor(&self) -> Result<Self, ChangeError> {
        let minor = increment(self.minor, "minor")?;
        Ok(self.with_numbers([self.major, minor, 0]))
    }

    /// The version with the next patch number; after a prerelease, that is the version itself.
    pub fn next_patch(&self) -> Result<Self, ChangeError> {
        let patch = if self.prerelease.is_empty() {
            increment(self.patch, "patch")?
        } else {
            self.patch
        };
        Ok(self.with_numbers([self.major, self.minor, patch]))
    }

    /// The version with another prerelease; with none if the text is empty.
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

    /// The version with other metadata; with none if the text is empty.
    pub fn with_metadata(&self, text: &str) -> Result<Self, ChangeError> {
        if !text.is_empty() && !are_identifiers(text) {
            return Err(ChangeError::Metadata);
        }
        Ok(self.rewritten(Self {
            metadata: text.to_owned(),
            ..self.clone()
        }))
    }

    /// A version with other numbers, and nothing after them.
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

    /// What became of the version, written with a `v` if it was written with one.
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
        // They are all digits, so that there can only be too many of them.
        *number = part
            .parse::<u64>()
            .map_err(|_| VersionError::Range(part.to_owned()))?;
    }
    Ok(numbers)
}

fn increment(number: u64, name: &'static str) -> Result<u64, ChangeError> {
    number.checked_add(1).ok_or(ChangeError::Overflow(name))
}

/// Letters, digits and hyphens with dots between them.
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

/// Part for part; of two that are equal as far as one goes, the longer is later.
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

/// Nothing is before numbers, and numbers before words.
fn compare_parts(one: &str, two: &str) -> Ordering {
    if one == two {
        return Ordering::Equal;
    }
    if one.is_empty() || two.is_empty() {
        return one.len().cmp(&two.len());
    }
    // What is no identifier does not get here, so that this reads no more than Go's `ParseUint`: no sign.
    let number = |part: &str| part.parse::<u64>().ok();
    match (number(one), number(two)) {
        (None, None) if one > two => Ordering::Greater,
        (None, Some(_)) => Ordering::Greater,
        (Some(one), Some(two)) if one > two => Ordering::Greater,
        // The library never finds texts equal that differ, as `1` and `01` do.
        _ => Ordering::Less,
    }
}
