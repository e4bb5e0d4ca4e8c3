//! Which refusals of a watch people are told.

use super::Failure;

/// The refusal of one watch that was told last, for as long as it does not work.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    told: Option<String>,
}

impl Refusals {
    /// Says whether a failure is to be told: it ends only when somebody does something, and was not told yet. A kind that is not
    /// served is no concern of the rights to watch it.
    pub(crate) fn is_news(&mut self, failure: &Failure) -> bool {
        let is_refused = failure.is_refused && !failure.is_unserved;
        if !is_refused || self.told.as_ref() == Some(&failure.text) {
            return false;
        }
        self.told = Some(failure.text.clone());
        true
    }

    /// Takes note that the watch works.
    pub(crate) fn works(&mut self) {
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_once_until_the_watch_has_worked() {
        let failure = |text: &str, is_refused, is_unserved| Failure {
            text: text.to_owned(),
            is_refused,
            is_unserved,
        };
        let mut refusals = Refusals::default();
        let mut is_news = |text, is_refused, is_unserved| {
            refusals.is_news(&failure(text, is_refused, is_unserved))
        };
        assert!(!is_news("the connection was reset", false, false));
        assert!(!is_news("not served", true, true));
        assert!(is_news("forbidden", true, false));
        assert!(!is_news("the connection was reset", false, false));
        assert!(!is_news("forbidden", true, false));
        assert!(is_news("forbidden by somebody else", true, false));
        refusals.works();
        let forbidden = failure("forbidden by somebody else", true, false);
        assert!(refusals.is_news(&forbidden));
    }
}
