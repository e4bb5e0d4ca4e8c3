//! Values that are more than plain data: structs, pointers, types with methods.

use std::{any::Any, fmt::Debug};

use super::{Kind, Text, Type, Value};
use crate::function::Function;

/// A Go value of a named type, perhaps with methods: `time.Time`, `*common.Capabilities`, a certificate.
///
/// Named slices and maps need no object: a [`List`](super::List) or [`Map`](super::Map) of a [`Named`](super::Named) type has
/// that type's methods.
///
/// ```
/// use std::any::Any;
/// use pintle_gotemplate::{Function, Kind, Named, Object, Text, Type, Value};
///
/// #[derive(Debug)]
/// struct Duration(i64);
///
/// static DURATION: Named = Named { name: "time.Duration", kind: Kind::Int(pintle_gotemplate::IntKind::Int64), underlying: Some(Type::INT64), methods: &[] };
/// static METHODS: &[Function] = &[Function::method("Seconds", &[], |_, args| {
///     let duration: &Duration = args.receiver()?;
///     Ok(Value::from(duration.0 as f64 / 1e9))
/// })];
///
/// impl Object for Duration {
///     fn go_type(&self) -> Type { Type::Named(&DURATION) }
///     fn method(&self, name: &[u8]) -> Option<&'static Function> { Function::find(METHODS, name) }
///     fn string(&self) -> Option<Text> { Some(format!("{}ns", self.0).into()) }
///     fn to_plain(&self) -> Value { Value::int64(self.0) }
///     fn as_any(&self) -> &dyn Any { self }
/// }
/// ```
pub trait Object: Debug + 'static {
    /// Returns the Go type. Its kind determines how templates treat the object.
    fn go_type(&self) -> Type;

    /// Returns the method of that name. Its body gets the object as argument 0, before those of the call.
    fn method(&self, _name: &[u8]) -> Option<&'static Function> {
        None
    }

    /// Returns the exported field of that name, for structs and pointers to structs.
    fn field(&self, _name: &[u8]) -> Option<Value> {
        None
    }

    /// Returns the fields that printing shows, in the order of their declaration.
    fn fields(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    /// Returns the object as a function, for values of Go's func types. The body gets the object as argument 0.
    fn function(&self) -> Option<&'static Function> {
        None
    }

    /// Returns the result of `String()` or `Error()`, if the Go type has one of them. Printing then uses it.
    fn string(&self) -> Option<Text> {
        None
    }

    /// Returns the object as plain data, which encoders write and on which `range`, `len` and `index` operate.
    fn to_plain(&self) -> Value;

    /// Returns the fields of a struct in JSON, in their order. Unless overridden, JSON has the plain data, sorted by key.
    fn json_fields(&self) -> Option<Vec<(&'static str, Value)>> {
        None
    }

    /// Returns what a function gets instead of the object. Go copies a struct into the argument, and the copy lacks the methods
    /// of its pointer.
    fn copied(&self) -> Option<Value> {
        None
    }

    /// Returns what a deep copy has in place of the object itself. Go's reflection does not set unexported fields.
    fn deep_copied(&self) -> Option<Value> {
        None
    }

    /// Returns whether `if` considers the object true.
    fn is_true(&self) -> bool {
        match self.go_type().kind() {
            Kind::Struct => true,
            Kind::Pointer | Kind::Func => !self.is_nil(),
            _ => self.to_plain().is_true(),
        }
    }

    /// Returns whether this is a nil pointer or function.
    fn is_nil(&self) -> bool {
        false
    }

    /// Returns whether this equals another object: Go's `==` for structs, or the same pointer.
    fn equals(&self, other: &dyn Object) -> bool {
        self.go_type() == other.go_type() && self.to_plain() == other.to_plain()
    }

    /// Returns the object itself, for [`Value::downcast`].
    fn as_any(&self) -> &dyn Any;
}
