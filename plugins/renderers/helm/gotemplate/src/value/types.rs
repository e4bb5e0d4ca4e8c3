//! Go's types and kinds, as far as templates encounter them.

use std::fmt;

use crate::function::Function;

/// The integer types of Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Go's")]
pub enum IntKind {
    Int,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Uintptr,
}

impl IntKind {
    /// Returns whether the type can hold negative numbers.
    pub const fn is_signed(self) -> bool {
        matches!(
            self,
            Self::Int | Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64
        )
    }

    /// Returns the size in bits; 64 for `int` and `uint`.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Int8 | Self::Uint8 => 8,
            Self::Int16 | Self::Uint16 => 16,
            Self::Int32 | Self::Uint32 => 32,
            Self::Int | Self::Int64 | Self::Uint | Self::Uint64 | Self::Uintptr => 64,
        }
    }

    /// Returns Go's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint => "uint",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Uintptr => "uintptr",
        }
    }
}

/// Go's `reflect.Kind`; `Display` prints Go's name (`map`, `slice`, `ptr`, `float64`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Go's")]
pub enum Kind {
    Invalid,
    Bool,
    Int(IntKind),
    Float64,
    Complex128,
    Func,
    Interface,
    Map,
    Pointer,
    Slice,
    String,
    Struct,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Invalid => "invalid",
            Self::Bool => "bool",
            Self::Int(kind) => kind.name(),
            Self::Float64 => "float64",
            Self::Complex128 => "complex128",
            Self::Func => "func",
            Self::Interface => "interface",
            Self::Map => "map",
            Self::Pointer => "ptr",
            Self::Slice => "slice",
            Self::String => "string",
            Self::Struct => "struct",
        })
    }
}

/// A Go type; `Display` prints what `%T` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `interface {}`
    Any,
    /// `error`
    Error,
    /// `bool`
    Bool,
    /// `int` and the other integer types
    Int(IntKind),
    /// `float64`
    Float64,
    /// `string`
    String,
    /// `[]T`
    Slice(&'static Type),
    /// `map[string]T`
    Map(&'static Type),
    /// A type with a name: `common.Values`, `time.Time`, `*common.Capabilities`.
    Named(&'static Named),
}

/// A named Go type, or a pointer to one.
#[derive(Debug)]
pub struct Named {
    /// The name as `%T` prints it, with the package and, for a pointer, the star.
    pub name: &'static str,
    /// The kind of the type.
    pub kind: Kind,
    /// The unnamed underlying type of maps, slices, strings and numbers. None for structs and pointers.
    pub underlying: Option<Type>,
    /// The methods of lists and maps of that type. An [`Object`](super::Object) provides its methods in its own way.
    pub methods: &'static [Function],
}

/// Types with the same name are the same, because a program has one of each.
impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Named {}

impl Type {
    /// `int`
    pub const INT: Self = Self::Int(IntKind::Int);
    /// `int64`
    pub const INT64: Self = Self::Int(IntKind::Int64);
    /// `[]interface {}`
    pub const ANY_SLICE: Self = Self::Slice(&Self::Any);
    /// `[]string`
    pub const STRING_SLICE: Self = Self::Slice(&Self::String);
    /// `[]int`
    pub const INT_SLICE: Self = Self::Slice(&Self::INT);
    /// `[]uint8`, which is `[]byte`
    pub const BYTES: Self = Self::Slice(&Self::Int(IntKind::Uint8));
    /// `map[string]interface {}`
    pub const ANY_MAP: Self = Self::Map(&Self::Any);
    /// `map[string]string`
    pub const STRING_MAP: Self = Self::Map(&Self::String);

    /// Returns the kind of the type.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Any | Self::Error => Kind::Interface,
            Self::Bool => Kind::Bool,
            Self::Int(kind) => Kind::Int(kind),
            Self::Float64 => Kind::Float64,
            Self::String => Kind::String,
            Self::Slice(_) => Kind::Slice,
            Self::Map(_) => Kind::Map,
            Self::Named(named) => named.kind,
        }
    }

    /// Returns the type without its name, as far as that is known.
    #[must_use]
    pub const fn underlying(self) -> Self {
        match self {
            Self::Named(Named {
                underlying: Some(underlying),
                ..
            }) => *underlying,
            other => other,
        }
    }

    /// Returns the element type of a slice or map; [`Type::Any`] for all others.
    #[must_use]
    pub const fn elem(self) -> Self {
        match self.underlying() {
            Self::Slice(elem) | Self::Map(elem) => *elem,
            _ => Self::Any,
        }
    }

    /// Returns whether nil is a value of the type.
    pub const fn can_be_nil(self) -> bool {
        matches!(
            self.kind(),
            Kind::Func | Kind::Interface | Kind::Map | Kind::Pointer | Kind::Slice
        )
    }

    /// Returns whether Go allows a value of this type where `target` is expected (the language's assignability).
    pub fn assignable_to(self, target: Self) -> bool {
        if self == target || target == Self::Any {
            return true;
        }
        // A named and an unnamed composite type with the same structure are assignable; two named ones are not, and
        // the predeclared types count as named.
        let one_has_a_name = matches!(self, Self::Named(_)) != matches!(target, Self::Named(_));
        one_has_a_name
            && matches!(target.kind(), Kind::Slice | Kind::Map)
            && self.underlying() == target.underlying()
    }
}

impl fmt::Display for Type {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => out.write_str("interface {}"),
            Self::Error => out.write_str("error"),
            Self::Bool => out.write_str("bool"),
            Self::Int(kind) => out.write_str(kind.name()),
            Self::Float64 => out.write_str("float64"),
            Self::String => out.write_str("string"),
            Self::Slice(elem) => write!(out, "[]{elem}"),
            Self::Map(elem) => write!(out, "map[string]{elem}"),
            Self::Named(named) => out.write_str(named.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static VALUES: Named = Named {
        name: "common.Values",
        kind: Kind::Map,
        underlying: Some(Type::ANY_MAP),
        methods: &[],
    };
    static SET: Named = Named {
        name: "common.Set",
        kind: Kind::Map,
        underlying: Some(Type::ANY_MAP),
        methods: &[],
    };

    #[test]
    fn assignability_is_go_s() {
        let values = Type::Named(&VALUES);
        assert!(values.assignable_to(Type::ANY_MAP));
        assert!(Type::ANY_MAP.assignable_to(values));
        assert!(!values.assignable_to(Type::Named(&SET)));
        assert!(!values.assignable_to(Type::STRING_MAP));
        assert!(Type::INT.assignable_to(Type::Any));
        assert!(!Type::INT.assignable_to(Type::INT64));
        assert!(!Type::STRING_SLICE.assignable_to(Type::ANY_SLICE));
    }
}
