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
    /// Larger than the host allows; the limit, in bytes or entries.
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
            Self::TooLarge(limit) => write!(
                f,
                "it is larger than the limit of {limit} (bytes, or entries of a folder)"
            ),
        }
    }
}

impl std::error::Error for ReadError {}

/// A folder of one revision.
///
/// Paths are relative to the folder, with `/` between their parts; the empty path is the folder itself, and parts that
/// are empty or `.` do not count. Absolute paths, and paths with `..`, a backslash or NUL, are [`ReadError::Outside`]
/// whatever they would resolve to. A symbolic link is what it links to, as long as that is inside the folder.
///
/// The host records every read and every absence seen, and keeps the result for as long as a new commit changes none of
/// them: a plugin that reads less is called less.
pub trait Tree {
    /// Reads a whole file.
    fn read(&self, path: &str) -> Result<Vec<u8>, ReadError>;

    /// Lists a folder, sorted by name.
    fn entries(&self, path: &str) -> Result<Vec<Entry>, ReadError>;

    /// Says what has that path, if anything.
    fn stat(&self, path: &str) -> Option<Entry>;

    /// Lists the paths of the files that match, sorted.
    ///
    /// `*` and `?` stay within a folder, `**` crosses folders, `[a-z]` is one character of a range, `{yaml,yml}` is
    /// either. A malformed pattern is [`ReadError::Outside`], and so is one of more than 1,024 characters, or whose braces
    /// stand for more than 64 patterns; one that leads out of the folder matches nothing.
    fn glob(&self, pattern: &str) -> Result<Vec<String>, ReadError>;
}
