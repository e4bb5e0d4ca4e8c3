//! Go slices.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    fmt, mem,
    ops::Range,
    rc::Rc,
};

use super::{
    Map, Text, Value,
    int::Int,
    types::{IntKind, Type},
};

/// A Go slice. It is shared, and only [`List::sort_texts`] changes it in place, because no other template function does so.
#[derive(Clone)]
pub struct List(Rc<Data>);

struct Data {
    of: Type,
    nil: bool,
    items: Items,
}

enum Items {
    Values(Vec<Value>),
    /// `[]byte`. Using one [`Value`] per byte would be a waste.
    Bytes(Text),
    /// `[]string`: a part of an array that its slices share, because it can be sorted.
    Texts {
        array: Rc<RefCell<Vec<Text>>>,
        range: Range<usize>,
    },
}

impl List {
    /// Creates a list of type `[]interface {}`.
    pub fn new(items: Vec<Value>) -> Self {
        Self::values(Type::ANY_SLICE, items)
    }

    /// Creates a list of the slice type `of`. The items must have its element type, which is not checked.
    pub fn typed(of: Type, items: Vec<Value>) -> Self {
        if of == Type::STRING_SLICE {
            return Self::strings(items.iter().filter_map(Value::as_text).cloned());
        }
        Self::values(of, items)
    }

    fn values(of: Type, items: Vec<Value>) -> Self {
        Self(Rc::new(Data {
            of,
            nil: false,
            items: Items::Values(items),
        }))
    }

    /// Creates a `[]string`.
    pub fn strings<T: Into<Text>>(items: impl IntoIterator<Item = T>) -> Self {
        let texts: Vec<Text> = items.into_iter().map(Into::into).collect();
        let range = 0..texts.len();
        Self(Rc::new(Data {
            of: Type::STRING_SLICE,
            nil: false,
            items: Items::Texts {
                array: Rc::new(RefCell::new(texts)),
                range,
            },
        }))
    }

    /// Creates an `[]int`.
    pub fn ints(items: impl IntoIterator<Item = i64>) -> Self {
        Self::typed(Type::INT_SLICE, items.into_iter().map(Value::int).collect())
    }

    /// Creates a `[]byte`.
    pub fn bytes(bytes: impl Into<Text>) -> Self {
        Self(Rc::new(Data {
            of: Type::BYTES,
            nil: false,
            items: Items::Bytes(bytes.into()),
        }))
    }

    /// Creates the nil slice of the type `of`. It is empty, but `null` in JSON.
    pub fn nil(of: Type) -> Self {
        Self(Rc::new(Data {
            of,
            nil: true,
            items: Items::Values(Vec::new()),
        }))
    }

    /// Returns whether this is a nil slice.
    pub fn is_nil(&self) -> bool {
        self.0.nil
    }

    /// Returns the slice type.
    pub fn go_type(&self) -> Type {
        self.0.of
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        match &self.0.items {
            Items::Values(items) => items.len(),
            Items::Bytes(bytes) => bytes.len(),
            Items::Texts { range, .. } => range.len(),
        }
    }

    /// Returns whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the item at an index from 0.
    pub fn get(&self, index: usize) -> Option<Value> {
        match &self.0.items {
            Items::Values(items) => items.get(index).cloned(),
            Items::Bytes(bytes) => bytes.get(index).copied().map(byte),
            Items::Texts { array, range } => {
                let index = range.clone().nth(index)?;
                array.borrow().get(index).cloned().map(Value::String)
            }
        }
    }

    /// Returns all items. They are borrowed, except that those of a `[]byte` and of a `[]string` are created for the call.
    pub fn items(&self) -> Cow<'_, [Value]> {
        match &self.0.items {
            Items::Values(items) => Cow::Borrowed(items),
            Items::Bytes(bytes) => Cow::Owned(bytes.iter().copied().map(byte).collect()),
            Items::Texts { .. } => Cow::Owned(self.iter().collect()),
        }
    }

    /// Returns an iterator over the items.
    pub fn iter(&self) -> impl Iterator<Item = Value> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Returns the bytes, if this is a `[]byte`.
    pub fn as_bytes(&self) -> Option<&Text> {
        match &self.0.items {
            Items::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns Go's `list[range]`, of the same type; None if the range is out of bounds.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        let items = match &self.0.items {
            Items::Values(items) => Items::Values(items.get(range)?.to_vec()),
            Items::Bytes(bytes) => Items::Bytes(bytes.get(range)?.into()),
            Items::Texts { range: own, .. } if range.start > range.end || range.end > own.len() => {
                return None;
            }
            Items::Texts { array, range: own } => Items::Texts {
                array: array.clone(),
                range: own.start + range.start..own.start + range.end,
            },
        };
        Some(Self(Rc::new(Data {
            of: self.0.of,
            nil: self.0.nil,
            items,
        })))
    }

    /// Sorts a `[]string` for all holders of it or of a slice of it. Other lists stay as they are.
    pub fn sort_texts(&self) {
        if let Items::Texts { array, range } = &self.0.items
            && let Some(texts) = array.borrow_mut().get_mut(range.clone())
        {
            texts.sort_unstable();
        }
    }

    /// Returns whether both are the same slice in memory.
    pub fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the items if there is no other holder of this list.
    pub(super) fn into_items(self) -> Option<Vec<Value>> {
        let mut data = Rc::into_inner(self.0)?;
        match &mut data.items {
            Items::Values(items) => Some(mem::take(items)),
            _ => None,
        }
    }
}

fn byte(value: u8) -> Value {
    Value::Int(Int::new(IntKind::Uint8, value.into()))
}

impl Drop for Data {
    fn drop(&mut self) {
        if let Items::Values(items) = &mut self.items {
            let items = mem::take(items);
            if items.iter().any(is_container) {
                nested(items, unnest);
            }
        }
    }
}

/// The nesting depth up to which lists and maps are dropped by recursion, which is the fast way.
const MAX_RECURSION: u32 = 32;

thread_local! {
    /// The current number of nested drops of lists and maps.
    static DROPS: Cell<u32> = const { Cell::new(0) };
}

/// Drops the values of a list or map, with `unnest` if they are nested deeply. A template can nest lists as deep as memory
/// allows.
pub(super) fn nested<T>(values: T, unnest: impl FnOnce(T)) {
    let depth = DROPS.get();
    if depth >= MAX_RECURSION {
        return unnest(values);
    }
    DROPS.set(depth + 1);
    drop(values);
    DROPS.set(depth);
}

/// Drops values without recursion.
pub(super) fn unnest(mut queue: Vec<Value>) {
    while let Some(value) = queue.pop() {
        match value {
            Value::List(list) => queue.extend(list.into_items().unwrap_or_default()),
            Value::Map(map) => queue.extend(Map::into_values(map).unwrap_or_default()),
            _ => {}
        }
    }
}

pub(super) fn is_container(value: &Value) -> bool {
    matches!(value, Value::List(_) | Value::Map(_))
}

impl FromIterator<Value> for List {
    fn from_iter<T: IntoIterator<Item = Value>>(items: T) -> Self {
        Self::new(items.into_iter().collect())
    }
}

impl fmt::Debug for List {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nil() {
            return write!(out, "{}(nil)", self.go_type());
        }
        out.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_sorted_for_all_who_have_them() {
        let list = List::strings(["d", "c", "b", "a"]);
        let same = list.clone();
        let part = list.slice(1..3).expect("it is inside");
        part.sort_texts();
        assert_eq!(Value::from(part), Value::from(List::strings(["b", "c"])));
        let sorted = Value::from(List::strings(["d", "b", "c", "a"]));
        assert_eq!(Value::from(same), sorted);
        assert_eq!(
            list.items().into_owned(),
            ["d", "b", "c", "a"].map(Value::from)
        );
        assert!(list.slice(3..5).is_none());
        let others = List::new(vec!["b".into(), "a".into()]);
        others.sort_texts();
        assert_eq!(others.get(0), Some("b".into()));
    }
}
