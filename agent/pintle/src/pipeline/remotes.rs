//! The clients for registries and chart repositories. They are created when they are first needed: most renders need none.

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

/// The maximum number of clients that are kept. Each has the system's authorities in memory, and every Secret with authorities of
/// its own may add another client, as may every renewal.
const KEPT: usize = 64;

/// Why there are no clients.
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
    /// The authority that all clients trust in addition to the system's.
    authority: Option<Authority>,
    cache: Option<CacheOptions>,
    /// Whether the logins of the person who runs this are used: on the command line, but not in the agent.
    is_personal: bool,
    trusting: Trusting,
    /// Shared by all clients: they wait for each other, and share what they fetch with the same credentials.
    shared: Arc<Shared>,
    /// The person's logins, and the authorities that the person trusts for chart repositories.
    logins: OnceCell<(Vec<Vec<u8>>, Logins)>,
    keychain: OnceCell<Keychain>,
}

impl Remotes {
    /// Creates the clients for the command line, with the user's logins, and a cache where there is a folder for it.
    pub(crate) fn of_user(args: RegistryArgs, cache: Option<&Path>) -> Arc<Self> {
        let cache = cache.map(|cache| CacheOptions::new(cache.join("components")));
        Arc::new(Self::new(args, cache, Shared::default(), true))
    }

    /// Creates the clients for the agent. Credentials come from Secrets only, and packed charts share `archives` bytes.
    pub(crate) fn of_agent(args: RegistryArgs, cache: CacheOptions, archives: u64) -> Arc<Self> {
        let shared = Shared::with_room_for_archives(archives);
        Arc::new(Self::new(args, Some(cache), shared, false))
    }

    fn new(
        args: RegistryArgs,
        cache: Option<CacheOptions>,
        shared: Shared,
        is_personal: bool,
    ) -> Self {
        Self {
            plain_http: args.plain_http,
            authority: args.registry_ca.map(Authority::new),
            cache,
            is_personal,
            trusting: Trusting::default(),
            shared: Arc::new(shared),
            logins: OnceCell::new(),
            keychain: OnceCell::new(),
        }
    }

    /// Returns the client for registries.
    pub(crate) async fn registry(&self) -> Result<Registry, RemotesError> {
        self.registry_trusting(Vec::new()).await
    }

    /// Returns the client that trusts additional certificate authorities, in PEM. All callers that trust the same ones share it,
    /// but its tokens are shared only by callers with the same credentials.
    ///
    /// It trusts the current content of `--registry-ca`, so a caller that may ask again later should not keep it.
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
            // Creating a client reads the system's authorities. That must not block anybody else here.
            blocking(move || Registry::sharing(options, shared)).await
        };
        Ok(slot.get_or_try_init(make).await?.clone())
    }

    /// Returns the client for charts that trusts additional certificate authorities, in PEM. Without any, it uses the same client
    /// as registries do.
    pub(crate) async fn charts_trusting(
        &self,
        authorities: Vec<Vec<u8>>,
    ) -> Result<Charts, RemotesError> {
        Ok(Charts::new(self.registry_trusting(authorities).await?))
    }

    /// Returns the credentials for registries.
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

    /// Returns the client for charts, and the credentials for repositories that no Secret is for.
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

/// Holds a client once it could be created.
type Slot = Arc<OnceCell<Registry>>;

/// Clients by the authorities that they trust in addition to the public ones. If there are more than [`KEPT`], the most recently
/// used ones stay.
#[derive(Default)]
struct Trusting(Mutex<VecDeque<(Digest, Slot)>>);

impl Trusting {
    /// Returns the slot that holds the client, or in which one of those who want it at the same time creates it.
    fn slot(&self, authorities: &[Vec<u8>]) -> Slot {
        let mut key = Digester::new("trusted-authorities/v1");
        for authority in authorities {
            key.add(authority);
        }
        let key = key.finish();
        // The list is consistent at all times, even if a holder of the lock has panicked.
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
        let remotes = Remotes::of_agent(args, CacheOptions::new("unused"), 0);
        let client = remotes.registry().await.unwrap();
        remotes
            .trusting
            .slot(&authorities("ours"))
            .set(client)
            .unwrap();
        // These are not certificates that a client could be set up with.
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
