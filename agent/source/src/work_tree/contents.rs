//! The contents of the files of a listing.

use std::{collections::HashMap, fs, io::Read as _, path::PathBuf, sync::Arc};

use gix::{
    ObjectId,
    objs::{Kind, WriteTo as _, tree},
};
use pintle_core::{
    digest::Digester,
    tree::{TreeError, TreePath},
};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::listing::{Entry, ListedFile, Listing, What, unreadable};
use crate::{
    error::{SourceError, chain},
    tree::{
        broken,
        objects::{Folder, NodeKind, Objects},
        work::Work,
    },
};

/// What was scanned, by content.
#[derive(Default)]
pub(super) struct Contents {
    folders: HashMap<ObjectId, Arc<Folder>>,
    regular: HashMap<ObjectId, ScannedFile>,
    links: HashMap<ObjectId, Vec<u8>>,
    /// Entries that are listed as an empty file or as a folder, and why they cannot be read.
    refused: HashMap<ObjectId, String>,
}

struct ScannedFile {
    path: PathBuf,
    size: u64,
    /// The bytes that the scan read, unless they are too many in total.
    bytes: Option<Vec<u8>>,
}

/// The most bytes that a scan keeps of a file, and of all files, so that they need not be read and digested a second time.
const KEPT_FILE: u64 = 4 << 20;
const KEPT: u64 = 32 << 20;

/// The number of files, or of bytes, that is worth more threads: it takes some milliseconds.
const MANY: usize = 64;
const LONG: u64 = 1 << 20;

impl Contents {
    /// Reads the files of a listing, and returns the id of its root too.
    pub(super) fn read(listing: Listing) -> Result<(Self, ObjectId), SourceError> {
        let mut contents = Self::default();
        let ids = contents.read_files(listing.files, listing.tolerates_unreadable)?;
        let root = contents.assemble(listing.entries, &ids, &TreePath::root())?;
        Ok((contents, root))
    }

    /// Reads the files whose ids are not known, many of them on all processors, and returns the ids of all files.
    fn read_files(
        &mut self,
        files: Vec<ListedFile>,
        tolerates_unreadable: bool,
    ) -> Result<Vec<ObjectId>, SourceError> {
        let unknown = || files.iter().filter(|file| file.id.is_none());
        let is_long =
            unknown().count() >= MANY || unknown().map(|file| file.size).sum::<u64>() >= LONG;
        let mut kept = 0;
        let planned = files.into_iter().map(|file| {
            let is_read = file.id.is_none();
            let is_kept = is_read && file.size <= KEPT_FILE && kept + file.size <= KEPT;
            kept += if is_kept { file.size } else { 0 };
            (file, is_kept)
        });
        let read: Vec<_> = if is_long {
            let planned: Vec<_> = planned.collect();
            planned.into_par_iter().map(read).collect()
        } else {
            planned.map(read).collect()
        };
        // If several cannot be read, the first one is reported.
        read.into_iter()
            .map(|file| match file {
                Ok((id, file)) => {
                    self.regular.insert(id, file);
                    Ok(id)
                }
                Err(SourceError::Tree(TreeError::Broken { reason, .. }))
                    if tolerates_unreadable =>
                {
                    Ok(self.refuse(reason))
                }
                Err(error) => Err(error),
            })
            .collect()
    }

    /// Assembles a folder, and returns its id.
    fn assemble(
        &mut self,
        entries: Vec<Entry>,
        files: &[ObjectId],
        at: &TreePath,
    ) -> Result<ObjectId, SourceError> {
        let mut nodes = Vec::with_capacity(entries.len());
        let mut object = gix::objs::Tree::empty();
        for Entry { name, at, what } in entries {
            let (mode, kind, id) = match what {
                What::Folder(within) => {
                    let id = self.assemble(within, files, &at)?;
                    (tree::EntryKind::Tree, NodeKind::Folder, id)
                }
                What::File {
                    number,
                    is_executable,
                } => {
                    let mode = if is_executable {
                        tree::EntryKind::BlobExecutable
                    } else {
                        tree::EntryKind::Blob
                    };
                    (mode, NodeKind::File, files[number])
                }
                What::Link(target) => {
                    let id = hash(Kind::Blob, &target, &at)?;
                    self.links.insert(id, target);
                    (tree::EntryKind::Link, NodeKind::Link, id)
                }
                What::Submodule(commit) => (tree::EntryKind::Commit, NodeKind::Submodule, commit),
                What::Refused(reason) => {
                    let id = self.refuse(reason);
                    (tree::EntryKind::Blob, NodeKind::File, id)
                }
                What::Closed(reason) => {
                    let id = self.refuse(reason);
                    (tree::EntryKind::Tree, NodeKind::Folder, id)
                }
            };
            object.entries.push(tree::Entry {
                mode: mode.into(),
                filename: name.clone().into(),
                oid: id,
            });
            nodes.push((name, kind, id));
        }
        object.entries.sort();
        let mut bytes = Vec::new();
        object
            .write_to(&mut bytes)
            .map_err(|error| broken(at, &chain(&error)))?;
        let id = hash(Kind::Tree, &bytes, at)?;
        self.folders.insert(id, Arc::new(Folder::new(nodes)));
        Ok(id)
    }

    /// Records why something cannot be read, and returns the id that stands for it.
    fn refuse(&mut self, reason: String) -> ObjectId {
        let id = refusal(&reason);
        self.refused.insert(id, reason);
        id
    }
}

/// Reads a file whose id is not known, and keeps its bytes if it is to be kept.
fn read((file, is_kept): (ListedFile, bool)) -> Result<(ObjectId, ScannedFile), SourceError> {
    let ListedFile { path, at, size, id } = file;
    if let Some(id) = id {
        let bytes = None;
        return Ok((id, ScannedFile { path, size, bytes }));
    }
    let bytes = fs::read(&path).map_err(|error| unreadable(&at, &error))?;
    let (id, size) = (hash(Kind::Blob, &bytes, &at)?, bytes.len() as u64);
    // It may have grown since it was listed.
    let bytes = (is_kept && size <= KEPT_FILE).then_some(bytes);
    Ok((id, ScannedFile { path, size, bytes }))
}

fn hash(kind: Kind, bytes: &[u8], at: &TreePath) -> Result<ObjectId, SourceError> {
    gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, bytes)
        .map_err(|error| broken(at, &chain(&error)).into())
}

/// Returns an id for something that cannot be read, a different one for each reason.
fn refusal(reason: &str) -> ObjectId {
    let digest = Digester::new("refused-file/v1").part(reason).finish();
    ObjectId::from_bytes_or_panic(&digest.as_bytes()[..20])
}

impl Objects for Contents {
    fn folder(&self, id: &ObjectId, at: &TreePath, _: &Work) -> Result<Arc<Folder>, TreeError> {
        if let Some(reason) = self.refused.get(id) {
            return Err(broken(at, reason));
        }
        self.folders
            .get(id)
            .cloned()
            .ok_or_else(|| TreeError::NotFound { path: at.clone() })
    }

    fn size(&self, id: &ObjectId, at: &TreePath, _: &Work) -> Result<u64, TreeError> {
        if self.refused.contains_key(id) {
            return Ok(0);
        }
        match (self.regular.get(id), self.links.get(id)) {
            (Some(file), _) => Ok(file.size),
            (None, Some(target)) => Ok(target.len() as u64),
            (None, None) => Err(TreeError::NotFound { path: at.clone() }),
        }
    }

    fn blob(&self, id: &ObjectId, at: &TreePath, _: &Work) -> Result<Vec<u8>, TreeError> {
        if let Some(reason) = self.refused.get(id) {
            return Err(broken(at, reason));
        }
        let file = match (self.regular.get(id), self.links.get(id)) {
            (Some(file), _) => file,
            (None, Some(target)) => return Ok(target.clone()),
            (None, None) => return Err(TreeError::NotFound { path: at.clone() }),
        };
        if let Some(bytes) = &file.bytes {
            return Ok(bytes.clone());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(file.size).unwrap_or_default());
        fs::File::open(&file.path)
            .and_then(|open| open.take(file.size + 1).read_to_end(&mut bytes))
            .map_err(|error| broken(at, &error.to_string()))?;
        // The path may lead elsewhere by now, or the file may hold something else. The id shows whether it is what was scanned.
        match gix::objs::compute_hash(id.kind(), Kind::Blob, &bytes) {
            Ok(now) if now == *id => Ok(bytes),
            _ => Err(broken(at, "it changed while it was used: run again")),
        }
    }
}
