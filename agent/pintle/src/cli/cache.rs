//! Where the command line keeps what only saves time.

use std::path::PathBuf;

use anyhow::Context as _;

/// Returns the folder for the command line's caches.
pub(crate) fn cache_dir() -> anyhow::Result<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("PINTLE_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|base| base.join("pintle")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/pintle")))
        .context("there is no folder for caches: set PINTLE_CACHE or HOME")
}
