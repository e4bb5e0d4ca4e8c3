//! The render that an application is waiting for, and how long it has waited.

use pintle_cluster::Waits;
use pintle_core::digest::Digest;

/// The most recent render to be rolled out, and since when it has been waited for. It is kept in memory: a restarted agent begins
/// the wait anew.
#[derive(Debug, Clone)]
pub(crate) struct Awaited {
    /// The digest of its objects.
    pub(crate) rendered: Digest,
    /// The generation of the spec that it was applied for.
    pub(crate) generation: i64,
    pub(crate) waits: Waits,
}

impl Awaited {
    /// Returns the waits of a render that follows another one. They begin anew unless it is the same render for the same spec.
    pub(crate) fn waits(before: Option<&Self>, rendered: Digest, generation: i64) -> Waits {
        let is_same =
            |before: &&Self| before.rendered == rendered && before.generation == generation;
        let same = before.filter(is_same);
        same.map_or_else(Waits::default, |same| same.waits.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn only_the_same_render_for_the_same_spec_goes_on_waiting() {
        const LIMIT: Duration = Duration::from_mins(5);
        let (start, waits) = (Instant::now(), Waits::default());
        waits.left_for_all(LIMIT, start);
        let before = Awaited {
            rendered: Digest::of("objects"),
            generation: 1,
            waits,
        };
        let begins_anew = |before: Option<&Awaited>, rendered: &str, generation| {
            let waits = Awaited::waits(before, Digest::of(rendered), generation);
            waits.left_for_all(LIMIT, start + LIMIT / 2) == LIMIT
        };
        assert!(!begins_anew(Some(&before), "objects", 1));
        assert!(begins_anew(Some(&before), "other objects", 1));
        assert!(begins_anew(Some(&before), "objects", 2));
        assert!(begins_anew(None, "objects", 1));
    }
}
