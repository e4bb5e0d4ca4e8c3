//! How much is accepted from a repository.

use std::{path::PathBuf, time::Duration};

/// Bounds of what is fetched and read. What is over one of them is refused with an error that names it.
///
/// The defaults are for an agent that may have 1 GiB of memory. The command line uses them too: what it renders, the
/// agent renders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest file that can be read, in bytes.
    pub file: u64,
    /// Most entries in one folder.
    pub entries: usize,
    /// Deepest folder below the root of the revision.
    pub depth: usize,
    /// Largest object of any kind that a fetch takes, in bytes when decompressed: memory is needed for some ten of them
    /// at a time, and for no more, however many fetches there are.
    pub object: u64,
    /// Most bytes of one fetch, compressed. They go to the disk, not into memory.
    pub pack: u64,
    /// Most objects of one fetch: each takes some 200 bytes of memory.
    pub objects: u32,
    /// Most bytes of all objects of one fetch when decompressed: they take time, not memory.
    pub unpacked: u64,
    /// Most bytes of a list of branches and tags, as it is sent; reading it takes some five times as many of memory, and
    /// of those with more than 1 MiB two are read at a time. Before version 2 of git's protocol all other references are in it too.
    pub refs: u64,
    /// Time to connect.
    pub connect: Duration,
    /// Longest silence of the server.
    pub idle: Duration,
    /// Longest time for all of one fetch.
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
    /// Most bytes of objects that are kept at the same time, because others are made from them.
    pub(crate) fn bases(&self) -> u64 {
        self.object.saturating_mul(2)
    }

    /// Most bytes that reading one object may need: twice its size, and what it is made from.
    pub(crate) fn reading(&self) -> u64 {
        self.object.saturating_mul(4)
    }
}

/// How [`Repositories`](crate::Repositories) work.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder for what was fetched. It is a cache: it may be deleted at any time, and may be shared by processes.
    pub cache_dir: PathBuf,
    /// What is accepted from a repository.
    pub limits: Limits,
    /// Whether paths and `file://` URLs may be read. An agent must not: its file system is not its tenants'.
    pub local: bool,
    /// Whether `ssh` without a key may use the caller's agent, configuration and known hosts, as git does on a laptop.
    pub ambient_ssh: bool,
    /// Most fetches at one time. Of these at most five are from one host, and never all; from a host that was silent the
    /// last time, or hardly sent anything for as long, one, and from all such hosts half.
    pub concurrency: usize,
    /// When the cache folder holds more bytes than this, the repositories that were not used for longest are removed.
    pub cache_bytes: u64,
}

impl Options {
    /// Returns what an agent in a cluster uses: nothing but what the source and its credentials name.
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

    /// Returns what a command line uses: also paths, and the caller's own way to use `ssh`.
    pub fn interactive(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            local: true,
            ambient_ssh: true,
            ..Self::new(cache_dir)
        }
    }
}
