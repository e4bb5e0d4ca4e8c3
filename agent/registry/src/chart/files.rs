//! The files of an archive, in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pintle_core::{
    digest::Digest,
    tree::{Entry, EntryKind, Tree, TreeError, TreePath},
};

/// The maximum number of files and folders. The largest known charts have a few hundred.
pub(super) const MAX_ENTRIES: usize = 20_000;
/// The maximum length of all their paths together, in bytes. Each file or folder stores its full path, including all folders
/// above it.
pub(super) const MAX_PATHS: usize = 16 << 20;

/// The files of an archive.
#[derive(Debug)]
pub struct Files {
    archive: Digest,
    modified: i64,
    nodes: BTreeMap<TreePath, Node>,
    /// The length of all paths together, in bytes.
    paths: usize,
}

#[derive(Debug)]
enum Node {
    File(Vec<u8>),
    /// The names of its entries.
    Folder(BTreeSet<String>),
}

/// The reason why a file cannot be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// A path would be both a file and a folder.
    InTheWay(TreePath),
    /// There would be more than [`MAX_ENTRIES`] files and folders.
    TooMany,
    /// Their paths would have more than [`MAX_PATHS`] bytes.
    TooLong,
}

impl Files {
    pub(super) fn new(archive: Digest) -> Self {
        let root = (TreePath::root(), Node::Folder(BTreeSet::new()));
        Self {
            archive,
            modified: 0,
            nodes: BTreeMap::from([root]),
            paths: 0,
        }
    }

    /// Inserts a file, and the folders above it. A later file replaces an earlier one with the same path.
    pub(super) fn insert(&mut self, path: TreePath, bytes: Vec<u8>) -> Result<(), Unfit> {
        let mut folder = TreePath::root();
        for part in path.parts() {
            let child = match TreePath::parse(part) {
                Some(part) => folder.join(&part),
                None => return Err(Unfit::InTheWay(path.clone())),
            };
            match self.nodes.get_mut(&folder) {
                Some(Node::Folder(names)) => names.insert(part.to_owned()),
                _ => return Err(Unfit::InTheWay(folder)),
            };
            if child != path && !self.nodes.contains_key(&child) {
                self.make_room(&child)?;
                let empty = Node::Folder(BTreeSet::new());
                self.nodes.insert(child.clone(), empty);
            }
            folder = child;
        }
        match self.nodes.get(&path) {
            Some(Node::Folder(_)) => return Err(Unfit::InTheWay(path)),
            Some(Node::File(_)) => {}
            None => self.make_room(&path)?,
        }
        self.nodes.insert(path, Node::File(bytes));
        Ok(())
    }

    /// Counts a path that is not present yet.
    fn make_room(&mut self, path: &TreePath) -> Result<(), Unfit> {
        // The nodes include the root, which is not counted. It stands in for the entry that is about to be added.
        if self.nodes.len() > MAX_ENTRIES {
            return Err(Unfit::TooMany);
        }
        self.paths += path.as_str().len();
        if self.paths > MAX_PATHS {
            return Err(Unfit::TooLong);
        }
        Ok(())
    }

    /// Records when a file was last modified, in seconds since the epoch.
    pub(super) fn note_time(&mut self, modified: u64) {
        self.modified = self
            .modified
            .max(i64::try_from(modified).unwrap_or_default());
    }

    /// Returns when the newest file was modified, in seconds since the epoch. For a chart, this is when it was packed.
    pub const fn modified(&self) -> i64 {
        self.modified
    }

    /// Returns the size of all files together, in bytes.
    pub fn size(&self) -> u64 {
        let size = |node: &Node| match node {
            Node::File(bytes) => bytes.len() as u64,
            Node::Folder(_) => 0,
        };
        self.nodes.values().map(size).sum()
    }

    /// Returns the digest of the archive, which identifies the content.
    pub const fn archive(&self) -> Digest {
        self.archive
    }

    fn entry(&self, path: &TreePath, node: &Node) -> Entry {
        let (kind, size) = match node {
            Node::File(bytes) => (EntryKind::File, bytes.len() as u64),
            Node::Folder(_) => (EntryKind::Folder, 0),
        };
        Entry {
            name: path.parts().last().unwrap_or_default().to_owned(),
            kind,
            size,
            // Equal ids mean equal contents. An equal file in another archive gets another id: each version of a chart changes
            // its Chart.yaml, so whatever reads a chart reads something that has changed.
            content: format!("{}:{}", self.archive, path.as_str()),
        }
    }
}

impl Tree for Files {
    fn stat(&self, path: &TreePath) -> Result<Option<Entry>, TreeError> {
        Ok(self.nodes.get(path).map(|node| self.entry(path, node)))
    }

    fn read(&self, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        let path = path.clone();
        match self.nodes.get(&path) {
            Some(Node::File(bytes)) => Ok(bytes.clone()),
            Some(Node::Folder(_)) => Err(TreeError::WrongKind {
                path,
                expected: "file",
            }),
            None => Err(TreeError::NotFound { path }),
        }
    }

    fn entries(&self, path: &TreePath) -> Result<Vec<Entry>, TreeError> {
        match self.nodes.get(path) {
            Some(Node::Folder(names)) => {
                let paths = names
                    .iter()
                    .filter_map(|name| Some(path.join(&TreePath::parse(name)?)));
                Ok(paths
                    .filter_map(|path| Some(self.entry(&path, self.nodes.get(&path)?)))
                    .collect())
            }
            Some(Node::File(_)) => Err(TreeError::WrongKind {
                path: path.clone(),
                expected: "folder",
            }),
            None => Err(TreeError::NotFound { path: path.clone() }),
        }
    }
}

/// A folder of an archive, without access to what is beside or above it.
#[derive(Debug)]
struct Folder {
    files: Arc<Files>,
    path: TreePath,
}

impl Files {
    /// Returns a folder of the archive, or `None` if there is no such folder.
    pub fn folder(self: &Arc<Self>, path: &TreePath) -> Option<Arc<dyn Tree>> {
        match self.nodes.get(path)? {
            Node::File(_) => None,
            Node::Folder(_) if path.is_root() => Some(Arc::clone(self) as Arc<dyn Tree>),
            Node::Folder(_) => Some(Arc::new(Folder {
                files: Arc::clone(self),
                path: path.clone(),
            })),
        }
    }
}

impl Tree for Folder {
    fn stat(&self, path: &TreePath) -> Result<Option<Entry>, TreeError> {
        self.files.stat(&self.path.join(path))
    }

    fn read(&self, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        self.files.read(&self.path.join(path))
    }

    fn entries(&self, path: &TreePath) -> Result<Vec<Entry>, TreeError> {
        self.files.entries(&self.path.join(path))
    }
}
