//! How functions for templates are declared, found and called.
//!
//! A [`Function`] is a constant: its Go signature and a body. The signature is all that Go's implicit checks need. The executor
//! counts the arguments, types literals by their parameter (`trunc 5 "x"` gives the body an `int`), turns an untyped nil into the
//! nil slice or map where the parameter is one, and refuses everything else with Go's messages
//! (`wrong number of args for trunc: want 2 got 1`, `wrong type for value; expected string; got int`). A body can therefore rely on
//! its declaration, and does only what the Go function does.
//!
//! ```
//! use pintle_gotemplate::{Function, FunctionError, Functions, Standalone, Type, Value, value::clamp_to_usize};
//!
//! const FUNCTIONS: &[Function] = &[
//!     // func trunc(c int, s string) string
//!     Function::new("trunc", &[Type::INT, Type::String], |_, args| {
//!         let text = args.text(1)?;
//!         let end = clamp_to_usize(args.int(0)?).min(text.len());
//!         Ok(Value::string(&text[..end]))
//!     }),
//!     // func join(sep string, items ...interface{}): the last type is that of each further argument
//!     Function::variadic("count", &[Type::String, Type::Any], |_, args| {
//!         let items = args.rest(1); // &[Value]
//!         Ok(Value::int(i64::try_from(items.len()).map_err(FunctionError::new)?))
//!     }),
//!     // Functions that allocate more than their arguments pay first, so that a limit can stop them.
//!     Function::new("blank", &[Type::INT], |call, args| {
//!         let count = clamp_to_usize(args.int(0)?);
//!         call.charge(count)?;
//!         Ok(Value::string(vec![b' '; count]))
//!     }),
//! ];
//!
//! let functions = Functions::from_tables(&[FUNCTIONS]);
//! let call = |name: &str, args: &[Value]| functions.call(name, &mut Standalone::default(), args);
//! assert_eq!(call("trunc", &[Value::int(2), "abc".into()]), Ok("ab".into()));
//! assert_eq!(
//!     call("trunc", &["abc".into()]).unwrap_err().to_string(),
//!     "wrong number of args for trunc: want 2 got 1"
//! );
//! assert_eq!(
//!     call("trunc", &[Value::int64(2), "abc".into()]).unwrap_err().to_string(),
//!     "wrong type for value; expected int; got int64"
//! );
//! ```

mod args;
mod call;
mod registry;

pub use args::Args;
pub use call::{Call, Place, Standalone, State};
pub use registry::Functions;

use std::fmt;

use thiserror::Error;

use crate::{
    exec::{ExecError, ExecuteError, Limit},
    value::{Int, NilMapError, Type, Value},
};

/// The code of a function. Closures that capture nothing can be used.
pub type Body = fn(&mut dyn Call, Args<'_>) -> Result<Value, FunctionError>;

/// A function that templates can call, or a method of a value.
#[derive(Clone, Copy)]
pub struct Function {
    name: &'static str,
    params: &'static [Type],
    variadic: bool,
    body: Body,
}

impl Function {
    /// Declares a function with the parameters `params`.
    pub const fn new(name: &'static str, params: &'static [Type], body: Body) -> Self {
        Self {
            name,
            params,
            variadic: false,
            body,
        }
    }

    /// Declares a variadic function. The last of `params` is the type of each further argument, of which there may be none.
    pub const fn variadic(name: &'static str, params: &'static [Type], body: Body) -> Self {
        Self {
            name,
            params,
            variadic: true,
            body,
        }
    }

    /// Declares a method. Argument 0 of the body is the receiver, for which `params` has no entry.
    pub const fn method(name: &'static str, params: &'static [Type], body: Body) -> Self {
        Self::new(name, params, body)
    }

    /// Returns the function of that name in a table. This is meant for the few methods of a type.
    pub fn find(table: &'static [Self], name: &[u8]) -> Option<&'static Self> {
        table
            .iter()
            .find(|function| function.name.as_bytes() == name)
    }

    /// Returns the name under which templates call the function.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the types of the parameters, without a method's receiver.
    pub const fn params(&self) -> &'static [Type] {
        self.params
    }

    /// Returns whether the last parameter stands for any number of arguments.
    pub const fn is_variadic(&self) -> bool {
        self.variadic
    }

    /// Returns the code.
    pub const fn body(&self) -> Body {
        self.body
    }

    /// Returns the type that the argument at an index must have.
    pub fn param(&self, index: usize) -> Type {
        let last = self.params.last().copied().unwrap_or(Type::Any);
        self.params.get(index).copied().unwrap_or(last)
    }

    /// Refuses a wrong number of arguments with Go's message.
    ///
    /// `written` is the number of arguments after the name. `given` also counts the value of a pipeline.
    pub fn check_count(&self, written: usize, given: usize) -> Result<(), FunctionError> {
        let (name, wanted) = (self.name, self.params.len());
        if self.variadic {
            let least = wanted - 1;
            if given < least {
                return Err(FunctionError::new(format_args!(
                    "wrong number of args for {name}: want at least {least} got {written}"
                )));
            }
        } else if given != wanted {
            return Err(FunctionError::new(format_args!(
                "wrong number of args for {name}: want {wanted} got {given}"
            )));
        }
        Ok(())
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "func {}(", self.name)?;
        for (index, param) in self.params.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let dots = if self.variadic && index + 1 == self.params.len() {
                "..."
            } else {
                ""
            };
            write!(out, "{comma}{dots}{param}")?;
        }
        out.write_str(")")
    }
}

/// Makes a value fit a parameter as text/template does, or explains in Go's words why it does not fit.
pub(crate) fn fit(value: Value, param: Type) -> Result<Value, FunctionError> {
    if param == Type::Any {
        return Ok(value);
    }
    if matches!(value, Value::Nil) {
        return if param.can_be_nil() {
            Ok(Value::zero(param))
        } else {
            Err(FunctionError::new(format_args!(
                "invalid value; expected {param}"
            )))
        };
    }
    let of = value.go_type();
    if of.assignable_to(param) {
        return Ok(converted(value, param));
    }
    Err(FunctionError::new(format_args!(
        "wrong type for value; expected {param}; got {of}"
    )))
}

/// Converts a value to the type that it is assigned to. A parameter of an unnamed map type does not see the name of a map's type.
fn converted(value: Value, param: Type) -> Value {
    match value {
        Value::Map(map) if matches!(param, Type::Map(_)) => Value::Map(map.converted(param)),
        other => other,
    }
}

/// Makes a value fit a parameter as `call` and `index` do. Integers are converted.
pub(crate) fn prepare(value: Value, param: Type) -> Result<Value, FunctionError> {
    if matches!(value, Value::Nil) {
        return if param.can_be_nil() {
            Ok(Value::zero(param))
        } else {
            Err(FunctionError::new(format_args!(
                "value is nil; should be of type {param}"
            )))
        };
    }
    let of = value.go_type();
    if of.assignable_to(param) {
        return Ok(converted(value, param));
    }
    if let (Value::Int(int), Type::Int(kind)) = (&value, param) {
        return Ok(Int::unsigned(kind, int.wrapping_u64()).into());
    }
    Err(FunctionError::new(format_args!(
        "value has type {of}; should be {param}"
    )))
}

/// Why a function did not return a value.
///
/// The executor adds the location: `template: NAME:LINE:COLUMN: executing "NAME" at <EXPRESSION>: error calling FUNCTION: `.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum FunctionError {
    /// The error that Go's function returns, or the message of its panic.
    #[error("{0}")]
    Failed(String),
    /// A message from a template's author. The function exists to refuse values, and found no error itself.
    #[error("{0}")]
    Refused(String),
    /// A template that the function executed failed.
    #[error("{prefix}{error}")]
    Template {
        /// The text that the function puts before the error; may be empty.
        prefix: String,
        /// The error of the template.
        error: Box<ExecError>,
    },
    /// The template that the function should execute does not exist.
    #[error("template: no template {name:?} associated with template {set:?}")]
    NoTemplate {
        /// The requested name.
        name: String,
        /// The name of the set.
        set: String,
    },
    /// The execution exceeded a limit.
    #[error(transparent)]
    Limit(#[from] Limit),
}

impl FunctionError {
    /// Creates an error with that message.
    pub fn new(text: impl fmt::Display) -> Self {
        Self::Failed(text.to_string())
    }
}

impl From<ExecuteError> for FunctionError {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Failed(error) => Self::Template {
                prefix: String::new(),
                error,
            },
            ExecuteError::Missing { name, set } => Self::NoTemplate { name, set },
        }
    }
}

impl From<NilMapError> for FunctionError {
    fn from(error: NilMapError) -> Self {
        Self::new(error)
    }
}
