//! Repositories on real git servers, hostile servers, hostile repositories, and a cache that breaks.
#![expect(clippy::unwrap_used, reason = "tests")]

mod anywhere;
mod apart;
mod cache;
mod fixture;
mod hostile_servers;
mod links;
mod references;
mod safety;
mod servers;
mod sharing;
mod working_tree;
