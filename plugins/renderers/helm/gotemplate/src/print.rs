//! Printing as Go's fmt package does it: `print`, `println` and `printf` with all verbs and flags.
//!
//! ```
//! use pintle_gotemplate::{List, Value, print};
//!
//! assert_eq!(print::value(&Value::from(1e6))?, "1e+06");
//! assert_eq!(print::value(&List::strings(["a", "b"]).into())?, "[a b]");
//! assert_eq!(print::sprintf(b"%05.1f|%-4d|%q", &[2.25.into(), Value::int(7), "x".into()])?, "002.2|7   |\"x\"");
//! assert_eq!(print::sprintf(b"%d", &["x".into()])?, "%!d(string=x)");
//! # Ok::<(), print::PrintError>(())
//! ```

mod float;
mod format;
mod number;
mod printer;
mod quote;

use thiserror::Error;

pub use float::format_float;
pub use quote::{can_backquote, quote, quote_to_ascii};

use crate::{
    function::FunctionError,
    value::{MAX_NESTING, Text, Value},
};
use printer::Printer;

/// The most bytes that one call prints. Otherwise, widths and repeated arguments could turn little input into much output.
pub const MAX_OUTPUT: usize = 256 << 20;

/// Why a value was not printed. Go has no such errors: it runs out of memory or stack.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PrintError {
    /// A list or map is nested too deeply, perhaps inside itself.
    #[error(
        "a value is nested more than {MAX_NESTING} levels deep, or contains itself, and cannot be printed"
    )]
    TooDeep,
    /// The output is longer than [`MAX_OUTPUT`].
    #[error("more than {MAX_OUTPUT} bytes would be printed")]
    TooLong,
}

impl From<PrintError> for FunctionError {
    fn from(error: PrintError) -> Self {
        Self::new(error)
    }
}

/// Returns what Go's `%v` prints for a value. The untyped nil is `<nil>`.
pub fn value(value: &Value) -> Result<Text, PrintError> {
    if let Value::String(text) = value {
        return Ok(text.clone());
    }
    let mut out = Vec::new();
    append_value(&mut out, value)?;
    Ok(out.into())
}

/// Appends the result of [`value()`].
pub fn append_value(out: &mut Vec<u8>, value: &Value) -> Result<(), PrintError> {
    Printer::new(out).argument(value, 'v')
}

/// Appends what an action of a template prints. For a pointer, this is the value it points to, whereas functions also show the
/// pointer.
pub(crate) fn append_result(out: &mut Vec<u8>, value: &Value) -> Result<(), PrintError> {
    Printer::new(out).result(value)
}

/// Prints like Go's `fmt.Sprint`: with a space between arguments if neither is a string.
pub fn sprint(args: &[Value]) -> Result<Text, PrintError> {
    joined(args, append_value)
}

/// Prints like [`sprint`], but each argument as an action of a template would.
pub(crate) fn sprint_results(args: &[Value]) -> Result<Text, PrintError> {
    joined(args, append_result)
}

fn joined(
    args: &[Value],
    append: fn(&mut Vec<u8>, &Value) -> Result<(), PrintError>,
) -> Result<Text, PrintError> {
    let mut out = Vec::new();
    let mut after_text = true;
    for value in args {
        let is_text = value.kind() == crate::Kind::String;
        if !is_text && !after_text {
            out.push(b' ');
        }
        append(&mut out, value)?;
        after_text = is_text;
    }
    Ok(out.into())
}

/// Prints like Go's `fmt.Sprintln`: with spaces between all arguments and a line break at the end.
pub fn sprintln(args: &[Value]) -> Result<Text, PrintError> {
    let mut out = Vec::new();
    for (index, value) in args.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        append_value(&mut out, value)?;
    }
    out.push(b'\n');
    Ok(out.into())
}

/// Prints like Go's `fmt.Sprintf`.
pub fn sprintf(format: &[u8], args: &[Value]) -> Result<Text, PrintError> {
    let mut out = Vec::new();
    format::format(&mut out, format, args)?;
    Ok(out.into())
}
