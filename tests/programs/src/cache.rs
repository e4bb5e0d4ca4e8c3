//! The folder for build output and the state of running servers. It is outside the checkout, so that a fresh clone reuses it.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// Returns the cache folder: `$PINTLE_CACHE`, or else `pintle` below `$XDG_CACHE_HOME` or `~/.cache`.
///
/// The folder is created if it does not exist.
pub fn dir() -> Result<PathBuf> {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let dir = set("PINTLE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("pintle")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/pintle")))
        .context("no cache folder: set PINTLE_CACHE or HOME")?;
    std::fs::create_dir_all(&dir)
        .with_context(|| format!("make the cache folder {}", dir.display()))?;
    Ok(dir)
}
