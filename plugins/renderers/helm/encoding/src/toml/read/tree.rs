//! The tables of a document during reading.

use std::collections::{BTreeMap, BTreeSet};

use pintle_gotemplate::{List, Map, Text, Type, Value, value::Entries};

use crate::toml::text::write_path;

type Table = BTreeMap<Text, Node>;

enum Node {
    Value(Value),
    Table(Table),
    /// An array of tables, where the last one is current.
    Tables(Vec<Table>),
}

#[derive(Default)]
pub(super) struct Tree {
    root: Table,
    /// The paths of tables that no header and no value has defined yet.
    implicit: BTreeSet<Vec<Text>>,
    /// The paths of values that are arrays.
    arrays: BTreeSet<Vec<Text>>,
}

impl Tree {
    pub(super) fn set_implicit(&mut self, path: &[Text], implicit: bool) {
        if implicit {
            self.implicit.insert(path.to_vec());
        } else {
            self.implicit.remove(path);
        }
    }

    pub(super) fn set_array(&mut self, path: &[Text], array: bool) {
        if array {
            self.arrays.insert(path.to_vec());
        } else {
            self.arrays.remove(path);
        }
    }

    /// Ensures that there are tables at a path and above it.
    pub(super) fn add_parents(&mut self, path: &[Text]) -> Result<(), String> {
        let mut table = &mut self.root;
        for (index, key) in path.iter().enumerate() {
            if !table.contains_key(key) {
                self.implicit.insert(path[..=index].to_vec());
            }
            let node = table
                .entry(key.clone())
                .or_insert_with(|| Node::Table(Table::new()));
            table = node.table().ok_or_else(|| {
                let path = show(&path[..=index]);
                format!("Key '{path}' was already created as a hash.")
            })?;
        }
        Ok(())
    }

    /// Returns the table at a path, which must exist.
    fn table(&mut self, path: &[Text]) -> Result<&mut Table, String> {
        let mut table = &mut self.root;
        for (index, key) in path.iter().enumerate() {
            let inner = table.get_mut(key).and_then(Node::table);
            table = inner.ok_or_else(|| already(&path[..=index]))?;
        }
        Ok(table)
    }

    /// Adds a table to the array at a path.
    pub(super) fn add_table(&mut self, path: &[Text]) -> Result<(), String> {
        let Some((last, parents)) = path.split_last() else {
            return Ok(());
        };
        let node = self
            .table(parents)?
            .entry(last.clone())
            .or_insert_with(|| Node::Tables(Vec::new()));
        let Node::Tables(tables) = node else {
            let path = show(path);
            return Err(format!(
                "Key '{path}' was already created and cannot be used as an array."
            ));
        };
        tables.push(Table::new());
        Ok(())
    }

    /// Defines a key of the table at a path, as a new table if there is no value.
    pub(super) fn set(
        &mut self,
        context: &[Text],
        key: &Text,
        value: Option<Value>,
    ) -> Result<(), String> {
        let path = [context, std::slice::from_ref(key)].concat();
        let node = value.map_or_else(|| Node::Table(Table::new()), Node::Value);
        let table = self.table(context)?;
        if !table.contains_key(key) {
            table.insert(key.clone(), node);
            return Ok(());
        }
        if !self.implicit.remove(&path) {
            return Err(already(&path));
        }
        // Existing content stays, but an array is complete only now.
        if self.arrays.contains(&path) {
            self.table(context)?.insert(key.clone(), node);
        }
        Ok(())
    }

    pub(super) fn into_value(self) -> Value {
        value(self.root)
    }
}

impl Node {
    /// Returns the table that a key stands for, if it stands for one.
    fn table(&mut self) -> Option<&mut Table> {
        match self {
            Self::Table(table) => Some(table),
            Self::Tables(tables) => tables.last_mut(),
            Self::Value(_) => None,
        }
    }
}

fn already(path: &[Text]) -> String {
    format!("Key '{}' has already been defined.", show(path))
}

fn show(path: &[Text]) -> String {
    let mut out = Vec::new();
    write_path(path, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn value(table: Table) -> Value {
    let mut entries = Entries::new();
    for (key, node) in table {
        let value = match node {
            Node::Value(value) => value,
            Node::Table(table) => value(table),
            Node::Tables(tables) => {
                let tables = tables.into_iter().map(value).collect();
                List::typed(Type::Slice(&Type::ANY_MAP), tables).into()
            }
        };
        entries.insert(key, value);
    }
    Map::from(entries).into()
}
