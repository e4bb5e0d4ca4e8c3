//! What a plugin can do besides computing: one module per import.
//!
//! Each import is linked only for the kinds whose world has it, and is prepared for each call. Without its part of the
//! [`State`](crate::state::State), it grants nothing.

pub(crate) mod arithmetic;
pub(crate) mod cluster;
pub(crate) mod context;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod plan;
pub(crate) mod tree;
