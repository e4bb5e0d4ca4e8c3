//! The arguments of a call.

use std::ops::Index;

use super::FunctionError;
use crate::value::{List, Map, Object, Text, Value};

/// The arguments of a call, which have the types of the signature.
///
/// The accessors for a type return an error only if a body asks for something other than its signature declares.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a>(&'a [Value]);

impl<'a> Args<'a> {
    /// Wraps arguments that have already been checked.
    pub const fn new(values: &'a [Value]) -> Self {
        Self(values)
    }

    /// Returns the number of arguments.
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no arguments.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Returns all arguments.
    pub const fn all(self) -> &'a [Value] {
        self.0
    }

    /// Returns the arguments from an index on: those of a variadic parameter.
    pub fn rest(self, from: usize) -> &'a [Value] {
        self.0.get(from..).unwrap_or_default()
    }

    /// Returns an argument of any type; the untyped nil if there is none at that index.
    pub fn any(self, index: usize) -> &'a Value {
        self.0.get(index).unwrap_or(&Value::Nil)
    }

    /// Returns a `string` argument.
    pub fn text(self, index: usize) -> Result<&'a Text, FunctionError> {
        self.any(index)
            .as_text()
            .ok_or_else(|| self.mismatch(index, "string"))
    }

    /// Returns an argument of any integer type, as Go's conversion `int64(x)` gives it.
    pub fn int(self, index: usize) -> Result<i64, FunctionError> {
        match self.any(index) {
            Value::Int(int) => Ok(int.wrapping_i64()),
            _ => Err(self.mismatch(index, "integer")),
        }
    }

    /// Returns a `float64` argument.
    pub fn float(self, index: usize) -> Result<f64, FunctionError> {
        match self.any(index) {
            Value::Float(number) => Ok(*number),
            _ => Err(self.mismatch(index, "float64")),
        }
    }

    /// Returns a `bool` argument.
    pub fn boolean(self, index: usize) -> Result<bool, FunctionError> {
        match self.any(index) {
            Value::Bool(value) => Ok(*value),
            _ => Err(self.mismatch(index, "bool")),
        }
    }

    /// Returns a slice argument.
    pub fn list(self, index: usize) -> Result<&'a List, FunctionError> {
        self.any(index)
            .as_list()
            .ok_or_else(|| self.mismatch(index, "slice"))
    }

    /// Returns a map argument.
    pub fn map(self, index: usize) -> Result<&'a Map, FunctionError> {
        self.any(index)
            .as_map()
            .ok_or_else(|| self.mismatch(index, "map"))
    }

    /// Returns an argument that is an object of the type `T`.
    pub fn object<T: Object>(self, index: usize) -> Result<&'a T, FunctionError> {
        self.any(index)
            .downcast()
            .ok_or_else(|| self.mismatch(index, std::any::type_name::<T>()))
    }

    /// Returns the receiver of a method.
    pub fn receiver<T: Object>(self) -> Result<&'a T, FunctionError> {
        self.object(0)
    }

    fn mismatch(self, index: usize, wanted: &str) -> FunctionError {
        FunctionError::new(format_args!(
            "argument {index} is {}, though the function asks for {wanted}",
            self.any(index).go_type()
        ))
    }
}

impl Index<usize> for Args<'_> {
    type Output = Value;

    /// # Panics
    ///
    /// Panics if there is no such argument. Below the length of the signature, there always is one.
    fn index(&self, index: usize) -> &Value {
        &self.0[index]
    }
}
