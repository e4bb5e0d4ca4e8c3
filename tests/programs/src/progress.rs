//! Words for a person who waits.

use std::io::Write as _;

/// Takes one line about a step that lasts, such as "testcluster: compiled 812 packages".
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Writes each line to standard error, past the capture of the test runner: a first build of the
/// control plane takes minutes, and silence for that long looks like a hang.
pub fn to_stderr(line: &str) {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
