//! Files in memory, as an archive held them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pintle_core::{
    digest::Digest,
    tree::{Entry, EntryKind, Tree, TreeError, TreePath},
};

/// The files of an archive.
#[derive(Debug)]
pub struct Files {
    archive: Digest,
    modified: i64,
    nodes: BTreeMap<TreePath, Node>,
}

#[derive(Debug)]
enum Node {
    File(Vec<u8>),
    /// The names in it.
    Folder(BTreeSet<String>),
}

/// A path would be both a file and a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InTheWay(pub(super) TreePath);

impl Files {
    pub(super) fn new(archive: Digest) -> Self {
        let root = (TreePath::root(), Node::Folder(BTreeSet::new()));
        Self {
            archive,
            modified: 0,
            nodes: BTreeMap::from([root]),
        }
    }

    /// Puts a file in, and the folders above it. A later file takes the place of an earlier one with its path.
    pub(super) fn insert(&mut self, path: TreePath, bytes: Vec<u8>) -> Result<(), InTheWay> {
        let mut folder = TreePath::root();
        for part in path.parts() {
            let child = match TreePath::parse(part) {
                Some(part) => folder.join(&part),
                None => return Err(InTheWay(path.clone())),
            };
            match self.nodes.get_mut(&folder) {
                Some(Node::Folder(names)) => names.insert(part.to_owned()),
                _ => return Err(InTheWay(folder)),
            };
            if child != path {
                self.nodes
                    .entry(child.clone())
                    .or_insert_with(|| Node::Folder(BTreeSet::new()));
            }
            folder = child;
        }
        if matches!(self.nodes.get(&path), Some(Node::Folder(_))) {
            return Err(InTheWay(path));
        }
        self.nodes.insert(path, Node::File(bytes));
        Ok(())
    }

    /// Notes when a file was last changed, in seconds since the epoch.
    pub(super) fn note_time(&mut self, modified: u64) {
        self.modified = self
            .modified
            .max(i64::try_from(modified).unwrap_or_default());
    }

    /// Returns when the newest file was changed, in seconds since the epoch: for a chart, when it was packed.
    pub const fn modified(&self) -> i64 {
        self.modified
    }

    /// Returns the digest of the archive: it names the content.
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
            // Equal ids, equal contents. That other archives hold the same file is not found out: each version of a
            // chart changes its Chart.yaml, so whoever reads a chart reads something that has changed.
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

/// A folder of an archive, which knows nothing of what is beside or above it.
#[derive(Debug)]
struct Folder {
    files: Arc<Files>,
    path: TreePath,
}

impl Files {
    /// Returns a folder of them; nothing if there is no such folder.
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
