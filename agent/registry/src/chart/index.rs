//! The index of a chart repository: its charts, their versions, and where their archives are.
//!
//! <https://helm.sh/docs/topics/chart_repository/#the-index-file>

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use pintle_core::{digest::Digest, version::loose};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::yaml;
use crate::error::{Cause, Part};

/// The maximum number of versions of all charts together. The largest known repositories list about 30,000.
const MAX_LISTED: usize = 500_000;
/// The maximum number of characters kept of a digest that is not valid.
const MAX_SHOWN: usize = 100;

/// What is known of one version of a chart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) version: Box<str>,
    /// The URL of the archive: absolute, or relative to the repository.
    pub(super) url: Box<str>,
    pub(super) digest: ListedDigest,
    /// Seconds since the epoch.
    pub(super) created: Option<i64>,
}

/// What an index says about the digest of a version's archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ListedDigest {
    /// It says nothing.
    Absent,
    /// The digest.
    Known(Digest),
    /// Something else, of which this is the beginning. It must not be treated as absent: the archive would be accepted
    /// unverified.
    Unreadable(Box<str>),
}

impl Listed {
    /// Returns the digest of the archive, if the index states one. `name` is the name of the chart.
    pub(super) fn digest(&self, name: &str) -> Result<Option<Digest>, Cause> {
        match &self.digest {
            ListedDigest::Absent => Ok(None),
            ListedDigest::Known(digest) => Ok(Some(*digest)),
            ListedDigest::Unreadable(text) => Err(Cause::Malformed {
                part: Part::Index,
                reason: format!(
                    "the `digest` of {name} {} is `{text}`, which is not one of SHA-256: expected 64 hexadecimal digits, with or \
                     without `sha256:` before them; have the index written anew, or name another version",
                    self.version
                ),
            }),
        }
    }

    /// Returns how much memory it takes, in bytes.
    fn size(&self) -> usize {
        let digest = match &self.digest {
            ListedDigest::Absent | ListedDigest::Known(_) => 0,
            ListedDigest::Unreadable(text) => text.len(),
        };
        size_of::<Self>() + self.version.len() + self.url.len() + digest
    }
}

/// An index, reduced to what is needed to choose and fetch a version.
///
/// It has all charts: applications that want different ones share it, and would otherwise each fetch it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    /// The versions of each chart that has any.
    pub(super) charts: BTreeMap<Box<str>, Box<[Listed]>>,
}

impl Index {
    /// Reads an index in YAML or JSON. Like Helm, it leaves out versions that cannot be used.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Cause> {
        let malformed = |reason: String| Cause::Malformed {
            part: Part::Index,
            reason,
        };
        let text =
            std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8".to_owned()))?;
        let file: File = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?
        } else {
            yaml::read(text).map_err(malformed)?
        };
        if file.api_version.is_empty() {
            return Err(malformed(
                "it has no `apiVersion`, so it is no index of a chart repository".to_owned(),
            ));
        }
        if file.entries.has_more {
            return Err(Cause::TooManyVersions { limit: MAX_LISTED });
        }
        Ok(Self {
            charts: file.entries.charts,
        })
    }

    /// Returns how much memory it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        let charts = self.charts.iter().map(|(name, versions)| {
            let versions: usize = versions.iter().map(Listed::size).sum();
            name.len() + versions
        });
        charts.sum()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    entries: Entries,
}

/// The charts by name. Generators write names without a list for removed charts. Such a list counts as empty.
#[derive(Default)]
struct Entries {
    charts: BTreeMap<Box<str>, Box<[Listed]>>,
    /// Whether there are more versions than the limit.
    has_more: bool,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Charts;
        impl<'de> Visitor<'de> for Charts {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of charts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Entries::default();
                let mut count = 0;
                while let Some(name) = map.next_key::<String>()? {
                    if entries.has_more {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let versions = map.next_value::<Option<Versions>>()?.unwrap_or_default();
                    count += versions.listed.len();
                    entries.has_more = versions.has_more || count > MAX_LISTED;
                    if !versions.listed.is_empty() {
                        let listed = versions.listed.into_boxed_slice();
                        entries.charts.insert(name.into_boxed_str(), listed);
                    }
                }
                Ok(entries)
            }

            fn visit_unit<E>(self) -> Result<Entries, E> {
                Ok(Entries::default())
            }
        }
        from.deserialize_any(Charts)
    }
}

/// The usable versions of a chart. Others, which can be as short as `{}` in the text, are never kept.
#[derive(Default)]
struct Versions {
    listed: Vec<Listed>,
    /// Whether there are more versions than the limit.
    has_more: bool,
}

impl<'de> Deserialize<'de> for Versions {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Versions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of versions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Versions, A::Error> {
                let mut versions = Versions::default();
                while let Some(entry) = list.next_element::<Option<Entry>>()? {
                    let Some(listed) = entry.and_then(Entry::listed) else {
                        continue;
                    };
                    if versions.listed.len() == MAX_LISTED {
                        versions.has_more = true;
                        while list.next_element::<IgnoredAny>()?.is_some() {}
                        break;
                    }
                    versions.listed.push(listed);
                }
                Ok(versions)
            }
        }
        from.deserialize_seq(List)
    }
}

/// One version as written in the index. All other fields are skipped.
#[derive(Default)]
struct Entry {
    version: Option<String>,
    url: Option<String>,
    digest: Option<String>,
    created: Option<String>,
}

impl Entry {
    fn listed(self) -> Option<Listed> {
        let version = self.version.filter(|version| loose(version).is_some())?;
        Some(Listed {
            version: version.into_boxed_str(),
            url: self.url?.into_boxed_str(),
            digest: read_digest(self.digest.as_deref().unwrap_or_default()),
            created: self
                .created
                .and_then(|created| created.parse::<Timestamp>().ok())
                .map(Timestamp::as_second),
        })
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a version of a chart")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let mut entry = Entry::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "version" => entry.version = map.next_value()?,
                        "digest" => entry.digest = map.next_value()?,
                        "created" => entry.created = map.next_value()?,
                        "urls" => {
                            let urls = map.next_value::<Option<FirstUrl>>()?;
                            entry.url = urls.unwrap_or_default().0;
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(entry)
            }
        }
        from.deserialize_map(Fields)
    }
}

/// The first of a list of URLs. The others are mirrors, and are skipped.
#[derive(Default)]
struct FirstUrl(Option<String>);

impl<'de> Deserialize<'de> for FirstUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = FirstUrl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of URLs")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FirstUrl, A::Error> {
                let first = list.next_element::<String>()?;
                if first.is_some() {
                    while list.next_element::<IgnoredAny>()?.is_some() {}
                }
                Ok(FirstUrl(first))
            }
        }
        from.deserialize_seq(List)
    }
}

/// Reads a digest. Indexes write it with or without the algorithm.
fn read_digest(text: &str) -> ListedDigest {
    let text = text.trim();
    if text.is_empty() {
        return ListedDigest::Absent;
    }
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    if let Ok(digest) = format!("sha256:{}", hex.to_ascii_lowercase()).parse() {
        return ListedDigest::Known(digest);
    }
    let shown = text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN);
    ListedDigest::Unreadable(shown.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_generators_write() {
        let digest = Digest::of("web");
        let text = format!(
            "apiVersion: v1\ngenerated: 2024-01-01T00:00:00Z\nentries:\n  web:\n  - apiVersion: v2\n    name: web\n    \
             version: 1.2.0\n    created: \"2024-05-06T07:08:09.123456789Z\"\n    digest: {}\n    dependencies:\n    \
             - {{name: a, version: '*', condition: a.enabled}}\n    urls:\n    - web-1.2.0.tgz\n    - https://mirror.example.com/web-1.2.0.tgz\n  \
             - version: 1.10\n    urls: [web-1.10.tgz]\n  - version: main\n    urls: [x]\n  - version: 1.0.0\n  -\n  gone:\n  none: []\n",
            digest.hex()
        );
        let index = Index::read(text.as_bytes()).unwrap();
        let web = &index.charts["web"];
        assert_eq!(web.len(), 2);
        assert_eq!(&*web[0].url, "web-1.2.0.tgz");
        assert_eq!(web[0].digest, ListedDigest::Known(digest));
        assert_eq!(web[0].created, Some(1_714_979_289));
        assert_eq!(&*web[1].version, "1.10");
        assert_eq!(web[1].digest, ListedDigest::Absent);
        assert_eq!(index.charts.len(), 1, "no chart without a version");
        let json = format!(
            r#"{{"apiVersion":"v1","entries":{{"web":[{{"version":"1.2.0","urls":["u"],"digest":"sha256:{}"}}]}}}}"#,
            digest.hex()
        );
        assert_eq!(
            Index::read(json.as_bytes()).unwrap().charts["web"][0].digest,
            ListedDigest::Known(digest)
        );
        assert_eq!(
            Index::read(b"apiVersion: v1\nentries:\n").unwrap(),
            Index::default()
        );
    }

    #[test]
    fn what_is_no_index_is_told() {
        for text in [
            "",
            "<html></html>",
            "[]",
            "entries: {}",
            "apiVersion: v1\nentries: 5",
            "apiVersion: v1\nentries: {a: b}",
        ] {
            assert!(Index::read(text.as_bytes()).is_err(), "{text}");
        }
        let bomb = "apiVersion: v1\na: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d]\nentries: {}\n";
        assert!(Index::read(bomb.as_bytes()).is_err(), "it grows");
        assert!(Index::read("a: ".repeat(5).as_bytes()).is_err());
    }

    /// Returns an index in JSON with this text between the braces of `entries`.
    fn json(entries: &str) -> String {
        format!(r#"{{"apiVersion":"v1","entries":{{{entries}}}}}"#)
    }

    #[test]
    fn what_cannot_be_used_is_not_kept() {
        let text = "apiVersion: v1\nentries:\n  web: [{}, {}, ~, {version: 1.0.0}, {urls: [u]}, {version: 1.0.0, urls: []}]\n";
        assert_eq!(Index::read(text.as_bytes()).unwrap(), Index::default());
        let text = json(r#""web":[{"version":"1.0.0","urls":["first","second",{"a":"b"}]}]"#);
        let index = Index::read(text.as_bytes()).unwrap();
        assert_eq!(&*index.charts["web"][0].url, "first");
    }

    #[test]
    fn a_digest_that_cannot_be_read_is_not_an_absent_one() {
        let hex = Digest::of("web").hex();
        for known in [hex.to_ascii_uppercase(), format!(" sha256:{hex} ")] {
            let expected = ListedDigest::Known(Digest::of("web"));
            assert_eq!(read_digest(&known), expected, "{known}");
        }
        for absent in ["", " "] {
            assert_eq!(read_digest(absent), ListedDigest::Absent);
        }
        for other in [&hex[1..], "sha256:", "sha512:0a", "md5"] {
            let expected = ListedDigest::Unreadable(other.into());
            assert_eq!(read_digest(other), expected, "{other}");
        }
        let long = format!("a\u{1b}{}", "b".repeat(MAX_SHOWN));
        let shown = format!("a{}", "b".repeat(MAX_SHOWN - 1));
        assert_eq!(
            read_digest(&long),
            ListedDigest::Unreadable(shown.into_boxed_str())
        );
    }

    #[test]
    fn too_many_versions_are_refused() {
        let list = |name: &str, count: usize| {
            let one = r#"{"version":"1","urls":["u"]}"#;
            format!(r#""{name}":[{}]"#, vec![one; count].join(","))
        };
        let read = |entries: &str| Index::read(json(entries).as_bytes());
        for entries in [
            list("web", MAX_LISTED + 1),
            format!("{},{}", list("web", MAX_LISTED), list("api", 1)),
        ] {
            let error = read(&entries).unwrap_err();
            assert!(
                matches!(error, Cause::TooManyVersions { limit: MAX_LISTED }),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Index::read(&bytes);
        }
    }
}
