//! Folders on this machine whose files are taken as they are.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use pintle_source::{Limits, SourceError, WorkTree};

/// Begins to watch places, and returns whether any of them was not watched before.
type Watch = Box<dyn Fn(&BTreeSet<PathBuf>) -> bool + Send + Sync>;

/// A folder, and the others that are read because of it.
#[derive(Clone)]
pub(crate) struct Disk {
    folder: PathBuf,
    watch: Arc<OnceLock<Watch>>,
}

impl Disk {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            watch: Arc::default(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Has each place watched that is read from now on. Only the first watch counts.
    pub(crate) fn watch_with(
        &self,
        watch: impl Fn(&BTreeSet<PathBuf>) -> bool + Send + Sync + 'static,
    ) {
        let _ = self.watch.set(Box::new(watch));
    }

    /// Scans the folder.
    pub(crate) fn scan(&self) -> Result<WorkTree, SourceError> {
        self.watched(|| WorkTree::scan(&self.folder, Limits::default()))
    }

    /// Scans another folder, whose path is relative to this one.
    pub(crate) fn scan_beside(&self, path: &str) -> Result<WorkTree, SourceError> {
        self.watched(|| WorkTree::beside(&self.folder, path, Limits::default()))
    }

    fn watched(
        &self,
        scan: impl Fn() -> Result<WorkTree, SourceError>,
    ) -> Result<WorkTree, SourceError> {
        let files = scan()?;
        match self.watch.get() {
            // Nobody would report a change from before they were watched.
            Some(watch) if watch(&files.places) => scan(),
            _ => Ok(files),
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Disk").field(&self.folder).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use pintle_core::tree::TreePath;

    use super::*;

    #[test]
    fn what_changes_before_it_is_watched_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let web = root.join("web");
        fs::create_dir(&web).unwrap();
        symlink("../values.yaml", web.join("values.yaml")).unwrap();
        let values = root.join("values.yaml");
        fs::write(&values, "before").unwrap();
        let disk = Disk::new(web);
        disk.watch_with(move |places| {
            assert!(places.contains(&values));
            fs::write(&values, "meanwhile").unwrap();
            true
        });
        let tree = disk.scan().unwrap().tree();
        let path = TreePath::parse("values.yaml").unwrap();
        assert_eq!(tree.read(&path).unwrap(), b"meanwhile");
    }
}
