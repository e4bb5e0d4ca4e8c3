//! Files that tests write.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Writes a file, and creates the folders that contain it.
pub fn write_file(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    fs::write(path, content).with_context(|| format!("write {}", path.display()))
}
