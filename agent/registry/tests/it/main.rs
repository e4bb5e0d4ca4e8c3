//! Artifacts through real registries, and what hostile ones can do.
#![expect(clippy::unwrap_used, reason = "tests")]

mod archives;
mod charts;
mod distribution;
mod helpers;
mod hostile;
mod indexes;
mod lies;
mod limits;
mod schemes;
mod secrets;
mod servers;
mod sharing;
mod support;
mod tags;
mod turns;
mod uploads;
