//! What the id of a folder does not cover: what is behind the links that lead out of it.

use gix::ObjectId;
use pintle_core::{
    digest::Digester,
    tree::{ContentId, TreeError, TreePath},
};

use super::{
    SourceTree,
    follow::{Found, Place, Walker},
    objects::{NodeKind, Objects},
    unusable,
    work::Work,
};

/// The most folders that are searched for links. A folder with more is rarely asked for as a whole.
const FOLDERS: usize = 1000;

/// Returns a content id of everything that can be read in the folder that a tree is of: equal ids mean equal answers.
///
/// It is the folder's id if no link leads out of the folder. Otherwise it also covers what these links lead to, and what the
/// links in there lead out to. No more is needed: a link that stays within a folder depends on nothing but that folder's id.
/// Returns `None` if there is too much to search, or if it cannot be read.
pub(super) fn content<O: Objects>(tree: &SourceTree<O>, work: &Work) -> Option<ContentId> {
    let ends = if tree.base.names.is_empty() {
        Vec::new()
    } else {
        ends(tree, work).ok()?
    };
    if ends.is_empty() {
        return Some(tree.folder_id().to_string());
    }
    let digest = named(tree, "linked-folder/v1", tree.folder_id());
    let digest = ends.into_iter().fold(digest, Digester::part);
    Some(digest.finish().hex())
}

/// Returns a content id of everything that could be read in the folder of a tree, based on the whole revision: no answer
/// depends on anything else.
pub(super) fn of_revision<O: Objects>(tree: &SourceTree<O>) -> ContentId {
    named(tree, "revision/v1", tree.root).finish().hex()
}

fn named<O>(tree: &SourceTree<O>, purpose: &str, id: ObjectId) -> Digester {
    Digester::new(purpose)
        .part(tree.base.names.join("/"))
        .part(id.as_bytes())
}

/// Describes where each link ends that leads out of its folder, for the folder of a tree and for each folder that such a link
/// leads to. The ids of these folders determine which links these are, and their order.
fn ends<O: Objects>(tree: &SourceTree<O>, work: &Work) -> Result<Vec<String>, TreeError> {
    let mut reach = Reach {
        tree,
        walker: Walker::new(tree, work),
        areas: vec![tree.base.clone()],
        ends: Vec::new(),
        left: FOLDERS,
    };
    let mut done = 0;
    while let Some(area) = reach.areas.get(done).cloned() {
        reach.go_through(&area)?;
        done += 1;
    }
    Ok(reach.ends)
}

struct Reach<'a, O> {
    tree: &'a SourceTree<O>,
    walker: Walker<'a, O>,
    /// Folders whose links are searched, with everything below them. None is within another that was known before it.
    areas: Vec<Place>,
    ends: Vec<String>,
    /// How many more folders may be looked into.
    left: usize,
}

impl<O: Objects> Reach<'_, O> {
    fn go_through(&mut self, area: &Place) -> Result<(), TreeError> {
        let at = TreePath::root();
        let mut open = vec![area.clone()];
        while let Some(place) = open.pop() {
            let left = self.left.checked_sub(1);
            self.left = left.ok_or_else(|| unusable(&at, "its links are in too many folders"))?;
            let folder = self.walker.look_into(&place, &at)?;
            for node in folder.nodes() {
                match node.kind {
                    NodeKind::File | NodeKind::Submodule => {}
                    NodeKind::Folder => {
                        let mut within = place.clone();
                        within.down(node.name.clone(), node.id, self.tree.limits.depth, &at)?;
                        open.push(within);
                    }
                    NodeKind::Link => {
                        let mut end = place.clone();
                        end.lowest = end.names.len();
                        let found = self.walker.follow(&mut end, &node.name, &at);
                        if end.lowest < area.names.len() {
                            self.note(found, end)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Records what is at the end of a link that leads out.
    fn note(&mut self, found: Result<Found, TreeError>, end: Place) -> Result<(), TreeError> {
        self.ends.push(match found {
            Ok(Found::File(id)) => format!("file {id}"),
            Ok(Found::Submodule(_)) => "submodule".to_owned(),
            Ok(Found::Nothing { .. }) => "nothing".to_owned(),
            // It is never entered: every path of the tree has already passed it.
            Ok(Found::Folder(_)) if self.tree.base.names.starts_with(&end.names) => {
                "above".to_owned()
            }
            Ok(Found::Folder(id)) => {
                let told = format!("folder {id} {}", end.names.join("/"));
                let is_known = |area: &Place| end.names.starts_with(&area.names);
                if !self.areas.iter().any(is_known) {
                    self.areas.push(end);
                }
                told
            }
            Err(error @ (TreeError::Broken { .. } | TreeError::Unusable { .. })) => {
                return Err(error);
            }
            Err(error) => format!("error {error}"),
        });
        Ok(())
    }
}
