//! Documents as trees whose every value knows its place.

use std::fmt;

use serde_json::Number;

/// A place in the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and its place. What an alias stands for has the place of the anchor.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it begins.
    pub mark: Mark,
}

/// A value of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A finite number; a whole one that 64 bits hold is an integer.
    Number(Number),
    /// A text.
    String {
        /// The text, unescaped.
        text: String,
        /// Whether it is written without quotes, on one or more lines.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping.
    Mapping(Mapping),
}

/// One key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key, as JSON has it.
    pub key: String,
    /// Where the key begins.
    pub key_mark: Mark,
    /// The value.
    pub node: Node,
}

/// A mapping; its keys are unique, in the order in which they were first set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    entries: Vec<Entry>,
}

impl Mapping {
    /// Wraps entries whose keys the caller knows to be unique.
    pub(crate) fn new_unchecked(entries: Vec<Entry>) -> Self {
        Self { entries }
    }

    /// Gives the entry of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Gives the value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// Gives the value of a key, to change it in place.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries
            .iter_mut()
            .find(|entry| entry.key == key)
            .map(|entry| &mut entry.node)
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at).node)
    }

    /// Sets a key, replacing its value if it has one.
    pub fn insert(&mut self, key: impl Into<String>, key_mark: Mark, node: Node) {
        let key = key.into();
        match self.get_mut(&key) {
            Some(existing) => *existing = node,
            None => self.entries.push(Entry {
                key,
                key_mark,
                node,
            }),
        }
    }

    /// Lists the entries in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// Lists keys and values in order, to change the values in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node)> {
        self.entries
            .iter_mut()
            .map(|entry| (entry.key.as_str(), &mut entry.node))
    }

    /// Counts the keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<'a> IntoIterator for &'a Mapping {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Mapping {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl Value {
    /// Says what kind of value it is, with its article: `a list`.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String { .. } => "a text",
            Self::Sequence(_) => "a list",
            Self::Mapping(_) => "a mapping",
        }
    }
}

impl Node {
    /// Gives the text, if the value is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Gives the mapping, if the value is one.
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// Gives the list, if the value is one.
    pub fn as_sequence(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(nodes) => Some(nodes),
            _ => None,
        }
    }

    /// Whether the value is nothing.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// Gives the value of a key, if the value is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_mapping()?.get(key)
    }

    /// Gives what an RFC 6901 pointer names.
    pub fn at(&self, pointer: &str) -> Option<&Node> {
        segments(pointer).try_fold(self, |node, segment| node.child(&segment))
    }

    /// Gives the place of what an RFC 6901 pointer names, or of the innermost collection on the way that exists: where
    /// a missing field would have to be written.
    pub fn nearest(&self, pointer: &str) -> Mark {
        let mut node = self;
        for segment in segments(pointer) {
            match node.child(&segment) {
                Some(child) => node = child,
                None => break,
            }
        }
        node.mark
    }

    fn child(&self, segment: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(mapping) => mapping.get(segment),
            Value::Sequence(nodes) => nodes.get(segment.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// Turns the tree into JSON, without the places.
    pub fn into_json(self) -> serde_json::Value {
        match self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => value.into(),
            Value::Number(value) => value.into(),
            Value::String { text, .. } => text.into(),
            Value::Sequence(nodes) => nodes.into_iter().map(Node::into_json).collect(),
            Value::Mapping(mapping) => mapping
                .into_iter()
                .map(|entry| (entry.key, entry.node.into_json()))
                .collect(),
        }
    }

    /// Counts the values of the tree, and the bytes of their texts and keys.
    pub(crate) fn size(&self) -> (usize, usize) {
        let add = |(nodes, bytes): (usize, usize), (more_nodes, more_bytes): (usize, usize)| {
            (nodes + more_nodes, bytes + more_bytes)
        };
        match &self.value {
            Value::Null | Value::Bool(_) | Value::Number(_) => (1, 0),
            Value::String { text, .. } => (1, text.len()),
            Value::Sequence(nodes) => nodes.iter().map(Node::size).fold((1, 0), add),
            Value::Mapping(mapping) => mapping
                .iter()
                .map(|entry| add(entry.node.size(), (0, entry.key.len())))
                .fold((1, 0), add),
        }
    }
}

/// The segments of an RFC 6901 pointer, unescaped.
fn segments(pointer: &str) -> impl Iterator<Item = String> + '_ {
    pointer
        .split('/')
        .skip(1)
        .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
}

/// Adds a key or an index to an RFC 6901 pointer, escaped.
///
/// ```
/// assert_eq!(pintle_yaml::pointer("/metadata/annotations", "a/b~c"), "/metadata/annotations/a~1b~0c");
/// ```
pub fn pointer(parent: &str, segment: &str) -> String {
    format!("{parent}/{}", segment.replace('~', "~0").replace('/', "~1"))
}
