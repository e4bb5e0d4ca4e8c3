//! How to talk to registries.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use pintle_core::digest::{Digest, Digester};

/// How to talk to registries, and how much to take from them. The default is for any registry on the internet.
#[derive(Debug, Clone)]
pub struct Options {
    /// Certificates of authorities to trust besides those of the system: PEM, one or more in each.
    pub certificate_authorities: Vec<Vec<u8>>,
    /// Time to open a connection. 10 s.
    pub connect_timeout: Duration,
    /// Time in which something must come or go on an open connection. 30 s.
    pub read_timeout: Duration,
    /// Time for a whole pull or push, so that a peer that sends one byte a second does not hold it for ever. 5 min.
    pub total_timeout: Duration,
    /// Largest component, in bytes. 64 MiB.
    pub max_component: u64,
    /// Largest archive of files, such as a chart, in bytes as it is packed. 32 MiB. All that are held have a bound together, see
    /// [`Shared::with_room_for_archives`](crate::Shared::with_room_for_archives).
    pub max_archive: u64,
    /// Largest index of a chart repository, in bytes. 96 MiB; the largest that are known have some 25.
    pub max_index: u64,
    /// Largest manifest, in bytes. 4 MiB, which the OCI distribution specification asks registries to take.
    pub max_manifest: u64,
    /// `User-Agent` of each request.
    pub user_agent: String,
    /// Hosts, `HOST` or `HOST:PORT` as in references, that may be spoken to without TLS if they do not speak it.
    /// Loopback addresses always may, as with other OCI tools.
    pub plain_http: Vec<String>,
    /// Where to keep what was pulled. Without it each pull downloads.
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
    /// Names who is trusted, so that nobody is given what somebody else would have let through.
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

    /// Says whether a host may be spoken to without TLS.
    pub(crate) fn allows_plain_http(&self, host: &str) -> bool {
        let host = without_port_80(host);
        is_loopback(host)
            || self
                .plain_http
                .iter()
                .any(|allowed| without_port_80(allowed).eq_ignore_ascii_case(host))
    }
}

/// A folder for content by digest.
///
/// It is a cache: it may be deleted at any time, and any number of processes may share it. What is read from it is
/// verified each time. Whoever knows the digest of a component gets it without asking the registry, so share it only
/// among those who may use the same components. An archive of files is given only to who names the place it was fetched
/// from and shows the credentials it was fetched with.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// The folder. It is made when something is first kept.
    pub dir: PathBuf,
    /// How much to keep, in bytes. What was not used for longest goes first, but archives of files leave a quarter to
    /// components, and one that would not is not kept.
    pub max_bytes: u64,
    /// How much to keep besides of indexes of chart repositories, in bytes. What was not used for longest goes first.
    pub max_index_bytes: u64,
}

impl CacheOptions {
    /// Keeps up to 1 GiB in a folder, and 256 MiB of indexes.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            max_bytes: 1 << 30,
            max_index_bytes: 256 << 20,
        }
    }
}

/// Is `HOST[:PORT]` as URLs have it: without the port on which http is anyway.
fn without_port_80(host: &str) -> &str {
    host.strip_suffix(":80").unwrap_or(host)
}

/// Says whether `HOST[:PORT]` is this machine.
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
