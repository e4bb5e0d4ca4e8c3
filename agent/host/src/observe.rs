//! What the host tells of its work, for metrics.

use std::{fmt, time::Duration};

use pintle_core::{
    digest::Digest,
    plugin::{Fault, PluginId, Stage},
};

/// Is told of every call and every compilation. It is called on the threads that do the work, and must not block.
pub trait Observer: Send + Sync + fmt::Debug {
    /// A call has ended; `time` is that from the start of the call to its end, without the wait for a free place.
    /// Labels come from [`Fault::name`], [`Stage::name`] and the plugin's name and kind.
    fn called(&self, plugin: &PluginId, stage: Stage, time: Duration, fault: Option<&Fault>);

    /// A component was compiled, or loaded from the cache on disk.
    fn compiled(&self, component: Digest, cached: bool, time: Duration);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn called(&self, _: &PluginId, _: Stage, _: Duration, _: Option<&Fault>) {}

    fn compiled(&self, _: Digest, _: bool, _: Duration) {}
}
