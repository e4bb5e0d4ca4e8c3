//! Values as evaluation holds them.

use crate::value::{Type, Value};

/// A value, and whether Go would hold it as an interface: elements of `map[string]interface {}` and the like.
///
/// It matters for two things: fields of a nil interface are an error while those of no value are no value, and error
/// texts name the type.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) value: Value,
    pub(super) is_interface: bool,
}

impl Operand {
    /// A value of its own type, or no value at all.
    pub(super) const fn concrete(value: Value) -> Self {
        Self {
            value,
            is_interface: false,
        }
    }

    /// An element of a list or map with elements of that type.
    pub(super) fn of(value: Value, of: Type) -> Self {
        Self {
            value,
            is_interface: of == Type::Any,
        }
    }

    /// The type that Go's error texts name.
    pub(super) fn static_type(&self) -> Type {
        if self.is_interface {
            Type::Any
        } else {
            self.value.go_type()
        }
    }

    /// Whether it is an interface that holds nothing.
    pub(super) fn is_nil_interface(&self) -> bool {
        self.is_interface && matches!(self.value, Value::Nil)
    }
}
