//! Progress messages for a waiting user.

use std::io::Write as _;

/// Receives one line about a long-running step, such as "testcluster: compiled 812 packages".
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Writes each line to standard error, past the capture of the test runner: a first build of the control plane takes minutes, and
/// silence for that long looks like a hang.
pub fn to_stderr(line: &str) {
    // If standard error is closed, there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}
