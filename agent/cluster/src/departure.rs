//! Objects that were deleted, and what is reported about one that does not go away.

use std::fmt;

/// Why an object was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// It will be made again.
    Renewal,
    /// It has left the source, or the whole application is being removed.
    Removal,
    /// It belongs to a hook that has ended.
    AfterHook,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Renewal => "it was deleted to be made again",
            Self::Removal => "it was deleted",
            Self::AfterHook => "it was deleted after its hook had ended",
        })
    }
}

/// Describes what holds an object, as far as it is known.
pub(crate) fn held(finalizers: &[String], problem: Option<&str>) -> String {
    match problem {
        _ if !finalizers.is_empty() => format!("finalizers {finalizers:?} hold it"),
        Some(problem) => format!("whether it is gone cannot be seen: {problem}"),
        None => "nothing is known to hold it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejection::WriteError;

    #[test]
    fn what_does_not_go_is_told_with_what_it_was_deleted_for_and_what_holds_it() {
        let said = |departure, finalizers: &[&str], problem: Option<&str>| {
            let error = WriteError::NotGone {
                departure,
                finalizers: finalizers.iter().map(|name| (*name).to_owned()).collect(),
                problem: problem.map(ToOwned::to_owned),
            };
            error.to_string()
        };
        assert_eq!(
            said(Departure::Renewal, &["example.com/held"], Some("away")),
            "it was deleted to be made again and did not go in time: finalizers [\"example.com/held\"] hold it"
        );
        assert_eq!(
            said(Departure::Removal, &[], Some("away")),
            "it was deleted and did not go in time: whether it is gone cannot be seen: away"
        );
        assert_eq!(
            said(Departure::AfterHook, &[], None),
            "it was deleted after its hook had ended and did not go in time: nothing is known to hold it"
        );
    }
}
