//! Recorded objects, what the plugin says about them, and what kstatus says.

#![expect(clippy::unwrap_used, reason = "tests")]

mod differences;
mod fixtures;
mod oracle;
mod table;
mod times;
mod variations;
