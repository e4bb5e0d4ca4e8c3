//! The release for which a chart is rendered.

use pintle_gotemplate::{Map, Value};

/// The release for which a chart is rendered: `.Release` in templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The name.
    pub name: String,
    /// The namespace.
    pub namespace: String,
    /// Whether the release already exists: `.Release.IsUpgrade` instead of `.Release.IsInstall`.
    pub is_upgrade: bool,
}

impl Release {
    /// Returns what templates see. The revision is always 1, as in `helm template`.
    pub fn to_map(&self) -> Map {
        [
            ("Name", Value::from(self.name.as_str())),
            ("Namespace", Value::from(self.namespace.as_str())),
            ("IsUpgrade", self.is_upgrade.into()),
            ("IsInstall", (!self.is_upgrade).into()),
            ("Revision", Value::int(1)),
            ("Service", "Helm".into()),
        ]
        .into_iter()
        .collect()
    }
}

/// The maximum length of a release's name in bytes.
const MAX_NAME: usize = 53;

/// Returns whether Helm accepts the text as the name of a release: parts of lowercase letters, digits and inner `-`, separated by
/// dots, with at most 53 bytes in total.
pub fn is_release_name(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().copied().is_some_and(alphanumeric)
            && bytes.last().copied().is_some_and(alphanumeric)
            && bytes.iter().all(|&byte| alphanumeric(byte) || byte == b'-')
    };
    text.len() <= MAX_NAME && text.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_releases() {
        for good in ["a", "web", "web-1", "a.b", "0", &"a".repeat(53)] {
            assert!(is_release_name(good), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a..b",
            "a_b",
            "a/b",
            "ä",
            &"a".repeat(54),
        ] {
            assert!(!is_release_name(bad), "{bad}");
        }
    }
}
