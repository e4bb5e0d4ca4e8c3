//! The release that a chart is rendered for.

use pintle_gotemplate::{Map, Value};

/// The release that a chart is rendered for: `.Release` in templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Whether it was there before: `.Release.IsUpgrade` rather than `.Release.IsInstall`.
    pub is_upgrade: bool,
}

impl Release {
    /// What templates see. The revision is always 1, as in `helm template`.
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

/// The most bytes that a release's name has.
const MAX_NAME: usize = 53;

/// Whether Helm takes the text as the name of a release: parts of lowercase letters, digits and inner `-`, with dots
/// between them, 53 bytes in all.
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
