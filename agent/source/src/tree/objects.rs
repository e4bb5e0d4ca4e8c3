//! The parts that a tree is made of, below paths and links.

use std::{fmt, sync::Arc};

use gix::ObjectId;
use pintle_core::tree::{TreeError, TreePath};

use super::work::Work;

/// A source of objects. Paths are for messages only, and the cost counts towards the work of one call.
pub(crate) trait Objects: Send + Sync + 'static {
    /// Returns the contents of a folder.
    fn folder(&self, id: &ObjectId, at: &TreePath, work: &Work) -> Result<Arc<Folder>, TreeError>;

    /// Returns the size of a file or link in bytes, without reading it.
    fn size(&self, id: &ObjectId, at: &TreePath, work: &Work) -> Result<u64, TreeError>;

    /// Returns the bytes of a file or link whose size was found acceptable.
    fn blob(&self, id: &ObjectId, at: &TreePath, work: &Work) -> Result<Vec<u8>, TreeError>;
}

/// One decoded folder, sorted by name.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    nodes: Vec<Node>,
    refused: Option<String>,
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) kind: NodeKind,
    pub(crate) id: ObjectId,
}

/// The kind of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeKind {
    File,
    Link,
    Folder,
    Submodule,
}

impl Folder {
    /// Creates a folder. A name that no tree may hold, or that occurs twice, makes listing it an error, while entries with good
    /// names can still be read.
    pub(crate) fn new(nodes: impl IntoIterator<Item = (Vec<u8>, NodeKind, ObjectId)>) -> Self {
        let mut folder = Self::default();
        for (name, kind, id) in nodes {
            match check_name(name) {
                Ok(name) => folder.nodes.push(Node { name, kind, id }),
                Err(reason) => folder.refused = Some(reason),
            }
        }
        folder.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = folder
            .nodes
            .windows(2)
            .find(|pair| pair[0].name == pair[1].name)
        {
            folder.refused = Some(format!("it has two entries named `{}`", pair[0].name));
        }
        folder
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn has_links(&self) -> bool {
        self.nodes.iter().any(|node| node.kind == NodeKind::Link)
    }

    /// Returns why the folder cannot be listed, if it cannot.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Finds an entry. If two have the same name, neither is found, so that nobody is shown the one that others do not see.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        let index = self
            .nodes
            .binary_search_by(|node| node.name.as_str().cmp(name))
            .ok()?;
        let twice = |other: Option<usize>| {
            other
                .and_then(|i| self.nodes.get(i))
                .is_some_and(|node| node.name == name)
        };
        (!twice(index.checked_sub(1)) && !twice(Some(index + 1))).then(|| &self.nodes[index])
    }
}

/// Refuses names that could make a path mean something else.
pub(crate) fn check_name(name: Vec<u8>) -> Result<String, String> {
    let name = String::from_utf8(name).map_err(|error| {
        format!(
            "the name `{}` is not UTF-8: rename it",
            String::from_utf8_lossy(error.as_bytes()).escape_debug()
        )
    })?;
    let reason = match name.as_str() {
        "" | "." | ".." => "is reserved",
        name if name.eq_ignore_ascii_case(".git") => "is reserved for git",
        name if name.contains('/') => "holds a `/`",
        name if name.contains('\\') => "holds a `\\`, which is a separator on other systems",
        name if name.contains(char::is_control) => "holds control characters",
        _ => return Ok(name),
    };
    Err(format!(
        "the name `{}` {reason}: rename it",
        name.escape_debug()
    ))
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Link => "link",
            Self::Folder => "folder",
            Self::Submodule => "submodule",
        })
    }
}
