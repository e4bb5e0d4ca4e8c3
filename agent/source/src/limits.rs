//! Limits on what is accepted from a repository.

use std::{path::PathBuf, time::Duration};

/// Limits on what is fetched and read. Whatever exceeds one of them is refused with an error that names the limit.
///
/// The defaults are for an agent that may use 1 GiB of memory. The command line uses them too, so that the agent renders what
/// the command line renders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The size of the largest file that can be read, in bytes.
    pub file: u64,
    /// The most entries in one folder.
    pub entries: usize,
    /// The depth of the deepest folder below the root of the revision.
    pub depth: usize,
    /// The size of the largest object of any kind that a fetch accepts, in bytes when decompressed. Memory is needed for some
    /// ten of them at a time, and for no more, however many fetches there are.
    pub object: u64,
    /// The most bytes of one fetch, compressed. They go to disk, not into memory.
    pub pack: u64,
    /// The most objects of one fetch. Each takes some 200 bytes of memory.
    pub objects: u32,
    /// The most bytes of all objects of one fetch, when decompressed. They take time, not memory.
    pub unpacked: u64,
    /// The most bytes of a list of branches and tags, as sent. Reading a list takes some five times as many bytes of memory,
    /// and of the lists with more than 1 MiB two are read at a time. Before version 2 of git's protocol, the list includes all
    /// other references.
    pub refs: u64,
    /// The time allowed for connecting.
    pub connect: Duration,
    /// The longest silence of the server.
    pub idle: Duration,
    /// The longest time for a whole fetch.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file: 16 << 20,
            entries: 50_000,
            depth: 64,
            object: 64 << 20,
            pack: 512 << 20,
            objects: 400_000,
            unpacked: 8 << 30,
            refs: 16 << 20,
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            total: Duration::from_mins(10),
        }
    }
}

impl Limits {
    /// Returns the most bytes of objects that are kept at the same time because others are made from them.
    pub(crate) fn bases(&self) -> u64 {
        self.object.saturating_mul(2)
    }

    /// Returns the most bytes that reading one object may need: twice its size, and what it is made from.
    pub(crate) fn reading(&self) -> u64 {
        self.object.saturating_mul(4)
    }
}

/// How [`Repositories`](crate::Repositories) work.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder for fetched repositories. It is a cache: it may be deleted at any time, and processes may share it.
    pub cache_dir: PathBuf,
    /// The limits on what is accepted from a repository.
    pub limits: Limits,
    /// Whether paths and `file://` URLs may be read. An agent must not: its file system is not its tenants'.
    pub local: bool,
    /// Whether `ssh` without a key may use the caller's agent, configuration and known hosts, as git does on a laptop.
    pub ambient_ssh: bool,
    /// The most fetches at one time. At most five of these are from one host, and one host never has all of them. A host that
    /// was silent the last time, or hardly sent anything for as long, has one, and all such hosts together have half.
    pub concurrency: usize,
    /// The bytes above which the cache folder loses its least recently used repositories.
    pub cache_bytes: u64,
}

impl Options {
    /// Returns the options of an agent in a cluster, which uses nothing but what the source and its credentials name.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            limits: Limits::default(),
            local: false,
            ambient_ssh: false,
            concurrency: 8,
            cache_bytes: 20 << 30,
        }
    }

    /// Returns the options of a command line, which also reads paths and may use the caller's own `ssh` setup.
    pub fn interactive(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            local: true,
            ambient_ssh: true,
            ..Self::new(cache_dir)
        }
    }
}
