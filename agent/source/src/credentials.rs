//! Credentials that open a repository.

use std::{collections::BTreeMap, fmt};

use pintle_core::digest::{Digest, Digester};

/// How to log in to a repository's server, and whose certificates to trust there.
///
/// Its debug form shows no secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// How to log in.
    pub login: Login,
    /// PEM certificates of authorities that are trusted beside the system's, for https.
    pub certificate_authority: Option<String>,
}

/// How to log in.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Login {
    /// No login.
    #[default]
    Anonymous,
    /// HTTP basic authentication. Hosts take an access token as the password, often with any user name.
    Basic {
        /// The user name.
        username: String,
        /// The password or access token.
        password: String,
    },
    /// `Authorization: Bearer …`.
    Bearer(String),
    /// An SSH key.
    Key {
        /// The private key in a form that OpenSSH reads, without a passphrase.
        identity: String,
        /// The server's public keys in the form of `known_hosts`. Nothing else is trusted, and nothing is added.
        known_hosts: String,
    },
}

/// Why the data of a Secret does not make credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The Secret has none of the keys.
    #[error(
        "the Secret holds none of the expected keys: expected `username` and `password`, or `bearerToken`, or \
         `identity` and `known_hosts`, and `ca.crt` for a server with its own certificate authority"
    )]
    Empty,
    /// Keys of more than one way to log in.
    #[error("the Secret holds {}: expected one way to log in", .found.join(" and "))]
    Ambiguous {
        /// The keys found.
        found: Vec<&'static str>,
    },
    /// A key that another one needs.
    #[error("the Secret holds `{present}` but no `{missing}`{hint}")]
    Incomplete {
        /// The key found.
        present: &'static str,
        /// The key that is missing.
        missing: &'static str,
        /// What to do, with punctuation before it.
        hint: &'static str,
    },
    /// A value that is not text, or is empty, or cannot be what it should be.
    #[error("the Secret's `{key}` {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        reason: &'static str,
    },
}

/// How to get `known_hosts`.
pub(crate) const KNOWN_HOSTS_HINT: &str = ": get the host's keys with `ssh-keyscan HOST`, compare their fingerprints with those that the host \
     publishes, and put them into `known_hosts`";

impl Credentials {
    /// Reads credentials from the data of a Secret, as an Application's `credentials` names it. Unknown keys are ignored,
    /// because other tools keep things such as public keys beside ours.
    pub fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, CredentialsError> {
        let text = |key: &'static str| -> Result<Option<String>, CredentialsError> {
            let Some(bytes) = data.get(key) else {
                return Ok(None);
            };
            let value = |reason| CredentialsError::Value { key, reason };
            let text = std::str::from_utf8(bytes).map_err(|_| value("is not UTF-8 text"))?;
            if text.trim().is_empty() {
                return Err(value("is empty"));
            }
            Ok(Some(text.to_owned()))
        };
        let (username, password) = (text("username")?, text("password")?);
        let bearer = text("bearerToken")?;
        let (identity, known_hosts) = (text("identity")?, text("known_hosts")?);
        let certificate_authority = text("ca.crt")?;

        let ways = [
            (
                "`username` and `password`",
                username.is_some() || password.is_some(),
            ),
            ("`bearerToken`", bearer.is_some()),
            ("`identity`", identity.is_some()),
        ];
        let found: Vec<_> = ways
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(way, _)| way)
            .collect();
        if found.len() > 1 {
            return Err(CredentialsError::Ambiguous { found });
        }
        let incomplete = |present, missing, hint| {
            Err(CredentialsError::Incomplete {
                present,
                missing,
                hint,
            })
        };
        let login = match (username, password, bearer, identity, known_hosts) {
            (Some(username), Some(password), ..) => Login::Basic {
                username: line("username", &username)?,
                password: line("password", &password)?,
            },
            (Some(_), None, ..) => return incomplete("username", "password", ""),
            (None, Some(_), ..) => {
                return incomplete(
                    "password",
                    "username",
                    ": for an access token most hosts take any name",
                );
            }
            (_, _, Some(token), ..) => Login::Bearer(line("bearerToken", &token)?),
            (_, _, _, Some(identity), Some(known_hosts)) => Login::Key {
                identity,
                known_hosts,
            },
            (_, _, _, Some(_), None) => {
                return incomplete("identity", "known_hosts", KNOWN_HOSTS_HINT);
            }
            (_, _, _, None, Some(_)) => return incomplete("known_hosts", "identity", ""),
            (None, None, None, None, None) => Login::Anonymous,
        };
        if login == Login::Anonymous && certificate_authority.is_none() {
            return Err(CredentialsError::Empty);
        }
        Ok(Self {
            login,
            certificate_authority,
        })
    }

    /// Returns a digest that tells credentials apart. Nobody can check a guess against it without the key.
    pub(crate) fn fingerprint(&self, key: &[u8]) -> Digest {
        let digest = Digester::new("source-credentials/v1").part(key);
        let digest = match &self.login {
            Login::Anonymous => digest.part("anonymous"),
            Login::Basic { username, password } => {
                digest.part("basic").part(username).part(password)
            }
            Login::Bearer(token) => digest.part("bearer").part(token),
            Login::Key {
                identity,
                known_hosts,
            } => digest.part("key").part(identity).part(known_hosts),
        };
        digest
            .part(self.certificate_authority.as_deref().unwrap_or_default())
            .finish()
    }
}

/// Strips the line end that `echo` adds, and refuses anything that would break out of an HTTP header.
fn line(key: &'static str, text: &str) -> Result<String, CredentialsError> {
    let text = text.trim_end_matches(['\r', '\n']);
    if text.chars().any(char::is_control) {
        return Err(CredentialsError::Value {
            key,
            reason: "holds more than one line, or control characters",
        });
    }
    Ok(text.to_owned())
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("login", &self.login)
            .field(
                "certificate_authority",
                &self.certificate_authority.is_some(),
            )
            .finish()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic(…)",
            Self::Bearer(_) => "Bearer(…)",
            Self::Key { .. } => "Key(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &[(&str, &str)]) -> Result<Credentials, CredentialsError> {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect();
        Credentials::from_secret(&data)
    }

    #[test]
    fn secrets_become_credentials() {
        let basic = read(&[("username", "me"), ("password", "hunter2\n"), ("other", "")]).unwrap();
        assert_eq!(
            basic.login,
            Login::Basic {
                username: "me".into(),
                password: "hunter2".into()
            }
        );
        assert_eq!(
            read(&[("bearerToken", "t")]).unwrap().login,
            Login::Bearer("t".into())
        );
        let key = read(&[
            ("identity", "k"),
            ("known_hosts", "h"),
            ("identity.pub", "p"),
        ])
        .unwrap();
        assert_eq!(
            key.login,
            Login::Key {
                identity: "k".into(),
                known_hosts: "h".into()
            }
        );
        let anonymous = read(&[("ca.crt", "pem")]).unwrap();
        assert_eq!(
            (anonymous.login, anonymous.certificate_authority.as_deref()),
            (Login::Anonymous, Some("pem"))
        );
    }

    #[test]
    fn a_wrong_secret_says_what_is_wrong() {
        let refused = |data: &[(&str, &str)]| read(data).unwrap_err().to_string();
        insta::assert_snapshot!(refused(&[]), @"the Secret holds none of the expected keys: expected `username` and `password`, or `bearerToken`, or `identity` and `known_hosts`, and `ca.crt` for a server with its own certificate authority");
        insta::assert_snapshot!(refused(&[("username", "me")]), @"the Secret holds `username` but no `password`");
        insta::assert_snapshot!(refused(&[("identity", "k")]), @"the Secret holds `identity` but no `known_hosts`: get the host's keys with `ssh-keyscan HOST`, compare their fingerprints with those that the host publishes, and put them into `known_hosts`");
        insta::assert_snapshot!(refused(&[("bearerToken", "t"), ("username", "me"), ("password", "p")]), @"the Secret holds `username` and `password` and `bearerToken`: expected one way to log in");
        insta::assert_snapshot!(refused(&[("bearerToken", "a\r\nHost: b")]), @"the Secret's `bearerToken` holds more than one line, or control characters");
        insta::assert_snapshot!(refused(&[("bearerToken", " ")]), @"the Secret's `bearerToken` is empty");
    }

    #[test]
    fn secrets_are_not_in_the_debug_form_and_make_the_fingerprint() {
        let one = read(&[("username", "me"), ("password", "hunter2")]).unwrap();
        assert_eq!(
            format!("{one:?}"),
            "Credentials { login: Basic(…), certificate_authority: false }"
        );
        let other = read(&[("username", "me"), ("password", "hunter3")]).unwrap();
        assert_ne!(one.fingerprint(b"k"), other.fingerprint(b"k"));
        assert_ne!(one.fingerprint(b"k"), one.fingerprint(b"l"));
    }
}
