//! The format of Docker's `config.json`, which podman's `auth.json` and Kubernetes' pull secrets share.

use std::collections::BTreeMap;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;

use super::{Credentials, Secret, scope};
use crate::reference::Reference;

/// Base64 in which padding is optional, as some tools write it and others do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a Docker config cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseConfigError {
    /// It is not JSON of this form.
    // The parser's message quotes no values: only its position and kind are used.
    #[error("it is not a Docker config: {0}")]
    Json(String),
    /// An entry's `auth` cannot be read.
    #[error("`auths[\"{key}\"].auth` is not base64 of `user:password`")]
    Auth {
        /// The entry.
        key: String,
    },
}

/// Registry credentials in Docker's format.
#[derive(Debug, Clone, Default)]
pub struct DockerConfig {
    auths: BTreeMap<String, Credentials>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

/// The file as it is written. Everything else in it is Docker's own business.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl DockerConfig {
    /// Reads a `config.json` or `auth.json` of the person or machine that this process acts for. It may name credential
    /// helpers, which are programs that will be run.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseConfigError> {
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(ParseConfigError::Json("expected a JSON object".to_owned()));
        }
        let file: File = serde_json::from_slice(bytes).map_err(|e| {
            // `e` itself may quote a value, and values here are secrets.
            ParseConfigError::Json(format!(
                "{:?} error at line {} column {}",
                e.classify(),
                e.line(),
                e.column()
            ))
        })?;
        let mut auths = BTreeMap::new();
        for (key, entry) in file.auths.unwrap_or_default() {
            if let Some(credentials) = entry.credentials(&key)? {
                auths.insert(key, credentials);
            }
        }
        Ok(Self {
            auths,
            helpers: file.cred_helpers.unwrap_or_default(),
            store: file.creds_store.filter(|name| !name.is_empty()),
        })
    }

    /// Reads the `.dockerconfigjson` of a secret of type `kubernetes.io/dockerconfigjson`.
    ///
    /// Helpers in it are ignored, as in the kubelet: whoever may write a secret must not be able to make the agent run a
    /// program.
    pub fn from_pull_secret(bytes: &[u8]) -> Result<Self, ParseConfigError> {
        Ok(Self {
            auths: Self::parse(bytes)?.auths,
            ..Self::default()
        })
    }

    /// Returns the credentials that the file itself holds for a reference.
    pub fn credentials(&self, reference: &Reference) -> Option<&Credentials> {
        self.auths
            .iter()
            .filter_map(|(key, credentials)| Some((scope::fit(key, reference)?, credentials)))
            .max_by(|(a, _), (b, _)| a.cmp(b))
            .map(|(_, credentials)| credentials)
    }

    /// Lists what the entries are for, without their contents.
    pub(super) fn entries(&self) -> impl Iterator<Item = String> {
        self.auths.keys().map(|key| scope::shown(key))
    }

    /// Returns the name of the helper for this reference's registry alone.
    pub(super) fn helper(&self, reference: &Reference) -> Option<&str> {
        self.helpers
            .iter()
            .find(|(host, name)| {
                let host = host.strip_prefix("https://").unwrap_or(host);
                let host = host.split('/').next().unwrap_or_default();
                !name.is_empty() && scope::same_registry(host, reference.registry())
            })
            .map(|(_, name)| name.as_str())
    }

    /// Returns the name of the helper for all registries.
    pub(super) fn store(&self) -> Option<&str> {
        self.store.as_deref()
    }
}

impl Entry {
    /// Returns the credentials of an entry. Docker Desktop writes `{}` for what it keeps elsewhere, and other tools write empty
    /// strings: both mean that there are none.
    fn credentials(self, key: &str) -> Result<Option<Credentials>, ParseConfigError> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = filled(self.identitytoken) {
            return Ok(Some(Credentials::Identity(Secret::new(token))));
        }
        if let Some(token) = filled(self.registrytoken) {
            return Ok(Some(Credentials::Bearer(Secret::new(token))));
        }
        if let Some(auth) = filled(self.auth) {
            let (username, password) = decode(&auth).ok_or_else(|| ParseConfigError::Auth {
                key: key.to_owned(),
            })?;
            return Ok(Some(Credentials::basic(username, password)));
        }
        Ok(match (filled(self.username), filled(self.password)) {
            (Some(username), Some(password)) => Some(Credentials::basic(username, password)),
            _ => None,
        })
    }
}

fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    // Docker pads with NUL when it writes the file, and strips that when it reads it.
    Some((username.to_owned(), password.trim_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_key_wins_and_each_shape_is_read() {
        let config = DockerConfig::parse(
            br#"{
                "auths": {
                    "ghcr.io": {"auth": "dTpw"},
                    "ghcr.io/org": {"username": "org", "password": "secret"},
                    "*.example.com": {"auth": "dTpw"},
                    "a.example.com": {"identitytoken": "refresh", "auth": "dTo="},
                    "b.example.com": {"registrytoken": "bearer"},
                    "https://index.docker.io/v1/": {"auth": "aHViOnA6dw=="},
                    "empty.example.com": {},
                    "blank.example.com": {"auth": ""}
                },
                "HttpHeaders": {"x": "y"}
            }"#,
        )
        .unwrap();
        let of = |text: &str| config.credentials(&reference(text)).cloned();
        let basic = |user: &str, password: &str| Some(Credentials::basic(user, password));
        assert_eq!(of("ghcr.io/other/x:1"), basic("u", "p"));
        assert_eq!(of("ghcr.io/org/x:1"), basic("org", "secret"));
        assert_eq!(
            of("a.example.com/x:1"),
            Some(Credentials::Identity(Secret::new("refresh")))
        );
        assert_eq!(
            of("b.example.com/x:1"),
            Some(Credentials::Bearer(Secret::new("bearer")))
        );
        assert_eq!(of("c.example.com/x:1"), basic("u", "p"));
        assert_eq!(of("docker.io/org/x:1"), basic("hub", "p:w"));
        assert_eq!(
            of("empty.example.com/x:1"),
            basic("u", "p"),
            "the wildcard, as its own entry is empty"
        );
        assert_eq!(of("quay.io/x:1"), None);
    }

    #[test]
    fn a_pull_secret_cannot_name_programs() {
        let text = br#"{"auths": {}, "credsStore": "evil", "credHelpers": {"ghcr.io": "evil"}}"#;
        let ours = DockerConfig::parse(text).unwrap();
        assert_eq!(ours.helper(&reference("ghcr.io/x:1")), Some("evil"));
        assert_eq!(ours.store(), Some("evil"));
        let theirs = DockerConfig::from_pull_secret(text).unwrap();
        assert_eq!(theirs.helper(&reference("ghcr.io/x:1")), None);
        assert_eq!(theirs.store(), None);
    }

    #[test]
    fn errors_name_the_place_and_never_the_secret() {
        let said: Vec<_> = [
            r#"{"auths": {"ghcr.io": {"auth": "hunter2!"}}}"#,
            r#"{"auths": {"ghcr.io": {"auth": "aHVudGVyMg=="}}}"#,
            r#"{"auths": {"ghcr.io": "hunter2"}}"#,
            "hunter2",
            "",
        ]
        .into_iter()
        .map(|text| {
            DockerConfig::parse(text.as_bytes())
                .unwrap_err()
                .to_string()
        })
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        `auths["ghcr.io"].auth` is not base64 of `user:password`
        `auths["ghcr.io"].auth` is not base64 of `user:password`
        it is not a Docker config: Data error at line 1 column 31
        it is not a Docker config: expected a JSON object
        it is not a Docker config: expected a JSON object
        "#);
        let config =
            DockerConfig::parse(br#"{"auths": {"ghcr.io": {"auth": "dTpodW50ZXIy"}}}"#).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = DockerConfig::parse(text.as_bytes());
        }

        #[test]
        fn no_key_panics(key in "[a-c*.:/]{0,16}") {
            let text = serde_json::json!({"auths": {key: {"auth": "dTpw"}}}).to_string();
            let config = DockerConfig::parse(text.as_bytes()).unwrap();
            let _ = config.credentials(&reference("a.b:1/c:1"));
        }
    }
}
