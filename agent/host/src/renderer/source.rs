//! What a renderer needs from elsewhere.

use std::fmt::{self, Write as _};

use pintle_core::digest::Digest;

/// Something from elsewhere that a renderer needs. It is fetched and verified before the renderer is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An OCI artifact.
    Oci {
        /// The reference: `oci://registry/repository:tag`.
        reference: String,
        /// The digest, `sha256:…`. Without it, whatever the reference resolves to is used.
        digest: Option<String>,
    },
    /// A chart from a chart repository.
    Chart {
        /// The repository's URL.
        repository: String,
        /// The chart's name.
        name: String,
        /// The exact version.
        version: String,
        /// The digest of the archive, `sha256:…`. Without it, whatever the repository serves is used.
        digest: Option<String>,
    },
    /// Another folder of the same revision, relative to the application's folder, or to the revision's root if it
    /// begins with `/`.
    Folder(String),
}

impl Source {
    /// Parses a source from a read set.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ')?;
        let mut parts = parts(rest).into_iter();
        let source = match kind {
            "oci" => Self::Oci {
                reference: parts.next()?,
                digest: parts.next(),
            },
            "chart" => Self::Chart {
                repository: parts.next()?,
                name: parts.next()?,
                version: parts.next()?,
                digest: parts.next(),
            },
            "folder" => return Some(Self::Folder(rest.to_owned())),
            _ => return None,
        };
        parts.next().is_none().then_some(source)
    }

    /// Returns whether it names its content by digest, so that the content never changes.
    pub fn is_pinned(&self) -> bool {
        let is_digest = |text: &str| text.parse::<Digest>().is_ok();
        match self {
            Self::Oci { reference, digest } => {
                let of_reference = reference.rsplit_once('@').map(|(_, digest)| digest);
                digest.as_deref().or(of_reference).is_some_and(is_digest)
            }
            Self::Chart { digest, .. } => digest.as_deref().is_some_and(is_digest),
            Self::Folder(_) => false,
        }
    }
}

/// Writes the source as it is named in a read set: equal texts mean equal sources.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oci { reference, digest } => write_parts(f, "oci", &[reference], digest.as_ref()),
            Self::Chart {
                repository,
                name,
                version,
                digest,
            } => write_parts(f, "chart", &[repository, name, version], digest.as_ref()),
            Self::Folder(path) => write!(f, "folder {path}"),
        }
    }
}

/// Writes parts, each preceded by a space. A space within a part is escaped with a backslash.
fn write_parts(
    f: &mut fmt::Formatter<'_>,
    kind: &str,
    parts: &[&String],
    digest: Option<&String>,
) -> fmt::Result {
    f.write_str(kind)?;
    for part in parts.iter().copied().chain(digest) {
        f.write_char(' ')?;
        for character in part.chars() {
            if matches!(character, ' ' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(character)?;
        }
    }
    Ok(())
}

/// Parses what [`write_parts`] wrote.
fn parts(text: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' => parts.push(std::mem::take(&mut part)),
            '\\' => part.extend(characters.next()),
            other => part.push(other),
        }
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_source() -> impl Strategy<Value = Source> {
        let text = || "[a-z@:/ \\\\]{0,8}";
        let digest = || prop::option::of(text());
        let oci = (text(), digest());
        let chart = (text(), text(), text(), digest());
        prop_oneof![
            oci.prop_map(|(reference, digest)| Source::Oci { reference, digest }),
            chart.prop_map(|(repository, name, version, digest)| Source::Chart {
                repository,
                name,
                version,
                digest,
            }),
            text().prop_map(Source::Folder),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(source in any_source()) {
            prop_assert_eq!(Source::parse(&source.to_string()), Some(source));
        }
    }

    #[test]
    fn what_is_no_source_is_not_read() {
        for text in ["", "oci", "git x", "chart a b", "oci a b c"] {
            assert_eq!(Source::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_digest_pins() {
        let digest = Digest::of("x");
        let is_pinned = |text: &str| Source::parse(text).unwrap().is_pinned();
        let reference = "oci oci://registry.example.com/web:1";
        assert!(is_pinned(&format!("{reference} {digest}")));
        assert!(is_pinned(&format!("{reference}@{digest}")));
        assert!(is_pinned(&format!("chart @shelf web 1.2.3 {digest}")));
        let version = Source::Chart {
            repository: "@shelf".to_owned(),
            name: "web".to_owned(),
            version: format!("1.2.3 {digest}"),
            digest: None,
        };
        let loose = [
            reference.to_owned(),
            format!("{reference}@latest"),
            version.to_string(),
            format!("folder a {digest}"),
        ];
        for text in loose {
            assert!(!is_pinned(&text), "{text}");
        }
    }
}
