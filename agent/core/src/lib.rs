//! The pure heart of Pintle: objects, digests, plans, inventory and state machines.
//!
//! Nothing here performs input or output. This crate knows no async runtime, no Kubernetes client, no git, no Wasm engine, no
//! file system, no environment and no clock: time is always an argument. That is why a plan on a laptop equals a plan in a
//! cluster, and why whole fleets can be tested in one process.
//!
//! The pipeline's stages are types, and each can be created only from the one before it:
//! [`Revision`](revision::Revision) → [`Rendered`](rendered::Rendered) → [`Plan`](plan::Plan) →
//! [`Checked`](check::Checked) → [`Approved`](check::Approved) → applied, which the
//! [`Inventory`](inventory::Inventory) records.
#![deny(missing_docs)]

pub mod application;
pub mod brief;
pub mod canonical;
pub mod causes;
pub mod check;
pub mod dependencies;
pub mod diff;
pub mod digest;
pub mod drift;
pub mod duration;
pub mod event;
pub mod explanation;
pub mod fields;
pub mod health;
pub mod history;
pub mod hook;
pub mod inventory;
pub mod machine;
pub mod names;
pub mod object;
pub mod order;
pub mod plain;
pub mod plan;
pub mod plugin;
pub mod problem;
pub mod prune;
pub mod readset;
pub mod release;
pub mod rendered;
pub mod request;
pub mod retry_after;
pub mod revision;
pub mod rollback;
pub mod seed;
pub mod sharding;
pub mod stage;
pub mod tree;
pub mod version;
