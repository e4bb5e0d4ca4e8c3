//! Builds a tree of nodes from tokens.

mod blocks;
mod collections;

use std::collections::BTreeMap;

use pintle_gotemplate::value::MAX_NESTING;

use super::{
    error::{Place, YamlError},
    input::Input,
    lines,
    scan::Scanner,
    token::{At, Bytes, Mark, Token},
};

/// A node. The nodes of a collection follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node<'a> {
    pub(super) kind: Kind<'a>,
    /// The tag, an index into [`Tree::tags`]. Most nodes have none.
    pub(super) tag: Option<u32>,
    pub(super) mark: Mark,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Scalar {
        text: Bytes<'a>,
        /// Whether the text alone determines the type.
        implicit: bool,
    },
    /// A sequence that ends before the node with that number.
    Sequence(usize),
    /// A mapping that ends before the node with that number. Keys and values alternate.
    Mapping(usize),
    /// An alias for the node with that number.
    Alias { name: &'a [u8], target: usize },
}

/// All nodes of a document, the root first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tree<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) tags: Vec<Vec<u8>>,
    pub(super) has_aliases: bool,
}

impl Tree<'_> {
    /// Returns the number of the node after a node and its contents.
    pub(super) fn after(&self, node: usize) -> usize {
        match self.nodes[node].kind {
            Kind::Sequence(end) | Kind::Mapping(end) => end,
            _ => node + 1,
        }
    }

    pub(super) fn tag(&self, node: usize) -> Option<&[u8]> {
        let tag = self.nodes[node].tag?;
        self.tags.get(tag as usize).map(Vec::as_slice)
    }
}

/// The end of a collection that is still open.
const OPEN: usize = usize::MAX;

/// The text of a YAML stream, ready to be read.
pub struct Document<'a> {
    input: Input<'a>,
}

impl<'a> Document<'a> {
    /// Creates a document from the bytes of a stream, of which the first document counts. They are UTF-8, or UTF-16 with a byte
    /// order mark.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            input: Input::new(bytes),
        }
    }

    /// Returns the tree of the first document, which is empty if there is no document.
    pub(super) fn tree(&self) -> Result<Tree<'_>, YamlError> {
        match self.tree_of_blocks() {
            Some(tree) => Ok(tree),
            None => self.tree_of_tokens(),
        }
    }

    /// Returns the same tree by the fast path; None if the document must be read by its tokens.
    fn tree_of_blocks(&self) -> Option<Tree<'_>> {
        if self.input.problem.is_some() {
            return None;
        }
        let mut parser = Parser::new(&self.input);
        parser.blocks()?;
        Some(parser.tree)
    }

    fn tree_of_tokens(&self) -> Result<Tree<'_>, YamlError> {
        let mut parser = Parser::new(&self.input);
        let result = parser.run();
        // Invalid text is an error even after the document, or replaces another error, if the library has reached it.
        parser.scanner.check_block()?;
        result.map(|()| parser.tree)
    }

    pub(super) fn place(&self, mark: Mark) -> Place {
        lines::place(&self.input.text, mark)
    }
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    tree: Tree<'a>,
    /// The collections around the current position.
    open: Vec<Open>,
    anchors: BTreeMap<&'a [u8], usize>,
    /// The handles that `%TAG` directives declare, and the two predefined ones.
    handles: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A collection whose end has not been reached. Keeping these in a list means that the depth of a document uses no stack.
#[derive(Clone, Copy)]
struct Open {
    node: usize,
    /// What comes next in the collection.
    state: State,
    /// Where the collection starts.
    context: Mark,
}

#[derive(Clone, Copy)]
enum State {
    BlockSequence,
    /// A sequence whose indicators have the indentation of the enclosing map.
    IndentlessSequence,
    BlockMappingKey,
    BlockMappingValue,
    FlowSequence {
        first: bool,
    },
    /// The key of a single-pair map in a list.
    FlowPairKey,
    FlowPairValue,
    FlowPairEnd,
    FlowMapping {
        first: bool,
    },
    FlowMappingValue,
    /// The value of a key without `:`.
    FlowMappingNoValue,
}

/// The nodes that are allowed at a position.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Flow,
    Block,
    /// Where a list may have the indentation of the enclosing map.
    BlockValue,
}

#[derive(Default)]
struct Properties<'a> {
    anchor: Option<&'a [u8]>,
    tag: Option<Vec<u8>>,
}

impl<'a> Parser<'a> {
    fn new(input: &'a Input<'_>) -> Self {
        Self {
            scanner: Scanner::new(input),
            tree: Tree::default(),
            open: Vec::new(),
            anchors: BTreeMap::new(),
            handles: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), YamlError> {
        match self.scanner.peek()?.token {
            Token::StreamEnd => return Ok(()),
            Token::Version { .. } | Token::TagDirective(_) | Token::DocumentStart => {
                self.directives()?;
                let At { token, mark } = self.scanner.peek()?;
                let mark = *mark;
                if !matches!(token, Token::DocumentStart) {
                    return Err(self.error(mark, mark, "did not find expected <document start>"));
                }
                self.scanner.take();
                let At { token, mark } = self.scanner.peek()?;
                let mark = *mark;
                match token {
                    Token::Version { .. }
                    | Token::TagDirective(_)
                    | Token::DocumentStart
                    | Token::DocumentEnd
                    | Token::StreamEnd => self.empty(mark),
                    _ => self.node(Context::Block)?,
                }
            }
            _ => {
                self.default_handles();
                self.node(Context::Block)?;
            }
        }
        while let Some(&open) = self.open.last() {
            self.step(open)?;
        }
        // The library looks for the end of the document, but accepts anything in its place.
        self.scanner.peek()?;
        Ok(())
    }

    fn error(&self, at: Mark, context: Mark, problem: &str) -> YamlError {
        self.scanner.parser_error(at, context, problem)
    }

    fn directives(&mut self) -> Result<(), YamlError> {
        let mut version = false;
        loop {
            let At { token, mark } = self.scanner.peek()?;
            let mark = *mark;
            match token {
                Token::Version { is_1_1 } => {
                    if version {
                        return Err(self.error(mark, mark, "found duplicate %YAML directive"));
                    }
                    if !is_1_1 {
                        return Err(self.error(mark, mark, "found incompatible YAML document"));
                    }
                    version = true;
                }
                Token::TagDirective(directive) => {
                    let (handle, prefix) = (**directive).clone();
                    if self.handles.iter().any(|(known, _)| *known == handle) {
                        return Err(self.error(mark, mark, "found duplicate %TAG directive"));
                    }
                    self.handles.push((handle, prefix));
                }
                _ => break,
            }
            self.scanner.take();
        }
        self.default_handles();
        Ok(())
    }

    fn default_handles(&mut self) {
        for (handle, prefix) in [("!", "!"), ("!!", "tag:yaml.org,2002:")] {
            if !self
                .handles
                .iter()
                .any(|(known, _)| known == handle.as_bytes())
            {
                self.handles.push((handle.into(), prefix.into()));
            }
        }
    }

    /// Adds a node without properties.
    fn push(&mut self, kind: Kind<'a>, mark: Mark) -> usize {
        self.tree.nodes.push(Node {
            kind,
            tag: None,
            mark,
        });
        self.tree.nodes.len() - 1
    }

    /// Adds the empty scalar that represents an omitted node.
    fn empty(&mut self, mark: Mark) {
        let kind = Kind::Scalar {
            text: Bytes::Borrowed(b""),
            implicit: true,
        };
        self.push(kind, mark);
    }

    fn add(&mut self, kind: Kind<'a>, properties: Properties<'a>, mark: Mark) -> usize {
        let node = self.push(kind, mark);
        if let Some(anchor) = properties.anchor {
            self.anchors.insert(anchor, node);
        }
        if let Some(tag) = properties.tag {
            self.tree.nodes[node].tag = u32::try_from(self.tree.tags.len()).ok();
            self.tree.tags.push(tag);
        }
        node
    }

    /// Adds a leaf, or opens a collection.
    fn node(&mut self, context: Context) -> Result<(), YamlError> {
        let At { token, mark } = self.scanner.peek()?;
        let start = *mark;
        if let Token::Alias(name) = *token {
            self.scanner.take();
            return self.alias(name, start);
        }
        let properties = if matches!(token, Token::Anchor(_) | Token::Tag(_)) {
            self.properties(start)?
        } else {
            Properties::default()
        };
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        let (kind, state) = match token {
            Token::Scalar { .. } => {
                self.scalar(properties, start);
                return Ok(());
            }
            Token::BlockEntry if context == Context::BlockValue => {
                let node = self.add(Kind::Sequence(OPEN), properties, start);
                return self.open(node, State::IndentlessSequence, mark);
            }
            Token::FlowSequenceStart => (Kind::Sequence(OPEN), State::FlowSequence { first: true }),
            Token::FlowMappingStart => (Kind::Mapping(OPEN), State::FlowMapping { first: true }),
            Token::BlockSequenceStart if context != Context::Flow => {
                (Kind::Sequence(OPEN), State::BlockSequence)
            }
            Token::BlockMappingStart if context != Context::Flow => {
                (Kind::Mapping(OPEN), State::BlockMappingKey)
            }
            _ if properties.anchor.is_some() || properties.tag.is_some() => {
                let kind = Kind::Scalar {
                    text: Bytes::Borrowed(b""),
                    implicit: properties.tag.is_none(),
                };
                self.add(kind, properties, start);
                return Ok(());
            }
            _ => return Err(self.error(mark, start, "did not find expected node content")),
        };
        self.scanner.take();
        let node = self.add(kind, properties, start);
        self.open(node, state, mark)
    }

    fn alias(&mut self, name: &'a [u8], start: Mark) -> Result<(), YamlError> {
        let Some(&target) = self.anchors.get(name) else {
            let name = String::from_utf8_lossy(name);
            let problem = format!("unknown anchor '{name}' referenced");
            let place = self.scanner.place(start);
            return Err(YamlError::yaml(None, &problem, Some(place)));
        };
        self.push(Kind::Alias { name, target }, start);
        self.tree.has_aliases = true;
        Ok(())
    }

    /// Adds the scalar that is the next token.
    fn scalar(&mut self, properties: Properties<'a>, start: Mark) {
        let next = self.scanner.take().map(|at| at.token);
        if let Some(Token::Scalar { text, plain }) = next {
            let implicit = match &properties.tag {
                None => plain,
                Some(tag) => tag == b"!",
            };
            self.add(Kind::Scalar { text, implicit }, properties, start);
        }
    }

    fn open(&mut self, node: usize, state: State, context: Mark) -> Result<(), YamlError> {
        if self.open.len() >= MAX_NESTING {
            let problem = format!("exceeded max depth of {MAX_NESTING}");
            return Err(self.error(context, context, &problem));
        }
        self.open.push(Open {
            node,
            state,
            context,
        });
        Ok(())
    }

    /// Sets what comes next in the innermost collection.
    fn expect(&mut self, state: State) {
        if let Some(open) = self.open.last_mut() {
            open.state = state;
        }
    }

    /// Closes the innermost collection.
    fn close(&mut self) {
        let end = self.tree.nodes.len();
        let Some(Open { node, .. }) = self.open.pop() else {
            return;
        };
        if let Kind::Sequence(open) | Kind::Mapping(open) = &mut self.tree.nodes[node].kind {
            *open = end;
        }
    }

    /// Reads an anchor and a tag, in any order.
    fn properties(&mut self, start: Mark) -> Result<Properties<'a>, YamlError> {
        let mut properties = Properties::default();
        loop {
            let At { token, mark } = self.scanner.peek()?;
            let mark = *mark;
            match token {
                Token::Anchor(name) if properties.anchor.is_none() => {
                    properties.anchor = Some(name);
                }
                Token::Tag(tag) if properties.tag.is_none() => {
                    let (handle, suffix) = &**tag;
                    let tag = if handle.is_empty() {
                        suffix.clone()
                    } else {
                        let known = self.handles.iter().find(|(known, _)| known == handle);
                        let Some((_, prefix)) = known else {
                            return Err(self.error(mark, start, "found undefined tag handle"));
                        };
                        [prefix.as_slice(), suffix].concat()
                    };
                    properties.tag = Some(tag);
                }
                _ => break,
            }
            self.scanner.take();
        }
        Ok(properties)
    }
}
