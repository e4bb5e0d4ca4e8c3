//! What is known of a plugin while its registry comes and goes.
//!
//! A plugin that is loaded no longer needs its registry. If the registry does not answer, that is reported, and takes nothing
//! from the users of the plugin.

/// What was loaded last, and why later lookups have failed.
#[derive(Debug)]
pub(super) struct Known<T> {
    loaded: Option<T>,
    failure: Option<Failure>,
    /// How many failures there were in a row.
    failures: u32,
}

/// Why the last try to look up or load a plugin has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// The time of the first of the failures in a row.
    pub(super) since: String,
}

/// What another try changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changed {
    /// Nothing that anybody sees.
    Nothing,
    /// What is reported of the plugin. Its users find the same plugin as before, or still find none.
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
    /// Takes up the result of another try: a newly loaded plugin, `None` because the known one is still current, or the reason
    /// for a failure.
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
            // Its users continue with what is loaded, or know already that nothing is: another text starts none of their runs.
            Changed::Told
        }
    }

    /// Returns what was loaded last and is still valid.
    pub(super) fn loaded(&self) -> Option<&T> {
        self.loaded.as_ref()
    }

    /// Returns why the last try failed, if it did.
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
