//! The messages of Go's run-time panics, which template execution turns into errors of the function that panicked.

use pintle_gotemplate::{FunctionError, value::clamp_to_usize};

/// Returns Go's message for following a nil pointer, or for asking a nil interface for its type.
pub(crate) fn nil_dereference() -> FunctionError {
    FunctionError::new("runtime error: invalid memory address or nil pointer dereference")
}

/// Returns Go's message for an integer division by zero.
pub(crate) fn divide_by_zero() -> FunctionError {
    FunctionError::new("runtime error: integer divide by zero")
}

/// Returns Go's message for `make([]T, n)` with a negative or huge `n`.
pub(crate) fn make_slice() -> FunctionError {
    FunctionError::new("runtime error: makeslice: len out of range")
}

/// Returns Go's `text[start:end]`, where a missing `end` is the text's length.
pub(crate) fn slice(text: &[u8], start: i64, end: Option<i64>) -> Result<&[u8], FunctionError> {
    let len = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let end = end.unwrap_or(len);
    let range = if end < 0 {
        format!("[:{end}]")
    } else if end > len {
        format!("[:{end}] with length {len}")
    } else if start < 0 {
        format!("[{start}:]")
    } else if start > end {
        format!("[{start}:{end}]")
    } else {
        return Ok(&text[clamp_to_usize(start)..clamp_to_usize(end)]);
    };
    Err(FunctionError::new(format_args!(
        "runtime error: slice bounds out of range {range}"
    )))
}
