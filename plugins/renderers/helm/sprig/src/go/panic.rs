//! The texts of Go's run-time panics, which template execution turns into errors of the function that panicked.

use pintle_gotemplate::FunctionError;

/// What Go says when a nil pointer is followed, or a nil interface asked for its type.
pub(crate) fn nil_dereference() -> FunctionError {
    FunctionError::new("runtime error: invalid memory address or nil pointer dereference")
}

/// What Go says to an integer division by zero.
pub(crate) fn divide_by_zero() -> FunctionError {
    FunctionError::new("runtime error: integer divide by zero")
}

/// What Go says to `make([]T, n)` with a negative or huge `n`.
pub(crate) fn make_slice() -> FunctionError {
    FunctionError::new("runtime error: makeslice: len out of range")
}

/// Go's `text[start:end]`, where a missing `end` is the text's length.
pub(crate) fn slice(text: &[u8], start: i64, end: Option<i64>) -> Result<&[u8], FunctionError> {
    let len = text.len();
    let error = |range: String| {
        Err(FunctionError::new(format_args!(
            "runtime error: slice bounds out of range {range}"
        )))
    };
    let end = match end.map(usize::try_from) {
        None => len,
        Some(Ok(end)) if end <= len => end,
        Some(Ok(end)) => return error(format!("[:{end}] with length {len}")),
        Some(Err(_)) => return error(format!("[:{}]", end.unwrap_or_default())),
    };
    match usize::try_from(start) {
        Ok(start) if start <= end => Ok(&text[start..end]),
        Ok(start) => error(format!("[{start}:{end}]")),
        Err(_) => error(format!("[{start}:]")),
    }
}
