//! Ports for what is started again on those that it had.

use std::collections::BTreeSet;
use std::fmt;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

/// Ports that the system gives to nobody by itself: any connection could take one of the others while nobody listens there
/// (`/proc/sys/net/ipv4/ip_local_port_range` begins at 32768).
const PORTS: Range<u16> = 10_000..32_000;
/// How many are tried.
const TRIES: u32 = 1000;

/// Those that are somebody's in this process, whether he listens or not.
static RESERVED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody else in this process gets as long as this is there. Another process that takes it makes the start
/// fail, and say so.
#[derive(Debug)]
pub(crate) struct Port(u16);

impl Port {
    /// Finds one on which nobody listens.
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
