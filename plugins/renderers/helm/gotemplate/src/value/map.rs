//! Go maps with string keys.

use std::{
    cell::{Ref, RefCell},
    collections::BTreeMap,
    fmt, mem,
    rc::Rc,
};

use thiserror::Error;

use super::{
    Text, Value,
    list::{is_container, nested, unnest},
    types::Type,
};

/// The contents of a map, in byte order of the keys: the order in which Go's templates and printing show them.
pub type Entries = BTreeMap<Text, Value>;

/// A Go map with string keys. It is a reference, so clones share their contents.
#[derive(Clone)]
pub struct Map(Rc<Data>);

struct Data {
    of: Type,
    nil: bool,
    contents: Contents,
}

/// Where the entries are stored.
enum Contents {
    Own(RefCell<Entries>),
    /// In the map that this one was converted from, which was not itself converted.
    Of(Rc<Data>),
}

impl Data {
    fn cell(&self) -> &RefCell<Entries> {
        match &self.contents {
            Contents::Own(entries) => entries,
            Contents::Of(other) => other.cell(),
        }
    }

    /// Takes the entries if there is no other holder, including those of the map that this one was converted from.
    fn take_entries(&mut self) -> Option<Entries> {
        match mem::replace(&mut self.contents, Contents::Own(RefCell::default())) {
            Contents::Own(entries) => Some(entries.into_inner()),
            Contents::Of(base) => Rc::into_inner(base)?.take_entries(),
        }
    }
}

/// A write to a nil map was attempted. Go panics with the same message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("assignment to entry in nil map")]
pub struct NilMapError;

impl Map {
    /// Creates an empty `map[string]interface {}`.
    pub fn new() -> Self {
        Self::typed(Type::ANY_MAP)
    }

    /// Creates an empty map of the map type `of`. The values must have its element type, which is not checked.
    pub fn typed(of: Type) -> Self {
        Self::with_entries(of, Entries::new())
    }

    /// Creates a map of the map type `of` with contents.
    pub fn with_entries(of: Type, entries: Entries) -> Self {
        Self(Rc::new(Data {
            of,
            nil: false,
            contents: Contents::Own(RefCell::new(entries)),
        }))
    }

    /// Creates the nil map of the type `of`. It is empty, and nothing can be stored in it.
    pub fn nil(of: Type) -> Self {
        Self(Rc::new(Data {
            of,
            nil: true,
            contents: Contents::Own(RefCell::default()),
        }))
    }

    /// Returns whether this is a nil map.
    pub fn is_nil(&self) -> bool {
        self.0.nil
    }

    /// Returns the map type.
    pub fn go_type(&self) -> Type {
        self.0.of
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.borrow().len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.borrow().is_empty()
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.borrow().get(key).cloned()
    }

    /// Returns whether there is such a key.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.borrow().contains_key(key)
    }

    /// Stores a value at a key. All holders of the map see it.
    ///
    /// # Panics
    ///
    /// Panics while the result of [`Map::borrow`] is alive.
    pub fn insert(&self, key: impl Into<Text>, value: Value) -> Result<(), NilMapError> {
        if self.0.nil {
            return Err(NilMapError);
        }
        // The old value is dropped after the borrow ends.
        let old = self.0.cell().borrow_mut().insert(key.into(), value);
        drop(old);
        Ok(())
    }

    /// Removes a key and returns its value.
    ///
    /// # Panics
    ///
    /// Panics while the result of [`Map::borrow`] is alive.
    pub fn remove(&self, key: &[u8]) -> Option<Value> {
        self.0.cell().borrow_mut().remove(key)
    }

    /// Borrows the contents. While you hold the result, do not change the map or call a template function.
    pub fn borrow(&self) -> Ref<'_, Entries> {
        self.0.cell().borrow()
    }

    /// Returns a copy of the contents, in the order of the keys. It is safe to hold while the map changes.
    pub fn entries(&self) -> Vec<(Text, Value)> {
        let entries = self.borrow();
        entries
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Returns the keys, in order.
    pub fn keys(&self) -> Vec<Text> {
        self.borrow().keys().cloned().collect()
    }

    /// Returns another map of the same type with the same entries (which are shared).
    #[must_use]
    pub fn shallow_copy(&self) -> Self {
        Self(Rc::new(Data {
            of: self.0.of,
            nil: self.0.nil,
            contents: Contents::Own(RefCell::new(self.borrow().clone())),
        }))
    }

    /// Returns the same map as another map type, like Go's conversion. Both share their contents.
    #[must_use]
    pub fn converted(&self, of: Type) -> Self {
        if self.0.of == of {
            return self.clone();
        }
        let base = match &self.0.contents {
            Contents::Own(_) => &self.0,
            Contents::Of(base) => base,
        };
        Self(Rc::new(Data {
            of,
            nil: self.0.nil,
            contents: Contents::Of(base.clone()),
        }))
    }

    /// Returns whether both are the same map.
    pub fn same(&self, other: &Self) -> bool {
        std::ptr::eq(self.0.cell(), other.0.cell())
    }

    /// Returns the values if there is no other holder of this map.
    pub(super) fn into_values(self) -> Option<Vec<Value>> {
        let entries = Rc::into_inner(self.0)?.take_entries()?;
        Some(entries.into_values().collect())
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let Some(entries) = self.take_entries() else {
            return;
        };
        if entries.values().any(is_container) {
            nested(entries, |entries| unnest(entries.into_values().collect()));
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

/// Collects a `map[string]interface {}`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::types::{Kind, Named};

    static VALUES: Named = Named {
        name: "common.Values",
        kind: Kind::Map,
        underlying: Some(Type::ANY_MAP),
        methods: &[],
    };

    #[test]
    fn a_converted_map_is_the_same_map() {
        let plain = Map::new();
        let named = plain.converted(Type::Named(&VALUES));
        named.insert("a", true.into()).expect("no nil map");
        assert_eq!(plain.get(b"a"), Some(true.into()));
        assert_eq!(named.go_type().to_string(), "common.Values");
        assert!(named.same(&plain) && named.converted(Type::ANY_MAP).same(&plain));
        assert!(!named.shallow_copy().same(&plain));
        drop(plain);
        assert_eq!(named.converted(Type::ANY_MAP).len(), 1);
        assert!(
            Map::nil(Type::ANY_MAP)
                .converted(Type::Named(&VALUES))
                .is_nil()
        );
    }

    #[test]
    fn converted_maps_in_each_other_are_dropped_without_recursion() {
        let mut value = Value::Nil;
        for _ in 0..300_000 {
            let map: Map = [("inner", value)].into_iter().collect();
            value = map.converted(Type::Named(&VALUES)).into();
        }
        drop(value);
    }

    #[test]
    fn a_map_stays_when_what_it_was_converted_to_goes() {
        let plain: Map = [("a", Value::list(vec![true.into()]))]
            .into_iter()
            .collect();
        drop(plain.converted(Type::Named(&VALUES)));
        drop(Value::list(vec![
            plain.converted(Type::Named(&VALUES)).into(),
        ]));
        assert_eq!(plain.get(b"a"), Some(Value::list(vec![true.into()])));
    }
}
