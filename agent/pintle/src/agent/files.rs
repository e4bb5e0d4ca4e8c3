//! How many files and connections this process may have open.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// The limit that is asked for: far more than the agent's own limits add up to, and few enough for code that loops over all of
/// them.
const ENOUGH: rlim_t = 1 << 16;

/// Raises the limit as far as this process may. Container runtimes leave it at 1,024 for the sake of programs that cannot handle
/// more, and each watch is a connection of its own.
pub(super) fn raise_limit() {
    let result = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        raised(soft, hard).map_or(Ok(()), |limit| {
            setrlimit(Resource::RLIMIT_NOFILE, limit, hard)
        })
    });
    if let Err(error) = result {
        tracing::warn!(%error, "the limit on open files stays as it is: with many Applications connections may fail");
    }
}

/// Returns the limit that should replace the soft one, or `None` if that is high enough or at its maximum.
fn raised(soft: rlim_t, hard: rlim_t) -> Option<rlim_t> {
    Some(hard.min(ENOUGH)).filter(|limit| *limit > soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_only_ever_raised_and_not_beyond_what_is_allowed() {
        assert_eq!(raised(1024, rlim_t::MAX), Some(ENOUGH));
        assert_eq!(raised(1024, 4096), Some(4096));
        assert_eq!(raised(4096, 4096), None);
        assert_eq!(raised(1 << 20, 1 << 20), None);
    }
}
