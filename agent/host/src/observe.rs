//! What the host reports about its work, for metrics.

use std::{fmt, time::Duration};

use pintle_core::{
    digest::Digest,
    plugin::{Fault, PluginId, Stage},
};

/// The origin of a component's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeFrom {
    /// It was compiled.
    Compiler,
    /// It was loaded from the cache on disk.
    Cache,
}

/// An observer of every call and every compilation. It is called on the threads that do the work, and must not block.
pub trait Observer: Send + Sync + fmt::Debug {
    /// Called when a call has ended. `time` runs from the start of the call to its end, without the wait for a permit. Labels
    /// come from [`Fault::name`], [`Stage::name`] and the plugin's name and kind.
    fn called(&self, plugin: &PluginId, stage: Stage, time: Duration, fault: Option<&Fault>);

    /// Called when the code of a component is available. `time` is how long it took to get it.
    fn compiled(&self, component: Digest, from: CodeFrom, time: Duration);
}

/// An observer that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn called(&self, _: &PluginId, _: Stage, _: Duration, _: Option<&Fault>) {}

    fn compiled(&self, _: Digest, _: CodeFrom, _: Duration) {}
}
