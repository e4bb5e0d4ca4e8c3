//! The repositories and registries that a user has configured in Helm.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use url::Url;

use crate::credentials::Credentials;

/// The locations of Helm's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HelmLocations {
    /// `repositories.yaml`.
    pub repositories: Option<PathBuf>,
    /// The credentials for registries, in Docker's format.
    pub registry: Option<PathBuf>,
}

impl HelmLocations {
    /// Determines the locations from the environment of this process, as Helm does.
    /// <https://helm.sh/docs/helm/helm/#helm>
    pub fn from_env() -> Self {
        let path = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let folder = path("HELM_CONFIG_HOME")
            .or_else(|| path("XDG_CONFIG_HOME").map(|home| home.join("helm")))
            .or_else(|| path("HOME").map(|home| home.join(".config/helm")));
        let within = |name| folder.as_ref().map(|folder| folder.join(name));
        Self {
            repositories: path("HELM_REPOSITORY_CONFIG").or_else(|| within("repositories.yaml")),
            registry: path("HELM_REGISTRY_CONFIG").or_else(|| within("registry/config.json")),
        }
    }
}

/// The reason why Helm's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HelmConfigError {
    /// The file cannot be read.
    #[error("Helm's repositories cannot be read from {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        error: io::Error,
    },
    /// The file is not in the format that Helm writes.
    // The parser's message may quote a password, so it is not passed on.
    #[error("{} is not a list of Helm's repositories", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
    },
    /// There is no repository with this name.
    #[error("Helm knows no repository `{name}`{}", added(.known))]
    Unknown {
        /// The name.
        name: String,
        /// The names that Helm knows.
        known: Vec<String>,
    },
    /// A certificate file that a repository refers to cannot be read.
    #[error("the certificate authority {} of the repository `{name}` cannot be read", .path.display())]
    Authority {
        /// The repository's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        error: io::Error,
    },
}

fn added(known: &[String]) -> String {
    if known.is_empty() {
        ": it knows none; add it with `helm repo add`, or write the repository's URL".to_owned()
    } else {
        format!(": it knows {}", known.join(", "))
    }
}

/// The repositories that a user has added to Helm.
#[derive(Debug, Clone, Default)]
pub struct HelmConfig {
    repositories: Vec<Added>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Added {
    name: String,
    url: String,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for Added {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Added")
            .field("name", &self.name)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    repositories: Option<Vec<Added>>,
}

impl HelmConfig {
    /// Reads the file, or returns an empty configuration if there is none. Blocks.
    pub fn read(path: &Path) -> Result<Self, HelmConfigError> {
        let path = path.to_owned();
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).ok_or(HelmConfigError::Parse { path }),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(Self::default())
            }
            Err(error) => Err(HelmConfigError::Read { path, error }),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let file: File = serde_saphyr::from_str(text).ok()?;
        Some(Self {
            repositories: file.repositories.unwrap_or_default(),
        })
    }

    /// Returns the URL of the repository that was added under a name. Dependencies refer to it as `@NAME` or `alias:NAME`.
    pub fn url(&self, name: &str) -> Result<&str, HelmConfigError> {
        let found = self.repositories.iter().find(|one| one.name == name);
        found
            .map(|one| one.url.as_str())
            .ok_or_else(|| HelmConfigError::Unknown {
                name: name.to_owned(),
                known: self
                    .repositories
                    .iter()
                    .map(|one| one.name.clone())
                    .collect(),
            })
    }

    /// Returns the user name and password that a repository was added with.
    pub fn credentials(&self, url: &str) -> Credentials {
        match self.find(url) {
            Some(Added {
                username: Some(username),
                password: Some(password),
                ..
            }) if !username.is_empty() => Credentials::basic(username, password),
            _ => Credentials::Anonymous,
        }
    }

    /// Reads the certificate authorities (PEM) that repositories were added with. Blocks.
    pub fn authorities(&self) -> Result<Vec<Vec<u8>>, HelmConfigError> {
        let named = self.repositories.iter().filter_map(|one| {
            let path = one.ca_file.clone()?;
            (!path.as_os_str().is_empty()).then_some((one, path))
        });
        let read = named.map(|(one, path)| {
            std::fs::read(&path).map_err(|error| HelmConfigError::Authority {
                name: one.name.clone(),
                path,
                error,
            })
        });
        read.collect()
    }

    fn find(&self, url: &str) -> Option<&Added> {
        let wanted = normal(url)?;
        let is_it = |one: &&Added| normal(&one.url).as_ref() == Some(&wanted);
        self.repositories.iter().find(is_it)
    }
}

/// Returns a normalized form of a URL, which is equal for URLs that lead to the same place: a slash at the end does not matter.
fn normal(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: \"\"\ngenerated: \"0001-01-01T00:00:00Z\"\nrepositories:\n\
        - name: shop\n  url: https://charts.example.com/shop\n  username: me\n  password: hunter2\n  caFile: \"\"\n  \
        insecure_skip_tls_verify: false\n  pass_credentials_all: false\n- name: open\n  url: https://open.example.com/\n";

    #[test]
    fn knows_what_was_added() {
        let config = HelmConfig::parse(TEXT).unwrap();
        assert_eq!(
            config.url("shop").unwrap(),
            "https://charts.example.com/shop"
        );
        assert_eq!(
            config.credentials("https://charts.example.com/shop/"),
            Credentials::basic("me", "hunter2")
        );
        assert_eq!(
            config.credentials("https://open.example.com"),
            Credentials::Anonymous
        );
        assert_eq!(
            config.credentials("https://charts.example.com/other"),
            Credentials::Anonymous
        );
        assert!(config.authorities().unwrap().is_empty());
        assert!(!format!("{config:?}").contains("hunter2"));
        insta::assert_snapshot!(config.url("gone").unwrap_err(), @"Helm knows no repository `gone`: it knows shop, open");
    }

    #[test]
    fn a_file_that_is_none_is_told_without_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("repositories.yaml");
        assert!(HelmConfig::read(&path).unwrap().repositories.is_empty());
        std::fs::write(&path, "repositories:\n- password: [hunter2\n").unwrap();
        let error = HelmConfig::read(&path).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
