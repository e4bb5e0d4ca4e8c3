//! `pintle compile`: the process in which the agent has components compiled.

use std::{io::Read as _, path::Path};

use anyhow::Context as _;
use pintle_host::CompileError;

use crate::cli::{exit::Exit, output};

/// Compiles what comes on standard input. Prints why a component is refused: the agent reads that.
pub(crate) fn run(cache: &Path, cache_bytes: u64) -> anyhow::Result<Exit> {
    let mut component = Vec::new();
    std::io::stdin()
        .read_to_end(&mut component)
        .context("the component cannot be read from standard input")?;
    let options = crate::agent::host_options(cache, cache_bytes);
    match pintle_host::compile(&options, &component) {
        Ok(()) => Ok(Exit::Done),
        Err(CompileError::Component(reason)) => {
            output::text(&reason);
            Ok(Exit::Failed)
        }
        Err(error) => Err(error.into()),
    }
}
