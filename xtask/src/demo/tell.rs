//! The output of the demo.
#![expect(
    clippy::print_stdout,
    reason = "the demo is made to be read on a terminal"
)]

use std::time::Instant;

/// Begins a chapter.
pub(super) fn chapter(number: u32, title: &str) {
    println!("\n\x1b[1m{number}. {title}\x1b[0m");
}

/// Prints a line.
pub(super) fn line(text: &str) {
    println!("{text}");
}

/// Shows the output of a command, indented.
pub(super) fn show(command: &str, output: &str) {
    println!("   \x1b[2m$ {command}\x1b[0m");
    for line in output.trim_end().lines() {
        println!("     {line}");
    }
}

/// Prints what was seen, and after how long.
pub(super) fn seen(since: Instant, text: &str) {
    println!(
        "   \x1b[32m✓\x1b[0m {text} \x1b[2m({:.1} s)\x1b[0m",
        since.elapsed().as_secs_f64()
    );
}
