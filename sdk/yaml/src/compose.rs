//! Composes nodes from events: aliases, merges, keys and limits.

use std::{borrow::Cow, collections::HashMap};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use crate::{
    Error, ErrorKind, Limits, Stream, Warning, WarningKind,
    error::syntax_hint,
    mapping::{Building, node_key, scalar_key},
    node::{Entry, Mapping, Mark, Node, Value},
    path::{Path, Segment},
    scalar::{self, CORE, Scalar},
};

/// Reads every document, and continues at the next one after a syntax error.
pub(crate) fn stream(text: &str, limits: &Limits) -> Stream {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.emit_unresolved_aliases = true;
    // The composer's own limit is reached first, and knows the pointer. These limits keep the scanner's state small.
    options.block_nesting_limit = limits.depth.saturating_add(1);
    options.flow_nesting_limit = limits.depth.saturating_add(1);
    let mut composer = Composer {
        parser: Parser::new_from_str_with_options(text, options),
        limits,
        length: text.len(),
        last_line: text.rsplit(['\n', '\r']).next().unwrap_or(text),
        anchors: HashMap::new(),
        nodes: 0,
        alias_nodes: 0,
        alias_bytes: 0,
        stream: Stream::default(),
    };
    composer.run();
    composer.stream
}

struct Composer<'a> {
    parser: Parser<'a, StrInput<'a>>,
    limits: &'a Limits,
    /// The size of the input in bytes.
    length: usize,
    /// The text after the last line break of the input.
    last_line: &'a str,
    anchors: HashMap<usize, Anchor>,
    nodes: usize,
    alias_nodes: usize,
    alias_bytes: usize,
    stream: Stream,
}

enum Anchor {
    /// The value is still being read. An alias to it would be inside itself.
    Open,
    Value {
        node: Node,
        nodes: usize,
        bytes: usize,
    },
}

/// Reading this document cannot continue. The error has been recorded.
struct Abandoned;

type Composed<T> = Result<T, Abandoned>;

fn mark(marker: &Marker) -> Mark {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Mark {
        line: narrow(marker.line()),
        column: narrow(marker.col()).saturating_add(1),
    }
}

impl<'a> Composer<'a> {
    fn run(&mut self) {
        loop {
            let errors = self.stream.errors.len();
            match self.document() {
                Ok(Some(node)) if self.stream.errors.len() == errors => {
                    self.stream.documents.push(node);
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(Abandoned) => match self.parser.proceed_next_document() {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        self.syntax(&error, &Path::ROOT);
                        return;
                    }
                },
            }
        }
    }

    /// Reads the next document. Returns `None` at the end of the stream.
    fn document(&mut self) -> Composed<Option<Node>> {
        self.anchors.clear();
        (self.nodes, self.alias_nodes, self.alias_bytes) = (0, 0, 0);
        loop {
            let Some((event, span)) = self.next(&Path::ROOT)? else {
                return Ok(None);
            };
            match event {
                Event::StreamEnd => return Ok(None),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                root => return self.node(root, span, &Path::ROOT).map(Some),
            }
        }
    }

    fn next(&mut self, path: &Path<'_>) -> Composed<Option<(Event<'a>, Span)>> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(next)) => Ok(Some(next)),
            Some(Err(error)) => {
                self.syntax(&error, path);
                Err(Abandoned)
            }
        }
    }

    /// Returns the next event inside a collection, which the parser closes before the stream ends.
    fn next_inside(&mut self, path: &Path<'_>) -> Composed<(Event<'a>, Span)> {
        self.next(path)?.ok_or(Abandoned)
    }

    fn syntax(&mut self, error: &ScanError, path: &Path<'_>) {
        use granit_parser::ErrorKind as Scan;
        let kind = match error.kind() {
            Scan::TabNotAllowed
            | Scan::TabInBlockIndentation
            | Scan::TabInIndentation
            | Scan::TabInPlainScalar
            | Scan::TabAtBlockScalarStart => ErrorKind::Tab,
            Scan::RecursionLimitExceeded => ErrorKind::Depth(self.limits.depth),
            other => ErrorKind::Yaml {
                message: error.info(),
                hint: syntax_hint(other),
            },
        };
        self.error(kind, mark(error.marker()), path);
    }

    fn error(&mut self, kind: ErrorKind, mark: Mark, path: &Path<'_>) {
        self.stream.errors.push(Error {
            kind,
            mark,
            pointer: path.pointer(),
        });
    }

    fn warn(&mut self, kind: WarningKind, mark: Mark, path: &Path<'_>) {
        self.stream.warnings.push(Warning {
            kind,
            mark,
            pointer: path.pointer(),
        });
    }

    fn node(&mut self, event: Event<'a>, span: Span, path: &Path<'_>) -> Composed<Node> {
        let at = mark(&span.start);
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            self.error(ErrorKind::Nodes(self.limits.nodes), at, path);
            return Err(Abandoned);
        }
        let (anchor, value) = match event {
            Event::Alias(id) => return self.alias(id, at, path),
            Event::UnresolvedAlias(name) => {
                self.error(ErrorKind::UnknownAlias(name.into_owned()), at, path);
                (0, Value::Null)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let text = self.without_final_break(text, style, span);
                let resolved = self.scalar(&text, style, tag.as_deref(), at, path);
                (anchor, self.value(resolved, text, style, at, path))
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.enter(anchor, tag.as_deref(), at, path)?;
                (anchor, Value::Sequence(self.sequence(path)?))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.enter(anchor, tag.as_deref(), at, path)?;
                (anchor, Value::Mapping(self.mapping(path)?))
            }
            // The parser emits no other event where a node is due. If it did, the document could not be trusted.
            _ => {
                let message = "a value was expected".to_owned();
                self.error(
                    ErrorKind::Yaml {
                        message,
                        hint: None,
                    },
                    at,
                    path,
                );
                return Err(Abandoned);
            }
        };
        let node = Node { value, mark: at };
        self.keep(anchor, &node);
        Ok(node)
    }

    fn keep(&mut self, anchor: usize, node: &Node) {
        if anchor != 0 {
            let (nodes, bytes) = node.size();
            self.anchors.insert(
                anchor,
                Anchor::Value {
                    node: node.clone(),
                    nodes,
                    bytes,
                },
            );
        }
    }

    fn enter(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        at: Mark,
        path: &Path<'_>,
    ) -> Composed<()> {
        if path.depth >= self.limits.depth {
            self.error(ErrorKind::Depth(self.limits.depth), at, path);
            return Err(Abandoned);
        }
        if anchor != 0 {
            self.anchors.insert(anchor, Anchor::Open);
        }
        if let Some(tag) = tag
            && !matches!(core_tag(tag).as_deref(), Some("map" | "seq"))
        {
            self.warn(
                WarningKind::IgnoredTag {
                    tag: tag.original(),
                },
                at,
                path,
            );
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, at: Mark, path: &Path<'_>) -> Composed<Node> {
        match self.anchors.get(&id) {
            Some(Anchor::Value { node, nodes, bytes }) => {
                self.nodes += nodes;
                self.alias_nodes += nodes;
                self.alias_bytes += bytes;
                let (nodes, bytes) = (self.limits.alias_nodes, self.limits.alias_bytes);
                if self.alias_nodes <= nodes
                    && self.alias_bytes <= bytes
                    && self.nodes <= self.limits.nodes
                {
                    let node = node.clone();
                    if path.depth + depth(&node) > self.limits.depth {
                        self.error(ErrorKind::Depth(self.limits.depth), at, path);
                        return Err(Abandoned);
                    }
                    return Ok(node);
                }
                self.error(ErrorKind::Aliases { nodes, bytes }, at, path);
                Err(Abandoned)
            }
            Some(Anchor::Open) | None => {
                self.error(ErrorKind::AliasInItself, at, path);
                Ok(Node {
                    value: Value::Null,
                    mark: at,
                })
            }
        }
    }

    fn sequence(&mut self, path: &Path<'_>) -> Composed<Vec<Node>> {
        let mut nodes = Vec::new();
        loop {
            match self.next_inside(path)? {
                (Event::SequenceEnd, _) => return Ok(nodes),
                (event, span) => {
                    let node = self.node(event, span, &path.then(Segment::Index(nodes.len())))?;
                    nodes.push(node);
                }
            }
        }
    }

    fn mapping(&mut self, path: &Path<'_>) -> Composed<Mapping> {
        let mut building = Building::default();
        loop {
            let (event, span) = self.next_inside(path)?;
            let at = mark(&span.start);
            match event {
                Event::MappingEnd => return Ok(Mapping::new_unchecked(building.entries)),
                Event::Scalar(text, ScalarStyle::Plain, _, tag)
                    if text == "<<" && may_merge(tag.as_deref()) =>
                {
                    self.merge(&mut building, path)?;
                }
                event => {
                    let key = self.key(event, span, path)?;
                    let name = key.as_deref().unwrap_or("?");
                    let inside = path.then(Segment::Key(name));
                    let (event, span) = self.next_inside(&inside)?;
                    let node = self.node(event, span, &inside)?;
                    let Some(key) = key else { continue };
                    let entry = Entry {
                        key,
                        key_mark: at,
                        node,
                    };
                    if let Err((Entry { key, .. }, first)) = building.set_own(entry) {
                        let pointer = path.then(Segment::Key(&key)).pointer();
                        let kind = ErrorKind::DuplicateKey { key, first };
                        self.stream.errors.push(Error {
                            kind,
                            mark: at,
                            pointer,
                        });
                    }
                }
            }
        }
    }

    /// Reads what `<<` merges.
    ///
    /// As in Go, a merge replaces keys that come before it but not those after it, and the first of several mappings wins.
    fn merge(&mut self, building: &mut Building, path: &Path<'_>) -> Composed<()> {
        let inside = path.then(Segment::Key("<<"));
        let (event, span) = self.next_inside(&inside)?;
        let is_alias = matches!(event, Event::Alias(_));
        let merged = self.node(event, span, &inside)?;
        let mappings = match merged.value {
            Value::Mapping(mapping) => vec![mapping],
            Value::Sequence(nodes)
                if !is_alias && nodes.iter().all(|node| node.as_mapping().is_some()) =>
            {
                nodes
                    .into_iter()
                    .filter_map(|node| match node.value {
                        Value::Mapping(mapping) => Some(mapping),
                        _ => None,
                    })
                    .collect()
            }
            _ => {
                self.error(ErrorKind::Merge, mark(&span.start), &inside);
                return Ok(());
            }
        };
        for entry in mappings.into_iter().rev().flatten() {
            let key = entry.key.clone();
            if building.set_merged(entry) {
                self.warn(WarningKind::MergeOverrides { key }, mark(&span.start), path);
            }
        }
        Ok(())
    }

    /// Reads a key. If the value cannot be a key, records an error and returns `None`.
    fn key(&mut self, event: Event<'a>, span: Span, path: &Path<'_>) -> Composed<Option<String>> {
        let at = mark(&span.start);
        let key = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.nodes += 1;
                let inside = path.then(Segment::Key(&text));
                let resolved = self.scalar(&text, style, tag.as_deref(), at, &inside);
                if anchor != 0 {
                    let value = self.value(resolved.clone(), text.clone(), style, at, &inside);
                    self.keep(anchor, &Node { value, mark: at });
                }
                let key = match resolved {
                    Resolved::Text(text) => Ok(text),
                    Resolved::Plain(scalar) => scalar_key(&scalar, &text),
                };
                if let Ok(key) = &key
                    && style == ScalarStyle::Plain
                    && tag.is_none()
                    && *key != text
                {
                    self.warn(
                        WarningKind::Key {
                            text: text.clone().into_owned(),
                            key: key.clone(),
                        },
                        at,
                        &inside,
                    );
                }
                key
            }
            other => {
                let node = self.node(other, span, &path.then(Segment::Key("?")))?;
                node_key(&node)
            }
        };
        match key {
            Ok(key) => Ok(Some(key)),
            Err(what) => {
                self.error(ErrorKind::Key(what), at, path);
                Ok(None)
            }
        }
    }

    /// Resolves a scalar by its style and tag.
    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        at: Mark,
        path: &Path<'_>,
    ) -> Resolved {
        let Some(tag) = tag else {
            return match style {
                ScalarStyle::Plain => Resolved::Plain(scalar::resolve(text)),
                _ => Resolved::Text(text.to_owned()),
            };
        };
        let found = scalar::resolve(text);
        let core = core_tag(tag);
        let fits = match core.as_deref() {
            Some("str" | "timestamp") => return Resolved::Text(text.to_owned()),
            // The non-specific tag `!` makes the scalar a text.
            None if tag.original() == "!" => return Resolved::Text(text.to_owned()),
            Some("binary") => return Resolved::Text(self.binary(text, at, path)),
            Some("float") => match found {
                #[expect(clippy::cast_precision_loss, reason = "the tag asks for a float")]
                Scalar::Int(value) => return Resolved::Plain(Scalar::Float(value as f64)),
                Scalar::Float(_) => true,
                _ => false,
            },
            Some(name @ ("null" | "bool" | "int")) => found.tag() == name,
            _ => {
                self.warn(
                    WarningKind::IgnoredTag {
                        tag: tag.original(),
                    },
                    at,
                    path,
                );
                return Resolved::Text(text.to_owned());
            }
        };
        if !fits {
            self.error(
                ErrorKind::Tag {
                    tag: tag.original(),
                    text: text.to_owned(),
                },
                at,
                path,
            );
        }
        Resolved::Plain(found)
    }

    /// Removes the final line break that the parser adds to a block scalar whose last line ends at the end of the input.
    ///
    /// Without a line break in the input, such a scalar has none (YAML 1.2.2 section 8.1.1.2, `b-chomped-last`).
    fn without_final_break(
        &self,
        text: Cow<'a, str>,
        style: ScalarStyle,
        span: Span,
    ) -> Cow<'a, str> {
        let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        if !is_block || self.last_line.is_empty() || span.end.byte_offset() != Some(self.length) {
            return text;
        }
        let Some(shorter) = text.strip_suffix('\n') else {
            return text;
        };
        // Blanks up to the indentation are not content, so they form no line that could end. Further blanks are content.
        let content = shorter.rsplit('\n').next().unwrap_or_default();
        let is_blank = self.last_line.trim_start_matches(' ').is_empty();
        if is_blank && (content.is_empty() || !self.last_line.ends_with(content)) {
            return text;
        }
        Cow::Owned(shorter.to_owned())
    }

    fn binary(&mut self, text: &str, at: Mark, path: &Path<'_>) -> String {
        let packed: String = text
            .chars()
            .filter(|character| !matches!(character, '\n' | '\r'))
            .collect();
        let decoded = match BASE64.decode(packed) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| ErrorKind::BinaryNotText),
            Err(_) => Err(ErrorKind::NotBase64),
        };
        decoded.unwrap_or_else(|kind| {
            self.error(kind, at, path);
            String::new()
        })
    }

    /// Returns the value of a resolved scalar.
    fn value(
        &mut self,
        resolved: Resolved,
        text: Cow<'_, str>,
        style: ScalarStyle,
        at: Mark,
        path: &Path<'_>,
    ) -> Value {
        let plain = style == ScalarStyle::Plain;
        let scalar = match resolved {
            Resolved::Text(text) => return Value::String { text, plain },
            Resolved::Plain(Scalar::Text) => {
                return Value::String {
                    text: text.into_owned(),
                    plain,
                };
            }
            Resolved::Plain(scalar) => scalar,
        };
        if let Some(value) = scalar.into_value() {
            self.lint(&value, &text, at, path);
            return value;
        }
        self.error(ErrorKind::NotFinite(text.into_owned()), at, path);
        Value::Null
    }

    /// Warns about spellings that are read as something other than the text that may be meant.
    fn lint(&mut self, value: &Value, text: &str, at: Mark, path: &Path<'_>) {
        let kind = match value {
            Value::Bool(value) if scalar::is_old_boolean(text) => WarningKind::Boolean {
                text: text.to_owned(),
                value: *value,
            },
            Value::Number(number) if scalar::is_odd_number(text) => WarningKind::Number {
                text: text.to_owned(),
                value: number.clone(),
            },
            Value::Number(number) if number.is_f64() && scalar::is_whole(text) => {
                WarningKind::Rounded {
                    text: text.to_owned(),
                }
            }
            _ => return,
        };
        self.warn(kind, at, path);
    }
}

/// A resolved scalar: certainly a text, or whatever its plain form means.
#[derive(Clone)]
enum Resolved {
    Text(String),
    Plain(Scalar),
}

fn core_tag(tag: &Tag) -> Option<Cow<'_, str>> {
    tag.suffix_in_namespace(CORE)
}

/// Returns whether a plain `<<` with this tag merges.
fn may_merge(tag: Option<&Tag>) -> bool {
    tag.is_none_or(|tag| tag.original() == "!" || core_tag(tag).as_deref() == Some("merge"))
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Sequence(nodes) => 1 + nodes.iter().map(depth).max().unwrap_or(0),
        Value::Mapping(mapping) => {
            1 + mapping
                .iter()
                .map(|entry| depth(&entry.node))
                .max()
                .unwrap_or(0)
        }
        _ => 0,
    }
}
