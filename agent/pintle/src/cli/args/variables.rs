//! Environment variables that stand for options.

use std::ffi::OsStr;

/// Returns the name of an option's variable, unless the variable is empty. An empty variable counts as unset, as in most
/// programs, and not as a value that the option would refuse.
pub(super) fn variable(name: &'static str) -> Option<&'static str> {
    let value = std::env::var_os(name);
    is_set(value.as_deref()).then_some(name)
}

/// Returns whether a variable with this value counts. An unset one does: the help names it.
fn is_set(value: Option<&OsStr>) -> bool {
    value.is_none_or(|value| !value.is_empty())
}

/// Accepts a seed, unless everybody knows it.
pub(super) fn seed(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err(
            "it is empty, also if it comes from PINTLE_SEED: anyone could compute what is generated from it. Expected a text \
             that is secret; without the option and the variable the application's own seed is used"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_says_nothing() {
        assert!(is_set(None));
        assert!(is_set(Some(OsStr::new("/etc/ca.pem"))));
        assert!(!is_set(Some(OsStr::new(""))));
    }
}
