//! Makes a tree of nodes of the tokens.

use std::collections::BTreeMap;

use pintle_gotemplate::value::MAX_NESTING;

use super::{
    error::{Place, YamlError},
    input::Input,
    scan::{self, Scanner},
    token::{At, Bytes, Mark, Token},
};

/// A node; those of a collection follow it.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) kind: Kind<'a>,
    /// Its tag, one of [`Tree::tags`]; none for most.
    pub(super) tag: Option<u32>,
    pub(super) mark: Mark,
}

#[derive(Clone, Debug)]
pub(super) enum Kind<'a> {
    Scalar {
        text: Bytes<'a>,
        /// Whether the text alone decides what it is.
        implicit: bool,
    },
    /// Ends before the node of that number.
    Sequence(usize),
    /// Ends before the node of that number; keys and values take turns.
    Mapping(usize),
    /// Stands for the node of that number.
    Alias { name: &'a [u8], target: usize },
}

/// All nodes of a document, the root first.
#[derive(Debug, Default)]
pub(super) struct Tree<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) tags: Vec<Vec<u8>>,
    pub(super) has_aliases: bool,
}

impl Tree<'_> {
    /// The number of the node behind a node and all that is in it.
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

/// While a collection is open, it has no end.
const OPEN: usize = usize::MAX;

/// The text of a YAML stream, ready to be read.
pub struct Document<'a> {
    input: Input<'a>,
}

impl<'a> Document<'a> {
    /// Takes the bytes of a stream, of which the first document counts: UTF-8, or UTF-16 with a byte order mark.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            input: Input::new(bytes),
        }
    }

    /// The tree of the first document; none if there is none.
    pub(super) fn tree(&self) -> Result<Tree<'_>, YamlError> {
        let mut parser = Parser {
            scanner: Scanner::new(&self.input),
            tree: Tree::default(),
            anchors: BTreeMap::new(),
            handles: Vec::new(),
        };
        let result = parser.run();
        // What is no text is an error even behind the document, or another error, if the library has come to it.
        parser.scanner.check_block()?;
        result.map(|()| parser.tree)
    }

    pub(super) fn place(&self, mark: Mark) -> Place {
        scan::place(&self.input.text, mark)
    }
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    tree: Tree<'a>,
    anchors: BTreeMap<&'a [u8], usize>,
    /// What `%TAG` directives declare, and the two that need none.
    handles: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What nodes may be here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Flow,
    Block,
    /// A list may have the indentation of the map around it.
    BlockValue,
}

#[derive(Default)]
struct Properties<'a> {
    anchor: Option<&'a [u8]>,
    tag: Option<Vec<u8>>,
}

impl<'a> Parser<'a> {
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
                    _ => self.node(Context::Block, 0)?,
                }
            }
            _ => {
                self.default_handles();
                self.node(Context::Block, 0)?;
            }
        }
        // The library looks for the end of the document, but takes anything for it.
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

    /// Adds the empty scalar that stands where a node is left out.
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

    fn node(&mut self, context: Context, depth: usize) -> Result<(), YamlError> {
        let At { token, mark } = self.scanner.peek()?;
        let start = *mark;
        if depth > MAX_NESTING {
            return Err(self.error(
                start,
                start,
                &format!("exceeded max depth of {MAX_NESTING}"),
            ));
        }
        if let Token::Alias(name) = *token {
            self.scanner.take();
            let Some(&target) = self.anchors.get(name) else {
                let name = String::from_utf8_lossy(name);
                let place = self.scanner.place(start);
                return Err(YamlError::yaml(
                    None,
                    &format!("unknown anchor '{name}' referenced"),
                    Some(place),
                ));
            };
            self.push(Kind::Alias { name, target }, start);
            self.tree.has_aliases = true;
            return Ok(());
        }
        let properties = if matches!(token, Token::Anchor(_) | Token::Tag(_)) {
            self.properties(start)?
        } else {
            Properties::default()
        };
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        match token {
            Token::BlockEntry if context == Context::BlockValue => {
                let list = self.add(Kind::Sequence(OPEN), properties, start);
                self.indentless_sequence(depth)?;
                self.close(list);
            }
            Token::Scalar { .. } => {
                if let Some(At {
                    token: Token::Scalar { text, plain },
                    ..
                }) = self.scanner.take()
                {
                    let implicit = match &properties.tag {
                        None => plain,
                        Some(tag) => tag == b"!",
                    };
                    self.add(Kind::Scalar { text, implicit }, properties, start);
                }
            }
            Token::FlowSequenceStart => {
                self.scanner.take();
                let list = self.add(Kind::Sequence(OPEN), properties, start);
                self.flow_sequence(mark, depth)?;
                self.close(list);
            }
            Token::FlowMappingStart => {
                self.scanner.take();
                let map = self.add(Kind::Mapping(OPEN), properties, start);
                self.flow_mapping(mark, depth)?;
                self.close(map);
            }
            Token::BlockSequenceStart if context != Context::Flow => {
                self.scanner.take();
                let list = self.add(Kind::Sequence(OPEN), properties, start);
                self.block_sequence(mark, depth)?;
                self.close(list);
            }
            Token::BlockMappingStart if context != Context::Flow => {
                self.scanner.take();
                let map = self.add(Kind::Mapping(OPEN), properties, start);
                self.block_mapping(mark, depth)?;
                self.close(map);
            }
            _ if properties.anchor.is_some() || properties.tag.is_some() => {
                let kind = Kind::Scalar {
                    text: Bytes::Borrowed(b""),
                    implicit: properties.tag.is_none(),
                };
                self.add(kind, properties, start);
            }
            _ => return Err(self.error(mark, start, "did not find expected node content")),
        }
        Ok(())
    }

    fn close(&mut self, collection: usize) {
        let end = self.tree.nodes.len();
        if let Kind::Sequence(open) | Kind::Mapping(open) = &mut self.tree.nodes[collection].kind {
            *open = end;
        }
    }

    /// An anchor and a tag, in any order.
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

    fn block_sequence(&mut self, context: Mark, depth: usize) -> Result<(), YamlError> {
        loop {
            let At { token, mark } = self.scanner.peek()?;
            let mark = *mark;
            match token {
                Token::BlockEntry => {
                    self.scanner.take();
                    match self.scanner.peek()?.token {
                        Token::BlockEntry | Token::BlockEnd => self.empty(mark),
                        _ => self.node(Context::Block, depth + 1)?,
                    }
                }
                Token::BlockEnd => {
                    self.scanner.take();
                    return Ok(());
                }
                _ => {
                    return Err(self.error(mark, context, "did not find expected '-' indicator"));
                }
            }
        }
    }

    fn indentless_sequence(&mut self, depth: usize) -> Result<(), YamlError> {
        loop {
            let At { token, mark } = self.scanner.peek()?;
            let mark = *mark;
            if !matches!(token, Token::BlockEntry) {
                return Ok(());
            }
            self.scanner.take();
            match self.scanner.peek()?.token {
                Token::BlockEntry | Token::Key | Token::Value | Token::BlockEnd => self.empty(mark),
                _ => self.node(Context::Block, depth + 1)?,
            }
        }
    }

    fn block_mapping(&mut self, context: Mark, depth: usize) -> Result<(), YamlError> {
        loop {
            let At { token, mark } = self.scanner.peek()?;
            let mark = *mark;
            match token {
                Token::Key => {
                    self.scanner.take();
                    self.block_mapping_part(mark, depth)?;
                }
                Token::BlockEnd => {
                    self.scanner.take();
                    return Ok(());
                }
                _ => return Err(self.error(mark, context, "did not find expected key")),
            }
            let At { token, mark } = self.scanner.peek()?;
            let mark = *mark;
            if matches!(token, Token::Value) {
                self.scanner.take();
                self.block_mapping_part(mark, depth)?;
            } else {
                self.empty(mark);
            }
        }
    }

    /// What follows `?` or `:`.
    fn block_mapping_part(&mut self, mark: Mark, depth: usize) -> Result<(), YamlError> {
        match self.scanner.peek()?.token {
            Token::Key | Token::Value | Token::BlockEnd => {
                self.empty(mark);
                Ok(())
            }
            _ => self.node(Context::BlockValue, depth + 1),
        }
    }

    fn flow_sequence(&mut self, context: Mark, depth: usize) -> Result<(), YamlError> {
        let mut first = true;
        loop {
            if matches!(self.scanner.peek()?.token, Token::FlowSequenceEnd) {
                break;
            }
            if !first {
                self.flow_entry(context, "did not find expected ',' or ']'")?;
            }
            first = false;
            let At { token, mark } = self.scanner.peek()?;
            let mark = *mark;
            match token {
                Token::Key => {
                    self.scanner.take();
                    let map = self.push(Kind::Mapping(OPEN), mark);
                    self.flow_pair(depth + 1)?;
                    self.close(map);
                }
                Token::FlowSequenceEnd => break,
                _ => self.node(Context::Flow, depth + 1)?,
            }
        }
        self.scanner.take();
        Ok(())
    }

    /// Takes the comma between two entries.
    fn flow_entry(&mut self, context: Mark, problem: &str) -> Result<(), YamlError> {
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        if !matches!(token, Token::FlowEntry) {
            return Err(self.error(mark, context, problem));
        }
        self.scanner.take();
        Ok(())
    }

    /// A map of one pair in a list: `[a: b]`, behind the key's token.
    fn flow_pair(&mut self, depth: usize) -> Result<(), YamlError> {
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        match token {
            Token::Value | Token::FlowEntry | Token::FlowSequenceEnd => {
                // The library takes the token here, whatever it is.
                self.scanner.take();
                self.empty(mark);
            }
            _ => self.node(Context::Flow, depth + 1)?,
        }
        if matches!(self.scanner.peek()?.token, Token::Value) {
            self.scanner.take();
            let At { token, mark } = self.scanner.peek()?;
            let mark = *mark;
            match token {
                Token::FlowEntry | Token::FlowSequenceEnd => self.empty(mark),
                _ => self.node(Context::Flow, depth + 1)?,
            }
        } else {
            let mark = self.scanner.peek()?.mark;
            self.empty(mark);
        }
        Ok(())
    }

    fn flow_mapping(&mut self, context: Mark, depth: usize) -> Result<(), YamlError> {
        let mut first = true;
        loop {
            if matches!(self.scanner.peek()?.token, Token::FlowMappingEnd) {
                break;
            }
            if !first {
                self.flow_entry(context, "did not find expected ',' or '}'")?;
            }
            first = false;
            match self.scanner.peek()?.token {
                Token::Key => {
                    self.scanner.take();
                    let At { token, mark } = self.scanner.peek()?;
                    let mark = *mark;
                    match token {
                        Token::Value | Token::FlowEntry | Token::FlowMappingEnd => {
                            self.empty(mark);
                        }
                        _ => self.node(Context::Flow, depth + 1)?,
                    }
                    self.flow_mapping_value(depth)?;
                }
                Token::FlowMappingEnd => break,
                _ => {
                    self.node(Context::Flow, depth + 1)?;
                    let mark = self.scanner.peek()?.mark;
                    self.empty(mark);
                }
            }
        }
        self.scanner.take();
        Ok(())
    }

    fn flow_mapping_value(&mut self, depth: usize) -> Result<(), YamlError> {
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        if !matches!(token, Token::Value) {
            self.empty(mark);
            return Ok(());
        }
        self.scanner.take();
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        match token {
            Token::FlowEntry | Token::FlowMappingEnd => {
                self.empty(mark);
                Ok(())
            }
            _ => self.node(Context::Flow, depth + 1),
        }
    }
}
