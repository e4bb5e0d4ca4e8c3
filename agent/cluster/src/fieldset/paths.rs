//! The path elements of a set below a list, grouped by what they name.

use std::collections::BTreeMap;

use pintle_core::fields::{KEY_SETS, keys_of, keys_text};
use serde_json::Value;

use super::FieldSet;

/// What is owned of each item of a list, found without searching what is owned of all the others.
pub(super) struct Paths<'a> {
    places: BTreeMap<usize, &'a FieldSet>,
    /// By the names of the keys, then by their values.
    keyed: BTreeMap<Vec<String>, BTreeMap<String, &'a FieldSet>>,
    values: BTreeMap<String, &'a FieldSet>,
}

impl<'a> Paths<'a> {
    pub(super) fn of(inner: &'a BTreeMap<String, FieldSet>) -> Self {
        let mut paths = Self {
            places: BTreeMap::new(),
            keyed: BTreeMap::new(),
            values: BTreeMap::new(),
        };
        for (path, fields) in inner {
            paths.add(path, fields);
        }
        paths
    }

    /// Adds what a path element names. Malformed elements name nothing.
    fn add(&mut self, path: &str, fields: &'a FieldSet) -> Option<()> {
        match path.split_once(':')? {
            ("i", text) => {
                self.places.entry(text.parse().ok()?).or_insert(fields);
            }
            ("k", _) => {
                let keys = keys_of(path)?;
                let text = serde_json::to_string(&keys).ok()?;
                let names: Vec<String> = keys.into_keys().collect();
                if self.keyed.len() < KEY_SETS || self.keyed.contains_key(&names) {
                    let same = self.keyed.entry(names).or_default();
                    same.entry(text).or_insert(fields);
                }
            }
            ("v", text) => {
                let value: Value = serde_json::from_str(text).ok()?;
                self.values.entry(value.to_string()).or_insert(fields);
            }
            _ => {}
        }
        Some(())
    }

    /// Reduces an item to what is owned of it; `None` if nothing is.
    pub(super) fn extract(&self, place: usize, item: &Value) -> Option<Value> {
        if let Some(fields) = self.places.get(&place) {
            return Some(fields.extract_inner(item));
        }
        for (names, fields) in &self.keyed {
            if let Some(text) = keys_text(item, names)
                && let Some(fields) = fields.get(&text)
            {
                return Some(with_keys(fields.extract(item), item, names));
            }
        }
        if self.values.is_empty() {
            return None;
        }
        let fields = self.values.get(&item.to_string())?;
        Some(fields.extract_inner(item))
    }
}

/// Adds the keys to what was cut out of an item: they identify it, even if others own them.
fn with_keys(mut cut: Value, item: &Value, names: &[String]) -> Value {
    for name in names {
        if let Some(value) = item.get(name) {
            cut[name] = value.clone();
        }
    }
    cut
}
