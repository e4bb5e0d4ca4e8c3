//! Ports for programs that are restarted on the ports that they had.

use std::collections::BTreeSet;
use std::fmt;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

/// Ports that the system does not assign by itself. Any connection could take one of the others while nothing listens on it
/// (`/proc/sys/net/ipv4/ip_local_port_range` begins at 32768).
const PORTS: Range<u16> = 10_000..32_000;
/// How many ports are tried.
const TRIES: u32 = 1000;

/// The ports that are taken in this process, whether their owner listens or not.
static RESERVED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that is reserved in this process for as long as this value exists. If another process takes it, the start fails with an
/// error that says so.
#[derive(Debug)]
pub(crate) struct Port(u16);

impl Port {
    /// Finds a port on which nothing listens.
    pub(crate) fn free() -> Result<Self> {
        for _ in 0..TRIES {
            let port = rand::random_range(PORTS);
            let mut reserved = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
            if TcpListener::bind(("127.0.0.1", port)).is_ok() && reserved.insert(port) {
                return Ok(Self(port));
            }
        }
        bail!("none of {TRIES} ports in {PORTS:?} is free")
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let mut reserved = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.remove(&self.0);
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
