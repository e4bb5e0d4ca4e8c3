//! Fetching one source, with the contents of its Secret.

use std::{collections::BTreeMap, sync::Arc};

use pintle_core::{application::Reference, causes::chain};
use pintle_registry::{ChartError, Keychain, Logins, NoEntry, Place, ResolvedChart, Wanted};
use pintle_source::{Credentials, Remote};

use super::{FetchFailure, Fetched, SourceKey, What};
use crate::{
    agent::{
        logins::{self, Authorities},
        pauses, secrets,
        shared::Shared,
    },
    pipeline::snapshot::Snapshot,
};

/// The data of a source's Secret, or `None` if the source names none.
type Data = Option<BTreeMap<String, Vec<u8>>>;

/// Fetches one source.
pub(super) struct Fetcher {
    pub(super) shared: Arc<Shared>,
    pub(super) key: SourceKey,
    /// The login that last opened the source. While all is well, the API server is not asked for anything.
    login: Option<Login>,
    /// The git repository as it was last opened, even if that login no longer works.
    opened: Option<Remote>,
    /// The artifact that was last fetched, with the digest under which it was found.
    known: Option<(ResolvedChart, Snapshot)>,
}

/// What opens a source.
struct Login {
    /// The data that it was made from.
    data: Data,
    opens: Opens,
}

/// What is requested, with what opens it.
enum Opens {
    Git(Remote, Reference),
    Artifact(Box<Shelf>),
}

/// An artifact: its place, its version, and what opens it.
struct Shelf {
    place: Place,
    wanted: Wanted,
    /// The authorities that are trusted in addition to the public ones. They may change with each fetch.
    authorities: Authorities,
    logins: Logins,
}

impl Fetcher {
    pub(super) fn new(shared: Arc<Shared>, key: SourceKey) -> Self {
        Self {
            shared,
            key,
            login: None,
            opened: None,
            known: None,
        }
    }

    /// Fetches the source. If somebody asks for it, the fetch does not wait until a pause is over that the source has asked for.
    pub(super) async fn fetch(&mut self, is_asked: bool) -> Fetched {
        let fetched = self.try_fetch(is_asked).await;
        fetched.map_err(|error| FetchFailure {
            message: chain(&*error),
            retry_after: pauses::wish(&error),
        })
    }

    async fn try_fetch(&mut self, is_asked: bool) -> anyhow::Result<Snapshot> {
        let Some(remembered) = self.login.take() else {
            let data = self.secret().await?;
            return self.fetch_with(data, is_asked).await;
        };
        let error = match Box::pin(self.open(&remembered, is_asked)).await {
            Ok(snapshot) => {
                self.login = Some(remembered);
                return Ok(snapshot);
            }
            Err(error) => error,
        };
        // The Secret is read again only now. It is no failure that a token was replaced and the old one revoked.
        match self.secret().await {
            Ok(data) if data != remembered.data => self.fetch_with(data, is_asked).await,
            _ => Err(error),
        }
    }

    /// Fetches with the contents of a Secret, and remembers them if they open the source. After a failure somebody may change the
    /// Secret, so it is read again for the next try.
    async fn fetch_with(&mut self, data: Data, is_asked: bool) -> anyhow::Result<Snapshot> {
        let login = self.log_in(data)?;
        let snapshot = Box::pin(self.open(&login, is_asked)).await?;
        self.replace(&login);
        self.login = Some(login);
        Ok(snapshot)
    }

    /// Drops the copy of a git repository that was fetched with credentials which these ones replace.
    fn replace(&mut self, login: &Login) {
        let Opens::Git(remote, _) = &login.opens else {
            return;
        };
        let before = self.opened.replace(remote.clone());
        if let Some(before) = before.filter(|before| before.credentials != remote.credentials) {
            self.shared.repositories.forget(&before);
        }
    }

    async fn open(&mut self, login: &Login, is_asked: bool) -> anyhow::Result<Snapshot> {
        match &login.opens {
            Opens::Git(remote, reference) => {
                let repositories = &self.shared.repositories;
                let snapshot = if is_asked {
                    repositories.fetch(remote, reference).await
                } else {
                    repositories.poll(remote, reference).await
                };
                Ok(Snapshot::git(snapshot?))
            }
            Opens::Artifact(what) => {
                let Shelf {
                    place,
                    wanted,
                    authorities,
                    logins,
                } = &**what;
                let remotes = self.shared.catalog.remotes();
                let charts = remotes.charts_trusting(authorities.clone()).await;
                let charts = charts.map_err(|error| self.in_secret(error.into()))?;
                let charts = if is_asked { charts.urgent() } else { charts };
                let refused = |error: ChartError| self.refused(error, &logins.keychain);
                let resolved = charts.resolve(place, wanted, logins).await;
                let resolved = resolved.map_err(refused)?;
                // Without a digest, only the content itself shows whether it has changed.
                if let Some((found, snapshot)) = &self.known
                    && *found == resolved
                    && resolved.digest.is_some()
                    && !snapshot.is_lost()
                {
                    return Ok(snapshot.clone());
                }
                let artifact = charts.pull(&resolved, None, logins).await;
                let artifact = artifact.map_err(refused)?;
                let snapshot = Snapshot::of(&artifact);
                self.known = Some((resolved, snapshot.clone()));
                Ok(snapshot)
            }
        }
    }

    /// Adds to a refusal what the Secret lacks, if that may be why a registry refuses.
    fn refused(&self, error: ChartError, keychain: &Keychain) -> anyhow::Error {
        let Some((namespace, name, _)) = &self.key.credentials else {
            return error.into();
        };
        let lacks = NoEntry::behind_chart(&error, keychain);
        logins::refused(error.into(), namespace, name, lacks)
    }

    /// Reads the Secret.
    async fn secret(&self) -> anyhow::Result<Data> {
        let Some((namespace, name, account)) = &self.key.credentials else {
            return Ok(None);
        };
        let data = secrets::read(&self.shared.home, Some(account), namespace, name).await?;
        Ok(Some(data))
    }

    /// Adds the name of the Secret, if there is one, to an error about it.
    fn in_secret(&self, error: anyhow::Error) -> anyhow::Error {
        match &self.key.credentials {
            Some((namespace, name, _)) => error.context(format!("Secret {namespace}/{name}")),
            None => error,
        }
    }

    fn log_in(&self, data: Data) -> anyhow::Result<Login> {
        let opens = match &self.key.what {
            What::Git { url, reference } => {
                let credentials = match &data {
                    Some(data) => Credentials::from_secret(data)
                        .map_err(|error| self.in_secret(error.into()))?,
                    None => Credentials::default(),
                };
                let url = url.clone();
                Opens::Git(Remote { url, credentials }, reference.clone())
            }
            What::Artifact { place, wanted } => {
                let (authorities, logins) = match &data {
                    Some(data) => logins::of_source(place, data)
                        .map_err(|error| self.in_secret(error.into()))?,
                    None => (Vec::new(), Logins::default()),
                };
                Opens::Artifact(Box::new(Shelf {
                    place: place.clone(),
                    wanted: wanted.clone(),
                    authorities,
                    logins,
                }))
            }
        };
        Ok(Login { data, opens })
    }
}
