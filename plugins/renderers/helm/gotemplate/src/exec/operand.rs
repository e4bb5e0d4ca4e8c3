//! Values during evaluation.

use crate::value::{Type, Value};

/// A value, and whether Go would hold it as an interface, such as an element of `map[string]interface {}`.
///
/// The difference matters in two places. Fields of a nil interface are an error, whereas those of no value are no value. Error
/// messages name the type.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) value: Value,
    pub(super) is_interface: bool,
}

impl Operand {
    /// Creates an operand from a value of its own type, or from no value at all.
    pub(super) const fn concrete(value: Value) -> Self {
        Self {
            value,
            is_interface: false,
        }
    }

    /// Creates an operand from an element of a list or map with elements of that type.
    pub(super) fn of(value: Value, of: Type) -> Self {
        Self {
            value,
            is_interface: of == Type::Any,
        }
    }

    /// Returns the type that Go's error messages name.
    pub(super) fn static_type(&self) -> Type {
        if self.is_interface {
            Type::Any
        } else {
            self.value.go_type()
        }
    }

    /// Returns whether this is an interface that holds nothing.
    pub(super) fn is_nil_interface(&self) -> bool {
        self.is_interface && matches!(self.value, Value::Nil)
    }
}
