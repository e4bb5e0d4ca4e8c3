//! The only module that prints.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what the commands say goes to the terminal"
)]

use std::io::Write as _;
use std::time::Duration;

/// Announces a step.
pub(crate) fn step(name: &str) {
    println!("\n==> {name}");
    flush();
}

/// Prints how a step ended.
pub(crate) fn done(name: &str, passed: bool, took: Duration) {
    let verdict = if passed { "ok" } else { "FAILED" };
    println!("==> {name}: {verdict} ({} s)", took.as_secs());
    flush();
}

/// Prints a line.
pub(crate) fn line(text: &str) {
    println!("{text}");
    flush();
}

/// Prints a failure with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// Flushes the output: children write to the same terminal, so nothing may stay in a buffer.
fn flush() {
    // If standard output is closed, there is nobody left to tell.
    let _ = std::io::stdout().flush();
}
