//! How soon a change to what was read causes another render.
//!
//! Something that changes all the time and makes no difference, such as a heartbeat, would otherwise cause renders without end
//! and without a pause.

use std::time::Duration;

use pintle_core::digest::Digest;
use tokio::time::Instant;

/// The spacing after a render with the same result as the one before it. It doubles with each further one.
const FIRST_SPACING: Duration = Duration::from_secs(2);
/// The longest spacing.
const LONGEST_SPACING: Duration = Duration::from_mins(1);
/// If nothing has changed for this long, the next change is rendered at once.
const CALM: Duration = Duration::from_mins(2);

/// The spacing of the renders of one application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// The result of the last render, or `None` if it failed.
    rendered: Option<Digest>,
    /// How many renders in a row had the same result as the one before.
    repeats: u32,
    /// When the last render ended.
    at: Instant,
}

impl Pace {
    /// Starts with a first render.
    pub(super) fn of(rendered: Option<Digest>, now: Instant) -> Self {
        Self {
            rendered,
            repeats: 0,
            at: now,
        }
    }

    /// Returns the pace after a render that got different answers.
    pub(super) fn after(self, rendered: Option<Digest>, now: Instant) -> Self {
        let is_repeat = rendered == self.rendered && now.saturating_duration_since(self.at) < CALM;
        Self {
            repeats: if is_repeat {
                self.repeats.saturating_add(1)
            } else {
                0
            },
            ..Self::of(rendered, now)
        }
    }

    /// Records the result of a render that got the same answers. If the result has changed, something other than the answers has
    /// changed it.
    pub(super) fn learn(&mut self, rendered: Option<Digest>) {
        if rendered != self.rendered {
            (self.rendered, self.repeats) = (rendered, 0);
        }
    }

    /// Returns the earliest time at which the next change may be rendered.
    pub(super) fn due(self) -> Instant {
        let Some(doublings) = self.repeats.checked_sub(1) else {
            return self.at;
        };
        let spacing = FIRST_SPACING.saturating_mul(1 << doublings.min(16));
        self.at + spacing.min(LONGEST_SPACING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of seconds after a render until the next one is possible.
    fn spacing(pace: Pace, now: Instant) -> u64 {
        pace.due().duration_since(now).as_secs()
    }

    #[test]
    fn renders_that_come_to_the_same_are_spaced() {
        let digest = Some(Digest::of("objects"));
        let mut now = Instant::now();
        let mut pace = Pace::of(digest, now);
        let mut spacings = vec![spacing(pace, now)];
        for _ in 0..8 {
            // A heartbeat arrives as soon as it may be reported.
            now = pace.due();
            pace = pace.after(digest, now);
            spacings.push(spacing(pace, now));
        }
        assert_eq!(spacings, [0, 2, 4, 8, 16, 32, 60, 60, 60]);
        let many = Pace {
            repeats: u32::MAX,
            ..pace
        };
        assert_eq!(spacing(many.after(digest, now), now), 60);
    }

    #[test]
    fn what_fails_again_is_spaced_too() {
        let now = Instant::now();
        let failed = Pace::of(None, now).after(None, now);
        assert_eq!(spacing(failed, now), 2);
    }

    #[test]
    fn a_render_that_comes_to_something_else_is_followed_at_once() {
        let (one, other) = (Some(Digest::of("one")), Some(Digest::of("other")));
        let now = Instant::now();
        let spaced = Pace::of(one, now).after(one, now).after(one, now);
        assert_eq!(spacing(spaced, now), 4);
        assert_eq!(spacing(spaced.after(other, now), now), 0);
        assert_eq!(spacing(spaced.after(None, now), now), 0);
        // A commit has changed the objects, but no answer.
        let mut learned = spaced;
        learned.learn(one);
        assert_eq!(learned, spaced);
        learned.learn(other);
        assert_eq!(spacing(learned, now), 0);
    }

    #[test]
    fn what_is_calm_for_long_is_followed_at_once() {
        let digest = Some(Digest::of("objects"));
        let now = Instant::now();
        let spaced = Pace::of(digest, now).after(digest, now);
        let (soon, late) = (now + CALM - Duration::from_secs(1), now + CALM);
        assert_eq!(spacing(spaced.after(digest, soon), soon), 4);
        assert_eq!(spacing(spaced.after(digest, late), late), 0);
    }
}
