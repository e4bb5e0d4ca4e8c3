//! HTTP clients, each with the connections that it keeps for the next request.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use pintle_core::digest::Digest;
use reqwest::{Certificate, Client, redirect::Policy};
use url::Url;

use crate::{
    error::{SourceError, chain},
    limits::Limits,
};

/// Some hosts respond in git's protocol only to clients that identify themselves like this.
const AGENT: &str = concat!("git/pintle-", env!("CARGO_PKG_VERSION"));
/// The most clients that are kept. Each holds the system's authorities in memory, and every source may come with an authority
/// of its own, and with a new one at every renewal.
const KEPT: usize = 64;
/// The longest time that a connection is kept for the next request. Servers and what is in front of them close theirs after a
/// minute or so, and then the next poll would find it closed.
const KEPT_CONNECTION: Duration = Duration::from_secs(15);

/// HTTP clients, by whether they are for https and by the authority that they trust beside the system's.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<Recent<(bool, Option<Digest>), Client>>);

impl Clients {
    pub(super) fn client(
        &self,
        url: &Url,
        shown: &str,
        authority: Option<&str>,
        limits: Limits,
    ) -> Result<Client, SourceError> {
        let key = (url.scheme() == "https", authority.map(Digest::of));
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client);
        }
        let client = build(url, shown, authority, limits)?;
        clients.keep(key, client.clone());
        Ok(client)
    }
}

/// Values by key. If there are more than [`KEPT`], the most recently used ones stay.
#[derive(Debug)]
struct Recent<K, V>(VecDeque<(K, V)>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    fn get(&mut self, key: &K) -> Option<V> {
        let at = self.0.iter().position(|(other, _)| other == key)?;
        let entry = self.0.remove(at)?;
        let value = entry.1.clone();
        self.0.push_back(entry);
        Some(value)
    }

    fn keep(&mut self, key: K, value: V) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((key, value));
    }
}

fn build(
    url: &Url,
    shown: &str,
    authority: Option<&str>,
    limits: Limits,
) -> Result<Client, SourceError> {
    let builder = || {
        Client::builder()
            .user_agent(AGENT)
            .redirect(Policy::none())
            .connect_timeout(limits.connect)
            .pool_idle_timeout(KEPT_CONNECTION)
            .http1_only()
    };
    let certificates = certificates(shown, authority)?;
    let client = builder().tls_certs_merge(certificates.clone()).build();
    // Small images come without the system's authorities. That matters only to those who need them.
    let client = match client {
        Err(_) if url.scheme() == "http" || !certificates.is_empty() => {
            builder().tls_certs_only(certificates).build()
        }
        client => client,
    };
    client.map_err(|error| SourceError::Tls {
        url: shown.to_owned(),
        reason: chain(&error),
    })
}

fn certificates(shown: &str, authority: Option<&str>) -> Result<Vec<Certificate>, SourceError> {
    let Some(authority) = authority else {
        return Ok(Vec::new());
    };
    let wrong = |reason: String| SourceError::Credentials {
        url: shown.to_owned(),
        reason,
    };
    let certificates = Certificate::from_pem_bundle(authority.as_bytes())
        .map_err(|error| wrong(format!("`ca.crt` is malformed: {}", chain(&error))))?;
    if certificates.is_empty() {
        let expected = "expected PEM, `-----BEGIN CERTIFICATE-----`";
        return Err(wrong(format!("`ca.crt` holds no certificate: {expected}")));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays() {
        let mut recent = Recent::default();
        for number in 0..KEPT {
            recent.keep(number, number);
        }
        assert_eq!(recent.get(&0), Some(0));
        recent.keep(KEPT, KEPT);
        assert_eq!(recent.get(&0), Some(0));
        assert_eq!(recent.get(&1), None, "it was not used for longest");
        assert_eq!(recent.get(&KEPT), Some(KEPT));
        assert_eq!(recent.0.len(), KEPT);
    }
}
