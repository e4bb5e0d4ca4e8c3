//! The part of the network that an address belongs to.
//!
//! A name is resolved once, disallowed addresses are dropped from the answer, and the client dials the remaining ones. It never
//! connects to an address that was not checked.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::{
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
};

/// The maximum number of concurrent lookups. A system lookup blocks a thread for as long as it takes, whether or not anybody
/// still waits for it, and all blocking work shares those threads.
const LOOKUPS: usize = 16;

/// The maximum number of concurrent lookups of one name: a name that nobody answers for leaves room for the others.
const OF_ONE_NAME: usize = 4;

/// The address at which every machine in Azure finds its host. No registry of special addresses lists it. It serves the settings
/// and certificates of the node. <https://learn.microsoft.com/en-us/azure/virtual-network/what-is-ip-address-168-63-129-16>
const AZURE: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Permits for lookups, shared by all clones.
#[derive(Debug, Clone)]
pub(super) struct Lookups {
    all: Arc<Semaphore>,
    /// The permits of each name that is being looked up or waited for.
    names: Arc<Mutex<BTreeMap<String, Weak<Semaphore>>>>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self::new(LOOKUPS)
    }
}

impl Lookups {
    fn new(most: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(most)),
            names: Arc::default(),
        }
    }

    /// Returns the permits of a name.
    fn of_name(&self, name: &str) -> Arc<Semaphore> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, room| room.strong_count() > 0);
        if let Some(room) = names.get(name).and_then(Weak::upgrade) {
            return room;
        }
        let room = Arc::new(Semaphore::new(OF_ONE_NAME));
        names.insert(name.to_owned(), Arc::downgrade(&room));
        room
    }

    /// Runs a lookup of a name once it has a permit. A caller that gives up before that leaves nothing behind. A caller that
    /// gives up later leaves its one lookup, which keeps its permits until it is over.
    async fn run<T: Send + 'static>(
        &self,
        name: &str,
        lookup: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        const OPEN: &str = "never closed";
        // In this order, a caller that waits for a name takes nothing from the others.
        let own = self.of_name(name).acquire_owned().await.expect(OPEN);
        let room = Arc::clone(&self.all).acquire_owned().await.expect(OPEN);
        let looked_up = spawn_blocking(move || {
            let found = lookup();
            drop((own, room));
            found
        });
        looked_up.await
    }
}

/// The error for a name whose addresses are all on networks that are not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host}, which is {address},")]
pub(super) struct Blocked {
    pub(super) host: String,
    pub(super) address: IpAddr,
}

/// The resolver of one client.
#[derive(Debug)]
pub(super) struct Resolver {
    /// Whether private, local and reserved addresses may be dialled.
    pub(super) private: bool,
    pub(super) lookups: Lookups,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (private, lookups) = (self.private, self.lookups.clone());
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let wanted = host.clone();
            let found = lookups.run(&host, move || (wanted.as_str(), 0_u16).to_socket_addrs());
            let found: Vec<SocketAddr> = found.await??.collect();
            let allowed = allowed(&host, found, private)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn allowed(host: &str, found: Vec<SocketAddr>, private: bool) -> Result<Vec<SocketAddr>, Blocked> {
    let first = found.first().map(SocketAddr::ip);
    let allowed: Vec<_> = found
        .into_iter()
        .filter(|address| private || is_public(address.ip()))
        .collect();
    match first {
        Some(address) if allowed.is_empty() => Err(Blocked {
            host: host.to_owned(),
            address,
        }),
        _ => Ok(allowed),
    }
}

/// Returns whether an address belongs to the public internet, according to the registries of special-purpose addresses (RFC
/// 6890), with the exception of [`AZURE`].
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    if address == AZURE {
        return false;
    }
    let [a, b, c, _] = address.octets();
    // In order: "this network", private (RFC 1918), loopback, and from 224 on multicast, reserved and broadcast; shared by
    // carriers (RFC 6598); link-local, where clouds serve credentials (RFC 3927); protocols, documentation, 6to4 relays and
    // benchmarks (RFC 6890, 5737, 7526, 2544).
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., _, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Embedded IPv4: mapped, translated (RFC 6052), 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            embedded(high, low)
        }
        [0x2002, high, low, ..] => embedded(high, low),
        // Global unicast is 2000::/3 and nothing else; it contains protocols (2001::/23) and documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_lookup_that_was_given_up_before_its_turn_is_never_made() {
        let lookups = Lookups::new(1);
        let made = Arc::new(AtomicUsize::new(0));
        let (open, gate) = mpsc::channel::<()>();
        // A lookup that does not end before it is allowed to.
        let slow = lookups.run("a", move || gate.recv());
        assert!(slow.now_or_never().is_none());
        for _ in 0..100 {
            let made = Arc::clone(&made);
            let given_up = lookups.run("a", move || made.fetch_add(1, Ordering::Relaxed));
            assert!(given_up.now_or_never().is_none());
        }
        open.send(()).unwrap();
        assert_eq!(lookups.run("a", || "found").await.unwrap(), "found");
        assert_eq!(made.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_name_that_nobody_answers_for_leaves_room_for_others() {
        let lookups = Lookups::default();
        let mut gates = Vec::new();
        for _ in 0..2 * LOOKUPS {
            // It does not end before the test does.
            let (open, gate) = mpsc::channel::<()>();
            let hangs = lookups.run("a", move || gate.recv());
            assert!(hangs.now_or_never().is_none());
            gates.push(open);
        }
        assert_eq!(lookups.all.available_permits(), LOOKUPS - OF_ONE_NAME);
        assert_eq!(lookups.run("b", || "found").await.unwrap(), "found");
        lookups.of_name("c");
        let names = lookups.names.lock().unwrap();
        assert!(names.keys().eq(["a", "c"]), "nothing is left of b");
    }

    #[test]
    fn only_the_public_internet_is_public() {
        let public = |text: &str| is_public(text.parse().unwrap());
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "168.63.129.15",
            "168.63.129.17",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:0808:0808::1",
            "2001:4860::8888",
        ] {
            assert!(public(address), "{address}");
        }
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:168.63.129.16",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b::168.63.129.16",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "3fff::1",
            "4000::1",
        ] {
            assert!(!public(address), "{address}");
        }
    }

    #[test]
    fn only_allowed_addresses_are_left_to_dial() {
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            texts
                .iter()
                .map(|text| SocketAddr::new(text.parse().unwrap(), 0))
                .collect()
        };
        let both = addresses(&["10.0.0.1", "1.1.1.1"]);
        assert_eq!(
            allowed("a", both.clone(), false).unwrap(),
            addresses(&["1.1.1.1"])
        );
        assert_eq!(allowed("a", both.clone(), true).unwrap(), both);
        assert_eq!(allowed("a", Vec::new(), false).unwrap(), Vec::new());
        let error =
            allowed("metadata.internal", addresses(&["169.254.169.254"]), false).unwrap_err();
        insta::assert_snapshot!(super::super::private(&error.to_string()), @"metadata.internal, which is 169.254.169.254, is on a private, local or reserved network: set `grants.privateNetworks` of the Plugin if it may be");
    }
}
