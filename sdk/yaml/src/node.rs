//! Documents as trees in which every value has its position.

use std::fmt;

use serde_json::Number;

/// A position in the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and its position. The value that an alias stands for has the position of the anchor.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// The position where the value begins.
    pub mark: Mark,
}

/// A value of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A finite number. A whole number that fits into 64 bits is an integer.
    Number(Number),
    /// A text.
    String {
        /// The text, unescaped.
        text: String,
        /// Whether the text is written without quotes, on one or more lines.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping.
    Mapping(Mapping),
}

/// A key of a mapping and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key in its JSON form.
    pub key: String,
    /// The position where the key begins.
    pub key_mark: Mark,
    /// The value.
    pub node: Node,
}

/// A mapping. Its keys are unique, and in the order in which they were first set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    entries: Vec<Entry>,
}

impl Mapping {
    /// Wraps entries whose keys the caller knows to be unique.
    pub(crate) fn new_unchecked(entries: Vec<Entry>) -> Self {
        Self { entries }
    }

    /// Returns the entry of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// Returns a mutable reference to the value of a key.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries
            .iter_mut()
            .find(|entry| entry.key == key)
            .map(|entry| &mut entry.node)
    }

    /// Removes a key and returns its value.
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

    /// Returns an iterator over the entries, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// Returns an iterator over keys and mutable values, in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node)> {
        self.entries
            .iter_mut()
            .map(|entry| (entry.key.as_str(), &mut entry.node))
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no keys.
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
    /// Returns the kind of the value, with its article: `a list`.
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
    /// Returns the text, if the value is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Returns the mapping, if the value is one.
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// Returns the list, if the value is one.
    pub fn as_sequence(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(nodes) => Some(nodes),
            _ => None,
        }
    }

    /// Returns whether the value is null.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// Returns the value of a key, if this value is a mapping that has the key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_mapping()?.get(key)
    }

    /// Returns the value at an RFC 6901 pointer.
    pub fn at(&self, pointer: &str) -> Option<&Node> {
        segments(pointer).try_fold(self, |node, segment| node.child(&segment))
    }

    /// Returns the position of the value at an RFC 6901 pointer.
    ///
    /// If there is no such value, this is the position of the innermost collection on the way that exists, where a missing
    /// field would have to be written.
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

    /// Converts the tree to JSON, without the positions.
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

    /// Returns the number of values in the tree, and the number of bytes of their texts and keys.
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

/// Returns the segments of an RFC 6901 pointer, unescaped.
fn segments(pointer: &str) -> impl Iterator<Item = String> + '_ {
    pointer
        .split('/')
        .skip(1)
        .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
}

/// Returns an RFC 6901 pointer extended by a key or an index, which is escaped.
///
/// ```
/// assert_eq!(pintle_yaml::pointer("/metadata/annotations", "a/b~c"), "/metadata/annotations/a~1b~0c");
/// ```
pub fn pointer(parent: &str, segment: &str) -> String {
    format!("{parent}/{}", segment.replace('~', "~0").replace('/', "~1"))
}
