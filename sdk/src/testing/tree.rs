//! An in-memory folder.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use globset::{GlobBuilder, GlobSetBuilder};

use crate::{
    Entry, EntryKind, ReadError, Tree,
    glob::{Glob, GlobError, MAX_LENGTH},
    tree::is_within,
};

/// An in-memory folder that follows the host's rules for paths, and records what was read from it.
///
/// ```
/// use pintle_sdk::{Tree, testing::MemoryTree};
///
/// let tree = MemoryTree::new().file("web/app.yaml", "kind: Deployment\n").file("README.md", "");
/// assert_eq!(tree.glob("**/*.yaml").as_deref(), Ok(&["web/app.yaml".to_owned()][..]));
/// assert_eq!(tree.reads(), ["glob **/*.yaml"]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryTree {
    files: BTreeMap<String, Vec<u8>>,
    limit: Option<u64>,
    reads: RefCell<BTreeSet<String>>,
}

impl MemoryTree {
    /// Creates an empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file. The folders above it are created as needed.
    ///
    /// # Panics
    ///
    /// Panics if [`Tree`] does not allow the path, or if another file is in its way.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        assert!(
            !path.is_empty() && normal(path).as_deref() == Ok(path),
            "`{path}` is no plain relative path inside the folder"
        );
        let above = path
            .match_indices('/')
            .any(|(end, _)| self.files.contains_key(&path[..end]));
        assert!(
            !above && !self.is_folder(path),
            "another file is in the way of `{path}`"
        );
        self.files.insert(path.to_owned(), content.into());
        self
    }

    /// Refuses to read files larger than `bytes`, as a host does.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = Some(bytes);
        self
    }

    /// Returns what was asked so far, sorted and without duplicates: `read PATH`, `entries PATH`, `stat PATH`,
    /// `glob PATTERN`.
    ///
    /// This stands for the read set: a commit that changes nothing in it causes no render.
    pub fn reads(&self) -> Vec<String> {
        self.reads.borrow().iter().cloned().collect()
    }

    fn record(&self, verb: &str, path: &str) {
        self.reads.borrow_mut().insert(format!("{verb} {path}"));
    }

    fn is_folder(&self, path: &str) -> bool {
        path.is_empty() || self.below(path).next().is_some()
    }

    /// Returns the files below a folder, with their paths relative to it.
    fn below(&self, folder: &str) -> impl Iterator<Item = (&str, &Vec<u8>)> {
        let prefix = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        self.files
            .range(prefix.clone()..)
            .map_while(move |(path, content)| {
                path.strip_prefix(prefix.as_str())
                    .map(|rest| (rest, content))
            })
    }

    fn lookup(&self, path: &str) -> Option<Entry> {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        if let Some(content) = self.files.get(path) {
            return Some(Entry {
                name,
                kind: EntryKind::File,
                size: content.len() as u64,
            });
        }
        self.is_folder(path).then_some(Entry {
            name,
            kind: EntryKind::Folder,
            size: 0,
        })
    }
}

impl Tree for MemoryTree {
    fn read(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        self.record("read", path);
        let path = normal(path)?;
        match (self.files.get(&path), self.limit) {
            (Some(content), Some(limit)) if content.len() as u64 > limit => {
                Err(ReadError::TooLarge(limit))
            }
            (Some(content), _) => Ok(content.clone()),
            (None, _) if self.is_folder(&path) => Err(ReadError::WrongKind),
            (None, _) => Err(ReadError::NotFound),
        }
    }

    fn entries(&self, path: &str) -> Result<Vec<Entry>, ReadError> {
        self.record("entries", path);
        let path = normal(path)?;
        if self.files.contains_key(&path) {
            return Err(ReadError::WrongKind);
        }
        let mut entries: BTreeMap<&str, Entry> = BTreeMap::new();
        for (rest, content) in self.below(&path) {
            let (name, kind, size) = match rest.split_once('/') {
                Some((folder, _)) => (folder, EntryKind::Folder, 0),
                None => (rest, EntryKind::File, content.len() as u64),
            };
            entries.insert(
                name,
                Entry {
                    name: name.to_owned(),
                    kind,
                    size,
                },
            );
        }
        if entries.is_empty() && !path.is_empty() {
            return Err(ReadError::NotFound);
        }
        Ok(entries.into_values().collect())
    }

    fn stat(&self, path: &str) -> Option<Entry> {
        self.record("stat", path);
        self.lookup(&normal(path).ok()?)
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, ReadError> {
        self.record("glob", pattern);
        if pattern.chars().nth(MAX_LENGTH).is_some() {
            return Err(ReadError::Outside);
        }
        // The host, too, checks this limit itself and leaves other malformed patterns to the library used below.
        if Glob::parse(pattern) == Err(GlobError::TooManyAlternatives) {
            return Err(ReadError::Outside);
        }
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .empty_alternates(true)
            .build()
            .map_err(|_| ReadError::Outside)?;
        let glob = GlobSetBuilder::new()
            .add(glob)
            .build()
            .map_err(|_| ReadError::Outside)?;
        Ok(self
            .files
            .keys()
            .filter(|path| glob.is_match(path))
            .cloned()
            .collect())
    }
}

/// Drops empty parts and `.`, and refuses paths that could leave the folder. The empty path is the folder itself.
fn normal(path: &str) -> Result<String, ReadError> {
    if !is_within(path) {
        return Err(ReadError::Outside);
    }
    let parts: Vec<_> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    Ok(parts.join("/"))
}
