//! Credentials that were given, but are not for the server that asks for some.

use std::fmt;

use super::Keychain;
use crate::{
    chart::ChartError,
    error::{Cause, RegistryError, Shown},
};

/// The most entries that are named.
const NAMED: usize = 5;

/// What a keychain lacks, and what it has. Its text continues one that names the owner, such as `Secret a/b has`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoEntry {
    host: String,
    entries: Vec<String>,
}

impl NoEntry {
    /// Finds the missing entry behind a failure: the registry refused, and the keychain, which was asked, has nothing for it.
    pub fn behind(error: &RegistryError, keychain: &Keychain) -> Option<Self> {
        let is_refused = match &error.cause {
            Cause::Unauthorized { shown, .. } => *shown == Shown::Nothing,
            // Some registries also answer this to callers that they do not know.
            Cause::Denied { .. } => true,
            _ => false,
        };
        let is_missing = is_refused && !keychain.may_have(&error.reference);
        is_missing.then(|| Self::of(error.reference.registry(), keychain))
    }

    /// Finds the missing entry behind the failed fetch of a chart or another artifact.
    pub fn behind_chart(error: &ChartError, keychain: &Keychain) -> Option<Self> {
        match error {
            ChartError::Registry(error) => Self::behind(error, keychain),
            ChartError::Repository { cause, .. } => match &**cause {
                Cause::Unauthorized { host, shown, .. } if *shown == Shown::Nothing => {
                    Some(Self::of(host, keychain))
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn of(host: &str, keychain: &Keychain) -> Self {
        Self {
            host: host.to_owned(),
            entries: keychain.entries().collect(),
        }
    }
}

impl fmt::Display for NoEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no entry for {}", self.host)?;
        if self.entries.is_empty() {
            return f.write_str(", and none for another registry");
        }
        let (named, others) = self.entries.split_at(self.entries.len().min(NAMED));
        write!(f, "; it has entries for {}", named.join(", "))?;
        if others.is_empty() {
            return Ok(());
        }
        write!(f, " and {} more", others.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chart::RepositoryStage, error::Stage};

    fn keychain(keys: &[&str]) -> Keychain {
        let entry = |key: &&str| {
            let login = serde_json::json!({"username": "me", "password": "hunter2"});
            ((*key).to_owned(), login)
        };
        let auths: serde_json::Map<_, _> = keys.iter().map(entry).collect();
        let config = serde_json::json!({ "auths": auths }).to_string();
        Keychain::new()
            .with_pull_secret("the Secret", config.as_bytes())
            .unwrap()
    }

    fn unauthorized(shown: Shown) -> Cause {
        Cause::Unauthorized {
            host: "token.example.com".to_owned(),
            shown,
            message: None,
        }
    }

    fn behind(cause: Cause, keychain: &Keychain) -> Option<String> {
        let error = RegistryError {
            reference: "registry.example.com:5000/team/x:1".parse().unwrap(),
            stage: Stage::Resolve,
            cause,
        };
        let found = NoEntry::behind(&error, keychain).map(|found| found.to_string());
        let of_chart = NoEntry::behind_chart(&error.into(), keychain);
        assert_eq!(of_chart.map(|found| found.to_string()), found);
        found
    }

    #[test]
    fn it_is_told_what_is_missing_and_what_is_there() {
        let nothing = || unauthorized(Shown::Nothing);
        let denied = Cause::Denied {
            host: "registry.example.com:5000".to_owned(),
            message: None,
        };
        let many = ["a.io", "b.io", "c.io", "d.io", "e.io", "f.io", "g.io"];
        let said = [
            behind(
                nothing(),
                &keychain(&["registry.example.com", "https://me:hunter2@ghcr.io/"]),
            ),
            behind(denied, &keychain(&["registry.example.com:5000/other"])),
            behind(nothing(), &keychain(&many)),
            behind(nothing(), &Keychain::new()),
        ];
        let said = said.map(Option::unwrap_or_default);
        insta::assert_snapshot!(said.join("\n"), @r"
        no entry for registry.example.com:5000; it has entries for ghcr.io, registry.example.com
        no entry for registry.example.com:5000; it has entries for registry.example.com:5000/other
        no entry for registry.example.com:5000; it has entries for a.io, b.io, c.io, d.io, e.io and 2 more
        no entry for registry.example.com:5000, and none for another registry
        ");
    }

    #[test]
    fn nothing_is_told_where_an_entry_was_used_or_is_no_matter() {
        let fitting = keychain(&["registry.example.com:5000/team"]);
        assert_eq!(behind(unauthorized(Shown::Password), &fitting), None);
        assert_eq!(behind(unauthorized(Shown::Nothing), &fitting), None);
        let not_found = Cause::NotFound {
            host: "registry.example.com:5000".to_owned(),
            part: "repository or tag",
            message: None,
        };
        assert_eq!(behind(not_found, &keychain(&["ghcr.io"])), None);
    }

    #[test]
    fn a_chart_repository_may_be_what_is_missing() {
        let error = |cause| ChartError::Repository {
            repository: "https://charts.example.com".to_owned(),
            stage: RepositoryStage::Index,
            cause: Box::new(cause),
        };
        let keychain = keychain(&["ghcr.io"]);
        let found = NoEntry::behind_chart(&error(unauthorized(Shown::Nothing)), &keychain);
        assert_eq!(
            found.map(|found| found.to_string()).as_deref(),
            Some("no entry for token.example.com; it has entries for ghcr.io")
        );
        let shown = error(unauthorized(Shown::Password));
        assert_eq!(NoEntry::behind_chart(&shown, &keychain), None);
    }
}
