//! `pintle`: the in-cluster agent and the command line. Wiring only.

use std::process::ExitCode;

mod agent;
mod cli;
mod commands;
mod pipeline;

/// For what it takes the place of in a static program: nothing of it is called by name.
use pintle_memory as _;

/// In a static program the C library's own has one lock for all threads, and gives little back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One TLS provider for the whole process; the first to install wins, and nothing ran before this.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::run()
}
