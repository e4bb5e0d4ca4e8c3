//! What is known of a plugin while its registry comes and goes.
//!
//! A plugin that is loaded needs its registry no more: that the registry does not answer is told, and takes nothing from those
//! who use the plugin.

/// What was loaded last, and why it could not be looked up since.
#[derive(Debug)]
pub(super) struct Known<T> {
    loaded: Option<T>,
    failure: Option<Failure>,
    /// In a row.
    failures: u32,
}

/// Why a plugin could not be looked up or loaded when that was tried last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// The time of the first of the failures in a row.
    pub(super) since: String,
}

/// What trying once more changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changed {
    /// Nothing that anybody sees.
    Nothing,
    /// What is told of the plugin. Its users find it as before, or find none as before.
    Told,
    /// What its users find: another plugin, or none for the first time.
    Used,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self {
            loaded: None,
            failure: None,
            failures: 0,
        }
    }
}

impl<T> Known<T> {
    /// Takes what came of trying once more: something new, nothing because what is known is still what is meant, or why it
    /// failed.
    pub(super) fn take(&mut self, found: Result<Option<T>, String>, now: &str) -> Changed {
        match found {
            Ok(found) => {
                self.failures = 0;
                let failed_before = self.failure.take().is_some();
                match found {
                    Some(loaded) => {
                        self.loaded = Some(loaded);
                        Changed::Used
                    }
                    None if failed_before => Changed::Told,
                    None => Changed::Nothing,
                }
            }
            Err(reason) => {
                self.failures = self.failures.saturating_add(1);
                self.fail(reason, now)
            }
        }
    }

    fn fail(&mut self, reason: String, now: &str) -> Changed {
        let before = self.failure.take();
        let is_first = before.is_none();
        let is_known = before.as_ref().is_some_and(|one| one.reason == reason);
        let since = before.map_or_else(|| now.to_owned(), |one| one.since);
        self.failure = Some(Failure { reason, since });
        if is_known {
            Changed::Nothing
        } else if is_first && self.loaded.is_none() {
            Changed::Used
        } else {
            // Its users go on with what is loaded, or know already that nothing is: another text starts none of their runs.
            Changed::Told
        }
    }

    /// Returns what was loaded last, and stands.
    pub(super) fn loaded(&self) -> Option<&T> {
        self.loaded.as_ref()
    }

    /// Returns why it failed, if it did when it was tried last.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Returns how often in a row it failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(reason: &str, since: &str) -> Failure {
        Failure {
            reason: reason.to_owned(),
            since: since.to_owned(),
        }
    }

    #[test]
    fn what_is_loaded_stands_while_the_registry_is_away() {
        let mut known = Known::default();
        assert_eq!(known.take(Ok(Some("one")), "1"), Changed::Used);
        assert_eq!(known.take(Ok(None), "2"), Changed::Nothing);

        let refused = || Err("connection refused".to_owned());
        assert_eq!(known.take(refused(), "3"), Changed::Told);
        assert_eq!(known.take(refused(), "4"), Changed::Nothing);
        assert_eq!(known.take(Err("503".to_owned()), "5"), Changed::Told);
        assert_eq!(known.loaded(), Some(&"one"));
        assert_eq!(known.failure(), Some(&failure("503", "3")));
        assert_eq!(known.failures(), 3);

        assert_eq!(known.take(Ok(None), "6"), Changed::Told);
        assert_eq!((known.failure(), known.failures()), (None, 0));
        assert_eq!(known.take(refused(), "7"), Changed::Told);
        assert_eq!(known.take(Ok(Some("two")), "8"), Changed::Used);
        assert_eq!((known.loaded(), known.failure()), (Some(&"two"), None));
    }

    #[test]
    fn what_was_never_loaded_is_an_error_to_its_users() {
        let mut known: Known<&str> = Known::default();
        assert_eq!(known.take(Err("away".to_owned()), "1"), Changed::Used);
        assert_eq!(known.take(Err("away".to_owned()), "2"), Changed::Nothing);
        assert_eq!(known.take(Err("denied".to_owned()), "3"), Changed::Told);
        assert_eq!(known.failure(), Some(&failure("denied", "1")));
        assert_eq!(known.loaded(), None);
        assert_eq!(known.take(Ok(Some("one")), "4"), Changed::Used);
        assert_eq!(known.failure(), None);
    }
}
