//! `pintle`: the in-cluster agent and the command line. Wiring only.

use std::process::ExitCode;

mod agent;
mod cli;
mod commands;
mod pipeline;

/// Linked for the functions that it replaces in a static program. None of them is called by name.
use pintle_memory as _;

/// In a static program, the C library's own allocator has one lock for all threads, and gives little memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One TLS provider for the whole process. The first one to be installed wins, and nothing ran before this.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::run()
}
