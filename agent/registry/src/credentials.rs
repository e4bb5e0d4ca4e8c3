//! Credentials: what a registry is shown, and where they come from.

mod docker_config;
mod helper;
mod keychain;
mod no_entry;
mod scope;

use std::fmt;

use pintle_core::digest::{Digest, Digester};

use crate::error::Shown;

pub use docker_config::{DockerConfig, ParseConfigError};
pub use helper::HelperError;
pub use keychain::{CredentialsError, Keychain, Locations};
pub use no_entry::NoEntry;
pub(crate) use scope::is_hub;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, to be sent to the party that it is for and nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The credentials that a registry is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// No credentials.
    #[default]
    Anonymous,
    /// A user name and a password, for the registry itself or for its token service.
    Basic {
        /// The user name.
        username: String,
        /// The password, or an access token in its place.
        password: Secret,
    },
    /// A token that the registry accepts as it is.
    Bearer(Secret),
    /// A long-lived token that the registry's token service exchanges for short-lived ones (OAuth 2 refresh token).
    Identity(Secret),
}

impl Credentials {
    /// Creates credentials from a user name and a password.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Basic {
            username: username.into(),
            password: Secret::new(password),
        }
    }

    /// Returns what a registry saw of them, for an error.
    pub(crate) const fn shown(&self) -> Shown {
        match self {
            Self::Anonymous => Shown::Nothing,
            Self::Basic { .. } => Shown::Password,
            Self::Bearer(_) => Shown::Token,
            Self::Identity(_) => Shown::Identity,
        }
    }

    /// Returns a digest that tells credentials apart without keeping them, so that a token is never used for somebody else.
    pub(crate) fn fingerprint(&self) -> Digest {
        let digester = Digester::new("registry-credentials/v1");
        match self {
            Self::Anonymous => digester.part("anonymous"),
            Self::Basic { username, password } => digester
                .part("basic")
                .part(username)
                .part(password.expose()),
            Self::Bearer(token) => digester.part("bearer").part(token.expose()),
            Self::Identity(token) => digester.part("identity").part(token.expose()),
        }
        .finish()
    }
}
