//! `pintle compile`: the process in which the agent has components compiled.

use std::{io::Read as _, num::NonZeroUsize, path::Path, process, thread};

use anyhow::Context as _;
use pintle_core::causes::chain;
use pintle_host::{CompileError, UNWRITTEN};

use crate::cli::{exit::Exit, output};

/// The bytes of memory for each compiling thread. A thread needs about an eighth of that for its own work. The output for a large
/// component takes as much as several threads.
const PER_THREAD: u64 = 128 << 20;

/// Compiles the component from standard input. Prints why a component is refused: the agent reads that.
pub(crate) fn run(cache: &Path, cache_bytes: u64, memory: Option<u64>) -> anyhow::Result<Exit> {
    let mut component = Vec::new();
    std::io::stdin()
        .read_to_end(&mut component)
        .context("the component cannot be read from standard input")?;
    let options = crate::agent::host_options(cache, cache_bytes);
    if let Some(memory) = memory {
        start_threads(memory)?;
    }
    match pintle_host::compile(&options, &component, memory) {
        Ok(()) => Ok(Exit::Done),
        Err(CompileError::Component(reason)) => {
            output::text(&reason);
            Ok(Exit::Failed)
        }
        // Aborts as the allocator does when it has no memory left: for the agent, both are the same.
        Err(error @ CompileError::Memory(_)) => {
            tracing::error!(%error, "the component is not compiled");
            process::abort()
        }
        Err(error @ CompileError::Write(_)) => {
            tracing::error!(
                error = chain(&error),
                "the compiled component cannot be kept"
            );
            process::exit(UNWRITTEN.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Starts the compiling threads before there is a limit, because their stacks would count towards it. There are as many threads
/// as processors, or fewer if there is not enough memory for them.
fn start_threads(memory: u64) -> anyhow::Result<()> {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    rayon::ThreadPoolBuilder::new()
        .num_threads(processors.min(fitting(memory)))
        .build_global()
        .context("the threads that compile cannot be started")
}

fn fitting(memory: u64) -> usize {
    usize::try_from(memory / PER_THREAD)
        .unwrap_or(usize::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_threads_as_there_is_memory_for() {
        let threads = [1_u64, 192, 512, 8 << 10].map(|mebibytes| fitting(mebibytes << 20));
        assert_eq!(threads, [1, 1, 4, 64]);
    }
}
