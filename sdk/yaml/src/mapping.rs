//! Mappings under construction: keys in their JSON form, each once.

use std::collections::HashMap;

use crate::{
    node::{Entry, Mark, Node, Value},
    scalar::{self, Scalar},
};

/// The number of keys from which a mapping has an index. Most mappings have few keys, and comparing those is cheaper than
/// hashing.
const INDEXED_FROM: usize = 16;

/// A mapping under construction.
#[derive(Default)]
pub(crate) struct Building {
    pub(crate) entries: Vec<Entry>,
    /// For each entry, the position at which the mapping itself set it; `None` for a merged entry.
    own: Vec<Option<Mark>>,
    /// The indices of keys in `entries`; empty while there are few keys.
    index: HashMap<String, usize>,
}

impl Building {
    /// Sets a key of the mapping itself. If the mapping has already set it, returns the entry and the position of the first
    /// occurrence.
    pub(crate) fn set_own(&mut self, entry: Entry) -> Result<(), (Entry, Mark)> {
        let Some(at) = self.find(&entry.key) else {
            let mark = entry.key_mark;
            self.push(entry, Some(mark));
            return Ok(());
        };
        if let Some(first) = self.own[at] {
            return Err((entry, first));
        }
        self.own[at] = Some(entry.key_mark);
        self.entries[at] = entry;
        Ok(())
    }

    /// Sets a merged key. Returns whether that changes a value that the mapping itself set.
    pub(crate) fn set_merged(&mut self, entry: Entry) -> bool {
        let Some(at) = self.find(&entry.key) else {
            self.push(entry, None);
            return false;
        };
        let changes = self.own[at].is_some() && self.entries[at].node.value != entry.node.value;
        self.entries[at].node = entry.node;
        changes
    }

    fn find(&self, key: &str) -> Option<usize> {
        if self.entries.len() < INDEXED_FROM {
            self.entries.iter().position(|entry| entry.key == key)
        } else {
            self.index.get(key).copied()
        }
    }

    fn push(&mut self, entry: Entry, own: Option<Mark>) {
        let at = self.entries.len();
        if at + 1 == INDEXED_FROM {
            let known = self.entries.iter().enumerate();
            self.index = known.map(|(at, entry)| (entry.key.clone(), at)).collect();
        }
        if at + 1 >= INDEXED_FROM {
            self.index.insert(entry.key.clone(), at);
        }
        self.entries.push(entry);
        self.own.push(own);
    }
}

/// Returns the key that `sigs.k8s.io/yaml` makes of a scalar, or what it refuses.
pub(crate) fn scalar_key(scalar: &Scalar, text: &str) -> Result<String, &'static str> {
    match scalar {
        Scalar::Null => Err("nothing"),
        Scalar::Bool(value) => Ok(value.to_string()),
        Scalar::Int(value) => Ok(value.to_string()),
        Scalar::Uint(_) => Err("a whole number above 9223372036854775807"),
        Scalar::Float(value) => Ok(scalar::float_key(*value)),
        Scalar::Text => Ok(text.to_owned()),
    }
}

pub(crate) fn node_key(node: &Node) -> Result<String, &'static str> {
    match &node.value {
        Value::String { text, .. } => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => Ok(value.to_string()),
            (_, None, Some(value)) => Ok(scalar::float_key(value)),
            _ => Err("a whole number above 9223372036854775807"),
        },
        other => Err(other.describe()),
    }
}
