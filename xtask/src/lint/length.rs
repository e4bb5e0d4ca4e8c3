//! Files must be short enough to be read in one sitting.

use std::fs;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// The maximum length of a file. A longer file does more than one thing.
const MOST_LINES: usize = 600;

/// Returns the source files that are too long. Generated files say so in their first line.
pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in workspace.files(&["rs", "go", "wit", "sh", "py"])? {
        let path = workspace.root.join(&file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let lines = text.lines().count();
        let generated = text
            .lines()
            .next()
            .is_some_and(|first| first.contains("generated"));
        if lines > MOST_LINES && !generated {
            problems.push(format!(
                "{}: {lines} lines, and at most {MOST_LINES} are wanted: split it",
                file.display()
            ));
        }
    }
    Ok(problems)
}
