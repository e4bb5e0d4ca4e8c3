//! What a plugin may do: what it requests **and** an operator grants.

use std::{collections::BTreeSet, fmt, str::FromStr};

use pintle_core::{
    application::Grants,
    plugin::{Capability, Kind},
};

/// The reason why a capability is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The text does not name hosts.
    #[error(
        "`{0}` does not name hosts: expected `hooks.example.com`, `*.example.com`, either with `:PORT`, or `*`"
    )]
    Host(String),
    /// The text does not name a kind.
    #[error(
        "`{0}` does not name a kind: expected `v1/ConfigMap`, `apps/v1/Deployment`, or `*` for any"
    )]
    Kind(String),
    /// Plugins of this kind never get the capability.
    #[error("a {kind} plugin cannot be given {capability}")]
    Unfit {
        /// The plugin's kind.
        kind: Kind,
        /// The capability that it requests.
        capability: Capability,
    },
}

/// The hosts that a grant or a request names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPattern {
    name: HostName,
    port: Port,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum HostName {
    Any,
    /// `.example.com`, for `*.example.com`.
    Below(String),
    Exact(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Port {
    Any,
    /// The default port of the scheme: 443 or 80.
    Own,
    Exact(u16),
}

impl FromStr for HostPattern {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || GrantError::Host(text.to_owned());
        if text == "*" {
            return Ok(Self {
                name: HostName::Any,
                port: Port::Any,
            });
        }
        // The colons of an IPv6 address are inside brackets.
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => {
                (name, Port::Exact(port.parse().map_err(|_| error())?))
            }
            _ => (text, Port::Own),
        };
        let name = name.to_ascii_lowercase();
        let name = match name.strip_prefix('*') {
            Some("") => HostName::Any,
            Some(rest) if rest.strip_prefix('.').is_some_and(is_name) => {
                HostName::Below(rest.to_owned())
            }
            None if is_name(&name) || is_address(&name) => HostName::Exact(name),
            _ => return Err(error()),
        };
        Ok(Self { name, port })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

fn is_address(text: &str) -> bool {
    text.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            HostName::Any => f.write_str("*")?,
            HostName::Below(suffix) => write!(f, "*{suffix}")?,
            HostName::Exact(name) => f.write_str(name)?,
        }
        match self.port {
            Port::Exact(port) => write!(f, ":{port}"),
            Port::Any | Port::Own => Ok(()),
        }
    }
}

impl HostPattern {
    /// Returns whether a host (as URLs write it, IPv6 in brackets) and port match. `own` is the default port of the URL's scheme.
    pub(crate) fn matches(&self, host: &str, port: u16, own: u16) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let name = match &self.name {
            HostName::Any => true,
            HostName::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            HostName::Exact(name) => *name == host,
        };
        name && match self.port {
            Port::Any => true,
            Port::Own => port == own,
            Port::Exact(exact) => port == exact,
        }
    }

    /// Returns the hosts that both patterns name, if any.
    fn and(&self, other: &Self) -> Option<Self> {
        use HostName::{Any, Below, Exact};
        let name = match (&self.name, &other.name) {
            (Any, name) | (name, Any) => name.clone(),
            (Exact(a), Exact(b)) => (a == b).then(|| self.name.clone())?,
            (Exact(name), Below(suffix)) | (Below(suffix), Exact(name)) => {
                (name.len() > suffix.len() && name.ends_with(suffix))
                    .then(|| Exact(name.clone()))?
            }
            (Below(a), Below(b)) if a.ends_with(b.as_str()) => self.name.clone(),
            (Below(a), Below(b)) if b.ends_with(a.as_str()) => other.name.clone(),
            (Below(_), Below(_)) => return None,
        };
        let port = match (self.port, other.port) {
            (Port::Any, port) | (port, Port::Any) => port,
            (Port::Own, Port::Own) => Port::Own,
            (Port::Exact(a), Port::Exact(b)) => (a == b).then_some(Port::Exact(a))?,
            // `example.com` and `example.com:443` both name the latter.
            (Port::Own, Port::Exact(port)) | (Port::Exact(port), Port::Own) => {
                matches!(port, 80 | 443).then_some(Port::Exact(port))?
            }
        };
        Some(Self { name, port })
    }
}

/// What a plugin may do: what is both requested and granted. Empty unless both sides name it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EffectiveGrants {
    hosts: BTreeSet<HostPattern>,
    kinds: BTreeSet<String>,
    private_networks: bool,
    missing: Vec<Capability>,
}

impl EffectiveGrants {
    /// Computes what both sides name.
    pub(crate) fn new(
        kind: Kind,
        requests: &[Capability],
        granted: &OperatorGrants,
    ) -> Result<Self, GrantError> {
        let mut effective = Self {
            private_networks: granted.private_networks,
            ..Self::default()
        };
        for request in requests {
            let granted_any = match request {
                Capability::HttpHost(text) => {
                    if kind != Kind::Notifier {
                        return Err(unfit(kind, request));
                    }
                    let asked: HostPattern = text.parse()?;
                    let both: BTreeSet<_> = granted
                        .hosts
                        .iter()
                        .filter_map(|own| own.and(&asked))
                        .collect();
                    let any = !both.is_empty();
                    effective.hosts.extend(both);
                    any
                }
                Capability::ClusterRead(text) => {
                    if !matches!(kind, Kind::Renderer | Kind::Policy) {
                        return Err(unfit(kind, request));
                    }
                    let asked = parse_kind(text)?;
                    let both: BTreeSet<_> = granted
                        .kinds
                        .iter()
                        .filter_map(|own| kind_in_both(asked, own))
                        .map(ToOwned::to_owned)
                        .collect();
                    let any = !both.is_empty();
                    effective.kinds.extend(both);
                    any
                }
            };
            if !granted_any {
                effective.missing.push(request.clone());
            }
        }
        Ok(effective)
    }

    /// Returns what the plugin may do, for the status.
    pub fn capabilities(&self) -> Vec<Capability> {
        let hosts = self
            .hosts
            .iter()
            .map(|host| Capability::HttpHost(host.to_string()));
        let kinds = self.kinds.iter().cloned().map(Capability::ClusterRead);
        hosts.chain(kinds).collect()
    }

    /// Returns what the plugin requests without getting any part of it.
    pub fn missing(&self) -> &[Capability] {
        &self.missing
    }

    /// Returns whether hosts on private networks may be reached.
    pub fn private_networks(&self) -> bool {
        self.private_networks
    }

    /// Returns whether requests to a host are allowed. `own` is the default port of the URL's scheme.
    pub(crate) fn reaches(&self, host: &str, port: u16, own: u16) -> bool {
        self.hosts
            .iter()
            .any(|pattern| pattern.matches(host, port, own))
    }

    /// Returns whether a kind may be read from the cluster.
    pub(crate) fn reads(&self, api_version: &str, kind: &str) -> bool {
        self.kinds.contains(ANY_KIND) || self.kinds.contains(&format!("{api_version}/{kind}"))
    }
}

/// An operator's grants, parsed.
#[derive(Debug, Clone, Default)]
pub(crate) struct OperatorGrants {
    hosts: Vec<HostPattern>,
    kinds: BTreeSet<String>,
    private_networks: bool,
}

impl TryFrom<&Grants> for OperatorGrants {
    type Error = GrantError;

    fn try_from(grants: &Grants) -> Result<Self, Self::Error> {
        let hosts = grants
            .http_hosts
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()?;
        let kinds = grants
            .cluster_reads
            .iter()
            .map(|text| parse_kind(text).map(ToOwned::to_owned))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            hosts,
            kinds,
            private_networks: grants.private_networks,
        })
    }
}

fn unfit(kind: Kind, capability: &Capability) -> GrantError {
    GrantError::Unfit {
        kind,
        capability: capability.clone(),
    }
}

/// The name for all kinds.
const ANY_KIND: &str = "*";

/// Returns the kinds that both sides name, if any.
fn kind_in_both<'a>(asked: &'a str, granted: &'a str) -> Option<&'a str> {
    match (asked, granted) {
        (ANY_KIND, other) | (other, ANY_KIND) => Some(other),
        _ => (asked == granted).then_some(asked),
    }
}

fn parse_kind(text: &str) -> Result<&str, GrantError> {
    let parts: Vec<&str> = text.split('/').collect();
    if text == ANY_KIND {
        return Ok(text);
    }
    if matches!(parts.len(), 2 | 3) && parts.iter().all(|part| !part.is_empty() && *part != "*") {
        Ok(text)
    } else {
        Err(GrantError::Kind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective(
        kind: Kind,
        asked: &[Capability],
        hosts: &[&str],
        kinds: &[&str],
    ) -> EffectiveGrants {
        let grants = Grants {
            http_hosts: hosts.iter().map(ToString::to_string).collect(),
            cluster_reads: kinds.iter().map(ToString::to_string).collect(),
            private_networks: false,
        };
        EffectiveGrants::new(kind, asked, &OperatorGrants::try_from(&grants).unwrap()).unwrap()
    }

    fn hosts(asked: &[&str], granted: &[&str]) -> (Vec<String>, usize) {
        let asked: Vec<_> = asked
            .iter()
            .map(|host| Capability::HttpHost(host.to_string()))
            .collect();
        let effective = effective(Kind::Notifier, &asked, granted, &[]);
        let names = effective.hosts.iter().map(ToString::to_string).collect();
        (names, effective.missing.len())
    }

    #[test]
    fn only_what_both_name_is_effective() {
        let names = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(hosts(&["*"], &[]), (names(&[]), 1));
        assert_eq!(hosts(&[], &["*"]), (names(&[]), 0));
        assert_eq!(
            hosts(&["*"], &["a.example.com:8443", "*.b.com"]),
            (names(&["*.b.com", "a.example.com:8443"]), 0)
        );
        assert_eq!(
            hosts(&["*.example.com"], &["a.example.com", "b.com"]),
            (names(&["a.example.com"]), 0)
        );
        assert_eq!(hosts(&["a.com"], &["b.com"]), (names(&[]), 1));
        assert_eq!(hosts(&["*.example.com"], &["example.com"]), (names(&[]), 1));
        assert_eq!(
            hosts(&["*.eu.example.com"], &["*.example.com"]),
            (names(&["*.eu.example.com"]), 0)
        );
        assert_eq!(
            hosts(&["a.com"], &["a.com:443"]),
            (names(&["a.com:443"]), 0)
        );
        assert_eq!(hosts(&["a.com"], &["a.com:8443"]), (names(&[]), 1));
    }

    #[test]
    fn hosts_match_by_label_and_port() {
        let pattern = |text: &str| text.parse::<HostPattern>().unwrap();
        assert!(pattern("*.example.com").matches("a.B.example.com.", 443, 443));
        assert!(!pattern("*.example.com").matches("example.com", 443, 443));
        assert!(!pattern("*.example.com").matches("evilexample.com", 443, 443));
        assert!(!pattern("a.com").matches("a.com", 8443, 443));
        assert!(pattern("a.com:8443").matches("a.com", 8443, 443));
        assert!(pattern("[::1]:80").matches("[::1]", 80, 443));
        assert!(pattern("*").matches("10.0.0.1", 9, 80));
        assert!(!pattern("*:9").matches("10.0.0.1", 80, 80));
    }

    #[test]
    fn malformed_grants_are_refused() {
        for text in [
            "",
            "a b",
            "*a.com",
            "a.*.com",
            "a.com:http",
            "https://a.com",
            "a..b",
            "*.",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
        for text in ["ConfigMap", "v1/", "*/*", "a/b/c/d", "apps/v1/*"] {
            assert!(parse_kind(text).is_err(), "{text}");
        }
        insta::assert_snapshot!("https://a.com".parse::<HostPattern>().unwrap_err(), @"`https://a.com` does not name hosts: expected `hooks.example.com`, `*.example.com`, either with `:PORT`, or `*`");
    }

    #[test]
    fn a_pure_kind_cannot_even_ask_for_the_network() {
        let asked = [Capability::HttpHost("a.com".into())];
        let error = EffectiveGrants::new(Kind::Renderer, &asked, &OperatorGrants::default());
        insta::assert_snapshot!(error.unwrap_err(), @"a renderer plugin cannot be given http host a.com");
        let asked = [Capability::ClusterRead("v1/Secret".into())];
        let error = EffectiveGrants::new(Kind::Health, &asked, &OperatorGrants::default());
        insta::assert_snapshot!(error.unwrap_err(), @"a health plugin cannot be given cluster read of v1/Secret");
    }

    #[test]
    fn kinds_of_the_cluster_are_exact() {
        let asked = [
            Capability::ClusterRead("v1/ConfigMap".into()),
            Capability::ClusterRead("apps/v1/Deployment".into()),
        ];
        let grants = effective(Kind::Policy, &asked, &[], &["v1/ConfigMap", "v1/Secret"]);
        assert!(grants.reads("v1", "ConfigMap") && !grants.reads("v1", "Secret"));
        assert_eq!(grants.missing(), &asked[1..]);
    }

    #[test]
    fn any_kind_may_be_asked_for_and_granted() {
        let any = [Capability::ClusterRead("*".into())];
        let grants = effective(Kind::Renderer, &any, &[], &["v1/ConfigMap"]);
        assert!(grants.reads("v1", "ConfigMap") && !grants.reads("v1", "Secret"));
        let one = [Capability::ClusterRead("v1/Secret".into())];
        let grants = effective(Kind::Renderer, &one, &[], &["*"]);
        assert!(grants.reads("v1", "Secret") && !grants.reads("v1", "ConfigMap"));
        let grants = effective(Kind::Renderer, &any, &[], &["*"]);
        assert!(grants.reads("apps/v1", "Deployment"));
        let grants = effective(Kind::Renderer, &any, &[], &[]);
        assert!(!grants.reads("v1", "ConfigMap") && grants.missing() == any);
    }
}
