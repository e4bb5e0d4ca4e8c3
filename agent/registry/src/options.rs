//! Options for talking to registries.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use pintle_core::digest::{Digest, Digester};

/// How to talk to registries, and how much to accept from them. The defaults suit any registry on the internet.
#[derive(Debug, Clone)]
pub struct Options {
    /// The certificates of authorities to trust in addition to those of the system. Each item is PEM text with one or more.
    pub certificate_authorities: Vec<Vec<u8>>,
    /// The time limit for opening a connection. 10 s.
    pub connect_timeout: Duration,
    /// The time within which some data must be received or sent on an open connection. 30 s.
    pub read_timeout: Duration,
    /// The time limit for a whole pull or push, so that a server that sends one byte a second cannot make it last forever. 5 min.
    pub total_timeout: Duration,
    /// The size of the largest component that is accepted, in bytes. 64 MiB.
    pub max_component: u64,
    /// The packed size of the largest archive of files, such as a chart, that is accepted, in bytes. 32 MiB. All archives that
    /// are held share a limit, see [`Shared::with_room_for_archives`](crate::Shared::with_room_for_archives).
    pub max_archive: u64,
    /// The size of the largest index of a chart repository that is accepted, in bytes. 96 MiB. The largest known indexes have
    /// about 25 MiB.
    pub max_index: u64,
    /// The size of the largest manifest that is accepted, in bytes. 4 MiB, the size that the OCI distribution specification asks
    /// registries to accept.
    pub max_manifest: u64,
    /// The `User-Agent` of each request.
    pub user_agent: String,
    /// The hosts that may be spoken to without TLS if they do not support it, as `HOST` or `HOST:PORT` like in references.
    /// Loopback addresses always may, as with other OCI tools.
    pub plain_http: Vec<String>,
    /// Where to keep pulled content. Without a cache, each pull is a download.
    pub cache: Option<CacheOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            certificate_authorities: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_mins(5),
            max_component: 64 << 20,
            max_archive: 32 << 20,
            max_index: 96 << 20,
            max_manifest: 4 << 20,
            user_agent: concat!("pintle/", env!("CARGO_PKG_VERSION")).to_owned(),
            plain_http: Vec::new(),
            cache: None,
        }
    }
}

impl Options {
    /// Returns a digest of what these options trust, so that no client gets content that only another client's options would have
    /// accepted.
    pub(crate) fn trust(&self) -> Digest {
        let authorities = self.certificate_authorities.len() as u64;
        let mut digester = Digester::new("registry-trust/v1").part(authorities.to_be_bytes());
        for authority in &self.certificate_authorities {
            digester.add(authority);
        }
        for host in &self.plain_http {
            digester.add(host);
        }
        digester.finish()
    }

    /// Returns whether a host may be spoken to without TLS.
    pub(crate) fn allows_plain_http(&self, host: &str) -> bool {
        let host = without_port_80(host);
        is_loopback(host)
            || self
                .plain_http
                .iter()
                .any(|allowed| without_port_80(allowed).eq_ignore_ascii_case(host))
    }
}

/// A folder for cached content by digest.
///
/// It may be deleted at any time, and any number of processes may share it. Content is verified each time it is read. A
/// client that knows the digest of a component gets the component without a request to the registry, so share the folder only
/// among clients that may use the same components. A client gets an archive of files only if it names the place that the
/// archive was fetched from, and has the credentials that it was fetched with.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// The folder. It is created when the first file is kept.
    pub dir: PathBuf,
    /// The maximum size of what is kept, in bytes. Once it is exceeded, archives of files are evicted while they
    /// take more than three quarters of it, and otherwise components, each the least recently used first. An archive that is
    /// larger than three quarters is not kept.
    pub max_bytes: u64,
    /// The maximum size of the indexes of chart repositories that are kept in addition, in bytes. The least recently used indexes
    /// are evicted first.
    pub max_index_bytes: u64,
}

impl CacheOptions {
    /// Creates options that keep up to 1 GiB in a folder, and 256 MiB of indexes.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            max_bytes: 1 << 30,
            max_index_bytes: 256 << 20,
        }
    }
}

/// Returns `HOST[:PORT]` as in URLs: without the port that http uses by default.
fn without_port_80(host: &str) -> &str {
    host.strip_suffix(":80").unwrap_or(host)
}

/// Returns whether `HOST[:PORT]` is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_named_by_all_who_are_trusted() {
        fn trust(authorities: &[&str], hosts: &[&str]) -> Digest {
            let options = Options {
                certificate_authorities: authorities.iter().map(|&pem| pem.into()).collect(),
                plain_http: hosts.iter().map(|&host| host.to_owned()).collect(),
                ..Options::default()
            };
            options.trust()
        }
        assert_eq!(trust(&["a"], &["b"]), trust(&["a"], &["b"]));
        let all = [
            trust(&[], &[]),
            trust(&["a"], &[]),
            trust(&[], &["a"]),
            trust(&["a", "b"], &[]),
            trust(&["a"], &["b"]),
        ];
        for (number, one) in all.iter().enumerate() {
            assert!(!all[..number].contains(one), "{number}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_and_whom_is_named() {
        let options = Options {
            plain_http: ["registry.local:5000", "other.local", "third.local:80"]
                .map(String::from)
                .into(),
            ..Options::default()
        };
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:1",
            "127.8.9.1",
            "[::1]:5000",
            "REGISTRY.local:5000",
            "other.local",
            "other.local:80",
            "third.local",
            "Third.local:80",
        ] {
            assert!(options.allows_plain_http(host), "{host}");
        }
        for host in [
            "ghcr.io",
            "registry.local",
            "other.local:5000",
            "registry.local:80",
            "third.local:8080",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "[::2]",
        ] {
            assert!(!options.allows_plain_http(host), "{host}");
        }
    }
}
