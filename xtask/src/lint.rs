//! `cargo xtask lint`: rules about the workspace that the compiler and clippy do not check.

mod edges;
mod length;
mod modules;

use anyhow::{Result, bail};

use crate::terminal;
use crate::workspace::Workspace;

/// Checks all rules, and fails with everything that breaks one.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::load()?;
    let mut problems = edges::check(&workspace);
    problems.extend(length::check(&workspace)?);
    problems.extend(modules::check(&workspace)?);
    for problem in &problems {
        terminal::line(problem);
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{} problems in the workspace", problems.len())
}
