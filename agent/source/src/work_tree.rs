//! The files of a folder as they are now, for `--dev`.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    fs,
    io::Read as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use gix::{
    ObjectId,
    index::entry::Mode,
    objs::{Kind, WriteTo as _, tree},
};
use pintle_core::{
    digest::Digester,
    revision::Revision,
    tree::{Tree, TreeError, TreePath, WALK_LIMIT},
};

use crate::{
    error::{SourceError, chain},
    limits::Limits,
    local::{self, Local},
    tree::{
        SourceTree, broken,
        objects::{Folder, NodeKind, Objects},
    },
};

/// A folder of files as they were when it was scanned, whether committed or not.
///
/// What git would ignore is not part of it, and neither is what is no file, link or folder. Each file has the id that
/// git would give to its bytes, so that what did not change since a commit has the id that it has there; git's own
/// conversions of line ends are not made. A file that changed after the scan is
/// read as it was, or if it is a large one the change is an error: scan again.
#[derive(Debug, Clone)]
pub struct WorkTree {
    /// What it is: its commit is `dev:` and the id of its root, its time that of HEAD, or without one that at which a
    /// file was last modified.
    pub revision: Revision,
    tree: Arc<SourceTree<Files>>,
}

impl WorkTree {
    /// Scans a folder. It need not be in a repository; then nothing is ignored but `.git`.
    pub fn scan(path: &Path, limits: Limits) -> Result<Self, SourceError> {
        let folder = path.canonicalize().map_err(|error| SourceError::Url {
            url: path.display().to_string(),
            reason: error.to_string(),
        })?;
        let (repository, head) = match local::discover(&folder, limits) {
            Ok((repository, root)) => {
                let head = local::local(&folder, limits)
                    .ok()
                    .map(|local| local.snapshot.revision);
                (Some((repository.to_thread_local(), root)), head)
            }
            Err(SourceError::NotARepository { .. }) => (None, None),
            Err(error) => return Err(error),
        };
        let mut scan = Scan::new(Ignored::new(repository.as_ref(), &folder)?, limits);
        let root = scan.folder(&folder, &TreePath::root(), 0)?;
        let revision = revision(root, head, scan.modified);
        let tree = Arc::new(SourceTree::new(scan.files, root, limits));
        Ok(Self { revision, tree })
    }

    /// Says whether the files of a folder are other ones than its commit has; nothing if there are so many that it would
    /// take long to find out.
    ///
    /// As git does, it takes a file for unchanged whose size and time are those in the index.
    pub fn differs(
        path: &Path,
        local: &Local,
        limits: Limits,
    ) -> Result<Option<bool>, SourceError> {
        let committed = local.snapshot.folder_id(&local.path)?;
        let folder = path.canonicalize().map_err(|error| SourceError::Url {
            url: path.display().to_string(),
            reason: error.to_string(),
        })?;
        let (repository, root) = local::discover(&folder, limits)?;
        let repository = (repository.to_thread_local(), root);
        let mut scan = Scan::new(Ignored::new(Some(&repository), &folder)?, limits);
        scan.indexed = indexed(&repository)?;
        scan.most = COMPARED;
        match scan.folder(&folder, &TreePath::root(), 0) {
            Ok(now) => Ok(Some(now != committed)),
            Err(SourceError::Tree(TreeError::TooLarge { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the scanned folder.
    pub fn tree(&self) -> Arc<dyn Tree> {
        Arc::clone(&self.tree) as Arc<dyn Tree>
    }
}

fn revision(root: ObjectId, head: Option<Revision>, modified: i64) -> Revision {
    let summary = match &head {
        Some(head) => format!("files that may differ from {}", head.short()),
        None => "files that are not committed".to_owned(),
    };
    let known = head.unwrap_or(Revision {
        commit: String::new(),
        tree: String::new(),
        reference: String::new(),
        time: modified,
        author: String::new(),
        committer: String::new(),
        summary: String::new(),
    });
    Revision {
        commit: format!("dev:{root}"),
        tree: root.to_string(),
        summary,
        ..known
    }
}

/// What was scanned, by content.
#[derive(Default)]
struct Files {
    folders: HashMap<ObjectId, Arc<Folder>>,
    regular: HashMap<ObjectId, ScannedFile>,
    links: HashMap<ObjectId, Vec<u8>>,
}

struct ScannedFile {
    path: PathBuf,
    size: u64,
    /// What the scan read, as long as that is not too much altogether.
    bytes: Option<Vec<u8>>,
}

/// Most bytes of a file that a scan keeps, and of all files, so that they need not be read and digested a second time.
const KEPT_FILE: u64 = 1 << 20;
const KEPT: u64 = 32 << 20;

/// Most files of a folder that is compared with its commit: a hint must not take longer than what it is about.
const COMPARED: usize = 10_000;

/// A file as the index has it.
struct IndexedFile {
    id: ObjectId,
    mode: Mode,
    /// Size, and seconds and nanoseconds of the last modification, cut off as the index cuts them off.
    stat: (u32, u32, u32),
}

fn indexed(
    (repository, root): &(gix::Repository, PathBuf),
) -> Result<HashMap<PathBuf, IndexedFile>, SourceError> {
    let index = repository
        .index_or_empty()
        .map_err(|error| SourceError::Url {
            url: root.display().to_string(),
            reason: format!("its index cannot be read: {}", chain(&error)),
        })?;
    let entries = index.entries().iter().map(|entry| {
        let path = root.join(OsStr::from_bytes(entry.path(&index)));
        let stat = entry.stat;
        let file = IndexedFile {
            id: entry.id,
            mode: entry.mode,
            stat: (stat.size, stat.mtime.secs, stat.mtime.nsecs),
        };
        (path, file)
    });
    Ok(entries.collect())
}

struct Scan<'a> {
    limits: Limits,
    ignored: Ignored<'a>,
    /// Files whose ids are known as long as they have not been touched.
    indexed: HashMap<PathBuf, IndexedFile>,
    files: Files,
    /// Most files and folders.
    most: usize,
    count: usize,
    /// Bytes that are kept.
    kept: u64,
    /// The newest modification of a file, in seconds of Unix time.
    modified: i64,
}

impl<'a> Scan<'a> {
    fn new(ignored: Ignored<'a>, limits: Limits) -> Self {
        Self {
            limits,
            ignored,
            indexed: HashMap::new(),
            files: Files::default(),
            most: WALK_LIMIT,
            count: 0,
            kept: 0,
            modified: 0,
        }
    }

    /// Returns the id of a file that is as the index has it.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the index keeps 32 bits of each"
    )]
    fn untouched(&self, path: &Path, facts: &fs::Metadata) -> Option<ObjectId> {
        let now = (
            facts.len() as u32,
            facts.mtime() as u32,
            facts.mtime_nsec() as u32,
        );
        let file = self.indexed.get(path)?;
        (file.stat == now).then_some(file.id)
    }

    /// Returns the commit of a submodule that the index has.
    fn submodule(&self, path: &Path) -> Option<ObjectId> {
        let file = self.indexed.get(path)?;
        (file.mode == Mode::COMMIT).then_some(file.id)
    }

    /// Scans a folder and returns its id. Folders without files are left out by the caller, as in git.
    fn folder(
        &mut self,
        folder: &Path,
        at: &TreePath,
        depth: usize,
    ) -> Result<ObjectId, SourceError> {
        if depth > self.limits.depth {
            let (size, limit) = (depth as u64, self.limits.depth as u64);
            return Err(TreeError::TooLarge {
                path: at.clone(),
                size,
                limit,
                unit: "levels",
            }
            .into());
        }
        let failed = |error: std::io::Error| SourceError::from(broken(at, &error.to_string()));
        let mut found = Vec::new();
        let mut object = gix::objs::Tree::empty();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some((name, mode, id)) = self.entry(&entry, at, depth)? else {
                continue;
            };
            self.count += 1;
            if self.count > self.most {
                return Err(too_many(&TreePath::root(), self.count, self.most));
            }
            if found.len() >= self.limits.entries {
                return Err(too_many(at, found.len() + 1, self.limits.entries));
            }
            let kind = match mode {
                tree::EntryKind::Tree => NodeKind::Folder,
                tree::EntryKind::Link => NodeKind::Link,
                tree::EntryKind::Commit => NodeKind::Submodule,
                tree::EntryKind::Blob | tree::EntryKind::BlobExecutable => NodeKind::File,
            };
            object.entries.push(tree::Entry {
                mode: mode.into(),
                filename: name.clone().into(),
                oid: id,
            });
            found.push((name, kind, id));
        }
        object.entries.sort();
        let mut bytes = Vec::new();
        object
            .write_to(&mut bytes)
            .map_err(|error| broken(at, &chain(&error)))?;
        let id = hash(Kind::Tree, &bytes, at)?;
        self.files.folders.insert(id, Arc::new(Folder::new(found)));
        Ok(id)
    }

    /// Scans one entry; nothing if it is not part of the tree.
    fn entry(
        &mut self,
        entry: &fs::DirEntry,
        parent: &TreePath,
        depth: usize,
    ) -> Result<Option<(Vec<u8>, tree::EntryKind, ObjectId)>, SourceError> {
        let name = entry.file_name().as_bytes().to_vec();
        if name == b".git" {
            return Ok(None);
        }
        let at = match std::str::from_utf8(&name).ok().and_then(TreePath::parse) {
            Some(name) => parent.join(&name),
            None => parent.clone(),
        };
        let failed = |error: std::io::Error| SourceError::from(broken(&at, &error.to_string()));
        let path = entry.path();
        let facts = match fs::symlink_metadata(&path) {
            Ok(facts) => facts,
            // It was there when the folder was listed, and is no more: as if it had never been.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if self.ignored.is(&path, facts.is_dir())? {
            return Ok(None);
        }
        if facts.is_dir() {
            let submodule = self.submodule(&path);
            if submodule.is_some() || path.join(".git").exists() {
                let unknown = ObjectId::null(gix::hash::Kind::Sha1);
                let id = submodule.unwrap_or(unknown);
                return Ok(Some((name, tree::EntryKind::Commit, id)));
            }
            let id = self.folder(&path, &at, depth + 1)?;
            let empty = id == ObjectId::empty_tree(gix::hash::Kind::Sha1);
            return Ok((!empty).then_some((name, tree::EntryKind::Tree, id)));
        }
        if facts.is_symlink() {
            let target = fs::read_link(&path)
                .map_err(failed)?
                .as_os_str()
                .as_bytes()
                .to_vec();
            let id = hash(Kind::Blob, &target, &at)?;
            self.files.links.insert(id, target);
            return Ok(Some((name, tree::EntryKind::Link, id)));
        }
        if !facts.is_file() {
            return Ok(None);
        }
        let mode = if facts.permissions().mode() & 0o111 == 0 {
            tree::EntryKind::Blob
        } else {
            tree::EntryKind::BlobExecutable
        };
        self.modified = self.modified.max(facts.mtime());
        let (id, size, bytes) = if let Some(id) = self.untouched(&path, &facts) {
            (id, facts.len(), None)
        } else if facts.len() > self.limits.file {
            // It can never be read, so its bytes need not be either.
            (stand_in(&path, &facts), facts.len(), None)
        } else {
            let bytes = fs::read(&path).map_err(failed)?;
            let (id, size) = (hash(Kind::Blob, &bytes, &at)?, bytes.len() as u64);
            let is_kept = size <= KEPT_FILE && self.kept + size <= KEPT;
            self.kept += if is_kept { size } else { 0 };
            (id, size, is_kept.then_some(bytes))
        };
        self.files
            .regular
            .insert(id, ScannedFile { path, size, bytes });
        Ok(Some((name, mode, id)))
    }
}

fn too_many(path: &TreePath, size: usize, limit: usize) -> SourceError {
    let (size, limit) = (size as u64, limit as u64);
    SourceError::Tree(TreeError::TooLarge {
        path: path.clone(),
        size,
        limit,
        unit: "entries",
    })
}

fn hash(kind: Kind, bytes: &[u8], at: &TreePath) -> Result<ObjectId, SourceError> {
    gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, bytes)
        .map_err(|error| broken(at, &chain(&error)).into())
}

/// Makes an id for a file that is too large to be read: another one whenever it changes.
fn stand_in(path: &Path, facts: &fs::Metadata) -> ObjectId {
    let digest = Digester::new("unread-file/v1")
        .part(path.as_os_str().as_bytes())
        .part(facts.len().to_be_bytes())
        .part(facts.mtime().to_be_bytes())
        .part(facts.mtime_nsec().to_be_bytes())
        .finish();
    ObjectId::from_bytes_or_panic(&digest.as_bytes()[..20])
}

impl Objects for Files {
    fn folder(&self, id: &ObjectId, at: &TreePath) -> Result<Arc<Folder>, TreeError> {
        self.folders
            .get(id)
            .cloned()
            .ok_or_else(|| TreeError::NotFound { path: at.clone() })
    }

    fn size(&self, id: &ObjectId, at: &TreePath) -> Result<u64, TreeError> {
        match (self.regular.get(id), self.links.get(id)) {
            (Some(file), _) => Ok(file.size),
            (None, Some(target)) => Ok(target.len() as u64),
            (None, None) => Err(TreeError::NotFound { path: at.clone() }),
        }
    }

    fn blob(&self, id: &ObjectId, at: &TreePath) -> Result<Vec<u8>, TreeError> {
        let file = match (self.regular.get(id), self.links.get(id)) {
            (Some(file), _) => file,
            (None, Some(target)) => return Ok(target.clone()),
            (None, None) => return Err(TreeError::NotFound { path: at.clone() }),
        };
        if let Some(bytes) = &file.bytes {
            return Ok(bytes.clone());
        }
        let mut bytes = Vec::new();
        fs::File::open(&file.path)
            .and_then(|open| open.take(file.size + 1).read_to_end(&mut bytes))
            .map_err(|error| broken(at, &error.to_string()))?;
        // The path may lead elsewhere by now, or the file hold something else. The id says that it is what was scanned.
        match gix::objs::compute_hash(id.kind(), Kind::Blob, &bytes) {
            Ok(now) if now == *id => Ok(bytes),
            _ => Err(broken(at, "it changed while it was used: run again")),
        }
    }
}

/// What git would ignore.
struct Ignored<'a> {
    rules: Option<Rules<'a>>,
}

struct Rules<'a> {
    stack: gix::AttributeStack<'a>,
    root: &'a Path,
    /// Files that git knows, and their folders: they count even if a rule matches them.
    tracked: HashSet<PathBuf>,
}

impl<'a> Ignored<'a> {
    fn new(
        repository: Option<&'a (gix::Repository, PathBuf)>,
        folder: &Path,
    ) -> Result<Self, SourceError> {
        let Some((repository, root)) = repository else {
            return Ok(Self { rules: None });
        };
        let failed = |error: gix::Error| SourceError::Url {
            url: folder.display().to_string(),
            reason: format!("its ignore rules cannot be read: {}", chain(&error)),
        };
        let index = repository.index_or_empty().map_err(failed)?;
        let stack = repository
            .excludes(
                &index,
                None,
                gix::worktree::stack::state::ignore::Source::default(),
            )
            .map_err(failed)?;
        let mut tracked = HashSet::new();
        for entry in index.entries() {
            let path = OsStr::from_bytes(entry.path(&index));
            let mut next = Some(Path::new(path));
            while let Some(path) = next.filter(|path| !path.as_os_str().is_empty()) {
                if !tracked.insert(path.to_owned()) {
                    break;
                }
                next = path.parent();
            }
        }
        let mut ignored = Self {
            rules: Some(Rules {
                stack,
                root,
                tracked,
            }),
        };
        // Who names an ignored folder wants what is in it.
        if folder != root && ignored.is(folder, true)? {
            ignored.rules = None;
        }
        Ok(ignored)
    }

    fn is(&mut self, path: &Path, folder: bool) -> Result<bool, SourceError> {
        let Some(rules) = &mut self.rules else {
            return Ok(false);
        };
        let Ok(within) = path.strip_prefix(rules.root) else {
            return Ok(false);
        };
        if rules.tracked.contains(within) {
            return Ok(false);
        }
        let mode = if folder { Mode::DIR } else { Mode::FILE };
        let found = rules
            .stack
            .at_path(within, Some(mode))
            .map_err(|error| SourceError::Url {
                url: path.display().to_string(),
                reason: format!("its ignore rules cannot be read: {}", chain(&error)),
            })?;
        Ok(found.is_excluded())
    }
}
