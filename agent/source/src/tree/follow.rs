//! From a path to what is there, through symbolic links.

use std::sync::Arc;

use gix::ObjectId;
use pintle_core::tree::{TreeError, TreePath};

use super::{
    SourceTree, broken,
    objects::{Folder, NodeKind, Objects},
};

/// Most links on the way to one thing, as in Linux (`path_resolution(7)`).
const LINKS: usize = 40;
/// Longest target of a link in bytes, as in Linux (`PATH_MAX`).
const TARGET: u64 = 4096;
/// Most folders that one call looks into. Without links it takes as many as the path has parts; links multiply that.
const STEPS: usize = 200_000;

/// What a path leads to.
#[derive(Debug, Clone)]
pub(super) enum Found {
    File(ObjectId),
    Folder(ObjectId),
    Submodule(ObjectId),
    /// Nothing is there, or the last of the links on the way leads to nothing; then this is its target.
    Nothing {
        link: Option<String>,
    },
}

/// Finds what is at a path to which only folders lead, as they do to nearly every one, without keeping what lies on the
/// way. Gives nothing where it takes a [`Walker`]: for links, and to tell what is wrong.
pub(super) fn straight<O: Objects>(tree: &SourceTree<O>, path: &TreePath) -> Option<Found> {
    let mut id = tree.root;
    let mut depth = 0;
    let mut parts = path.parts().peekable();
    while let Some(part) = parts.next() {
        let folder = tree.objects.folder(&id, path).ok()?;
        let Some(node) = folder.get(part) else {
            return Some(Found::Nothing { link: None });
        };
        let last = parts.peek().is_none();
        match node.kind {
            NodeKind::Folder if depth < tree.limits.depth => {
                id = node.id;
                depth += 1;
            }
            NodeKind::File if last => return Some(Found::File(node.id)),
            NodeKind::File => return Some(Found::Nothing { link: None }),
            NodeKind::Submodule if last => return Some(Found::Submodule(node.id)),
            NodeKind::Folder | NodeKind::Submodule | NodeKind::Link => return None,
        }
    }
    Some(Found::Folder(id))
}

/// Goes along paths of one tree, with a budget for all of them.
pub(super) struct Walker<'a, O> {
    tree: &'a SourceTree<O>,
    steps: usize,
    /// Folders from the root to where the last path led, by name.
    place: Place,
    /// Every folder along the last path, where it really is.
    passed: Vec<Vec<String>>,
}

/// A folder where it really is: no part of it is a link.
#[derive(Debug, Clone)]
struct Place {
    names: Vec<String>,
    ids: Vec<ObjectId>,
}

impl<'a, O: Objects> Walker<'a, O> {
    pub(super) fn new(tree: &'a SourceTree<O>) -> Self {
        Self {
            tree,
            steps: 0,
            place: Place {
                names: Vec::new(),
                ids: Vec::new(),
            },
            passed: Vec::new(),
        }
    }

    /// A walker that has gone to a folder.
    pub(super) fn at(tree: &'a SourceTree<O>, folder: &TreePath) -> Result<Self, TreeError> {
        let mut walker = Self::new(tree);
        walker.resolve(folder)?;
        Ok(walker)
    }

    /// Finds what is at a path.
    ///
    /// A link to a folder that the path already passed through is refused, even though a file below it could be named:
    /// with such a link a walk of the tree would never end.
    pub(super) fn resolve(&mut self, path: &TreePath) -> Result<Found, TreeError> {
        self.place = Place {
            names: Vec::new(),
            ids: Vec::new(),
        };
        self.passed = vec![Vec::new()];
        let mut so_far = TreePath::root();
        let mut parts = path.parts().peekable();
        while let Some(part) = parts.next() {
            so_far = so_far.join(&TreePath::parse(part).unwrap_or_default());
            let mut place = std::mem::replace(
                &mut self.place,
                Place {
                    names: Vec::new(),
                    ids: Vec::new(),
                },
            );
            let found = self.follow(&mut place, part, &so_far)?;
            self.place = place;
            match found {
                Found::Folder(_) => self.pass(&so_far)?,
                Found::File(_) if parts.peek().is_some() => {
                    return Ok(Found::Nothing { link: None });
                }
                Found::Submodule(_) if parts.peek().is_some() => {
                    return Err(TreeError::Submodule { path: so_far });
                }
                other => return Ok(other),
            }
        }
        Ok(Found::Folder(self.place.id(self.tree.root)))
    }

    /// Finds what a link in the folder of the last path leads to, for a listing: what cannot be followed is nothing.
    pub(super) fn listed(&mut self, name: &str, folder: &TreePath) -> Result<Found, TreeError> {
        let mut place = self.place.clone();
        match self.follow(&mut place, name, folder) {
            Ok(Found::Folder(_)) if self.passed.contains(&place.names) => {
                Ok(Found::Nothing { link: None })
            }
            Err(
                TreeError::Link { .. }
                | TreeError::Submodule { .. }
                | TreeError::TooLarge { unit: "levels", .. },
            ) => Ok(Found::Nothing { link: None }),
            found => found,
        }
    }

    fn pass(&mut self, path: &TreePath) -> Result<(), TreeError> {
        if self.passed.contains(&self.place.names) {
            return Err(TreeError::Link { path: path.clone() });
        }
        self.passed.push(self.place.names.clone());
        Ok(())
    }

    /// Goes one part further, through as many links as it takes. Afterwards `place` is the folder found, if it is one.
    fn follow(&mut self, place: &mut Place, part: &str, at: &TreePath) -> Result<Found, TreeError> {
        let link = || TreeError::Link { path: at.clone() };
        let mut open = vec![part.to_owned()];
        let mut links = 0;
        let mut target = None;
        while let Some(part) = open.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    place.up().ok_or_else(link)?;
                    continue;
                }
                _ => {}
            }
            let folder = self.look_into(place, at)?;
            let Some(node) = folder.get(&part) else {
                return Ok(Found::Nothing { link: target });
            };
            // `file/` is no file, as for the operating system.
            let last = open.is_empty();
            match node.kind {
                NodeKind::Folder => place.down(part, node.id, self.tree.limits.depth, at)?,
                NodeKind::File if last => return Ok(Found::File(node.id)),
                NodeKind::File => return Ok(Found::Nothing { link: target }),
                NodeKind::Submodule if open.iter().all(String::is_empty) => {
                    return Ok(Found::Submodule(node.id));
                }
                NodeKind::Submodule => return Err(TreeError::Submodule { path: at.clone() }),
                NodeKind::Link => {
                    links += 1;
                    if links > LINKS {
                        return Err(link());
                    }
                    let text = self.target(&node.id, at)?.ok_or_else(link)?;
                    open.extend(text.split('/').rev().map(str::to_owned));
                    target = Some(text.escape_debug().to_string());
                }
            }
        }
        Ok(Found::Folder(place.id(self.tree.root)))
    }

    fn look_into(&mut self, place: &Place, at: &TreePath) -> Result<Arc<Folder>, TreeError> {
        self.steps += 1;
        if self.steps > STEPS {
            return Err(broken(
                at,
                "its symbolic links lead through too many folders",
            ));
        }
        self.tree.objects.folder(&place.id(self.tree.root), at)
    }

    /// Reads a link's target, or nothing if it can only lead out of the tree.
    fn target(&self, id: &ObjectId, at: &TreePath) -> Result<Option<String>, TreeError> {
        if self.tree.objects.size(id, at)? > TARGET {
            return Ok(None);
        }
        let target = String::from_utf8(self.tree.objects.blob(id, at)?).ok();
        Ok(target.filter(|target| {
            !target.is_empty() && !target.starts_with('/') && !target.contains('\0')
        }))
    }
}

impl Place {
    fn id(&self, root: ObjectId) -> ObjectId {
        self.ids.last().copied().unwrap_or(root)
    }

    fn up(&mut self) -> Option<()> {
        self.names.pop()?;
        self.ids.pop().map(drop)
    }

    fn down(
        &mut self,
        name: String,
        id: ObjectId,
        limit: usize,
        at: &TreePath,
    ) -> Result<(), TreeError> {
        if self.ids.len() >= limit {
            let size = self.ids.len() as u64 + 1;
            return Err(TreeError::TooLarge {
                path: at.clone(),
                size,
                limit: limit as u64,
                unit: "levels",
            });
        }
        self.names.push(name);
        self.ids.push(id);
        Ok(())
    }
}
