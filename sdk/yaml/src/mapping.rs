//! Mappings in the making: keys as JSON has them, each once.

use std::collections::HashMap;

use crate::{
    node::{Entry, Mark, Node, Value},
    scalar::{self, Scalar},
};

/// A mapping in the making.
#[derive(Default)]
pub(crate) struct Building {
    pub(crate) entries: Vec<Entry>,
    /// By key: the entry, and where the mapping itself set it, if it did.
    known: HashMap<String, (usize, Option<Mark>)>,
}

impl Building {
    /// Sets a key of the mapping itself; gives where it was set before if it was.
    pub(crate) fn set_own(&mut self, key: &str, key_mark: Mark, node: Node) -> Result<(), Mark> {
        match self.known.get_mut(key) {
            Some((_, Some(first))) => Err(*first),
            Some((index, own)) => {
                *own = Some(key_mark);
                self.entries[*index] = Entry {
                    key: key.to_owned(),
                    key_mark,
                    node,
                };
                Ok(())
            }
            None => {
                self.known
                    .insert(key.to_owned(), (self.entries.len(), Some(key_mark)));
                self.entries.push(Entry {
                    key: key.to_owned(),
                    key_mark,
                    node,
                });
                Ok(())
            }
        }
    }

    /// Sets a merged key; whether that changes a value which the mapping itself set.
    pub(crate) fn set_merged(&mut self, entry: Entry) -> bool {
        let Some(&(index, own)) = self.known.get(&entry.key) else {
            self.known
                .insert(entry.key.clone(), (self.entries.len(), None));
            self.entries.push(entry);
            return false;
        };
        let changes = own.is_some() && self.entries[index].node.value != entry.node.value;
        self.entries[index].node = entry.node;
        changes
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
