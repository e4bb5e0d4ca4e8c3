//! `pintle:types/tree`: a folder of one revision. Every read of it is recorded.

use std::sync::Arc;

use pintle_core::{
    plugin::Fault,
    problem::Problem,
    readset::{self, Question},
    tree::{self, GlobError, Tree, TreeError, TreePath},
};
use wasmtime::component::Resource;

use crate::{
    bindings::wit::tree::{Entry, EntryKind, Host, HostTree, ReadError},
    state::{State, Stop},
};

/// A folder held by a guest.
#[derive(Debug, Clone)]
#[expect(unreachable_pub, reason = "the generated bindings export it again")]
pub struct Folder {
    tree: Arc<dyn Tree>,
    /// Whether reads are added to the read set. Reads of an input are not: it is recorded as a whole, by its digest.
    recorded: bool,
}

impl Folder {
    /// Returns the folder of the application, whose reads are recorded.
    pub(crate) fn source(tree: Arc<dyn Tree>) -> Self {
        Self {
            tree,
            recorded: true,
        }
    }

    /// Returns a further folder, which was recorded as a whole.
    pub(crate) fn input(tree: Arc<dyn Tree>) -> Self {
        Self {
            tree,
            recorded: false,
        }
    }
}

/// The maximum length of a path in bytes, as on Linux. Reading a path takes many times its bytes, and the read set keeps it.
const PATH: usize = 4_096;

/// Parses a path. One that is too long leads nowhere in any revision, like one that leaves the folder.
fn parsed(text: &str) -> Option<TreePath> {
    if text.len() > PATH {
        return None;
    }
    TreePath::parse(text)
}

impl Host for State {}

impl HostTree for State {
    fn read(
        &mut self,
        this: Resource<Folder>,
        path: String,
    ) -> wasmtime::Result<Result<Vec<u8>, ReadError>> {
        self.called(path.len())?;
        let Some(path) = parsed(&path) else {
            return Ok(Err(ReadError::Outside));
        };
        let folder = self.table.get(&this)?.clone();
        let result = if folder.recorded {
            let (stat, result) = folder.tree.stat_and_read(&path);
            let answer = readset::read_answer(&stat);
            self.record(Question::Read(path.to_string()), answer)?;
            result
        } else {
            folder.tree.read(&path)
        };
        self.traffic.charge(result.as_ref().map_or(0, Vec::len))?;
        Ok(told(result)?)
    }

    fn entries(
        &mut self,
        this: Resource<Folder>,
        path: String,
    ) -> wasmtime::Result<Result<Vec<Entry>, ReadError>> {
        self.called(path.len())?;
        let Some(path) = parsed(&path) else {
            return Ok(Err(ReadError::Outside));
        };
        let folder = self.table.get(&this)?.clone();
        let result = folder.tree.entries(&path);
        if folder.recorded {
            let answer = readset::entries_answer(&result);
            self.record(Question::Entries(path.to_string()), answer)?;
        }
        let entries = result.map(|entries| entries.into_iter().map(entry).collect::<Vec<_>>());
        let size = |entries: &Vec<Entry>| entries.iter().map(|entry| entry.name.len() + 24).sum();
        self.traffic.charge(entries.as_ref().map_or(0, size))?;
        Ok(told(entries)?)
    }

    fn stat(&mut self, this: Resource<Folder>, path: String) -> wasmtime::Result<Option<Entry>> {
        self.called(path.len())?;
        let Some(path) = parsed(&path) else {
            return Ok(None);
        };
        let folder = self.table.get(&this)?.clone();
        let result = folder.tree.stat(&path);
        if folder.recorded {
            let answer = readset::stat_answer(&result);
            self.record(Question::Stat(path.to_string()), answer)?;
        }
        Ok(told(result)?.unwrap_or_default().map(entry))
    }

    fn glob(
        &mut self,
        this: Resource<Folder>,
        pattern: String,
    ) -> wasmtime::Result<Result<Vec<String>, ReadError>> {
        self.called(pattern.len())?;
        let folder = self.table.get(&this)?.clone();
        let found = match self.search(folder.tree.as_ref(), &pattern)? {
            Ok(found) => found,
            // A malformed pattern is malformed in every revision, so nothing was read.
            Err(GlobError::Pattern { .. }) => return Ok(Err(ReadError::Outside)),
            Err(GlobError::Tree(error)) => return Ok(told(Err(error))?),
        };
        if folder.recorded {
            let answer = readset::glob_answer(&found);
            self.record(Question::Glob(pattern), answer)?;
        }
        let found: Vec<String> = found
            .into_iter()
            .map(|path| path.as_str().to_owned())
            .collect();
        self.traffic
            .charge(found.iter().map(|path| path.len() + 16).sum())?;
        Ok(Ok(found))
    }

    fn drop(&mut self, this: Resource<Folder>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl State {
    /// Searches for files. Each file examined counts as the bytes of the pattern, and none is examined once the time of the call
    /// is over. Nothing else limits the cost of one glob over many files.
    fn search(
        &mut self,
        folder: &dyn Tree,
        pattern: &str,
    ) -> Result<Result<Vec<TreePath>, GlobError>, Stop> {
        let mut bounded = Ok(());
        let found = tree::glob_while(folder, pattern, &mut || {
            bounded = self
                .deadline
                .check()
                .and_then(|()| self.traffic.spend(pattern.len() as u64));
            bounded.is_ok()
        });
        bounded?;
        Ok(found.map(Option::unwrap_or_default))
    }
}

fn entry(entry: tree::Entry) -> Entry {
    Entry {
        name: entry.name,
        kind: match entry.kind {
            tree::EntryKind::File => EntryKind::File,
            tree::EntryKind::Folder => EntryKind::Folder,
        },
        size: entry.size,
    }
}

/// Returns an error that the guest can act on, and ends the call for any other.
fn told<T>(result: Result<T, TreeError>) -> Result<Result<T, ReadError>, Stop> {
    let error = match result {
        Ok(value) => return Ok(Ok(value)),
        Err(error) => error,
    };
    match error {
        TreeError::NotFound { .. } => Ok(Err(ReadError::NotFound)),
        TreeError::Link { .. } => Ok(Err(ReadError::Outside)),
        TreeError::WrongKind { .. } => Ok(Err(ReadError::WrongKind)),
        TreeError::TooLarge { limit, .. } => Ok(Err(ReadError::TooLarge(limit))),
        // No guest could describe it better, and none should take it for a missing file.
        TreeError::Submodule { .. } | TreeError::Unusable { .. } => {
            Err(Stop(Fault::Refused(vec![Problem::new(error.to_string())])))
        }
        TreeError::Broken { .. } => Err(Stop(Fault::Unreadable(error.to_string()))),
    }
}
