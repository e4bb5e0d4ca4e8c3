//! References: where an artifact is, and which one it is.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use pintle_core::digest::{Digest, ParseDigestError};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The length of the longest repository that is accepted, in bytes, as in the distribution project's reference grammar.
const MAX_REPOSITORY: usize = 255;
/// The length of the longest tag that is accepted, in bytes (OCI distribution specification, "pulling manifests").
const MAX_TAG: usize = 128;
/// The length of the longest text that is parsed at all, in bytes.
const MAX_TEXT: usize = 1024;

/// A place in a registry: `HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]`, with a tag, a digest, or both.
///
/// The host is always written: there is no default registry. There is no default tag either, because `latest` in a
/// configuration file hides which version runs. With both a tag and a digest, the digest decides and the tag is for people. A
/// leading `oci://` is accepted and dropped.
///
/// The grammar is that of the OCI distribution specification 1.1 for repositories and tags.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// What decides which artifact a [`Reference`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The manifest with this digest, forever.
    Digest(Digest),
    /// Whatever has this tag.
    Tag(&'a str),
}

impl Reference {
    /// Returns a place that is not in a registry, to find credentials for it.
    pub(crate) fn place(host: &str, path: &str) -> Self {
        Self {
            registry: host.to_ascii_lowercase(),
            repository: path.to_owned(),
            tag: None,
            digest: None,
        }
    }

    /// Returns the host, with its port if one is written.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the path within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest of the manifest.
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Returns the same place, bound to the manifest with this digest.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// Returns what decides which artifact is meant: the digest if there is one, otherwise the tag.
    ///
    /// # Panics
    ///
    /// Never: every reference that a caller can get has one of them.
    pub fn target(&self) -> Target<'_> {
        match (self.digest, &self.tag) {
            (Some(digest), _) => Target::Digest(digest),
            (None, Some(tag)) => Target::Tag(tag),
            (None, None) => unreachable!("a reference is parsed only with a tag or a digest"),
        }
    }

    /// Returns the digest or tag that stands for the artifact in the registry's API.
    pub(crate) fn version(&self) -> String {
        match self.target() {
            Target::Digest(digest) => digest.to_string(),
            Target::Tag(tag) => tag.to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place in a registry without a version: `HOST[:PORT]/REPOSITORY`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(Reference);

impl Repository {
    /// Returns the reference for a tag in this repository.
    pub fn tag(&self, tag: &str) -> Result<Reference, ParseReferenceError> {
        if !is_tag(tag) {
            return Err(ParseReferenceError::Tag {
                text: format!("{}:{tag}", self.0),
                tag: tag.to_owned(),
            });
        }
        Ok(Reference {
            tag: Some(tag.to_owned()),
            ..self.0.clone()
        })
    }

    /// Returns the reference for the manifest with a digest in this repository.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Reference {
        self.0.at(digest)
    }

    /// Returns the last part of the path, which names the content of the repository.
    pub fn name(&self) -> &str {
        let path = self.0.repository();
        path.rsplit('/').next().unwrap_or(path)
    }

    /// Returns the place alone, which stands for no manifest.
    pub(crate) const fn place(&self) -> &Reference {
        &self.0
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Repository {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = parse(text)?;
        if place.tag.is_some() || place.digest.is_some() {
            return Err(ParseReferenceError::Version(text.to_owned()));
        }
        Ok(Self(place))
    }
}

impl From<&Reference> for Repository {
    fn from(reference: &Reference) -> Self {
        Self(Reference {
            tag: None,
            digest: None,
            ..reference.clone()
        })
    }
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// The text is longer than any reference.
    #[error("a reference has at most {MAX_TEXT} bytes, this has {0}")]
    TooLong(usize),
    /// The text is a URL of another kind.
    #[error(
        "`{0}` is a URL: write HOST/REPOSITORY:TAG without a scheme; whether plain http is allowed is a setting, not part of the reference"
    )]
    Scheme(String),
    /// The first part is not a host.
    #[error(
        "`{0}` names no registry: write its host first, as in `registry.example.com/{0}` (a host has a dot or a port, or is `localhost`)"
    )]
    NoRegistry(String),
    /// The host is not valid.
    #[error(
        "`{text}` has `{host}` for a host: expected a name or an address, and a port from 1 to 65535 if one is written"
    )]
    Host {
        /// The whole text.
        text: String,
        /// The text in place of the host.
        host: String,
    },
    /// The repository is not valid.
    #[error(
        "`{text}` has `{repository}` for a repository: expected lowercase letters and digits, joined by `.`, `_`, `__`, `-` or `/`, at most {MAX_REPOSITORY} bytes"
    )]
    Repository {
        /// The whole text.
        text: String,
        /// The text in place of the repository.
        repository: String,
    },
    /// The tag is not valid.
    #[error(
        "`{text}` has `{tag}` for a tag: expected letters, digits, `_`, `.` and `-`, not starting with `.` or `-`, at most {MAX_TAG} bytes"
    )]
    Tag {
        /// The whole text.
        text: String,
        /// The text in place of the tag.
        tag: String,
    },
    /// The digest is not valid.
    #[error(transparent)]
    Digest(#[from] ParseDigestError),
    /// There is neither a tag nor a digest.
    #[error("`{0}` says no version: add a tag, `{0}:TAG`, or a digest, `{0}@sha256:…`")]
    NoVersion(String),
    /// There is a tag or a digest where only a place is expected.
    #[error(
        "`{0}` names a version: expected HOST/REPOSITORY only, and the version in a field of its own"
    )]
    Version(String),
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let reference = parse(text)?;
        if reference.tag.is_none() && reference.digest.is_none() {
            return Err(ParseReferenceError::NoVersion(
                text.strip_prefix("oci://").unwrap_or(text).to_owned(),
            ));
        }
        Ok(reference)
    }
}

/// Parses a place, with its version if there is one.
fn parse(whole: &str) -> Result<Reference, ParseReferenceError> {
    if whole.len() > MAX_TEXT {
        return Err(ParseReferenceError::TooLong(whole.len()));
    }
    let text = whole.strip_prefix("oci://").unwrap_or(whole);
    if text.contains("://") {
        return Err(ParseReferenceError::Scheme(whole.to_owned()));
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest.parse()?)),
        None => (text, None),
    };
    let (host, path) = name
        .split_once('/')
        .filter(|(host, _)| looks_like_a_host(host))
        .ok_or_else(|| ParseReferenceError::NoRegistry(text.to_owned()))?;
    // The port is before the slash, so a colon after it starts the tag.
    let (repository, tag) = match path.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (path, None),
    };
    let registry = host.to_ascii_lowercase();
    if !is_host(&registry) {
        return Err(ParseReferenceError::Host {
            text: text.to_owned(),
            host: host.to_owned(),
        });
    }
    if !is_repository(repository) {
        return Err(ParseReferenceError::Repository {
            text: text.to_owned(),
            repository: repository.to_owned(),
        });
    }
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        return Err(ParseReferenceError::Tag {
            text: text.to_owned(),
            tag: tag.to_owned(),
        });
    }
    Ok(Reference {
        registry,
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest,
    })
}

/// Tells a host from the first part of a repository, by the rule that every OCI tool shares.
fn looks_like_a_host(part: &str) -> bool {
    part.contains(['.', ':']) || part.eq_ignore_ascii_case("localhost")
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => {
                return match port.strip_prefix(':') {
                    Some(port) => is_port(port),
                    None => port.is_empty(),
                };
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    host.len() <= 253 && host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    // `parse` alone would accept a sign.
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_repository(text: &str) -> bool {
    text.len() <= MAX_REPOSITORY && text.split('/').all(is_component)
}

/// Returns whether a text matches `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(text: &str) -> bool {
    let mut separator = String::new();
    let mut any = false;
    for c in text.chars() {
        match c {
            'a'..='z' | '0'..='9' => {
                let joined = matches!(separator.as_str(), "" | "." | "_" | "__")
                    || separator.chars().all(|c| c == '-');
                if !joined || (!separator.is_empty() && !any) {
                    return false;
                }
                separator.clear();
                any = true;
            }
            '.' | '_' | '-' => separator.push(c),
            _ => return false,
        }
    }
    any && separator.is_empty()
}

/// Returns whether a text matches `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(crate) fn is_tag(text: &str) -> bool {
    text.len() <= MAX_TAG
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Reference, String> {
        text.parse::<Reference>()
            .map_err(|e: ParseReferenceError| e.to_string())
    }

    #[test]
    fn takes_tag_digest_and_both() {
        let digest = Digest::of("x");
        let tag = parse("ghcr.io/org/plugins/x:1.0.0").unwrap();
        assert_eq!(
            (tag.registry(), tag.repository(), tag.tag(), tag.digest()),
            ("ghcr.io", "org/plugins/x", Some("1.0.0"), None)
        );
        let pinned = parse(&format!("oci://LOCALHOST:5000/x@{digest}")).unwrap();
        assert_eq!(pinned.to_string(), format!("localhost:5000/x@{digest}"));
        let both = tag.at(digest);
        assert_eq!(
            both.to_string(),
            format!("ghcr.io/org/plugins/x:1.0.0@{digest}")
        );
        assert_eq!(parse(&both.to_string()), Ok(both.clone()));
        assert_eq!(tag.target(), Target::Tag("1.0.0"));
        assert_eq!(both.target(), Target::Digest(digest));
        assert_eq!(both.version(), digest.to_string());
        assert_eq!(
            parse("[::1]:5000/a__b/c--d:t").unwrap().registry(),
            "[::1]:5000"
        );
    }

    #[test]
    fn says_what_is_missing() {
        let said: Vec<_> = [
            "plugins/x:1",
            "x",
            "ghcr.io/x",
            "https://ghcr.io/x:1",
            "ghcr.io/X:1",
            "ghcr.io/a//b:1",
            "ghcr.io/a:-1",
            "ghcr.io:0/a:1",
            "ghcr.io:+5/a:1",
            "ghcr.io/a@sha512:00",
        ]
        .into_iter()
        .map(|text| parse(text).unwrap_err())
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        `plugins/x:1` names no registry: write its host first, as in `registry.example.com/plugins/x:1` (a host has a dot or a port, or is `localhost`)
        `x` names no registry: write its host first, as in `registry.example.com/x` (a host has a dot or a port, or is `localhost`)
        `ghcr.io/x` says no version: add a tag, `ghcr.io/x:TAG`, or a digest, `ghcr.io/x@sha256:…`
        `https://ghcr.io/x:1` is a URL: write HOST/REPOSITORY:TAG without a scheme; whether plain http is allowed is a setting, not part of the reference
        `ghcr.io/X:1` has `X` for a repository: expected lowercase letters and digits, joined by `.`, `_`, `__`, `-` or `/`, at most 255 bytes
        `ghcr.io/a//b:1` has `a//b` for a repository: expected lowercase letters and digits, joined by `.`, `_`, `__`, `-` or `/`, at most 255 bytes
        `ghcr.io/a:-1` has `-1` for a tag: expected letters, digits, `_`, `.` and `-`, not starting with `.` or `-`, at most 128 bytes
        `ghcr.io:0/a:1` has `ghcr.io:0` for a host: expected a name or an address, and a port from 1 to 65535 if one is written
        `ghcr.io:+5/a:1` has `ghcr.io:+5` for a host: expected a name or an address, and a port from 1 to 65535 if one is written
        `sha512:00` is not a digest: expected `sha256:` and 64 lowercase hexadecimal digits
        ");
        assert_eq!(
            parse(&format!("a.b/{}:1", "x".repeat(2000))).unwrap_err(),
            "a reference has at most 1024 bytes, this has 2006"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_accepted_reads_back(text in "\\PC{0,60}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse(), Ok(reference));
            }
        }

        #[test]
        fn text_of_the_right_letters_reads_back_or_is_refused(text in "[a-c0-1./:@_\\-\\[\\]]{0,24}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse(), Ok(reference));
            }
        }

        /// An independent implementation of the grammar reads everything that is accepted here in the same way.
        #[test]
        fn agrees_with_the_oci_specification(
            host in "[a-z]{1,4}(\\.[a-z]{1,4}){1,2}(:[1-9][0-9]{0,3})?",
            repository in "[a-z0-9]{1,4}([._/\\-]{1,2}[a-z0-9]{1,4}){0,3}",
            tag in "[A-Za-z0-9_.\\-]{1,8}",
        ) {
            let text = format!("{host}/{repository}:{tag}");
            let theirs = text.parse::<oci_client::Reference>();
            match text.parse::<Reference>() {
                Ok(ours) => {
                    let theirs = theirs.unwrap();
                    prop_assert_eq!(ours.registry(), theirs.registry());
                    prop_assert_eq!(ours.repository(), theirs.repository());
                    prop_assert_eq!(ours.tag(), theirs.tag());
                }
                Err(error) => prop_assert!(theirs.is_err(), "{error}"),
            }
        }
    }
}
