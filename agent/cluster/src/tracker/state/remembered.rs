//! What is remembered of an object, and which check of it counts.

use std::sync::Arc;

use pintle_core::health::{Assessment, Status};
use tokio::time::Instant;

use crate::tracker::{AbortOnDrop, Observed};

/// How an object is.
pub(in crate::tracker) enum Verdict<'a> {
    /// Its check says so of what it is now.
    Now(&'a Assessment),
    /// Its check has not answered about what it is now.
    Unanswered {
        /// What was said of a state before.
        before: Option<&'a Assessment>,
        /// When the first state was seen that there is no answer about.
        since: Instant,
    },
}

/// A state of an object, as it was seen.
pub(super) struct Sighting {
    pub(super) observed: Observed,
    /// In which pass over all objects.
    pub(super) pass: u64,
    /// The `apiVersion` at which it was told.
    pub(super) version: Arc<str>,
    /// The number of the check that it may need. They grow, whatever they are of.
    pub(super) check: u64,
    pub(super) at: Instant,
    /// Whether it is checked although this state of it was: by other rules.
    pub(super) anew: bool,
}

/// What comes of a sighting.
pub(super) struct Renewed {
    /// Whether something changed that matters.
    pub(super) changed: bool,
    /// Whether it has to be checked.
    pub(super) to_check: bool,
}

/// See the module's documentation.
pub(super) struct Remembered {
    pub(super) observed: Observed,
    /// In which pass over all objects it was seen last.
    pub(super) pass: u64,
    /// The `apiVersion` at which it was told last.
    pub(super) version: Arc<str>,
    /// Checks this state of it again. There is one at most: objects change often while they are on their way.
    recheck: Option<AbortOnDrop>,
    /// The check of what it is now.
    wanted: u64,
    /// The newest check that counts. What those before it say comes too late.
    answered: u64,
    /// Whether any check has answered.
    is_judged: bool,
    /// When the first state was seen that there is no answer about, if there is one.
    since: Instant,
}

impl Remembered {
    /// Remembers an object that is new. No check that was asked for before is about it: it was of one that is gone, or for
    /// an application that was forgotten.
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

    /// Takes up what is seen of the object; nothing comes of a state that is older than the known one.
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
        // It is told again whenever a watch begins anew. What could not be said of it may be by now.
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

    /// Takes up what a check says, and with it what checks the object again. Returns whether it is something else than before;
    /// nothing if a newer check has answered, or the object is another.
    ///
    /// That of a state before counts, too, as long as there is no other: an object may change all the time.
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
            // Ends the one of the check before.
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

    /// Says whether a check that was asked for is of what the object is now.
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

/// Says whether one state of the same object is before another. Resource versions are numbers that grow in every API
/// server there is; where they are not, the later to come counts as the later state.
/// <https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/5504-comparable-resource-version>
fn is_older(one: &Observed, known: &Observed) -> bool {
    let number = |observed: &Observed| observed.resource_version.parse::<u64>().ok();
    one.uid == known.uid
        && number(one)
            .zip(number(known))
            .is_some_and(|(one, known)| one < known)
}
