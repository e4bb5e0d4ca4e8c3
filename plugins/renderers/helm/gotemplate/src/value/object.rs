//! Values that are more than plain data: structs, pointers, types with methods.

use std::{any::Any, fmt::Debug};

use super::{Kind, Text, Type, Value};
use crate::function::Function;

/// A Go value that has a name and perhaps methods: `time.Time`, `*common.Capabilities`, a certificate.
///
/// Named slices and maps need no object: a [`List`](super::List) or [`Map`](super::Map) of a [`Named`](super::Named)
/// type has that type's methods.
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
    /// The Go type; its kind tells how templates treat the object.
    fn go_type(&self) -> Type;

    /// The method of that name. Its body gets the object as argument 0, before those of the call.
    fn method(&self, _name: &[u8]) -> Option<&'static Function> {
        None
    }

    /// The exported field of that name, for structs and pointers to structs.
    fn field(&self, _name: &[u8]) -> Option<Value> {
        None
    }

    /// The fields that printing shows, in the order of their declaration.
    fn fields(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    /// The function that the object is, for values of Go's func types. Its body gets the object as argument 0.
    fn function(&self) -> Option<&'static Function> {
        None
    }

    /// What `String()` or `Error()` gives, if the Go type has one of them; then printing uses it.
    fn string(&self) -> Option<Text> {
        None
    }

    /// The object as plain data: what encoders write, and what `range`, `len` and `index` work on.
    fn to_plain(&self) -> Value;

    /// What JSON has of a struct, in its order; the plain data, sorted by key, unless overridden.
    fn json_fields(&self) -> Option<Vec<(&'static str, Value)>> {
        None
    }

    /// What a function gets instead of the object: Go copies a struct into the argument, and the copy has no methods of
    /// its pointer.
    fn copied(&self) -> Option<Value> {
        None
    }

    /// What a deep copy is in place of the object itself: Go's reflection sets no field of it that is not exported.
    fn deep_copied(&self) -> Option<Value> {
        None
    }

    /// Whether `if` takes it for true.
    fn is_true(&self) -> bool {
        match self.go_type().kind() {
            Kind::Struct => true,
            Kind::Pointer | Kind::Func => !self.is_nil(),
            _ => self.to_plain().is_true(),
        }
    }

    /// Whether it is a nil pointer or function.
    fn is_nil(&self) -> bool {
        false
    }

    /// Whether it is the same as another object; Go's `==` of structs, or the same pointer.
    fn equals(&self, other: &dyn Object) -> bool {
        self.go_type() == other.go_type() && self.to_plain() == other.to_plain()
    }

    /// The object itself, for [`Value::downcast`].
    fn as_any(&self) -> &dyn Any;
}
