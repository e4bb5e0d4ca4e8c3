//! What is remembered about an object, and which check of it counts.

use std::sync::Arc;

use pintle_core::health::{Assessment, Status};
use tokio::time::Instant;

use crate::tracker::{AbortOnDrop, Observed};

/// The verdict on an object.
pub(in crate::tracker) enum Verdict<'a> {
    /// The verdict of its check on its current state.
    Now(&'a Assessment),
    /// Its check has not answered for its current state.
    Unanswered {
        /// The verdict on an earlier state.
        before: Option<&'a Assessment>,
        /// When the first state without a verdict was seen.
        since: Instant,
    },
}

/// A state of an object, as it was seen.
pub(super) struct Sighting {
    pub(super) observed: Observed,
    /// The pass over all objects in which it was seen.
    pub(super) pass: u64,
    /// The `apiVersion` at which it was reported.
    pub(super) version: Arc<str>,
    /// The number of the check that it may need. These numbers increase across all objects.
    pub(super) check: u64,
    pub(super) at: Instant,
    /// Whether it is checked again, by other rules, although this state was already checked.
    pub(super) anew: bool,
}

/// The result of a sighting.
pub(super) struct Renewed {
    /// Whether something relevant changed.
    pub(super) changed: bool,
    /// Whether it has to be checked.
    pub(super) to_check: bool,
}

/// A remembered object; see the module's documentation.
pub(super) struct Remembered {
    pub(super) observed: Observed,
    /// The pass over all objects in which it was last seen.
    pub(super) pass: u64,
    /// The `apiVersion` at which it was last reported.
    pub(super) version: Arc<str>,
    /// The task that checks this state again. There is at most one: objects change often while they are in progress.
    recheck: Option<AbortOnDrop>,
    /// The number of the check of its current state.
    wanted: u64,
    /// The number of the newest check that counts. Verdicts of earlier checks come too late.
    answered: u64,
    /// Whether any check has answered.
    is_judged: bool,
    /// When the first state without a verdict was seen, if there is one.
    since: Instant,
}

impl Remembered {
    /// Remembers a new object. No earlier check applies to it: such a check was for an object that is gone, or for an application
    /// that was forgotten.
    pub(super) fn new(sighting: Sighting) -> Self {
        Self {
            observed: sighting.observed,
            pass: sighting.pass,
            version: sighting.version,
            recheck: None,
            wanted: sighting.check,
            answered: sighting.check - 1,
            is_judged: false,
            since: sighting.at,
        }
    }

    /// Records what is seen of the object; `None` for a state that is older than the known one.
    pub(super) fn renew(&mut self, sighting: Sighting) -> Option<Renewed> {
        self.pass = self.pass.max(sighting.pass);
        let (known, seen) = (&self.observed, &sighting.observed);
        if is_older(seen, known) {
            return None;
        }
        if known.uid != seen.uid {
            let pass = self.pass;
            *self = Self::new(Sighting { pass, ..sighting });
            return Some(Renewed {
                changed: true,
                to_check: true,
            });
        }
        let changed = known.stored != seen.stored || known.deleting != seen.deleting;
        let is_same =
            known.resource_version == seen.resource_version && self.version == sighting.version;
        // It is reported again whenever a watch restarts. A verdict that was not possible before may be possible now.
        let is_unknown = self.is_checked() && known.assessment.status == Status::Unknown;
        let is_wanted = !is_same || sighting.anew;
        if is_wanted {
            self.want(sighting.check, sighting.at);
        }
        if !is_same {
            self.recheck = None;
        }
        let known = std::mem::replace(&mut self.observed, sighting.observed);
        self.observed.assessment = known.assessment;
        self.version = sighting.version;
        Some(Renewed {
            changed,
            to_check: is_wanted || is_unknown,
        })
    }

    /// Records the verdict of a check, and the task that checks the object again. Returns whether the verdict differs from the
    /// previous one; `None` if a newer check has answered, or the object is another one.
    ///
    /// A verdict on an earlier state also counts as long as there is no other: an object may change all the time.
    pub(super) fn answer(
        &mut self,
        check: u64,
        said: Assessment,
        again: Option<AbortOnDrop>,
    ) -> Option<bool> {
        if check <= self.answered {
            return None;
        }
        self.answered = check;
        self.is_judged = true;
        if self.is_checked() {
            // Ends the recheck task of the previous check.
            self.recheck = again;
        }
        let before = std::mem::replace(&mut self.observed.assessment, said);
        let now = &self.observed.assessment;
        Some(before.status != now.status || before.message != now.message)
    }

    pub(super) fn verdict(&self) -> Verdict<'_> {
        let said = &self.observed.assessment;
        if self.is_checked() {
            return Verdict::Now(said);
        }
        Verdict::Unanswered {
            before: self.is_judged.then_some(said),
            since: self.since,
        }
    }

    /// Returns whether a requested check is of the object's current state.
    pub(super) fn is_newest(&self, check: u64) -> bool {
        self.wanted <= check
    }

    fn is_checked(&self) -> bool {
        self.answered >= self.wanted
    }

    fn want(&mut self, check: u64, at: Instant) {
        if self.is_checked() {
            self.since = at;
        }
        self.wanted = check;
    }
}

/// Returns whether one state of the same object is older than another. Resource versions are increasing numbers in every existing
/// API server; if they are not, the state that arrives later counts as the later one.
/// <https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/5504-comparable-resource-version>
fn is_older(one: &Observed, known: &Observed) -> bool {
    let number = |observed: &Observed| observed.resource_version.parse::<u64>().ok();
    one.uid == known.uid
        && number(one)
            .zip(number(known))
            .is_some_and(|(one, known)| one < known)
}
