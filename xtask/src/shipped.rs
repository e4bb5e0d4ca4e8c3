//! The program as it is shipped: a release build that needs nothing from the system that it runs on, where such a build is
//! possible.
//!
//! See docs/decisions/0021-a-static-program.md.

use std::env::consts::{ARCH, OS};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{setup, terminal, workspace};

/// The target that links everything into the program, on systems that have one.
const STATIC: Option<&str> = match (OS.as_bytes(), ARCH.as_bytes()) {
    (b"linux", b"x86_64") => Some("x86_64-unknown-linux-musl"),
    (b"linux", b"aarch64") => Some("aarch64-unknown-linux-musl"),
    _ => None,
};

/// Returns the target of the shipped program. `None` if it is linked as usual. If the static toolchain is missing, a note on the
/// terminal says so.
fn target() -> Option<&'static str> {
    match STATIC.map(setup::static_toolchain)? {
        Ok(target) => Some(target),
        Err(missing) => {
            terminal::line(&format!(
                "note: linked with this system's C library, so it starts slower and may not run elsewhere: {missing:#}"
            ));
            None
        }
    }
}

/// Adds to a Cargo command the arguments that make it build the shipped program. Returns the target, if it is a static one.
pub(crate) fn arguments(cargo: &mut Command) -> Option<&'static str> {
    let target = target();
    cargo.arg("--locked");
    if let Some(target) = target {
        cargo.args(["--target", target]);
    }
    target
}

/// Builds the program, and returns its path.
pub(crate) fn build() -> Result<PathBuf> {
    setup::wasm_toolchain()?;
    let mut build = workspace::cargo();
    build.args(["build", "--package", "pintle", "--release"]);
    let target = arguments(&mut build);
    terminal::step(&workspace::show(&build));
    workspace::run(&mut build)?;
    let mut binary = workspace::Workspace::load()?.target_directory;
    binary.extend(target);
    binary.extend(["release", "pintle"]);
    ensure!(
        binary.is_file(),
        "{} was not built: is another target set in Cargo's configuration?",
        binary.display()
    );
    Ok(binary)
}
