//! What the host tells of its work, for metrics.

use std::{fmt, time::Duration};

use pintle_core::{
    digest::Digest,
    plugin::{Fault, PluginId, Stage},
};

/// Where the code of a component came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeFrom {
    /// It was compiled.
    Compiler,
    /// It was loaded from the cache on disk.
    Cache,
}

/// Is told of every call and every compilation. It is called on the threads that do the work, and must not block.
pub trait Observer: Send + Sync + fmt::Debug {
    /// A call has ended; `time` is that from the start of the call to its end, without the wait for a free place.
    /// Labels come from [`Fault::name`], [`Stage::name`] and the plugin's name and kind.
    fn called(&self, plugin: &PluginId, stage: Stage, time: Duration, fault: Option<&Fault>);

    /// There is code of a component; `time` is what it took to have it.
    fn compiled(&self, component: Digest, from: CodeFrom, time: Duration);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn called(&self, _: &PluginId, _: Stage, _: Duration, _: Option<&Fault>) {}

    fn compiled(&self, _: Digest, _: CodeFrom, _: Duration) {}
}
