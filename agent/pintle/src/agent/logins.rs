//! The credentials for registries and chart repositories, from the Secrets of applications.

use std::collections::BTreeMap;

use pintle_cluster::ServiceAccount;
use pintle_core::{
    application::SecretName,
    causes::chain,
    digest::{Digest, Digester},
};
use pintle_registry::{Charts, Credentials, Keychain, Logins, NoEntry, Place, Secret};
use serde_json::json;

use super::{secrets, shared::Shared};
use crate::pipeline::{
    inputs::{InputCause, InputError, Inputs, Surroundings},
    remotes::{Remotes, RemotesError},
    render::RenderError,
};

/// The keys of a Secret.
type Data = BTreeMap<String, Vec<u8>>;
/// The certificates of authorities, in PEM.
pub(crate) type Authorities = Vec<Vec<u8>>;

/// Why a Secret is unusable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    #[error("its key `{0}` is not UTF-8")]
    Text(&'static str),
    #[error("its key `{0}` holds more than one line, or control characters")]
    Line(&'static str),
    #[error("it has `username` and no `password`, or the reverse")]
    Half,
    #[error(
        "it holds no credentials: expected `.dockerconfigjson`, or `username` and `password`, or `bearerToken`, or `ca.crt`"
    )]
    Nothing,
    #[error("it holds nothing for a registry: expected `.dockerconfigjson`, or `ca.crt`, or both")]
    NoPullSecret,
    #[error(transparent)]
    Config(#[from] pintle_registry::CredentialsError),
    #[error(transparent)]
    Remotes(#[from] RemotesError),
}

/// Reads the Secret of a source. Its contents are for that source, and for the place where its charts are kept. The authorities
/// are trusted in addition to the public ones.
pub(crate) fn of_source(place: &Place, data: &Data) -> Result<(Authorities, Logins), LoginError> {
    let own = own(data)?;
    let is_useful = own != Credentials::Anonymous
        || data.contains_key(".dockerconfigjson")
        || data.contains_key("ca.crt");
    if !is_useful {
        return Err(LoginError::Nothing);
    }
    let mut logins = Logins {
        keychain: keychain(data)?,
        ..Logins::default()
    };
    match place {
        Place::Chart { .. } => logins.repository = own,
        Place::Oci(repository) => {
            // Converted to the form of registry credentials, which are for this repository only.
            let entry = match &own {
                Credentials::Basic { username, password } => {
                    Some(json!({ "username": username, "password": password.expose() }))
                }
                Credentials::Bearer(token) => Some(json!({ "registrytoken": token.expose() })),
                Credentials::Anonymous | Credentials::Identity(_) => None,
            };
            if let Some(entry) = entry {
                let mut auths = serde_json::Map::new();
                auths.insert(repository.to_string(), entry);
                let config = json!({ "auths": auths }).to_string();
                logins.keychain = logins
                    .keychain
                    .with_pull_secret("the Secret", config.as_bytes())?;
            }
        }
    }
    Ok((authorities(data), logins))
}

/// Reads the pull secret of a Plugin.
pub(crate) fn of_plugin(data: &Data) -> Result<Keychain, LoginError> {
    if !data.contains_key(".dockerconfigjson") && !data.contains_key("ca.crt") {
        return Err(LoginError::NoPullSecret);
    }
    keychain(data)
}

/// Adds to a refusal what the Secret lacks, if that may be the reason.
pub(crate) fn refused(
    error: anyhow::Error,
    namespace: &str,
    secret: &str,
    lacks: Option<NoEntry>,
) -> anyhow::Error {
    match lacks {
        Some(no_entry) => error.context(format!("Secret {namespace}/{secret} has {no_entry}")),
        None => error,
    }
}

async fn charts(remotes: &Remotes, data: &Data) -> Result<Charts, LoginError> {
    Ok(remotes.charts_trusting(authorities(data)).await?)
}

fn authorities(data: &Data) -> Authorities {
    data.get("ca.crt").cloned().into_iter().collect()
}

fn keychain(data: &Data) -> Result<Keychain, LoginError> {
    match data.get(".dockerconfigjson") {
        Some(config) => Ok(Keychain::new().with_pull_secret("the Secret", config)?),
        None => Ok(Keychain::new()),
    }
}

fn own(data: &Data) -> Result<Credentials, LoginError> {
    let line = |key: &'static str| data.get(key).map(|bytes| line(key, bytes)).transpose();
    match (line("username")?, line("password")?, line("bearerToken")?) {
        (Some(username), Some(password), _) => Ok(Credentials::basic(username, password)),
        (None, None, Some(token)) => Ok(Credentials::Bearer(Secret::new(token.trim()))),
        (None, None, None) => Ok(Credentials::Anonymous),
        _ => Err(LoginError::Half),
    }
}

/// Reads a text without the line end that `echo` adds, as for git.
fn line(key: &'static str, bytes: &[u8]) -> Result<String, LoginError> {
    let text = std::str::from_utf8(bytes).map_err(|_| LoginError::Text(key))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.chars().any(char::is_control) {
        return Err(LoginError::Line(key));
    }
    Ok(text.to_owned())
}

/// Access to what a renderer asks for, with the Secret that the application names for it.
pub(crate) struct FromSecret<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) namespace: &'a str,
    /// The service account that the Secret is read as.
    pub(crate) account: Option<&'a ServiceAccount>,
    pub(crate) secret: Option<&'a SecretName>,
    pub(crate) surroundings: &'a Surroundings,
    /// Whether somebody wants the render now. In that case, nothing waits until a pause is over that a host has asked for.
    pub(crate) is_asked: bool,
}

impl FromSecret<'_> {
    /// Opens the access. The digest identifies what opens it.
    pub(crate) async fn open(&self) -> Result<(Inputs, Digest), RenderError> {
        let remotes = self.shared.catalog.remotes();
        let mut opens = Digester::new("inputs-login/v1");
        let (charts, logins) = match self.secret {
            None => remotes.charts().await?,
            Some(secret) => {
                let (namespace, name) = (self.namespace, &secret.name);
                let unusable = |reason: String| RenderError::Secret {
                    name: format!("{namespace}/{name}"),
                    reason,
                };
                let data = secrets::read(&self.shared.home, self.account, namespace, name)
                    .await
                    .map_err(|error| unusable(chain(&error)))?;
                for (key, value) in &data {
                    opens.add(key);
                    opens.add(value);
                }
                // People with write access to the repository choose which hosts the chart asks. Only credentials that state which
                // host they are for can therefore be used here.
                let useless = |error: LoginError| unusable(chain(&error));
                let keychain = keychain(&data).map_err(useless)?;
                let charts = self::charts(remotes, &data).await.map_err(useless)?;
                let logins = Logins {
                    keychain,
                    ..Logins::default()
                };
                (charts, logins)
            }
        };
        let inputs = Inputs {
            charts: if self.is_asked {
                charts.urgent()
            } else {
                charts
            },
            logins,
            surroundings: self.surroundings.clone(),
            knows_aliases: false,
        };
        Ok((inputs, opens.finish()))
    }

    /// Adds to a refusal what the Secret lacks, if that may be why a registry refuses.
    pub(crate) fn refused(&self, error: InputError, keychain: &Keychain) -> RenderError {
        let lacks = match &error.cause {
            InputCause::Chart(error) => NoEntry::behind_chart(error, keychain),
            _ => None,
        };
        match (self.secret, lacks) {
            (Some(secret), Some(no_entry)) => RenderError::Secret {
                name: format!("{}/{}", self.namespace, secret.name),
                reason: format!("it has {no_entry}: {}", chain(&error)),
            },
            _ => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use pintle_registry::{Cause, RegistryError, Shown, Stage};

    use super::*;

    fn data(keys: &[(&str, &str)]) -> Data {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
        keys.iter().map(own).collect()
    }

    #[test]
    fn secrets_are_read_by_their_keys() {
        assert_eq!(
            own(&data(&[("username", "me"), ("password", "pw")])).unwrap(),
            Credentials::basic("me", "pw")
        );
        assert_eq!(
            own(&data(&[("username", "me\n"), ("password", "p w\r\n")])).unwrap(),
            Credentials::basic("me", "p w")
        );
        assert!(matches!(
            own(&data(&[("username", "me"), ("password", "p\nw")])),
            Err(LoginError::Line("password"))
        ));
        assert_eq!(
            own(&data(&[("bearerToken", "t\n")])).unwrap(),
            Credentials::Bearer(Secret::new("t"))
        );
        assert_eq!(
            own(&data(&[("other", "x")])).unwrap(),
            Credentials::Anonymous
        );
        assert!(matches!(
            own(&data(&[("username", "me")])),
            Err(LoginError::Half)
        ));
        assert!(keychain(&data(&[(".dockerconfigjson", "[")])).is_err());
    }

    #[test]
    fn a_pull_secret_without_anything_for_a_registry_is_refused() {
        assert!(of_plugin(&data(&[(".dockerconfigjson", "{}")])).is_ok());
        assert!(of_plugin(&data(&[("ca.crt", "")])).is_ok());
        let error = of_plugin(&data(&[("username", "me"), ("password", "pw")])).unwrap_err();
        insta::assert_snapshot!(error, @"it holds nothing for a registry: expected `.dockerconfigjson`, or `ca.crt`, or both");
    }

    #[test]
    fn what_a_secret_lacks_is_told_before_the_refusal() {
        let error = RegistryError {
            reference: "registry.example.com:5000/x:1".parse().unwrap(),
            stage: Stage::Resolve,
            cause: Cause::Unauthorized {
                host: "registry.example.com:5000".to_owned(),
                shown: Shown::Nothing,
                message: None,
            },
        };
        let config = r#"{"auths":{"ghcr.io":{"username":"me","password":"hunter2"}}}"#;
        let keychain = of_plugin(&data(&[(".dockerconfigjson", config)])).unwrap();
        let lacks = NoEntry::behind(&error, &keychain);
        let error = refused(error.into(), "pintle-system", "plugins", lacks);
        insta::assert_snapshot!(chain(&*error), @"Secret pintle-system/plugins has no entry for registry.example.com:5000; it has entries for ghcr.io: cannot find the digest of `registry.example.com:5000/x:1`: registry.example.com:5000 asks for credentials, and there are none for it; log in with `docker login`, or give a pull secret that has an entry for it");
    }
}
