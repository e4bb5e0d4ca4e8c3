//! The program as it is shipped: a release build that needs nothing of the system it runs on, where that can be made.
//!
//! See docs/decisions/0021-a-static-program.md.

use std::env::consts::{ARCH, OS};
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::{setup, terminal, workspace};

/// The target that links everything into the program, on the systems that have one.
const STATIC: Option<&str> = match (OS.as_bytes(), ARCH.as_bytes()) {
    (b"linux", b"x86_64") => Some("x86_64-unknown-linux-musl"),
    (b"linux", b"aarch64") => Some("aarch64-unknown-linux-musl"),
    _ => None,
};

/// What Cargo is told to build the program that is shipped; it is told on the terminal if that is not a static one.
pub(crate) fn arguments() -> Vec<&'static str> {
    let mut arguments = vec!["--locked"];
    match STATIC.map(setup::static_toolchain) {
        Some(Ok(target)) => arguments.extend(["--target", target]),
        Some(Err(missing)) => terminal::line(&format!(
            "note: linked with this system's C library, so it starts slower and may not run elsewhere: {missing:#}"
        )),
        None => {}
    }
    arguments
}

/// Builds it, and tells where it is.
pub(crate) fn build() -> Result<PathBuf> {
    setup::wasm_toolchain()?;
    let mut build = workspace::cargo();
    let arguments = arguments();
    build
        .args(["build", "--package", "pintle", "--release"])
        .args(&arguments);
    terminal::step(&workspace::show(&build));
    workspace::run(&mut build)?;
    let mut binary = workspace::Workspace::load()?.target_directory;
    if let [.., "--target", target] = arguments[..] {
        binary.push(target);
    }
    binary.extend(["release", "pintle"]);
    ensure!(
        binary.is_file(),
        "{} was not built: is another target set in Cargo's configuration?",
        binary.display()
    );
    Ok(binary)
}
