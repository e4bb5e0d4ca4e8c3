//! Adapts the host's folders for the chart loader.

use pintle_helm_chart::{Folder, FolderEntry};
use pintle_sdk::{ReadError, Tree};

/// A folder of the host.
pub(crate) struct HostFolder<'a>(pub(crate) &'a dyn Tree);

impl Folder for HostFolder<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.read(path).map_err(|error| error.to_string())
    }

    fn list(&self, path: &str) -> Result<Vec<FolderEntry>, String> {
        match self.0.entries(path) {
            Ok(entries) => Ok(entries
                .into_iter()
                .map(|entry| FolderEntry {
                    is_folder: entry.is_folder(),
                    name: entry.name,
                })
                .collect()),
            // A missing folder counts as empty. The loader then reports what it lacks.
            Err(ReadError::NotFound) => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        }
    }
}
