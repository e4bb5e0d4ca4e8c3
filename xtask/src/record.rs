//! `cargo xtask record`: makes the recordings in the documentation again.

use anyhow::Result;

use crate::{shipped, workspace};

/// Runs the tests that record, and lets them write what they see of the program that users install, because the one built for
/// tests is slower.
pub(crate) fn run() -> Result<()> {
    let pintle = shipped::build()?;
    let mut command = workspace::cargo();
    command
        .args([
            "test",
            "--locked",
            "-p",
            "pintle",
            "-p",
            "pintle-e2e",
            "--test",
            "e2e",
        ])
        .args(["--", "recordings", "on_a_terminal"])
        .env("PINTLE_BIN", pintle)
        .env(
            "PINTLE_RECORDINGS",
            workspace::root().join("docs/recordings"),
        );
    workspace::run(&mut command)
}
