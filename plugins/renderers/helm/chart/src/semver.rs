//! Semantic versions and ranges of them, as the Go library `Masterminds/semver` v3 reads and compares them.
//!
//! Charts and their dependencies are matched with it, so its leniency (`v1`, `1.2`, `01.2.3`) and its treatment of
//! pre-releases (only a range that names one matches one) are part of Helm's behaviour.

mod constraint;

use std::cmp::Ordering;

pub use constraint::Constraint;

/// A version; missing parts are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
    /// The third number.
    pub patch: u64,
    /// What follows `-`, or nothing.
    pub pre: String,
}

impl Version {
    /// Reads a version: one to three numbers, perhaps with `v` before, and `-PRE` and `+BUILD` behind.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = match text.split_once('+') {
            Some((text, build)) => (text, Some(build)),
            None => (text, None),
        };
        let (numbers, pre) = match text.split_once('-') {
            Some((numbers, pre)) => (numbers, Some(pre)),
            None => (text, None),
        };
        let identifiers = |text: &str| {
            text.split('.')
                .all(|part| !part.is_empty() && is_identifier(part))
        };
        let no_leading_zero = |pre: &str| {
            pre.split('.').all(|part| {
                part.len() == 1
                    || !part.starts_with('0')
                    || !part.bytes().all(|byte| byte.is_ascii_digit())
            })
        };
        if !build.is_none_or(identifiers)
            || !pre.is_none_or(|pre| identifiers(pre) && no_leading_zero(pre))
        {
            return None;
        }
        let mut parts = [0; 3];
        for (index, number) in numbers.split('.').enumerate() {
            if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            *parts.get_mut(index)? = number.parse().ok()?;
        }
        let [major, minor, patch] = parts;
        Some(Self {
            major,
            minor,
            patch,
            pre: pre.unwrap_or_default().to_owned(),
        })
    }

    /// Orders as semantic versioning does; build metadata does not count.
    pub fn compare(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.patch)
            .cmp(&(other.major, other.minor, other.patch))
            .then_with(|| compare_pre(&self.pre, &other.pre))
    }
}

fn is_identifier(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A version without a pre-release comes after all of its pre-releases.
fn compare_pre(one: &str, other: &str) -> Ordering {
    match (one.is_empty(), other.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut parts, mut others) = (one.split('.'), other.split('.'));
    loop {
        let order = match (parts.next(), others.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(this), Some(that)) => match (this.parse::<u64>(), that.parse::<u64>()) {
                (Ok(this), Ok(that)) => this.cmp(&that),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => this.cmp(that),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Whether a version is in a range; false if either is malformed.
pub fn matches(range: &str, version: &str) -> bool {
    match (Constraint::parse(range), Version::parse(version)) {
        (Some(range), Some(version)) => range.check(&version),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
