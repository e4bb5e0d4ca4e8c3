//! The settings of the hostile guests: a flat JSON object of strings without escapes, read without any library.

/// Returns the value of a field, or an empty string if there is none.
pub(crate) fn field<'a>(settings: &'a str, name: &str) -> &'a str {
    let key = format!("\"{name}\":\"");
    settings
        .split_once(&key)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("", |(value, _)| value)
}
