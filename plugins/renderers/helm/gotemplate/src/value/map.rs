//! Go maps with string keys.

use std::{
    cell::{Ref, RefCell},
    collections::BTreeMap,
    fmt, mem,
    rc::Rc,
};

use thiserror::Error;

use super::{Text, Value, list::unnest, types::Type};

/// The contents of a map, in the order of the keys' bytes: the order in which Go's templates and printing show them.
pub type Entries = BTreeMap<Text, Value>;

/// A Go map with string keys: a reference, so that clones share their contents.
#[derive(Clone)]
pub struct Map(Rc<Data>);

struct Data {
    of: Type,
    nil: bool,
    entries: RefCell<Entries>,
}

/// Something was to be put into a nil map; Go panics with the same text.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("assignment to entry in nil map")]
pub struct NilMapError;

impl Map {
    /// An empty `map[string]interface {}`.
    pub fn new() -> Self {
        Self::typed(Type::ANY_MAP)
    }

    /// An empty map of the map type `of`, whose values must have its element type: nobody checks.
    pub fn typed(of: Type) -> Self {
        Self::with_entries(of, Entries::new())
    }

    /// A map of the map type `of` with contents.
    pub fn with_entries(of: Type, entries: Entries) -> Self {
        Self(Rc::new(Data {
            of,
            nil: false,
            entries: RefCell::new(entries),
        }))
    }

    /// The nil map of the type `of`: empty, and nothing can be put into it.
    pub fn nil(of: Type) -> Self {
        Self(Rc::new(Data {
            of,
            nil: true,
            entries: RefCell::default(),
        }))
    }

    /// Whether it is a nil map.
    pub fn is_nil(&self) -> bool {
        self.0.nil
    }

    /// The map type.
    pub fn go_type(&self) -> Type {
        self.0.of
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.borrow().is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.borrow().get(key).cloned()
    }

    /// Whether there is such a key.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.borrow().contains_key(key)
    }

    /// Puts a value at a key; everybody who holds the map sees it.
    ///
    /// # Panics
    ///
    /// While the result of [`Map::borrow`] is alive.
    pub fn insert(&self, key: impl Into<Text>, value: Value) -> Result<(), NilMapError> {
        if self.0.nil {
            return Err(NilMapError);
        }
        // The old value is dropped after the borrow ends.
        let old = self.0.entries.borrow_mut().insert(key.into(), value);
        drop(old);
        Ok(())
    }

    /// Takes a key out, and gives the value that it had.
    ///
    /// # Panics
    ///
    /// While the result of [`Map::borrow`] is alive.
    pub fn remove(&self, key: &[u8]) -> Option<Value> {
        self.0.entries.borrow_mut().remove(key)
    }

    /// The contents, to read in place; do not change the map, nor call a template function, while you hold them.
    pub fn borrow(&self) -> Ref<'_, Entries> {
        self.0.entries.borrow()
    }

    /// A copy of the contents, in the order of the keys; safe to hold while the map changes.
    pub fn entries(&self) -> Vec<(Text, Value)> {
        let entries = self.borrow();
        entries
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// The keys, in order.
    pub fn keys(&self) -> Vec<Text> {
        self.borrow().keys().cloned().collect()
    }

    /// Another map of the same type with the same entries (which are shared).
    #[must_use]
    pub fn shallow_copy(&self) -> Self {
        Self(Rc::new(Data {
            of: self.0.of,
            nil: self.0.nil,
            entries: RefCell::new(self.borrow().clone()),
        }))
    }

    /// Whether both are one and the same map.
    pub fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// The values if nobody else holds this map.
    pub(super) fn into_values(self) -> Option<Vec<Value>> {
        let mut data = Rc::into_inner(self.0)?;
        Some(mem::take(data.entries.get_mut()).into_values().collect())
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let entries = mem::take(self.entries.get_mut());
        let nested = |value: &Value| matches!(value, Value::List(_) | Value::Map(_));
        if entries.values().any(nested) {
            unnest(entries.into_values().collect());
        }
    }
}

impl Default for Map {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Entries> for Map {
    fn from(entries: Entries) -> Self {
        Self::with_entries(Type::ANY_MAP, entries)
    }
}

/// Makes a `map[string]interface {}`.
impl<K: Into<Text>> FromIterator<(K, Value)> for Map {
    fn from_iter<T: IntoIterator<Item = (K, Value)>>(entries: T) -> Self {
        let entries = entries.into_iter();
        entries
            .map(|(key, value)| (key.into(), value))
            .collect::<Entries>()
            .into()
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nil() {
            return write!(out, "{}(nil)", self.go_type());
        }
        out.debug_map().entries(self.entries()).finish()
    }
}
