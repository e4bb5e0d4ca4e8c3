//! A folder of one revision as plugins see it.

mod pattern;

use std::fmt;

pub use self::pattern::{GlobError, PATTERN_ALTERNATIVES, PATTERN_CHARACTERS, glob, glob_while};

/// The object id of a blob or tree in git, in hexadecimal. For a working tree, it is the id that the object would have. For
/// content that no such id stands for, it is a digest.
pub type ContentId = String;

/// A relative path with `/` between its parts; `""` is the folder itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreePath(String);

impl TreePath {
    /// The folder itself.
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// Parses a path. `.` and empty parts are dropped; anything that could leave the folder is rejected.
    ///
    /// Returns `None` for absolute paths, `..`, backslashes and NUL, whatever they would resolve to.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('/') || text.contains(['\\', '\0']) {
            return None;
        }
        let mut parts = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => return None,
                part => parts.push(part),
            }
        }
        Some(Self(parts.join("/")))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is the folder itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the path of something inside this folder.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        match (self.is_root(), other.is_root()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            _ => Self(format!("{}/{}", self.0, other.0)),
        }
    }

    /// Returns the parts from the outermost to the innermost.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

/// The type of the entry at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A regular file, or a symbolic link to one within the revision.
    File,
    /// A folder.
    Folder,
}

/// A file or folder of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name within its folder.
    pub name: String,
    /// Its type.
    pub kind: EntryKind,
    /// The size in bytes; 0 for a folder.
    pub size: u64,
    /// The id of its content: equal ids mean equal contents. For a folder, the content that links in it lead to does not count.
    pub content: ContentId,
}

/// The reason why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Nothing exists at the path.
    #[error("{path} does not exist")]
    NotFound {
        /// The requested path.
        path: TreePath,
    },
    /// A symbolic link that leaves the revision, or links to itself.
    #[error(
        "{path} is a symbolic link that leaves the repository, is absolute or never ends: let it lead, by a relative path, to what is in the repository"
    )]
    Link {
        /// The link.
        path: TreePath,
    },
    /// A folder was read as a file, or the entries of a file were requested.
    #[error("{path} is not a {expected}")]
    WrongKind {
        /// The requested path.
        path: TreePath,
        /// `file` or `folder`.
        expected: &'static str,
    },
    /// A file or folder exceeds the limit.
    #[error("{path} has {size} {unit}, and the limit is {limit}")]
    TooLarge {
        /// The requested path.
        path: TreePath,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
        /// The unit of the size, such as `bytes` or `entries`.
        unit: &'static str,
    },
    /// A submodule: its content is in another repository.
    #[error(
        "{path} is a git submodule, which is not supported: vendor its files, or deploy it as an application of its own"
    )]
    Submodule {
        /// The submodule's path.
        path: TreePath,
    },
    /// The revision contains something that nobody can read in any copy of it.
    #[error("{path} could not be read: {reason}")]
    Unusable {
        /// The requested path.
        path: TreePath,
        /// What is wrong with it, and what to do about it.
        reason: String,
    },
    /// The underlying store failed.
    #[error("{path} could not be read: {reason}")]
    Broken {
        /// The requested path.
        path: TreePath,
        /// The reason that the store gives.
        reason: String,
    },
}

impl TreeError {
    /// Returns whether the store failed, rather than the revision being this way. Another fetch may repair the store.
    pub const fn is_broken(&self) -> bool {
        matches!(self, Self::Broken { .. })
    }
}

/// The result of [`Tree::stat`].
pub type Stat = Result<Option<Entry>, TreeError>;

/// A folder of one revision. Reading is local and needs no network.
///
/// Implementations limit what they return (file size, entries in a folder) and never follow a link out of the revision.
pub trait Tree: Send + Sync + fmt::Debug {
    /// Returns the entry at a path, or `None` if there is none. The root has an empty name.
    fn stat(&self, path: &TreePath) -> Stat;

    /// Returns the bytes of a file.
    fn read(&self, path: &TreePath) -> Result<Vec<u8>, TreeError>;

    /// Returns the results of [`Tree::stat`] and [`Tree::read`], which a tree may obtain with a single lookup.
    fn stat_and_read(&self, path: &TreePath) -> (Stat, Result<Vec<u8>, TreeError>) {
        (self.stat(path), self.read(path))
    }

    /// Returns the entries of a folder, sorted by name.
    fn entries(&self, path: &TreePath) -> Result<Vec<Entry>, TreeError>;

    /// Returns an id for everything that the tree holds: equal ids mean equal answers to every question. If links lead outside
    /// the tree, the id of its root is not enough.
    fn content(&self) -> Result<ContentId, TreeError> {
        let path = TreePath::root();
        match self.stat(&path)? {
            Some(root) => Ok(root.content),
            None => Err(TreeError::NotFound { path }),
        }
    }
}

/// The maximum number of files that one walk visits. Beyond it, a glob is an error rather than a slow answer.
pub const WALK_LIMIT: usize = 100_000;

/// Lists all files below a folder, sorted by path. Stops with an error at [`WALK_LIMIT`].
pub fn walk(tree: &dyn Tree, folder: &TreePath) -> Result<Vec<(TreePath, Entry)>, TreeError> {
    Ok(walk_while(tree, folder, &mut || true)?.unwrap_or_default())
}

/// Works like [`walk`], but asks before each entry whether to continue. Returns `None` if it was stopped.
fn walk_while(
    tree: &dyn Tree,
    folder: &TreePath,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Vec<(TreePath, Entry)>>, TreeError> {
    let mut found = Vec::new();
    let mut open = vec![folder.clone()];
    let mut visited = 0;
    while let Some(folder) = open.pop() {
        for entry in tree.entries(&folder)? {
            if !go_on() {
                return Ok(None);
            }
            visited += 1;
            if visited > WALK_LIMIT {
                let (size, limit) = (visited as u64, WALK_LIMIT as u64);
                return Err(TreeError::TooLarge {
                    path: folder,
                    size,
                    limit,
                    unit: "entries",
                });
            }
            let path = folder.join(&TreePath(entry.name.clone()));
            match entry.kind {
                EntryKind::File => found.push((path, entry)),
                EntryKind::Folder => open.push(path),
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Some(found))
}

pub mod memory {
    //! A tree in memory, for tests and for small generated inputs.

    use std::collections::{BTreeMap, BTreeSet};

    use super::{Entry, EntryKind, Tree, TreeError, TreePath};
    use crate::digest::Digest;

    /// A map from paths to file contents.
    #[derive(Debug, Clone, Default)]
    pub struct MemoryTree(BTreeMap<TreePath, Vec<u8>>);

    impl MemoryTree {
        /// Creates a tree from paths and contents. Paths that [`TreePath::parse`] rejects are left out.
        pub fn new<P: AsRef<str>, C: AsRef<[u8]>>(files: impl IntoIterator<Item = (P, C)>) -> Self {
            let parse = |(path, content): (P, C)| {
                Some((TreePath::parse(path.as_ref())?, content.as_ref().to_vec()))
            };
            Self(files.into_iter().filter_map(parse).collect())
        }

        fn below<'a>(
            &'a self,
            folder: &TreePath,
        ) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
            let prefix = if folder.is_root() {
                String::new()
            } else {
                format!("{}/", folder.as_str())
            };
            self.0.iter().filter_map(move |(path, content)| {
                path.as_str()
                    .strip_prefix(&prefix)
                    .map(|rest| (rest, content.as_slice()))
            })
        }

        fn folder(&self, path: &TreePath, name: &str) -> Option<Entry> {
            let mut content = crate::digest::Digester::new("memory-tree");
            let mut any = path.is_root();
            for (file, bytes) in self.below(path) {
                any = true;
                content = content.part(file).part(bytes);
            }
            let content = content.finish().hex();
            any.then(|| Entry {
                name: name.to_owned(),
                kind: EntryKind::Folder,
                size: 0,
                content,
            })
        }
    }

    impl Tree for MemoryTree {
        fn stat(&self, path: &TreePath) -> Result<Option<Entry>, TreeError> {
            let name = path.parts().last().unwrap_or_default();
            Ok(match self.0.get(path) {
                Some(bytes) => Some(Entry {
                    name: name.to_owned(),
                    kind: EntryKind::File,
                    size: bytes.len() as u64,
                    content: Digest::of(bytes).hex(),
                }),
                None => self.folder(path, name),
            })
        }

        fn read(&self, path: &TreePath) -> Result<Vec<u8>, TreeError> {
            match self.0.get(path) {
                Some(bytes) => Ok(bytes.clone()),
                None if self.folder(path, "").is_some() => Err(TreeError::WrongKind {
                    path: path.clone(),
                    expected: "file",
                }),
                None => Err(TreeError::NotFound { path: path.clone() }),
            }
        }

        fn entries(&self, path: &TreePath) -> Result<Vec<Entry>, TreeError> {
            if self.0.contains_key(path) {
                return Err(TreeError::WrongKind {
                    path: path.clone(),
                    expected: "folder",
                });
            }
            if self.folder(path, "").is_none() {
                return Err(TreeError::NotFound { path: path.clone() });
            }
            let names: BTreeSet<&str> = self
                .below(path)
                .filter_map(|(rest, _)| rest.split('/').next())
                .collect();
            let mut entries = Vec::new();
            for name in names {
                entries.extend(self.stat(&path.join(&TreePath(name.to_owned())))?);
            }
            Ok(entries)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_cannot_leave_the_folder() {
        for text in ["/etc/passwd", "..", "a/../b", "a\\b", "a\0b", "a/.."] {
            assert_eq!(TreePath::parse(text), None, "{text}");
        }
        assert_eq!(TreePath::parse("./a//b/").unwrap().as_str(), "a/b");
        assert!(TreePath::parse(".").unwrap().is_root());
    }

    proptest! {
        #[test]
        fn parsed_paths_stay_inside(text in "[a./\\\\]{0,12}") {
            if let Some(path) = TreePath::parse(&text) {
                prop_assert!(path.parts().all(|part| part != ".." && part != "." && !part.contains('\\')));
                prop_assert_eq!(TreePath::parse(path.as_str()), Some(path));
            }
        }
    }
}
