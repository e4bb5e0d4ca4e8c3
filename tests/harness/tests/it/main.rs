//! The harness itself, tested with the real programs that it starts.

mod control_plane;
mod proxy;
mod servers;
