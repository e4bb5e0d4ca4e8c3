//! The sources of credentials.

use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use super::{Credentials, DockerConfig, HelperError, ParseConfigError, helper, scope};
use crate::{
    chart::HelmLocations,
    reference::{Reference, Repository},
};

/// Why the credentials for a reference are not known.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("registry credentials cannot be read from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// What was read is not a Docker config.
    #[error("registry credentials in {source_name} cannot be understood")]
    Parse {
        /// The file or secret.
        source_name: String,
        /// Why.
        #[source]
        error: ParseConfigError,
    },
    /// A helper failed.
    #[error("no credentials for {registry}, which {source_name} says are with a credential helper")]
    Helper {
        /// The registry.
        registry: String,
        /// The file that names the helper.
        source_name: String,
        /// Why.
        #[source]
        error: HelperError,
    },
}

/// The folders and files that hold people's registry credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locations {
    /// `$REGISTRY_AUTH_FILE`, podman's.
    pub registry_auth_file: Option<PathBuf>,
    /// `$DOCKER_CONFIG`, a folder.
    pub docker_config: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// Helm's file, [`HelmLocations::registry`].
    pub helm_registry: Option<PathBuf>,
    /// `$PATH`, in which credential helpers are looked for.
    pub search_path: Option<OsString>,
}

impl Locations {
    /// Returns the locations from the environment of this process.
    pub fn from_env() -> Self {
        let path = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Self {
            registry_auth_file: path("REGISTRY_AUTH_FILE"),
            docker_config: path("DOCKER_CONFIG"),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            config_home: path("XDG_CONFIG_HOME"),
            home: path("HOME"),
            helm_registry: HelmLocations::from_env().registry,
            search_path: env::var_os("PATH"),
        }
    }

    /// Lists the files in the order in which they are asked.
    fn files(&self) -> Vec<PathBuf> {
        let docker = self
            .docker_config
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".docker")));
        let config_home = self
            .config_home
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".config")));
        [
            self.registry_auth_file.clone(),
            docker.map(|dir| dir.join("config.json")),
            self.runtime_dir
                .as_ref()
                .map(|dir| dir.join("containers/auth.json")),
            config_home.map(|dir| dir.join("containers/auth.json")),
            self.helm_registry.clone(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Credentials for many registries, from several sources. The first source with credentials for a reference decides.
#[derive(Debug, Clone, Default)]
pub struct Keychain {
    sources: Vec<(String, DockerConfig)>,
    /// Where helpers are looked for. Without it, that is the `$PATH` of this process.
    search_path: Option<OsString>,
}

impl Keychain {
    /// Creates an empty keychain: all access is anonymous.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the credentials that this person or machine is logged in with, from those of Docker's, podman's and Helm's files
    /// that exist.
    pub async fn of_user(locations: &Locations) -> Result<Self, CredentialsError> {
        let mut keychain = Self {
            search_path: locations.search_path.clone(),
            ..Self::new()
        };
        for path in locations.files() {
            match tokio::fs::read(&path).await {
                Ok(bytes) => keychain = keychain.with_file(&path, &bytes)?,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) => {}
                Err(error) => return Err(CredentialsError::Read { path, error }),
            }
        }
        Ok(keychain)
    }

    /// Adds the content of a Docker config file after the existing sources. Helpers that it names will be run.
    pub fn with_file(self, path: &Path, bytes: &[u8]) -> Result<Self, CredentialsError> {
        self.with(path.display().to_string(), DockerConfig::parse(bytes))
    }

    /// Adds a pull secret, which is the value of its key `.dockerconfigjson`, after the existing sources. `name` is for errors:
    /// `secret NAMESPACE/NAME`.
    pub fn with_pull_secret(self, name: &str, bytes: &[u8]) -> Result<Self, CredentialsError> {
        self.with(name.to_owned(), DockerConfig::from_pull_secret(bytes))
    }

    fn with(
        mut self,
        source_name: String,
        config: Result<DockerConfig, ParseConfigError>,
    ) -> Result<Self, CredentialsError> {
        match config {
            Ok(config) => {
                self.sources.push((source_name, config));
                Ok(self)
            }
            Err(error) => Err(CredentialsError::Parse { source_name, error }),
        }
    }

    /// Finds the credentials for a repository, as [`Keychain::find`] does.
    pub async fn find_for(&self, repository: &Repository) -> Result<Credentials, CredentialsError> {
        self.find(repository.place()).await
    }

    /// Finds the credentials for what is below a path of a host, as [`Keychain::find`] does, for servers that are not
    /// registries.
    pub(crate) async fn find_at(
        &self,
        host: &str,
        path: &str,
    ) -> Result<Credentials, CredentialsError> {
        self.find(&Reference::place(host, path.trim_matches('/')))
            .await
    }

    /// Returns whether there is an entry for a reference, or a helper that may have something for it.
    pub(super) fn may_have(&self, reference: &Reference) -> bool {
        self.sources.iter().any(|(_, config)| {
            config.credentials(reference).is_some()
                || config.helper(reference).is_some()
                || config.store().is_some()
        })
    }

    /// Lists what the entries are for, without their contents.
    pub(super) fn entries(&self) -> impl Iterator<Item = String> {
        self.sources.iter().flat_map(|(_, config)| config.entries())
    }

    /// Finds the credentials for a reference; returns [`Credentials::Anonymous`] if no source has any.
    ///
    /// Within a source, Docker's order applies: the helper for the registry, the entries of the file, the helper for all
    /// registries.
    pub async fn find(&self, reference: &Reference) -> Result<Credentials, CredentialsError> {
        for (source_name, config) in &self.sources {
            let ask = async |name: &str| {
                helper::get(
                    name,
                    scope::docker_key(reference.registry()),
                    self.search_path.as_deref(),
                )
                .await
                .map_err(|error| CredentialsError::Helper {
                    registry: reference.registry().to_owned(),
                    source_name: source_name.clone(),
                    error,
                })
            };
            if let Some(name) = config.helper(reference)
                && let Some(credentials) = ask(name).await?
            {
                return Ok(credentials);
            }
            if let Some(credentials) = config.credentials(reference) {
                return Ok(credentials.clone());
            }
            if let Some(name) = config.store()
                && let Some(credentials) = ask(name).await?
            {
                return Ok(credentials);
            }
        }
        Ok(Credentials::Anonymous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_their_order() {
        let locations = Locations {
            home: Some("/home/me".into()),
            runtime_dir: Some("/run/me".into()),
            ..Locations::default()
        };
        let shown = |locations: &Locations| -> Vec<String> {
            locations
                .files()
                .iter()
                .map(|path| path.display().to_string())
                .collect()
        };
        assert_eq!(
            shown(&locations),
            [
                "/home/me/.docker/config.json",
                "/run/me/containers/auth.json",
                "/home/me/.config/containers/auth.json"
            ]
        );
        let moved = Locations {
            registry_auth_file: Some("/a.json".into()),
            docker_config: Some("/d".into()),
            config_home: Some("/c".into()),
            helm_registry: Some("/h.json".into()),
            ..locations
        };
        assert_eq!(
            shown(&moved),
            [
                "/a.json",
                "/d/config.json",
                "/run/me/containers/auth.json",
                "/c/containers/auth.json",
                "/h.json"
            ]
        );
        assert!(Locations::default().files().is_empty());
    }
}
