//! Lock files, and the dependencies for which they were made.

use pintle_goencoding::functions::to_json;
use pintle_gotemplate::Value;
use sha2::{Digest as _, Sha256};

use crate::metadata::{Dependency, Metadata};

/// The content of a lock file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lock {
    /// The digest of the dependencies in `Chart.yaml` for which the file was made, and of those that it pins.
    pub digest: String,
    /// The dependencies, each with its exact version.
    pub dependencies: Vec<Dependency>,
}

impl Lock {
    /// Returns whether the file was made for the dependencies in `Chart.yaml`, which `helm dependency build` checks.
    pub fn is_of(&self, metadata: &Metadata) -> bool {
        let wanted: Vec<Dependency> = metadata
            .dependencies
            .iter()
            .map(|dependency| self.resolved(dependency))
            .collect();
        let both = format!("[{},{}]", list(&wanted), list(&self.dependencies));
        if self.digest == digest(&both) {
            return true;
        }
        // The digest of Helm 2 covered only the wanted dependencies.
        let old = format!("{{\"dependencies\":{}}}", list(&metadata.dependencies));
        metadata.api_version == "v1" && self.digest == digest(&old)
    }

    /// Returns the pinned dependency for a dependency in `Chart.yaml`.
    pub fn pinned(&self, dependency: &Dependency) -> Option<&Dependency> {
        let named = |one: &&Dependency| one.name == dependency.name;
        let fits = |one: &&Dependency| pintle_gosemver::matches(&dependency.version, &one.version);
        let mut found = self.dependencies.iter().filter(named);
        let first = found.clone().next();
        // A chart may be wanted in several versions.
        found.find(fits).or(first)
    }

    /// Returns a dependency with the URL that its repository name stood for when the lock file was made.
    fn resolved(&self, dependency: &Dependency) -> Dependency {
        let mut resolved = dependency.clone();
        let is_alias = ["@", "alias:"]
            .iter()
            .any(|prefix| dependency.repository.starts_with(prefix));
        if is_alias && let Some(pinned) = self.pinned(dependency) {
            resolved.repository.clone_from(&pinned.repository);
        }
        resolved
    }
}

/// Returns whether Go's `time.Parse` accepts a text as an RFC 3339 time. An hour may have one digit, and a comma may replace the
/// dot.
pub(crate) fn is_time(text: &[u8]) -> bool {
    zone_of(text).is_some_and(|zone| match zone {
        b"Z" => true,
        [b'+' | b'-', offset @ ..] => is_offset(offset),
        _ => false,
    })
}

/// Returns the text after a valid date and time.
fn zone_of(text: &[u8]) -> Option<&[u8]> {
    let (year, text) = number(text, 4)?;
    let (month, text) = number(text.strip_prefix(b"-")?, 2)?;
    let (day, text) = number(text.strip_prefix(b"-")?, 2)?;
    let text = text.strip_prefix(b"T")?;
    let (hour, text) = number(text, 2).or_else(|| number(text, 1))?;
    let (minute, text) = number(text.strip_prefix(b":")?, 2)?;
    let (second, text) = number(text.strip_prefix(b":")?, 2)?;
    let days = match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    if !(1..=days).contains(&day) || hour >= 24 || minute >= 60 || second >= 60 {
        return None;
    }
    match text {
        [b'.' | b',', decimals @ ..] => {
            let end = decimals.iter().position(|byte| !byte.is_ascii_digit())?;
            (end > 0).then(|| &decimals[end..])
        }
        _ => Some(text),
    }
}

/// Matches `07:00`. Go tolerates one hour and one minute too many.
fn is_offset(text: &[u8]) -> bool {
    number(text, 2).is_some_and(|(hours, text)| {
        let minutes = text.strip_prefix(b":").and_then(|text| number(text, 2));
        hours <= 24 && minutes.is_some_and(|(minutes, rest)| minutes <= 60 && rest.is_empty())
    })
}

/// Reads a number with this many digits. Also returns the text after it.
fn number(text: &[u8], digits: usize) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(digits)?;
    let number = digits.iter().try_fold(0, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        Some(number * 10 + u32::from(digit))
    });
    Some((number?, rest))
}

fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut shown = "sha256:".to_owned();
    for byte in digest {
        for half in [byte >> 4, byte & 15] {
            shown.extend(char::from_digit(half.into(), 16));
        }
    }
    shown
}

/// Formats dependencies as Go's `encoding/json` writes them.
fn list(dependencies: &[Dependency]) -> String {
    if dependencies.is_empty() {
        return "null".to_owned();
    }
    let all: Vec<String> = dependencies.iter().map(one).collect();
    format!("[{}]", all.join(","))
}

fn one(dependency: &Dependency) -> String {
    let text = |text: &str| to_json(&text.into()).to_string();
    let mut fields = vec![format!("\"name\":{}", text(&dependency.name))];
    if !dependency.version.is_empty() {
        fields.push(format!("\"version\":{}", text(&dependency.version)));
    }
    fields.push(format!("\"repository\":{}", text(&dependency.repository)));
    if !dependency.condition.is_empty() {
        fields.push(format!("\"condition\":{}", text(&dependency.condition)));
    }
    if !dependency.tags.is_empty() {
        let tags: Vec<String> = dependency.tags.iter().map(|tag| text(tag)).collect();
        fields.push(format!("\"tags\":[{}]", tags.join(",")));
    }
    if dependency.enabled {
        fields.push("\"enabled\":true".to_owned());
    }
    if !dependency.import_values.is_empty() {
        let values = to_json(&Value::list(dependency.import_values.clone()));
        fields.push(format!("\"import-values\":{values}"));
    }
    if !dependency.alias.is_empty() {
        fields.push(format!("\"alias\":{}", text(&dependency.alias)));
    }
    format!("{{{}}}", fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metadata::decode_lock, yaml::read_written};

    const REPOSITORY: &str = "repository: 'https://charts.example.com'";

    fn metadata(text: &str) -> Metadata {
        let mut metadata = Metadata::default();
        let document = read_written(text.as_bytes()).expect("good YAML");
        metadata.read(&document).expect("a good Chart.yaml");
        metadata
    }

    fn lock(digest: &str, dependencies: &str) -> Lock {
        let text = format!("digest: 'sha256:{digest}'\ndependencies: {dependencies}");
        let document = read_written(text.as_bytes()).expect("good YAML");
        decode_lock(&document).expect("a good lock file")
    }

    // The digests are SHA-256 of the same input as in Helm 4.3.1, written by hand.
    #[test]
    fn a_lock_file_is_of_the_dependencies_that_it_was_made_for() {
        let pinned = format!("[{{name: db, version: 1.4.2, {REPOSITORY}}}]");
        let all = format!(
            "dependencies: [{{name: db, version: '>=1 <2', {REPOSITORY}, condition: db.enabled, tags: [a, b], import-values: [data, {{child: c, parent: p}}], alias: store}}]"
        );
        let lock_of_all = lock(
            "3d999002bf3452aaeec1559cd37e2dee5121467cbab3e309605ec6a3c1c5382c",
            &pinned,
        );
        assert!(lock_of_all.is_of(&metadata(&all)));
        assert!(!lock_of_all.is_of(&metadata(&all.replace("alias: store", "alias: shop"))));
        let named = all.replace("'https://charts.example.com'", "'@shop'");
        assert!(
            lock_of_all.is_of(&metadata(&named)),
            "the name of a repository"
        );
    }

    #[test]
    fn helm_2_digested_only_what_is_wanted() {
        let wanted = format!("dependencies: [{{name: db, version: ^1, {REPOSITORY}}}]");
        let old = lock(
            "477d996a155e12c72fadaf88198f8e545280acd8cae5e3e4fc3fee70673bf826",
            &format!("[{{name: db, version: 1.4.2, {REPOSITORY}}}]"),
        );
        assert!(old.is_of(&metadata(&format!("apiVersion: v1\n{wanted}"))));
        assert!(!old.is_of(&metadata(&format!("apiVersion: v2\n{wanted}"))));
    }

    // Times that Helm accepts, and times that it refuses.
    #[test]
    fn when_it_was_made_is_a_time() {
        let read = |time: &str| {
            let text = format!("generated: {time}\ndigest: x");
            let document = read_written(text.as_bytes()).expect("good YAML");
            decode_lock(&document).map(|lock| lock.digest)
        };
        let times = [
            "2020-01-01T00:00:00Z",
            "'2020-02-29T23:59:59Z'",
            "2020-01-01T00:00:00.123456789+02:00",
            "2020-01-01T00:00:00,5Z",
            "2020-01-01T0:00:00Z",
            "2020-01-01T00:00:00+24:00",
            "0000-01-01T00:00:00Z",
            "null",
        ];
        for time in times {
            assert_eq!(read(time), Ok("x".to_owned()), "{time}");
        }
        let others = [
            "nope",
            "''",
            "5",
            "true",
            "[]",
            "{}",
            "2020-01-01",
            "2020-01-01 10:00:00",
            "2020-13-01T00:00:00Z",
            "2021-02-29T00:00:00Z",
            "2020-01-01T24:00:00Z",
            "2020-01-01T00:00:60Z",
            "2020-01-01T00:00:00",
            "2020-01-01t00:00:00z",
            "2020-1-1T0:00:00Z",
            "2020-01-01T00:00:00.Z",
            "2020-01-01T00:00:00+2:00",
            "2020-01-01T00:00:00+25:00",
        ];
        for other in others {
            assert!(read(other).is_err(), "{other}");
        }
    }

    #[test]
    fn the_version_that_fits_is_pinned() {
        let lock = lock(
            "",
            "[{name: db, version: 1.4.2}, {name: db, version: 2.0.0}, {name: a, version: 1.0.0}]",
        );
        let pinned = |name: &str, version: &str| {
            let dependency = Dependency {
                name: name.to_owned(),
                version: version.to_owned(),
                ..Dependency::default()
            };
            lock.pinned(&dependency).map(|one| one.version.clone())
        };
        assert_eq!(pinned("db", "^2").as_deref(), Some("2.0.0"));
        assert_eq!(pinned("db", "^1").as_deref(), Some("1.4.2"));
        assert_eq!(pinned("db", "^3").as_deref(), Some("1.4.2"));
        assert_eq!(pinned("none", "*"), None);
    }
}
