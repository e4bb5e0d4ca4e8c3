//! The way from a path to what is there, through symbolic links.

use std::sync::Arc;

use gix::ObjectId;
use pintle_core::tree::{TreeError, TreePath};

use super::{
    SourceTree,
    objects::{Folder, NodeKind, Objects},
    work::Work,
};

/// The most links on the way to one thing, as in Linux (`path_resolution(7)`).
pub(crate) const LINKS: usize = 40;
/// The length of the longest target of a link in bytes, as in Linux (`PATH_MAX`).
const TARGET: u64 = 4096;

/// What a path leads to.
#[derive(Debug, Clone)]
pub(super) enum Found {
    File(ObjectId),
    Folder(ObjectId),
    Submodule(ObjectId),
    /// Nothing is there, or the last link on the way leads to nothing; then this is its target.
    Nothing {
        link: Option<String>,
    },
}

/// Finds what is at a path that leads through folders only, as nearly every path does, without keeping what lies on the way.
/// Returns `None` where a [`Walker`] is needed: for links, and to report what is wrong.
pub(super) fn straight<O: Objects>(
    tree: &SourceTree<O>,
    path: &TreePath,
    work: &Work,
) -> Option<Found> {
    let mut id = tree.base.id(tree.root);
    let mut depth = tree.base.ids.len();
    let mut parts = path.parts().peekable();
    while let Some(part) = parts.next() {
        work.look(path).ok()?;
        let folder = tree.objects.folder(&id, path, work).ok()?;
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

/// A walker along the paths of one tree. Without links it takes as many lookups as a path has parts; links multiply them.
pub(super) struct Walker<'a, O> {
    tree: &'a SourceTree<O>,
    work: &'a Work,
    /// The place that the last path led to.
    place: Place,
    /// The real location of every folder along the last path, and of those above the folder that the tree is of.
    passed: Vec<Vec<String>>,
}

/// The real location of a folder, from the root of the revision: no part of it is a link.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    pub(super) names: Vec<String>,
    pub(super) ids: Vec<ObjectId>,
    /// The fewest names that it has had on the way here, since this was last set.
    pub(super) lowest: usize,
}

impl<'a, O: Objects> Walker<'a, O> {
    pub(super) fn new(tree: &'a SourceTree<O>, work: &'a Work) -> Self {
        Self {
            tree,
            work,
            place: Place::default(),
            passed: Vec::new(),
        }
    }

    /// Returns a walker that has gone to a folder.
    pub(super) fn at(
        tree: &'a SourceTree<O>,
        folder: &TreePath,
        work: &'a Work,
    ) -> Result<Self, TreeError> {
        let mut walker = Self::new(tree, work);
        walker.resolve(folder)?;
        Ok(walker)
    }

    /// Finds what is at a path.
    ///
    /// A link to a folder that the path already passed through is refused, even though a file below it could be named: with
    /// such a link, a walk of the tree would never end.
    pub(super) fn resolve(&mut self, path: &TreePath) -> Result<Found, TreeError> {
        self.place = self.tree.base.clone();
        let above = &self.tree.base.names;
        self.passed = (0..=above.len())
            .map(|depth| above.iter().take(depth).cloned().collect())
            .collect();
        let mut so_far = TreePath::root();
        let mut parts = path.parts().peekable();
        while let Some(part) = parts.next() {
            so_far = so_far.join(&TreePath::parse(part).unwrap_or_default());
            let mut place = std::mem::take(&mut self.place);
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

    /// Returns the folder that the last path led to.
    pub(super) fn into_place(self) -> Place {
        self.place
    }

    /// Finds what a link in the folder of the last path leads to, for a listing. A link that cannot be followed leads to
    /// nothing.
    pub(super) fn listed(&self, name: &str, folder: &TreePath) -> Result<Found, TreeError> {
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

    /// Follows one part of a path, through as many links as it takes. Afterwards `place` is the folder found, if it is one.
    pub(super) fn follow(
        &self,
        place: &mut Place,
        part: &str,
        at: &TreePath,
    ) -> Result<Found, TreeError> {
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
            // `file/` is not a file, as for the operating system.
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

    pub(super) fn look_into(&self, place: &Place, at: &TreePath) -> Result<Arc<Folder>, TreeError> {
        self.work.look(at)?;
        let id = place.id(self.tree.root);
        let folder = self.tree.objects.folder(&id, at, self.work);
        folder.map_err(|error| match error {
            // The folder has too much in it, not the entry that is looked for.
            TreeError::TooLarge {
                size, limit, unit, ..
            } => TreeError::TooLarge {
                path: place.path_from(&self.tree.base),
                size,
                limit,
                unit,
            },
            error => error,
        })
    }

    /// Reads a link's target; returns `None` if it can only lead out of the revision.
    fn target(&self, id: &ObjectId, at: &TreePath) -> Result<Option<String>, TreeError> {
        self.work.look(at)?;
        let objects = &self.tree.objects;
        if objects.size(id, at, self.work)? > TARGET {
            return Ok(None);
        }
        let Ok(target) = String::from_utf8(objects.blob(id, at, self.work)?) else {
            return Ok(None);
        };
        self.work.go_through(&target, at)?;
        let is_within = !target.is_empty() && !target.starts_with('/') && !target.contains('\0');
        Ok(is_within.then_some(target))
    }
}

impl Place {
    /// Returns its path below a folder or, if it is elsewhere, its path in the revision.
    fn path_from(&self, base: &Self) -> TreePath {
        let names = self.names.strip_prefix(base.names.as_slice());
        TreePath::parse(&names.unwrap_or(&self.names).join("/")).unwrap_or_default()
    }

    pub(super) fn id(&self, root: ObjectId) -> ObjectId {
        self.ids.last().copied().unwrap_or(root)
    }

    fn up(&mut self) -> Option<()> {
        self.names.pop()?;
        self.lowest = self.lowest.min(self.names.len());
        self.ids.pop().map(drop)
    }

    pub(super) fn down(
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use pintle_core::tree::Tree as _;

    use super::*;
    use crate::limits::Limits;

    /// Objects in memory.
    #[derive(Default)]
    struct Fake {
        folders: HashMap<ObjectId, Arc<Folder>>,
        links: HashMap<ObjectId, String>,
        /// Whether each lookup in a folder decodes it.
        forgets: bool,
    }

    impl Fake {
        fn add_folder(
            &mut self,
            nodes: impl IntoIterator<Item = (String, NodeKind, ObjectId)>,
        ) -> ObjectId {
            let nodes = nodes.into_iter();
            let folder = Folder::new(nodes.map(|(name, kind, id)| (name.into_bytes(), kind, id)));
            let id = self.free_id();
            self.folders.insert(id, Arc::new(folder));
            id
        }

        fn add_link(&mut self, target: &str) -> ObjectId {
            let id = self.free_id();
            self.links.insert(id, target.to_owned());
            id
        }

        fn free_id(&self) -> ObjectId {
            let mut id = [0; 20];
            let number = self.folders.len() + self.links.len() + 1;
            id[..8].copy_from_slice(&number.to_be_bytes());
            ObjectId::from_bytes_or_panic(&id)
        }

        fn tree(self, root: ObjectId) -> SourceTree<Self> {
            SourceTree::new(self, root, Limits::default())
        }
    }

    impl Objects for Fake {
        fn folder(
            &self,
            id: &ObjectId,
            at: &TreePath,
            work: &Work,
        ) -> Result<Arc<Folder>, TreeError> {
            let folder = &self.folders[id];
            if self.forgets {
                work.spend(folder.len() + 1, at)?;
            }
            Ok(Arc::clone(folder))
        }

        fn size(&self, id: &ObjectId, _: &TreePath, _: &Work) -> Result<u64, TreeError> {
            Ok(self.links.get(id).map_or(1, |target| target.len() as u64))
        }

        fn blob(&self, id: &ObjectId, _: &TreePath, _: &Work) -> Result<Vec<u8>, TreeError> {
            Ok(self.links[id].clone().into_bytes())
        }
    }

    fn file() -> ObjectId {
        ObjectId::null(gix::hash::Kind::Sha1)
    }

    /// Returns file names that come after all others.
    fn files(count: usize) -> impl Iterator<Item = (String, NodeKind, ObjectId)> {
        (0..count).map(|number| (format!("z{number}"), NodeKind::File, file()))
    }

    #[test]
    fn links_through_folders_that_are_decoded_again_and_again_are_given_up() {
        let mut fake = Fake {
            forgets: true,
            ..Fake::default()
        };
        let empty = fake.add_folder([]);
        let within = [("d".to_owned(), NodeKind::Folder, empty)];
        let big = fake.add_folder(within.into_iter().chain(files(49_999)));
        let link = fake.add_link(&format!("{}z1", "big/d/../../".repeat(300)));
        let links = (0..250).map(|number| (format!("link{number}"), NodeKind::Link, link));
        let within = [("big".to_owned(), NodeKind::Folder, big)];
        let root = fake.add_folder(within.into_iter().chain(links).chain(files(49_000)));
        let tree = fake.tree(root);
        let told = tree.entries(&TreePath::root()).unwrap_err();
        insta::assert_snapshot!(told, @". could not be read: finding it leads through too many folders, or too large ones: replace symbolic links by what they lead to");
        let one = TreePath::parse("link7").unwrap();
        let told = tree.read(&one).unwrap_err();
        insta::assert_snapshot!(told, @"link7 could not be read: finding it leads through too many folders, or too large ones: replace symbolic links by what they lead to");
        assert_eq!(tree.stat(&one), Err(told));
    }

    #[test]
    fn links_that_never_end_are_given_up_when_there_are_too_many() {
        let mut fake = Fake::default();
        let ring = fake.add_link(&format!("{}ring", "./".repeat(2000)));
        let links = (0..40_000).map(|number| (format!("link{number}"), NodeKind::Link, ring));
        let itself = [("ring".to_owned(), NodeKind::Link, ring)];
        let root = fake.add_folder(itself.into_iter().chain(links));
        let told = fake.tree(root).entries(&TreePath::root()).unwrap_err();
        assert!(matches!(told, TreeError::Unusable { .. }), "{told}");
    }

    #[test]
    fn as_many_links_as_a_folder_may_have_can_be_followed() {
        let mut fake = Fake::default();
        let mut pool = fake.add_folder(files(50_000));
        for _ in 0..4 {
            pool = fake.add_folder([("f".to_owned(), NodeKind::Folder, pool)]);
        }
        let link = fake.add_link("../pool/f/f/f/f/z49999");
        let links = (0..50_000).map(|number| (format!("link{number}"), NodeKind::Link, link));
        let farm = fake.add_folder(links);
        let root = fake.add_folder([
            ("farm".to_owned(), NodeKind::Folder, farm),
            ("pool".to_owned(), NodeKind::Folder, pool),
        ]);
        let entries = fake.tree(root).entries(&TreePath::parse("farm").unwrap());
        let entries = entries.unwrap();
        assert_eq!(entries.len(), 50_000);
        assert!(entries.iter().all(|entry| entry.size == 1));
    }
}
