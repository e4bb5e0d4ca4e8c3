//! What happens to each request. It is determined by the seed, the request, and how often the request was sent before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pintle_harness::Fault;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

use crate::lock;
use crate::schedule::Weather;

/// The state that the proxies of one schedule share with its director.
#[derive(Debug)]
pub(crate) struct Trouble {
    seed: u64,
    weather: Mutex<Weather>,
    victims: Vec<Victim>,
    requests: AtomicU64,
    /// Those of the requests that do not renew a lease.
    work: AtomicU64,
    faults: AtomicU64,
}

/// A replica that may be killed.
#[derive(Debug)]
struct Victim {
    pid: AtomicU32,
    /// After how many further requests of the replica to the API server. Negative for never.
    after: AtomicI64,
    /// Whether it was killed and nobody has asked about that yet.
    is_struck: AtomicBool,
}

impl Victim {
    fn count_down(&self) {
        if self.after.load(Ordering::Relaxed) >= 0
            && self.after.fetch_sub(1, Ordering::Relaxed) == 0
        {
            self.is_struck.store(true, Ordering::Relaxed);
            // It may have ended by itself a moment ago.
            let _ = i32::try_from(self.pid.load(Ordering::Relaxed))
                .map(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL));
        }
    }
}

/// Where requests go, and for which replica if that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    ApiServer(usize),
    /// Git, the registry and the receiver of messages: one server, distinguished by paths.
    Servers,
    /// A replica's own webhook receiver.
    Webhooks(usize),
}

impl Place {
    /// Returns a prefix that distinguishes the requests of replicas.
    fn prefix(self) -> String {
        match self {
            Self::ApiServer(0) | Self::Webhooks(0) | Self::Servers => String::new(),
            Self::ApiServer(replica) | Self::Webhooks(replica) => format!("{replica} "),
        }
    }
}

impl Trouble {
    pub(crate) fn new(seed: u64, weather: Weather, replicas: usize) -> Arc<Self> {
        let victim = || Victim {
            pid: AtomicU32::new(0),
            after: AtomicI64::new(-1),
            is_struck: AtomicBool::new(false),
        };
        Arc::new(Self {
            seed,
            weather: Mutex::new(weather),
            victims: (0..replicas).map(|_| victim()).collect(),
            requests: AtomicU64::new(0),
            work: AtomicU64::new(0),
            faults: AtomicU64::new(0),
        })
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        *lock(&self.weather) = weather;
    }

    /// Sets the process of a replica, which is killed when it is time.
    pub(crate) fn follow(&self, replica: usize, pid: u32) {
        if let Some(victim) = self.victims.get(replica) {
            victim.pid.store(pid, Ordering::Relaxed);
        }
    }

    pub(crate) fn kill_after(&self, replica: usize, requests: u64) {
        let requests = i64::try_from(requests).unwrap_or(i64::MAX);
        if let Some(victim) = self.victims.get(replica) {
            victim.after.store(requests, Ordering::Relaxed);
        }
    }

    pub(crate) fn never_kill(&self) {
        for victim in &self.victims {
            victim.after.store(-1, Ordering::Relaxed);
        }
    }

    /// Returns whether a replica was killed since the last call.
    pub(crate) fn was_struck(&self, replica: usize) -> bool {
        let victim = self.victims.get(replica);
        victim.is_some_and(|victim| victim.is_struck.swap(false, Ordering::Relaxed))
    }

    /// Returns how many requests the API server's proxies saw.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns how many of them were not about leases, which are renewed forever.
    pub(crate) fn work(&self) -> u64 {
        self.work.load(Ordering::Relaxed)
    }

    /// Returns how many requests a fault hit.
    pub(crate) fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Returns the function that decides for one proxy.
    pub(crate) fn decide(
        self: &Arc<Self>,
        place: Place,
    ) -> impl FnMut(&str, &str) -> Option<Fault> + Send + use<> {
        let trouble = Arc::clone(self);
        let mut counts = HashMap::<String, u64>::new();
        move |method, uri| {
            if let Place::ApiServer(replica) = place {
                trouble.count(replica, uri);
            }
            let percent = trouble.percent(place, uri);
            if percent == 0 {
                return None;
            }
            let key = format!("{}{method} {}", place.prefix(), stable(uri));
            let count = counts.entry(key.clone()).or_default();
            let mut random = dice(trouble.seed, &key, *count);
            *count += 1;
            if random.random_range(0..100) >= percent {
                return None;
            }
            trouble.faults.fetch_add(1, Ordering::Relaxed);
            Some(match place {
                Place::ApiServer(_) => api_fault(method, uri, &mut random),
                Place::Servers | Place::Webhooks(_) => server_fault(method, &mut random),
            })
        }
    }

    fn count(&self, replica: usize, uri: &str) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if !uri.contains("/leases") {
            self.work.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(victim) = self.victims.get(replica) {
            victim.count_down();
        }
    }

    fn percent(&self, place: Place, uri: &str) -> u8 {
        let weather = *lock(&self.weather);
        match place {
            Place::ApiServer(_) => weather.api_server,
            Place::Servers if !uri.starts_with("/sink/") => weather.git,
            Place::Servers | Place::Webhooks(_) => weather.webhooks,
        }
    }
}

/// Returns the part of an address that is the same whenever a seed runs.
fn stable(uri: &str) -> String {
    const VARYING: [&str; 3] = ["resourceVersion=", "continue=", "timeoutSeconds="];
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let query = query
        .split('&')
        .filter(|parameter| !VARYING.iter().any(|varying| parameter.starts_with(varying)));
    query.fold(path.to_owned(), |mut all, parameter| {
        all.push('&');
        all.push_str(parameter);
        all
    })
}

fn dice(seed: u64, key: &str, count: u64) -> StdRng {
    let digest = Sha256::new()
        .chain_update(seed.to_be_bytes())
        .chain_update(count.to_be_bytes())
        .chain_update(key)
        .finalize();
    StdRng::from_seed(digest.into())
}

fn api_fault(method: &str, uri: &str, random: &mut StdRng) -> Fault {
    let fault = Fault::on("*", "");
    if uri.contains("watch=true") || uri.contains("watch=1") {
        return match random.random_range(0..8) {
            0 => fault.delay(moment(random)),
            1 => fault.refuse(),
            2 => fault.status(410, "Expired", "too old resource version"),
            3 => overloaded(fault, random),
            4 => fault.expire_after(random.random_range(0..4)),
            5 => fault.rewind(random.random_range(1..80)),
            6 => fault.pace(moment(random)),
            _ => fault.cut_after(random.random_range(0..4000)),
        };
    }
    if method == "GET" {
        return match random.random_range(0..6) {
            0 | 1 => fault.delay(moment(random)),
            2 => fault.refuse(),
            3 => overloaded(fault, random),
            4 if !uri.contains("limit=") => fault.lose_answer(),
            4 => fault.status(410, "Expired", "the provided continue parameter is too old"),
            _ => fault.cut_after(random.random_range(0..1000)),
        };
    }
    match random.random_range(0..10) {
        0..=2 => fault.delay(moment(random)),
        3 => fault.refuse(),
        4..=6 => fault.lose_answer(),
        7 => fault.status(
            409,
            "Conflict",
            "the object has been modified; please apply your changes to the latest version and try again",
        ),
        _ => overloaded(fault, random),
    }
}

fn server_fault(method: &str, random: &mut StdRng) -> Fault {
    let fault = Fault::on("*", "");
    match random.random_range(0..6) {
        0 | 1 => fault.delay(moment(random)),
        2 => fault.refuse(),
        3 if method == "POST" => fault.lose_answer(),
        3 => fault.cut_after(random.random_range(0..2000)),
        4 => fault.status(500, "InternalError", "injected"),
        _ => fault
            .status(503, "ServiceUnavailable", "injected")
            .header("retry-after", "1"),
    }
}

/// Answers as the API server does when it is overloaded, or when what is behind it is.
fn overloaded(fault: Fault, random: &mut StdRng) -> Fault {
    match random.random_range(0..5) {
        0 => fault
            .status(
                429,
                "TooManyRequests",
                "too many requests, please try again later",
            )
            .header("retry-after", "1"),
        1 | 2 => fault.status(500, "InternalError", "etcdserver: request timed out"),
        _ => fault.status(
            503,
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
    }
}

fn moment(random: &mut StdRng) -> Duration {
    Duration::from_millis(random.random_range(5..250))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(seed: u64) -> Vec<Option<String>> {
        let weather = Weather {
            api_server: 50,
            ..Weather::default()
        };
        let mut decide = Trouble::new(seed, weather, 1).decide(Place::ApiServer(0));
        (0..40)
            .map(|number| {
                let uri = format!("/api/v1/pods?watch=true&resourceVersion={number}");
                decide("GET", &uri).map(|fault| format!("{fault:?}"))
            })
            .collect()
    }

    #[test]
    fn a_seed_decides_the_same_whatever_versions_are_asked_for() {
        assert_eq!(struck(1), struck(1));
        assert_ne!(struck(1), struck(2));
        let some = struck(1).iter().flatten().count();
        assert!((5..35).contains(&some), "{some} of 40");
    }

    #[test]
    fn in_fine_weather_nothing_happens() {
        let trouble = Trouble::new(1, Weather::default(), 1);
        let mut decide = trouble.decide(Place::Servers);
        assert!((0..50).all(|_| decide("GET", "/git/a.git/info/refs").is_none()));
        assert_eq!(trouble.faults(), 0);
    }
}
