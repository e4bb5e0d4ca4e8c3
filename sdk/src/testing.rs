//! Fast native tests for plugins: in-memory folders, contexts, plans and HTTP that follow the host's rules.
//!
//! Everything here is for `#[cfg(test)]` code and exists only on native targets.

mod cluster;
mod conformance;
mod context;
mod http;
mod log;
mod plan;
mod settings;
mod tree;

pub use cluster::MemoryCluster;
pub use conformance::{check_health, check_plugin};
pub use context::FixedContext;
pub use http::ScriptedHttp;
pub use log::take_logs;
pub(crate) use log::write_log;
pub use plan::MemoryPlan;
pub use settings::{schema, settings};
pub use tree::MemoryTree;
