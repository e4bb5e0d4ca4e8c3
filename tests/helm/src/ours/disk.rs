//! Folders that charts are loaded from.

use std::fs;
use std::path::Path;

use pintle_helm_chart::{Folder, FolderEntry};

/// A folder on disk. Symbolic links are followed.
pub(super) struct OnDisk<'a>(pub(super) &'a Path);

impl Folder for OnDisk<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        fs::read(self.0.join(path)).map_err(|error| error.to_string())
    }

    fn list(&self, path: &str) -> Result<Vec<FolderEntry>, String> {
        let entries = fs::read_dir(self.0.join(path)).map_err(|error| error.to_string())?;
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| error.to_string())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.path().is_dir();
            found.push(FolderEntry { name, is_folder });
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }
}

/// Files by path.
pub(super) struct InMemory<'a>(pub(super) &'a [(&'a str, &'a [u8])]);

impl Folder for InMemory<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let found = self.0.iter().find(|(name, _)| *name == path);
        let (_, content) = found.ok_or_else(|| format!("there is no {path}"))?;
        Ok(content.to_vec())
    }

    fn list(&self, path: &str) -> Result<Vec<FolderEntry>, String> {
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let mut found = Vec::<FolderEntry>::new();
        for (name, _) in self.0 {
            let Some(rest) = name.strip_prefix(&prefix) else {
                continue;
            };
            let (name, is_folder) = match rest.split_once('/') {
                Some((folder, _)) => (folder, true),
                None => (rest, false),
            };
            if !found.iter().any(|entry| entry.name == name) {
                found.push(FolderEntry {
                    name: name.to_owned(),
                    is_folder,
                });
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }
}
