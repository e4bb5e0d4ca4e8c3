//! Mappings in the making: keys as JSON has them, each once.

use std::collections::HashMap;

use crate::{
    node::{Entry, Mark, Node, Value},
    scalar::{self, Scalar},
};

/// From how many keys on a mapping is worth an index: most have few, and comparing those is cheaper than hashing.
const INDEXED_FROM: usize = 16;

/// A mapping in the making.
#[derive(Default)]
pub(crate) struct Building {
    pub(crate) entries: Vec<Entry>,
    /// For each entry, where the mapping itself set it, if it did; none for a merged one.
    own: Vec<Option<Mark>>,
    /// Where keys are in `entries`; empty while there are few.
    index: HashMap<String, usize>,
}

impl Building {
    /// Sets a key of the mapping itself; gives it back, and where it was set before, if it was.
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

    /// Sets a merged key; whether that changes a value which the mapping itself set.
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

/// What `sigs.k8s.io/yaml` makes of a key, or what it refuses.
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
