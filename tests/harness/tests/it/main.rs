//! The harness itself, on the real things that it starts.

mod control_plane;
mod proxy;
mod servers;
