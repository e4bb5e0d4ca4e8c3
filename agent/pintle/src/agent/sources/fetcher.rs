//! Fetching one source, with what its Secret holds.

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

/// The data of a source's Secret; nothing if it names none.
type Data = Option<BTreeMap<String, Vec<u8>>>;

/// Fetches one source.
pub(super) struct Fetcher {
    pub(super) shared: Arc<Shared>,
    pub(super) key: SourceKey,
    /// What opened the source last: nothing is asked of the API server while all is well.
    login: Option<Login>,
    /// The git repository as it was opened last, also if it opens that no more.
    opened: Option<Remote>,
    /// The artifact that was fetched last, with the digest under which it was found.
    known: Option<(ResolvedChart, Snapshot)>,
}

/// What opens a source.
struct Login {
    /// What it was made of.
    data: Data,
    opens: Opens,
}

/// What is asked for, with what opens it.
enum Opens {
    Git(Remote, Reference),
    Artifact(Box<Shelf>),
}

/// An artifact: where it is, which, and what opens it.
struct Shelf {
    place: Place,
    wanted: Wanted,
    /// Who is trusted besides everybody's authorities, which may be others with each fetch.
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

    /// Fetches it. What somebody asks for does not wait until a pause is over that the source has asked for.
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
        // The Secret is read again only now: that a token was replaced, and the old one taken back, is no failure.
        match self.secret().await {
            Ok(data) if data != remembered.data => self.fetch_with(data, is_asked).await,
            _ => Err(error),
        }
    }

    /// Fetches with what a Secret holds, and remembers that if it opens the source: after a failure somebody may change it,
    /// so it is read again for the next try.
    async fn fetch_with(&mut self, data: Data, is_asked: bool) -> anyhow::Result<Snapshot> {
        let login = self.log_in(data)?;
        let snapshot = Box::pin(self.open(&login, is_asked)).await?;
        self.replace(&login);
        self.login = Some(login);
        Ok(snapshot)
    }

    /// Lets go of the copy of a git repository that was fetched with what these credentials have taken the place of.
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
                // Without a digest only the content itself says whether it is another one.
                if let Some((found, snapshot)) = &self.known
                    && *found == resolved
                    && resolved.digest.is_some()
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

    /// Says what the Secret lacks, where that may be why a registry refuses.
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

    /// Names the Secret, if there is one, of which something is wrong.
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
