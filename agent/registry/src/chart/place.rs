//! The places where charts are kept, and the versions that are wanted.

use std::fmt;

use pintle_core::{digest::Digest, version::loose};
use url::Url;

use crate::reference::Repository;

/// The place where the versions of a chart, or of another artifact of files, are kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In a repository of a registry.
    Oci(Repository),
    /// In a chart repository.
    Chart {
        /// The repository's URL, without `index.yaml`.
        repository: String,
        /// The chart's name.
        name: String,
    },
}

/// Formats the place for people, in errors and in the summary of a revision. The text does not identify the place: parts of a URL
/// that may be secret are left out, so two places may look alike.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oci(repository) => write!(f, "oci://{repository}"),
            Self::Chart { repository, name } => write!(f, "{name} in {}", shown_url(repository)),
        }
    }
}

/// The version that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wanted {
    /// Exactly this one: a tag, or the version of a chart.
    Exact(String),
    /// The highest version in a range.
    Range(String),
    /// The artifact whose manifest has this digest. Chart repositories have no such digests.
    Digest(Digest),
}

impl Wanted {
    /// Parses a version as Helm does: a complete version means exactly that one, an empty text means any, and anything else is a
    /// range.
    pub fn version(text: &str) -> Self {
        match text.trim() {
            "" => Self::Range("*".to_owned()),
            text if loose(text).is_some() => Self::Exact(text.to_owned()),
            text => Self::Range(text.to_owned()),
        }
    }
}

/// Returns the URL of a repository without the parts that may be secret.
pub fn shown_url(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else {
        let shown: String = url.chars().take(200).collect();
        return match shown.split_once('?') {
            Some((place, _)) => format!("{place}?..."),
            None => shown,
        };
    };
    // Neither fails for URLs that have a host, and other URLs hold no credentials.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    if parsed.query().is_some() {
        parsed.set_query(Some("..."));
    }
    parsed.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_url_is_not_shown() {
        for (url, expected) in [
            (
                "https://user:pw@charts.example.com/a?token=x",
                "https://charts.example.com/a?...",
            ),
            ("charts.example.com/a?token=x", "charts.example.com/a?..."),
            ("this machine", "this machine"),
        ] {
            assert_eq!(shown_url(url), expected);
            let place = Place::Chart {
                repository: url.to_owned(),
                name: "web".to_owned(),
            };
            assert_eq!(place.to_string(), format!("web in {expected}"));
        }
    }
}
