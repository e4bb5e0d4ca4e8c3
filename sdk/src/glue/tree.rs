//! The host's folders.

use crate::{Entry, EntryKind, ReadError, Tree};

use super::wit::tree;

impl Tree for tree::Tree {
    fn read(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        tree::Tree::read(self, path).map_err(|error| {
            ReadError::from(error).of_file(path, || tree::Tree::stat(self, path).map(Into::into))
        })
    }

    fn entries(&self, path: &str) -> Result<Vec<Entry>, ReadError> {
        let entries = tree::Tree::entries(self, path)
            .map_err(|error| ReadError::from(error).of_folder(path))?;
        Ok(entries.into_iter().map(Into::into).collect())
    }

    fn stat(&self, path: &str) -> Option<Entry> {
        tree::Tree::stat(self, path).map(Into::into)
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, ReadError> {
        tree::Tree::glob(self, pattern).map_err(|error| ReadError::from(error).of_search())
    }
}

impl From<tree::Entry> for Entry {
    fn from(entry: tree::Entry) -> Self {
        let kind = match entry.kind {
            tree::EntryKind::File => EntryKind::File,
            tree::EntryKind::Folder => EntryKind::Folder,
        };
        Self {
            name: entry.name,
            kind,
            size: entry.size,
        }
    }
}

impl From<tree::ReadError> for ReadError {
    fn from(error: tree::ReadError) -> Self {
        match error {
            tree::ReadError::NotFound => Self::NotFound,
            tree::ReadError::Outside => Self::Outside,
            tree::ReadError::WrongKind => Self::WrongKind,
            tree::ReadError::TooLarge(limit) => Self::TooLarge(limit),
        }
    }
}
