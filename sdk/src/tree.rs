//! The folder that a renderer reads.

use std::fmt;

use crate::Problem;

/// The kind of an entry in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// An entry in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The last part of the path.
    pub name: String,
    /// Whether it is a file or a folder.
    pub kind: EntryKind,
    /// The size in bytes; 0 for a folder.
    pub size: u64,
}

impl Entry {
    /// Returns whether the entry is a file.
    pub fn is_file(&self) -> bool {
        self.kind == EntryKind::File
    }

    /// Returns whether the entry is a folder.
    pub fn is_folder(&self) -> bool {
        self.kind == EntryKind::Folder
    }
}

/// Why a path could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// There is nothing at that path.
    NotFound,
    /// The path leaves the folder, or is not a relative path with `/` between its parts.
    Outside,
    /// The path is valid, but is or leads through a symbolic link that leaves the revision or never ends.
    Link,
    /// A folder was read as a file, or a file was listed as a folder.
    WrongKind,
    /// The file is larger than the host allows; the limit, in bytes.
    TooLarge(u64),
    /// The folder has more entries, or more levels of folders, than the host allows; the limit.
    TooMany(u64),
}

impl ReadError {
    /// Returns the error as a problem with `path`.
    pub fn at(self, path: &str) -> Problem {
        let problem = Problem::new(format!("cannot read `{path}`: {self}"));
        match self {
            Self::Outside => problem.hint("use a relative path inside the folder, without `..`"),
            _ => problem,
        }
    }

    /// Tells apart errors for which the contract has a single word, after a file was read. `stat` says what is at the
    /// path.
    #[cfg(any(target_arch = "wasm32", test))]
    pub(crate) fn of_file(self, path: &str, stat: impl FnOnce() -> Option<Entry>) -> Self {
        let Self::TooLarge(limit) = self else {
            return self.along(path);
        };
        // If the file is not too large, a folder on the way to it has too many entries.
        if stat().is_some_and(|entry| entry.size > limit) {
            self
        } else {
            Self::TooMany(limit)
        }
    }

    /// Tells these errors apart after a folder was listed.
    #[cfg(any(target_arch = "wasm32", test))]
    pub(crate) fn of_folder(self, path: &str) -> Self {
        self.of_search().along(path)
    }

    /// Tells these errors apart after a search for a pattern, which is not a path.
    #[cfg(any(target_arch = "wasm32", test))]
    pub(crate) fn of_search(self) -> Self {
        match self {
            Self::TooLarge(limit) => Self::TooMany(limit),
            error => error,
        }
    }

    #[cfg(any(target_arch = "wasm32", test))]
    fn along(self, path: &str) -> Self {
        match self {
            Self::Outside if is_within(path) => Self::Link,
            error => error,
        }
    }
}

/// The length in bytes of the longest path that the host reads.
const LONGEST: usize = 4_096;

/// Returns whether a path as written stays within the folder, whatever links make of it.
pub(crate) fn is_within(path: &str) -> bool {
    let leaves = path.starts_with('/') || path.contains(['\\', '\0']);
    !leaves && path.len() <= LONGEST && path.split('/').all(|part| part != "..")
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such file or folder"),
            Self::Outside => f.write_str("the path is not inside the folder"),
            Self::Link => f.write_str(
                "a symbolic link there leaves the repository, is absolute or never ends: let it lead, by a relative path, to what is in the repository",
            ),
            Self::WrongKind => f.write_str("a file was expected where a folder is, or the reverse"),
            Self::TooLarge(limit) => write!(
                f,
                "it has more than {limit} bytes, the limit of a file: split it, or take it out of the folder"
            ),
            Self::TooMany(limit) => write!(
                f,
                "there are more than {limit} entries, or folders within each other, which is the limit: take out what is \
                 not deployed"
            ),
        }
    }
}

impl std::error::Error for ReadError {}

/// A folder of one revision.
///
/// Paths are relative to the folder, with `/` between their parts. The empty path is the folder itself, and parts that
/// are empty or `.` do not count. Absolute paths, paths of more than 4,096 bytes, and paths with `..`, a backslash or NUL
/// give [`ReadError::Outside`], whatever they would resolve to. A symbolic link acts as what it links to, as long as that
/// is in the same revision; any other link gives [`ReadError::Link`].
///
/// The host records every read and every absence seen, and caches the result for as long as new commits change none of
/// them. A plugin that reads less is therefore called less.
pub trait Tree {
    /// Reads a whole file.
    fn read(&self, path: &str) -> Result<Vec<u8>, ReadError>;

    /// Lists a folder, sorted by name.
    fn entries(&self, path: &str) -> Result<Vec<Entry>, ReadError>;

    /// Returns the entry at a path, if there is one.
    fn stat(&self, path: &str) -> Option<Entry>;

    /// Returns the paths of the files that match, sorted.
    ///
    /// `*` and `?` stay within a folder, `**` crosses folders, `[a-z]` matches one character of a range, and `{yaml,yml}`
    /// matches either. A pattern gives [`ReadError::Outside`] if it is malformed, has more than 1,024 characters, or has
    /// braces that stand for more than 64 patterns. A pattern that leads out of the folder matches nothing.
    fn glob(&self, pattern: &str) -> Result<Vec<String>, ReadError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_stays_within_fails_for_a_link() {
        let outside = ReadError::Outside;
        for path in ["charts/common", "./a//b", "", "a/..b"] {
            assert_eq!(outside.of_folder(path), ReadError::Link, "{path}");
            assert_eq!(outside.of_file(path, || None), ReadError::Link, "{path}");
        }
        for path in ["/a", "..", "a/../b", "a\\b", "a\0"] {
            assert_eq!(outside.of_folder(path), outside, "{path}");
        }
        assert_eq!(outside.of_search(), outside);
    }

    #[test]
    fn what_is_too_large_is_told_from_what_is_too_many() {
        let entry = |size| Entry {
            name: "a".to_owned(),
            kind: EntryKind::File,
            size,
        };
        let error = ReadError::TooLarge(8);
        assert_eq!(error.of_file("a", || Some(entry(9))), error);
        let folder = ReadError::TooMany(8);
        assert_eq!(error.of_file("a", || Some(entry(8))), folder);
        assert_eq!(error.of_file("a", || None), folder);
        assert_eq!(error.of_folder("a"), folder);
        assert_eq!(error.of_search(), folder);
    }
}
