//! WASI 0.2 for components that import it.
//!
//! For pure kinds it is deterministic: the wall clock stands at the revision's time, the monotonic clock counts how often it is
//! read, random bytes are derived from the application's seed, and there is no environment, no argument, no file and no network.
//! The folder of the application is reached through `pintle:types/tree`, whose reads are recorded; reads through a file system
//! would go unrecorded. A notifier has real clocks and real random bytes, and reaches the network only through
//! `pintle:types/http`.

use std::{cell::Cell, time::Duration};

use bytes::Bytes;
use pintle_core::seed::Seed;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

use crate::{bindings::wit::log::Level, capability::log::LogSink};

/// The maximum number of random bytes that a call may request at a time.
const RANDOM_BYTES: u64 = 1 << 20;

/// The time and random seed of a pure call.
#[derive(Debug, Clone)]
pub(crate) struct Pure {
    /// Time since the epoch.
    pub(crate) time: Duration,
    pub(crate) seed: Seed,
}

/// Creates the WASI context of a pure call.
pub(crate) fn pure(pure: Pure, log: &LogSink) -> WasiCtx {
    let bytes = |purpose: &str| Deterministic::new(pure.seed.derive(purpose, 8160));
    let mut number = [0; 16];
    number.copy_from_slice(&pure.seed.derive("wasi:random/insecure-seed", 16));
    let mut builder = base(log);
    builder
        .wall_clock(Standing(pure.time))
        .monotonic_clock(Counting::default())
        .secure_random(bytes("wasi:random/random"))
        .insecure_random(bytes("wasi:random/insecure"))
        .insecure_random_seed(u128::from_be_bytes(number))
        .build()
}

/// Creates the WASI context of a call that has effects anyway.
pub(crate) fn effectful(log: &LogSink) -> WasiCtx {
    base(log).build()
}

fn base(log: &LogSink) -> WasiCtxBuilder {
    let mut builder = WasiCtx::builder();
    builder
        .max_random_size(RANDOM_BYTES)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .stdout(Output::new(log, Level::Info))
        .stderr(Output::new(log, Level::Error));
    builder
}

/// A clock that stands still.
struct Standing(Duration);

impl HostWallClock for Standing {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}

/// A clock that advances by a microsecond each time it is read, so that a loop that waits for it ends, and repeats identically.
#[derive(Default)]
struct Counting(Cell<u64>);

impl HostMonotonicClock for Counting {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        self.0.replace(self.0.get().saturating_add(1_000))
    }
}

/// Standard output or standard error, written line by line to the plugin's log and under its limits.
struct Output {
    log: LogSink,
    level: Level,
    line: Vec<u8>,
}

/// The number of bytes after which an unfinished line is logged.
const LINE: usize = 4096;

impl Output {
    fn new(log: &LogSink, level: Level) -> Self {
        Self {
            log: log.clone(),
            level,
            line: Vec::new(),
        }
    }

    fn log_line(&mut self) -> StreamResult<()> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        self.log
            .write(self.level, &text)
            .map_err(|stop| StreamError::Trap(stop.into()))
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 uses this one, and it is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self::new(&self.log, self.level))
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        for byte in bytes {
            if byte == b'\n' {
                self.log_line()?;
                continue;
            }
            self.line.push(byte);
            if self.line.len() >= LINE {
                self.log_line()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl Drop for Output {
    fn drop(&mut self) {
        // Output without a final line end is still worth reading; a limit no longer matters here.
        let _ = self.log_line();
    }
}
