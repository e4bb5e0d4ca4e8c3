//! The folder that a renderer reads.

use std::fmt;

use crate::Problem;

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The last part of the path.
    pub name: String,
    /// File or folder.
    pub kind: EntryKind,
    /// Bytes; 0 for a folder.
    pub size: u64,
}

impl Entry {
    /// Whether the entry is a file.
    pub fn is_file(&self) -> bool {
        self.kind == EntryKind::File
    }

    /// Whether the entry is a folder.
    pub fn is_folder(&self) -> bool {
        self.kind == EntryKind::Folder
    }
}

/// Why a path could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Nothing has that path.
    NotFound,
    /// The path leaves the folder, or is no relative path with `/` between its parts.
    Outside,
    /// A folder was read, or the entries of a file asked for.
    WrongKind,
    /// Larger than the host allows; the limit in bytes.
    TooLarge(u64),
}

impl ReadError {
    /// Tells the error as a problem with `path`.
    pub fn at(self, path: &str) -> Problem {
        let problem = Problem::new(format!("cannot read `{path}`: {self}"));
        match self {
            Self::Outside => problem.hint("use a relative path inside the folder, without `..`"),
            _ => problem,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such file or folder"),
            Self::Outside => f.write_str("the path is not inside the folder"),
            Self::WrongKind => f.write_str("a file was expected where a folder is, or the reverse"),
            Self::TooLarge(limit) => write!(f, "it is larger than the limit of {limit} bytes"),
        }
    }
}

impl std::error::Error for ReadError {}

/// A folder of one revision.
///
/// Paths are relative to the folder, UTF-8, with `/` between their parts; the empty path is the folder itself. Parts
/// named `.` or `..`, empty parts and a leading `/` are [`ReadError::Outside`]. The host records every read and every
/// absence seen, and keeps the result for as long as a new commit changes none of them: read no more than is needed.
pub trait Tree {
    /// Reads a whole file.
    fn read(&self, path: &str) -> Result<Vec<u8>, ReadError>;

    /// Lists a folder, sorted by name.
    fn entries(&self, path: &str) -> Result<Vec<Entry>, ReadError>;

    /// Says what has that path, if anything.
    fn stat(&self, path: &str) -> Option<Entry>;

    /// Lists the paths of all files that match, sorted.
    ///
    /// `*` and `?` do not match `/`; `**` crosses folders; `[a-z]` and `{yaml,yml}` are understood. An invalid
    /// pattern is [`ReadError::Outside`].
    fn glob(&self, pattern: &str) -> Result<Vec<String>, ReadError>;
}
