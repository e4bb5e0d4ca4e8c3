//! The way to registries and chart repositories. It is made when it is first needed: most renders need none.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use pintle_registry::{
    CacheOptions, Charts, CredentialsError, HelmConfig, HelmConfigError, HelmLocations, Indexes,
    Keychain, Locations, Logins, Registry, SetupError,
};
use tokio::sync::OnceCell;

use crate::cli::args::RegistryArgs;

/// Why there is no way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemotesError {
    #[error("{} cannot be read", .path.display())]
    Authority { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Helm(#[from] HelmConfigError),
}

/// Clients and credentials.
pub(crate) struct Remotes {
    args: RegistryArgs,
    cache: Option<CacheOptions>,
    /// Whether the person who runs this is logged in anywhere: on the command line, not in the agent.
    is_personal: bool,
    registry: OnceLock<Registry>,
    /// Of all clients for charts: they share what they fetch with the same credentials.
    indexes: Arc<Indexes>,
    charts: OnceCell<(Charts, Logins)>,
    keychain: OnceCell<Keychain>,
}

impl Remotes {
    /// For the command line: with what its user is logged in with, and a cache where there is a folder for it.
    pub(crate) fn of_user(args: RegistryArgs, cache: Option<&Path>) -> Arc<Self> {
        let cache = cache.map(|cache| CacheOptions::new(cache.join("components")));
        Arc::new(Self::new(args, cache, true))
    }

    /// For the agent: credentials come from Secrets only.
    pub(crate) fn of_agent(args: RegistryArgs, cache: CacheOptions) -> Arc<Self> {
        Arc::new(Self::new(args, Some(cache), false))
    }

    fn new(args: RegistryArgs, cache: Option<CacheOptions>, is_personal: bool) -> Self {
        Self {
            args,
            cache,
            is_personal,
            registry: OnceLock::new(),
            indexes: Arc::default(),
            charts: OnceCell::new(),
            keychain: OnceCell::new(),
        }
    }

    /// Returns the client for registries.
    pub(crate) fn registry(&self) -> Result<&Registry, RemotesError> {
        if let Some(registry) = self.registry.get() {
            return Ok(registry);
        }
        let made = self.registry_trusting(Vec::new())?;
        Ok(self.registry.get_or_init(|| made))
    }

    /// Makes a client that trusts more certificate authorities, PEM.
    pub(crate) fn registry_trusting(
        &self,
        authorities: Vec<Vec<u8>>,
    ) -> Result<Registry, RemotesError> {
        let mut options = pintle_registry::Options {
            plain_http: self.args.plain_http.clone(),
            cache: self.cache.clone(),
            ..pintle_registry::Options::default()
        };
        if let Some(path) = &self.args.registry_ca {
            options.certificate_authorities.push(read(path)?);
        }
        options.certificate_authorities.extend(authorities);
        Ok(Registry::new(options)?)
    }

    /// Makes a client for charts that trusts more certificate authorities, PEM. Without any it speaks through the client for
    /// registries, whose tokens are for those alone who show the same credentials.
    pub(crate) fn charts_trusting(
        &self,
        authorities: Vec<Vec<u8>>,
    ) -> Result<Charts, RemotesError> {
        let registry = if authorities.is_empty() {
            self.registry()?.clone()
        } else {
            self.registry_trusting(authorities)?
        };
        Ok(Charts::sharing(registry, Arc::clone(&self.indexes)))
    }

    /// Returns with what registries are spoken to.
    pub(crate) async fn keychain(&self) -> Result<&Keychain, RemotesError> {
        let make = async || {
            if !self.is_personal {
                return Ok(Keychain::new());
            }
            let mut keychain = Keychain::of_user(&Locations::from_env()).await?;
            // Helm keeps its own file of the same format.
            if let Some(path) = HelmLocations::from_env().registry
                && let Ok(bytes) = tokio::fs::read(&path).await
            {
                keychain = keychain.with_file(&path, &bytes)?;
            }
            Ok(keychain)
        };
        self.keychain.get_or_try_init(make).await
    }

    /// Returns the client for charts, and with what it speaks to repositories that no Secret is for.
    pub(crate) async fn charts(&self) -> Result<&(Charts, Logins), RemotesError> {
        let make = async || {
            let helm = match HelmLocations::from_env().repositories {
                Some(path) if self.is_personal => HelmConfig::read(&path)?,
                _ => HelmConfig::default(),
            };
            let charts = self.charts_trusting(helm.authorities()?)?;
            let logins = Logins {
                helm,
                keychain: self.keychain().await?.clone(),
                ..Logins::default()
            };
            Ok((charts, logins))
        };
        self.charts.get_or_try_init(make).await
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RemotesError> {
    std::fs::read(path).map_err(|source| RemotesError::Authority {
        path: path.to_owned(),
        source,
    })
}
