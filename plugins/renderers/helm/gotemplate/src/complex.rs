//! Complex constants, which Go's templates support, though hardly any template uses them.

use std::any::Any;

use crate::value::{Kind, Named, Object, Type, Value};

/// A `complex128`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Complex {
    pub(crate) real: f64,
    pub(crate) imaginary: f64,
}

static COMPLEX: Named = Named {
    name: "complex128",
    kind: Kind::Complex128,
    underlying: None,
    methods: &[],
};

impl Object for Complex {
    fn go_type(&self) -> Type {
        Type::Named(&COMPLEX)
    }

    fn to_plain(&self) -> Value {
        Value::object(*self)
    }

    fn is_true(&self) -> bool {
        self.real != 0.0 || self.imaginary != 0.0
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
