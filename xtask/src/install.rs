//! `cargo xtask install`

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{setup, shipped, terminal, workspace};

/// Installs `pintle` where `cargo install` puts programs, and prints where that is.
pub(crate) fn run() -> Result<()> {
    setup::wasm_toolchain()?;
    let mut install = workspace::cargo();
    install.args(["install", "--path", "agent/pintle", "--force"]);
    shipped::arguments(&mut install);
    workspace::run(&mut install)?;
    let folder = folder()?;
    terminal::line(&format!("\ninstalled {}", folder.join("pintle").display()));
    let on_path = env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|entry| entry == folder));
    if !on_path {
        terminal::line(&format!(
            "it is not in PATH; to run it by name: export PATH=\"{}:$PATH\"",
            folder.display()
        ));
    }
    Ok(())
}

/// Returns the folder according to <https://doc.rust-lang.org/cargo/commands/cargo-install.html>, except for the configuration
/// key `install.root`.
fn folder() -> Result<PathBuf> {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let root = set("CARGO_INSTALL_ROOT")
        .or_else(|| set("CARGO_HOME"))
        .or_else(|| set("HOME").map(|home| home.join(".cargo")))
        .context("cannot tell where cargo installs to: HOME is not set")?;
    Ok(root.join("bin"))
}
