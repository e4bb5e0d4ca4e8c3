//! A render that is waited for, and since when.

use pintle_cluster::Waits;
use pintle_core::digest::Digest;

/// The render that was begun last, and since when it is waited for. It is in memory: a restarted agent waits anew.
#[derive(Debug, Clone)]
pub(crate) struct Awaited {
    /// Digest of its objects.
    pub(crate) rendered: Digest,
    /// The generation of the spec that it was applied for.
    pub(crate) generation: i64,
    pub(crate) waits: Waits,
}

impl Awaited {
    /// Returns since when a render is waited for, after another one was begun: anew, if it is not the same for the same spec.
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
