//! The way to registries and chart repositories. It is made when it is first needed: most renders need none.

mod authority;

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use pintle_core::digest::{Digest, Digester};
use pintle_registry::{
    CacheOptions, Charts, CredentialsError, HelmConfig, HelmConfigError, HelmLocations, Keychain,
    Locations, Logins, Options, Registry, SetupError, Shared,
};
use tokio::sync::OnceCell;

use self::authority::Authority;
use super::inputs::blocking;
use crate::cli::args::RegistryArgs;

/// Most clients that are kept: each has the system's authorities in memory, and another one may come with every Secret that has
/// its own, and with every renewal.
const KEPT: usize = 64;

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
    plain_http: Vec<String>,
    /// Whom all clients trust besides the system's.
    authority: Option<Authority>,
    cache: Option<CacheOptions>,
    /// Whether the person who runs this is logged in anywhere: on the command line, not in the agent.
    is_personal: bool,
    trusting: Trusting,
    /// Of all clients: they wait for each other, and share what they fetch with the same credentials.
    shared: Arc<Shared>,
    /// Of the person, and whom he trusts for chart repositories.
    logins: OnceCell<(Vec<Vec<u8>>, Logins)>,
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
            plain_http: args.plain_http,
            authority: args.registry_ca.map(Authority::new),
            cache,
            is_personal,
            trusting: Trusting::default(),
            shared: Arc::default(),
            logins: OnceCell::new(),
            keychain: OnceCell::new(),
        }
    }

    /// Returns the client for registries.
    pub(crate) async fn registry(&self) -> Result<Registry, RemotesError> {
        self.registry_trusting(Vec::new()).await
    }

    /// Returns the client that trusts more certificate authorities, PEM. All who trust the same ones share it; its tokens are
    /// for those alone who show the same credentials.
    ///
    /// It trusts what `--registry-ca` holds at this time, so whoever may ask again later does not keep it.
    pub(crate) async fn registry_trusting(
        &self,
        authorities: Vec<Vec<u8>>,
    ) -> Result<Registry, RemotesError> {
        let mut certificate_authorities = Vec::new();
        if let Some(authority) = &self.authority {
            certificate_authorities.push(authority.read().await?);
        }
        certificate_authorities.extend(authorities);
        let slot = self.trusting.slot(&certificate_authorities);
        let make = async || {
            let options = Options {
                certificate_authorities,
                plain_http: self.plain_http.clone(),
                cache: self.cache.clone(),
                ..Options::default()
            };
            let shared = Arc::clone(&self.shared);
            // It reads the system's authorities, which holds up nobody else here.
            blocking(move || Registry::sharing(options, shared)).await
        };
        Ok(slot.get_or_try_init(make).await?.clone())
    }

    /// Returns the client for charts that trusts more certificate authorities, PEM. Without any it speaks through the client
    /// for registries.
    pub(crate) async fn charts_trusting(
        &self,
        authorities: Vec<Vec<u8>>,
    ) -> Result<Charts, RemotesError> {
        Ok(Charts::new(self.registry_trusting(authorities).await?))
    }

    /// Returns with what registries are spoken to.
    pub(crate) async fn keychain(&self) -> Result<&Keychain, RemotesError> {
        let make = async || {
            if self.is_personal {
                Ok(Keychain::of_user(&Locations::from_env()).await?)
            } else {
                Ok(Keychain::new())
            }
        };
        self.keychain.get_or_try_init(make).await
    }

    /// Returns the client for charts, and with what it speaks to repositories that no Secret is for.
    pub(crate) async fn charts(&self) -> Result<(Charts, Logins), RemotesError> {
        let read = async || {
            let helm = match HelmLocations::from_env().repositories {
                Some(path) if self.is_personal => HelmConfig::read(&path)?,
                _ => HelmConfig::default(),
            };
            let authorities = helm.authorities()?;
            let logins = Logins {
                helm,
                keychain: self.keychain().await?.clone(),
                ..Logins::default()
            };
            Ok::<_, RemotesError>((authorities, logins))
        };
        let (authorities, logins) = self.logins.get_or_try_init(read).await?;
        let charts = self.charts_trusting(authorities.clone()).await?;
        Ok((charts, logins.clone()))
    }
}

/// Where a client is as soon as it could be made.
type Slot = Arc<OnceCell<Registry>>;

/// Clients by the authorities that they trust besides everybody's. Of more than [`KEPT`] those stay that were wanted last.
#[derive(Default)]
struct Trusting(Mutex<VecDeque<(Digest, Slot)>>);

impl Trusting {
    /// Returns where the client is, or is to be made: by one of those who want it at the same time.
    fn slot(&self, authorities: &[Vec<u8>]) -> Slot {
        let mut key = Digester::new("trusted-authorities/v1");
        for authority in authorities {
            key.add(authority);
        }
        let key = key.finish();
        // A list of clients is whole whatever happened to whoever held it.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|(other, _)| *other == key);
        let found = at.and_then(|at| known.remove(at));
        let (key, slot) = found.unwrap_or_else(|| (key, Arc::default()));
        if known.len() == KEPT {
            known.pop_front();
        }
        known.push_back((key, Arc::clone(&slot)));
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorities(text: &str) -> Vec<Vec<u8>> {
        vec![text.as_bytes().to_vec()]
    }

    #[tokio::test]
    async fn who_trusts_the_same_authorities_shares_a_client() {
        let args = RegistryArgs {
            registry_ca: None,
            plain_http: Vec::new(),
        };
        let remotes = Remotes::of_agent(args, CacheOptions::new("unused"));
        let client = remotes.registry().await.unwrap();
        remotes
            .trusting
            .slot(&authorities("ours"))
            .set(client)
            .unwrap();
        // These are no certificates, with which a client could be set up.
        let shared = remotes.charts_trusting(authorities("ours")).await;
        assert!(shared.is_ok());
        let own = remotes.charts_trusting(authorities("theirs")).await;
        assert!(matches!(own, Err(RemotesError::Setup(_))));
    }

    #[test]
    fn clients_that_are_wanted_stay() {
        let trusting = Trusting::default();
        let slot = |number: usize| trusting.slot(&authorities(&number.to_string()));
        let [first, second] = [0, 1].map(slot);
        for number in 2..KEPT {
            slot(number);
        }
        assert!(Arc::ptr_eq(&first, &slot(0)));
        slot(KEPT);
        assert!(Arc::ptr_eq(&first, &slot(0)));
        assert!(
            !Arc::ptr_eq(&second, &slot(1)),
            "it was not wanted for longest"
        );
        assert_eq!(trusting.0.lock().unwrap().len(), KEPT);
    }
}
