//! The values that templates compute with, as Go's reflection shows them to text/template.
//!
//! A [`Value`] is what a Go `interface{}` would hold. Copies are cheap: strings, lists and objects are shared. A [`Map`] is a
//! reference, as in Go, so all holders see a change.
//!
//! ```
//! use pintle_gotemplate::{List, Map, Type, Value};
//!
//! let labels: Map = [("app", Value::from("web")), ("replicas", Value::int(3))].into_iter().collect();
//! let value = Value::from(labels.clone());
//! assert_eq!(value.go_type().to_string(), "map[string]interface {}");
//! assert_eq!(labels.get(b"app"), Some(Value::from("web")));
//!
//! let names = List::strings(["a", "b"]);
//! assert_eq!(names.go_type(), Type::STRING_SLICE);
//! ```

mod equal;
mod int;
mod list;
mod map;
mod object;
mod text;
mod types;

use std::{fmt, rc::Rc};

pub use equal::deep_equal;
pub use int::{Int, clamp_to_usize};
pub use list::List;
pub use map::{Entries, Map, NilMapError};
pub use object::Object;
pub use text::Text;
pub use types::{IntKind, Kind, Named, Type};

/// The nesting depth of lists and maps at which code that walks a value must stop with an error.
///
/// Maps are references, so a template can put one into itself. Every recursive walk therefore needs a limit, and the stack of a
/// Wasm guest is small.
pub const MAX_NESTING: usize = 400;

/// A value that a Go `interface{}` would hold.
#[derive(Clone, Default)]
pub enum Value {
    /// The untyped nil: no value, or a nil interface.
    #[default]
    Nil,
    /// A `bool`.
    Bool(bool),
    /// An integer of one of Go's integer types.
    Int(Int),
    /// A `float64`, the type of numbers from YAML and JSON.
    Float(f64),
    /// A `string`: bytes that are usually but not always UTF-8.
    String(Text),
    /// A slice.
    List(List),
    /// A map with string keys.
    Map(Map),
    /// Anything else: structs, pointers, named types with methods, functions.
    Object(Rc<dyn Object>),
}

impl Value {
    /// Creates a Go `int`, the type of integers written in templates.
    pub fn int(number: i64) -> Self {
        Self::Int(Int::new(IntKind::Int, number))
    }

    /// Creates a Go `int64`, the type of integers from `--set`.
    pub fn int64(number: i64) -> Self {
        Self::Int(Int::new(IntKind::Int64, number))
    }

    /// Creates a Go `uint64`.
    pub fn uint64(number: u64) -> Self {
        Self::Int(Int::unsigned(IntKind::Uint64, number))
    }

    /// Creates a string.
    pub fn string(text: impl Into<Text>) -> Self {
        Self::String(text.into())
    }

    /// Creates a list of type `[]interface {}`.
    pub fn list(items: Vec<Value>) -> Self {
        Self::List(List::new(items))
    }

    /// Wraps an object.
    pub fn object(object: impl Object) -> Self {
        Self::Object(Rc::new(object))
    }

    /// Returns the Go type of the value inside. The untyped nil has none and gives [`Type::Any`].
    ///
    /// `Display` of the result is what Go's `%T` prints, except that `%T` of nil is `<nil>`.
    pub fn go_type(&self) -> Type {
        match self {
            Self::Nil => Type::Any,
            Self::Bool(_) => Type::Bool,
            Self::Int(int) => Type::Int(int.kind()),
            Self::Float(_) => Type::Float64,
            Self::String(_) => Type::String,
            Self::List(list) => list.go_type(),
            Self::Map(map) => map.go_type(),
            Self::Object(object) => object.go_type(),
        }
    }

    /// Returns the Go kind of the value inside; [`Kind::Invalid`] for the untyped nil.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Nil => Kind::Invalid,
            other => other.go_type().kind(),
        }
    }

    /// Returns whether `if` considers the value true: it is not the zero of its type, and not empty.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(int) => !int.is_zero(),
            Self::Float(number) => *number != 0.0,
            Self::String(text) => !text.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Object(object) => object.is_true(),
        }
    }

    /// Returns whether this is the untyped nil or a nil slice, map or pointer.
    pub fn is_nil(&self) -> bool {
        match self {
            Self::Nil => true,
            Self::List(list) => list.is_nil(),
            Self::Map(map) => map.is_nil(),
            Self::Object(object) => object.is_nil(),
            _ => false,
        }
    }

    /// Returns the string inside, if it is one.
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the list inside, if it is one.
    pub fn as_list(&self) -> Option<&List> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    /// Returns the map inside, if it is one, whatever its type.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Returns the object inside, if it is one of the type `T`.
    pub fn downcast<T: Object>(&self) -> Option<&T> {
        match self {
            Self::Object(object) => object.as_any().downcast_ref(),
            _ => None,
        }
    }

    /// Returns the value with an object replaced by its plain data, for code that handles only plain values (encoders, `range`).
    #[must_use]
    pub fn to_plain(&self) -> Value {
        match self {
            Self::Object(object) => object.to_plain(),
            other => other.clone(),
        }
    }

    /// Returns the zero value of a type: the result of a missing key in a map with such elements.
    pub fn zero(of: Type) -> Value {
        match of {
            Type::Any | Type::Error => Self::Nil,
            Type::Bool => Self::Bool(false),
            Type::Int(kind) => Self::Int(Int::new(kind, 0)),
            Type::Float64 => Self::Float(0.0),
            Type::String => Self::String(Text::default()),
            Type::Slice(_) => Self::List(List::nil(of)),
            Type::Map(_) => Self::Map(Map::nil(of)),
            Type::Named(named) => match named.underlying {
                Some(Type::Slice(_)) => Self::List(List::nil(of)),
                Some(Type::Map(_)) => Self::Map(Map::nil(of)),
                Some(other) => Self::zero(other),
                None => Self::Nil,
            },
        }
    }
}

/// Compares like Go's `reflect.DeepEqual`: equal values have the same types and contents, and a nil list is not equal to an empty
/// one.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        deep_equal(self, other)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => out.write_str("nil"),
            Self::Bool(value) => value.fmt(out),
            Self::Int(int) => int.fmt(out),
            Self::Float(number) => number.fmt(out),
            Self::String(text) => text.fmt(out),
            Self::List(list) => list.fmt(out),
            Self::Map(map) => map.fmt(out),
            Self::Object(object) => object.fmt(out),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<Int> for Value {
    fn from(int: Int) -> Self {
        Self::Int(int)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::String(text)
    }
}

impl From<List> for Value {
    fn from(list: List) -> Self {
        Self::List(list)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_small() {
        assert!(size_of::<Value>() <= 24, "{}", size_of::<Value>());
    }

    #[test]
    fn type_names_are_go_s() {
        let cases = [
            (Value::int(1), "int"),
            (Value::int64(1), "int64"),
            (Value::from(1.5), "float64"),
            (Value::from("a"), "string"),
            (Value::list(vec![]), "[]interface {}"),
            (List::strings(["a"]).into(), "[]string"),
            (List::bytes("a").into(), "[]uint8"),
            (Map::new().into(), "map[string]interface {}"),
            (
                Map::typed(Type::Map(&Type::String)).into(),
                "map[string]string",
            ),
        ];
        for (value, name) in cases {
            assert_eq!(value.go_type().to_string(), name);
        }
    }

    #[test]
    fn deep_nesting_is_dropped_without_recursion() {
        let mut value = Value::Nil;
        for _ in 0..300_000 {
            let map: Map = [("inner", value)].into_iter().collect();
            value = Value::list(vec![map.into()]);
        }
        drop(value);
    }
}
