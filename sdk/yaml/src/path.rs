//! The current position in the document, as a path.

use crate::node::pointer;

/// A path into the document, as a linked list that grows on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Segment<'a>,
    pub(crate) depth: usize,
}

#[derive(Clone, Copy)]
pub(crate) enum Segment<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(crate) const ROOT: Path<'static> = Path {
        parent: None,
        segment: Segment::Root,
        depth: 0,
    };

    pub(crate) fn then(&'a self, segment: Segment<'a>) -> Path<'a> {
        Path {
            parent: Some(self),
            segment,
            depth: self.depth + 1,
        }
    }

    pub(crate) fn pointer(&self) -> String {
        let parent = self.parent.map(Path::pointer).unwrap_or_default();
        match self.segment {
            Segment::Root => parent,
            Segment::Key(key) => pointer(&parent, key),
            Segment::Index(index) => format!("{parent}/{index}"),
        }
    }
}
