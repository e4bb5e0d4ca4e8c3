//! The agent and the command line as users see them: against a real control plane and a real git server, with the permissions of
//! `deploy/`.
//!
//! All tests share one control plane. Each has its own namespace, repository and agent, which watches only that namespace. They
//! are one binary so that the control plane starts once.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on panics with the reason, and one that uses chance tells its seed"
)]

mod adopting;
mod charts;
mod command_line;
mod compiling;
mod converging;
mod dependencies;
mod desk;
mod drift;
mod following;
mod guarding;
mod guests;
mod hooks;
mod kills;
mod many;
mod moving;
mod operating;
mod order;
mod recordings;
mod refusing;
mod releases;
mod remotes;
mod removing;
mod replicas;
mod rollbacks;
mod rollouts;
mod shelf;
mod sources;
mod tenants;
mod webhooks;
mod world;
