//! What the cluster refuses, and since when.

use std::time::Duration;

use pintle_core::{digest::Digest, machine::Millis};

/// A render that the cluster refuses, whichever commit it is of. Since the first refusal, there has been no other result. It is
/// kept in memory: a restarted agent starts counting again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The digest of its objects.
    pub(crate) rendered: Option<Digest>,
    /// The generation of the spec that it was applied for.
    pub(crate) generation: i64,
    pub(crate) since: Millis,
}

impl Refused {
    /// Records a refusal that follows an earlier one. If both are of the same render, they count as one that has lasted since the
    /// first.
    pub(crate) fn after(mut self, before: Option<Self>) -> Self {
        let is_same = |before: &Self| {
            before.rendered == self.rendered && before.generation == self.generation
        };
        if let Some(same) = before.filter(is_same) {
            self.since = same.since;
        }
        self
    }

    /// Returns whether it has been refused for that long.
    pub(crate) fn has_lasted(&self, limit: Duration, now: Millis) -> bool {
        Duration::from_millis(now.saturating_sub(self.since)) >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(5);

    fn refused(minute: Millis) -> Refused {
        Refused {
            rendered: Some(Digest::of("objects")),
            generation: 1,
            since: minute * 60_000,
        }
    }

    #[test]
    fn a_refusal_lasts_from_the_first_one_on() {
        let first = refused(10).after(None);
        let last = refused(14).after(Some(refused(12).after(Some(first))));
        assert_eq!(last.since, 600_000);
        assert!(!last.has_lasted(LIMIT, 899_999));
        assert!(last.has_lasted(LIMIT, 900_000));
        // A clock that is behind says nothing.
        assert!(!last.has_lasted(LIMIT, 0));
    }

    #[test]
    fn what_is_another_thing_or_comes_after_something_else_begins_anew() {
        let others = [
            Refused {
                rendered: Some(Digest::of("other objects")),
                ..refused(0)
            },
            Refused {
                generation: 2,
                ..refused(0)
            },
        ];
        // For example, the server did not answer.
        let nothing = None;
        for before in others.map(Some).into_iter().chain([nothing]) {
            assert_eq!(refused(10).after(before.clone()), refused(10), "{before:?}");
        }
    }
}
