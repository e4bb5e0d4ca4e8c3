//! What a plugin can do beside computing: one module for each import.
//!
//! Each is linked for the kinds whose world has it, and prepared for the call: without its part of the
//! [`State`](crate::state::State) it grants nothing.

pub(crate) mod arithmetic;
pub(crate) mod cluster;
pub(crate) mod context;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod plan;
pub(crate) mod tree;
