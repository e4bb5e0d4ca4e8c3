//! Which refusals of a watch are reported to people.

use super::Failure;

/// The refusal of one watch that was last reported, for as long as the watch does not work.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    told: Option<String>,
}

impl Refusals {
    /// Returns whether a failure has to be reported: it ends only when someone acts, and was not reported yet. If a kind is not
    /// served, that has nothing to do with the rights to watch it.
    pub(crate) fn is_news(&mut self, failure: &Failure) -> bool {
        let is_refused = failure.is_refused && !failure.is_unserved;
        if !is_refused || self.told.as_ref() == Some(&failure.text) {
            return false;
        }
        self.told = Some(failure.text.clone());
        true
    }

    /// Records that the watch works.
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
