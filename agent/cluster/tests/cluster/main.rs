//! The cluster crate against a real control plane, shared by all tests. Each test has its own namespace.
#![expect(clippy::unwrap_used, reason = "tests")]

mod applying;
mod conflicts;
mod crashes;
mod definitions;
mod departures;
mod drift;
mod explaining;
mod faults;
mod hooks;
mod leaving;
mod order;
mod removals;
mod resources;
mod schemas;
mod sharing;
mod slow_health;
mod tracking;
mod unheard;
mod waits;
mod world;
