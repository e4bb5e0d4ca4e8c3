//! The state machine of one application: what to do when something happens.
//!
//! `step(state, event) -> (state, effects)` is pure; other code performs the effects and reports back with events. Time
//! comes with the events that need it. The machine decides *whether and when* work runs; the work itself (render, plan,
//! check, apply, observe) is ordered by the types of the pipeline.
//!
//! Three things may keep an application from its newest revision for days: its source does not answer, the revision waits for
//! a change of something, or it fails and is tried again. None takes back what was applied before, so that is put right all the
//! same when it drifts.

use std::time::Duration;

use crate::digest::Digester;

/// Names one run of the pipeline, so that late answers of an old one are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// Milliseconds since the epoch. Machines that wait need a clock that never goes back.
pub type Millis = u64;

/// Why a run starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A new commit, or the first.
    Revision,
    /// The spec, or a plugin that it uses, changed.
    Settings,
    /// An object no longer is as it was applied.
    Drift,
    /// The last attempt failed.
    Retry,
    /// A person asked for it.
    Request,
}

/// When a failed run is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Soon, with growing pauses: something did not answer, or something else may come into being.
    Backoff,
    /// Only when the source, the settings or a plugin changes, or a person asks.
    OnChange,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What was asked for is there and healthy.
    Done,
    /// It failed.
    Failed(Retry),
    /// It was asked to stop, and did.
    Cancelled,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The spec was read: the first time, or anew after a change.
    Spec {
        /// `metadata.generation`.
        generation: i64,
        /// Whether all work is to rest.
        suspended: bool,
    },
    /// The source answers, and this is what is to run.
    Revision(String),
    /// This is to run from now on, and not because the source has answered.
    Steered(String),
    /// What was to run is not to any more, and it is told later what is, also if that is the same for another reason. A run that is
    /// under way goes on.
    Withdrawn,
    /// The source does not answer, for this reason. That is no other revision: the one that is known is still to run.
    SourceFailed(String),
    /// The spec names another source: what the one before gave counts no more, and nothing runs until this one has answered.
    SourceChanged,
    /// A plugin that the application uses changed, appeared or broke.
    PluginChanged,
    /// Objects differ from what was applied.
    Drifted,
    /// What was in the way of a run that waits for a change, or is tried again, is gone or another.
    Unblocked,
    /// A person asked for a reconciliation.
    Requested,
    /// The Application is being deleted.
    Deleted,
    /// A run ended.
    Finished {
        /// Which run.
        run: RunId,
        /// How.
        outcome: Outcome,
        /// When.
        now: Millis,
    },
    /// The time that `WakeAt` named has come.
    Woke {
        /// When.
        now: Millis,
    },
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Run the pipeline. Never more than one run at a time.
    Start {
        /// Its name.
        run: RunId,
        /// The commit to run.
        revision: String,
        /// Why.
        cause: Cause,
    },
    /// Put right what has drifted from what was applied last, and do nothing else: what is wanted instead waits for a change, or
    /// for the time at which it is tried again.
    Guard {
        /// Its name.
        run: RunId,
        /// Whether to put it right. If not, it is only told: a repair has failed that waits for a change as well.
        repairs: bool,
    },
    /// Say that the source does not answer, and do nothing else.
    Tell {
        /// Its name.
        run: RunId,
    },
    /// Say that what was to go on rests while the application is suspended, and do nothing else.
    Rest {
        /// Its name.
        run: RunId,
    },
    /// Delete (or let go of) all objects, then drop the finalizer.
    Remove {
        /// Its name.
        run: RunId,
    },
    /// Stop a run at the next point where nothing is half done; it reports with `Finished`.
    Cancel {
        /// Which run.
        run: RunId,
    },
    /// Send `Woke` at this time.
    WakeAt(Millis),
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Converge,
    Guard,
    Tell,
    Rest,
    Remove,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Activity {
    Idle,
    Running {
        run: RunId,
        work: Work,
        /// Why the next run is due, should this one be tried again.
        again: Cause,
        cancelled: bool,
    },
    Backoff(Pause),
    Removed,
}

/// Before something that has failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    until: Millis,
    /// What has failed.
    work: Work,
    /// Why the next run is due then.
    again: Cause,
    /// Whether what drifts meanwhile is put right: where that has failed, not before the next pause.
    is_guarded: bool,
}

/// Whether the revision waits for a change, and what becomes of drift meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// It does not wait.
    Free,
    /// It does, and what was applied before is put right.
    Guarded,
    /// It does, and so does a repair: what has drifted is only told.
    Unguarded,
}

/// Where an application is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    name: String,
    generation: Option<i64>,
    suspended: bool,
    /// Whether that was told of what the last run left.
    is_resting: bool,
    deleting: bool,
    revision: Option<String>,
    /// Why the source does not answer; nothing if it does.
    failure: Option<String>,
    /// What of that the last run knew that has told it.
    told: Option<String>,
    block: Block,
    /// Why another run is due.
    due: Option<Cause>,
    activity: Activity,
    /// The pause that goes on when what has drifted in it is put right.
    later: Option<Pause>,
    failures: u32,
    next_run: u64,
}

/// The first pause after a failure; it doubles with each further one.
pub const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause.
pub const LONGEST_PAUSE: Duration = Duration::from_mins(5);

impl State {
    /// Makes the state of an application of which nothing is known yet. The name only spreads retries.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            generation: None,
            suspended: false,
            is_resting: false,
            deleting: false,
            revision: None,
            failure: None,
            told: None,
            block: Block::Free,
            due: None,
            activity: Activity::Idle,
            later: None,
            failures: 0,
            next_run: 0,
        }
    }

    /// Says whether a run is under way.
    pub fn is_running(&self) -> bool {
        matches!(self.activity, Activity::Running { .. })
    }

    /// Says whether the revision waits for a change.
    pub fn is_blocked(&self) -> bool {
        self.block != Block::Free
    }

    /// Says whether drift may be put right; if not, it is only told.
    pub fn repairs(&self) -> bool {
        self.block != Block::Unguarded
    }

    /// Says how often in a row what is wanted has failed, if it is tried again by itself.
    pub fn retries(&self) -> Option<u32> {
        let pause = match self.activity {
            Activity::Backoff(pause) => pause,
            _ => self.later?,
        };
        let is_wanted = pause.work != Work::Guard && !self.suspended && !self.deleting;
        is_wanted.then_some(self.failures)
    }

    /// Takes an event; returns the next state and what is to be done.
    #[must_use]
    pub fn step(mut self, event: Event) -> (Self, Vec<Effect>) {
        let mut effects = Vec::new();
        match event {
            Event::Spec {
                generation,
                suspended,
            } => self.spec(generation, suspended),
            Event::Revision(revision) => {
                self.failure = None;
                self.steer(revision);
            }
            Event::Steered(revision) => self.steer(revision),
            Event::Withdrawn => self.revision = None,
            Event::SourceFailed(reason) => self.failure = Some(reason),
            Event::SourceChanged => {
                (self.revision, self.failure) = (None, None);
                self.change(Cause::Revision);
            }
            Event::PluginChanged => self.change(Cause::Settings),
            Event::Unblocked => self.unblocked(),
            Event::Requested => self.change(Cause::Request),
            Event::Drifted => self.due = self.due.or(Some(Cause::Drift)),
            Event::Deleted => {
                if !self.deleting {
                    self.deleting = true;
                    self.change(Cause::Request);
                }
            }
            Event::Finished { run, outcome, now } => self.finished(run, outcome, now, &mut effects),
            Event::Woke { now } => self.woke(now),
        }
        self.advance(&mut effects);
        (self, effects)
    }

    fn spec(&mut self, generation: i64, suspended: bool) {
        let is_other = self.suspended != suspended;
        self.suspended = suspended;
        if self.generation != Some(generation) || is_other {
            self.generation = Some(generation);
            self.change(Cause::Settings);
        }
    }

    fn steer(&mut self, revision: String) {
        if self.revision.as_ref() != Some(&revision) {
            self.revision = Some(revision);
            self.change(Cause::Revision);
        }
    }

    /// Something changed that makes a new attempt worthwhile at once, whatever waits or failed.
    fn change(&mut self, cause: Cause) {
        self.due = Some(cause);
        self.failures = 0;
        self.block = Block::Free;
        self.later = None;
        self.end_pause();
    }

    fn end_pause(&mut self) {
        if matches!(self.activity, Activity::Backoff(_)) {
            self.activity = Activity::Idle;
        }
    }

    /// What is tried again supersedes the guard of its pause: that may wait for health as long as the spec allows, and what is tried
    /// again may be what mends it.
    fn woke(&mut self, now: Millis) {
        if let Activity::Backoff(pause) = self.activity
            && pause.until <= now
        {
            self.try_again(pause);
        }
        if let Some(pause) = self.later
            && pause.until <= now
        {
            self.make_due(pause);
        }
    }

    /// Ends a pause with what it was for, unless something newer is due.
    fn try_again(&mut self, pause: Pause) {
        self.activity = Activity::Idle;
        self.make_due(pause);
    }

    fn make_due(&mut self, pause: Pause) {
        // What has drifted meanwhile is looked at by what is tried again, or after it.
        let newer = self.due.filter(|cause| *cause != Cause::Drift);
        self.due = newer.or(Some(pause.again));
    }

    /// What is wanted is tried at once. One that was to be tried again goes on with its pauses where it was: it may fail for
    /// something else.
    fn unblocked(&mut self) {
        let due = self.due.filter(|cause| *cause != Cause::Drift);
        let due = due.unwrap_or(Cause::Retry);
        if self.is_blocked() {
            self.change(due);
        } else if self.retries().is_some() {
            self.end_pause();
            self.due = Some(due);
        }
    }

    fn finished(
        &mut self,
        finished: RunId,
        outcome: Outcome,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        let Activity::Running {
            run, work, again, ..
        } = self.activity
        else {
            return;
        };
        if run != finished {
            return;
        }
        // It is told in vain only where that could not be written.
        self.is_resting = work == Work::Rest && outcome != Outcome::Failed(Retry::Backoff);
        if let Some(pause) = self.later.take() {
            return self.go_on_with(pause, outcome, now, effects);
        }
        let is_overtaken = work != Work::Rest || !self.suspended || self.deleting;
        self.activity = match outcome {
            Outcome::Done if work == Work::Remove => Activity::Removed,
            Outcome::Done => {
                self.failures = 0;
                Activity::Idle
            }
            Outcome::Cancelled => Activity::Idle,
            // A newer change is due: it decides what comes next, and at once.
            Outcome::Failed(_)
                if is_overtaken && self.due.is_some_and(|cause| cause != Cause::Drift) =>
            {
                Activity::Idle
            }
            Outcome::Failed(Retry::OnChange) if work != Work::Remove => {
                self.due = None;
                self.block = match work {
                    Work::Converge => Block::Guarded,
                    Work::Guard => Block::Unguarded,
                    Work::Tell | Work::Rest | Work::Remove => self.block,
                };
                Activity::Idle
            }
            Outcome::Failed(_) => {
                self.failures = self.failures.saturating_add(1);
                let pause = pause(&self.name, self.failures);
                let until =
                    now.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
                effects.push(Effect::WakeAt(until));
                Activity::Backoff(Pause {
                    until,
                    work,
                    again,
                    is_guarded: matches!(work, Work::Converge | Work::Tell),
                })
            }
        };
        // A removal is never given up: whatever it ended with, it is due until it is done.
        if work == Work::Remove && !matches!(self.activity, Activity::Removed) {
            self.due = Some(Cause::Retry);
        }
    }

    /// Goes on with a pause in which what had drifted was looked at. What that came to says nothing of what is tried again.
    fn go_on_with(
        &mut self,
        pause: Pause,
        outcome: Outcome,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        let is_overtaken = self.due.is_some_and(|cause| cause != Cause::Drift);
        if is_overtaken || pause.until <= now {
            return self.try_again(pause);
        }
        effects.push(Effect::WakeAt(pause.until));
        self.activity = Activity::Backoff(Pause {
            is_guarded: outcome == Outcome::Done,
            ..pause
        });
    }

    /// Starts or cancels what the state asks for.
    fn advance(&mut self, effects: &mut Vec<Effect>) {
        match self.activity {
            Activity::Running {
                run,
                work,
                again,
                cancelled: false,
            } if !matches!(work, Work::Rest | Work::Remove) => {
                let superseded = self.due.is_some_and(|cause| cause != Cause::Drift);
                if superseded || self.suspended {
                    self.activity = Activity::Running {
                        run,
                        work,
                        again,
                        cancelled: true,
                    };
                    effects.push(Effect::Cancel { run });
                }
            }
            Activity::Idle => effects.extend(self.begin()),
            Activity::Backoff(pause) if pause.is_guarded && self.due == Some(Cause::Drift) => {
                self.later = Some(pause);
                effects.push(self.guard());
            }
            _ => {}
        }
    }

    /// Begins what is due, if it may begin.
    fn begin(&mut self) -> Option<Effect> {
        if self.deleting {
            self.due?;
            let run = self.start(Work::Remove);
            return Some(Effect::Remove { run });
        }
        self.generation?;
        if self.suspended {
            // It may tell that it is worked on, or tried again: whoever waits for that would wait for good.
            return (!self.is_resting).then(|| Effect::Rest {
                run: self.start(Work::Rest),
            });
        }
        let waits = self.is_blocked() || self.revision.is_none();
        if waits && self.due == Some(Cause::Drift) {
            return Some(self.guard());
        }
        let (is_away, is_untold) = (self.failure.is_some(), self.failure != self.told);
        match self.revision.clone() {
            // That the source answers again is told with what it gives.
            Some(revision) if self.due.is_some() || (is_untold && !is_away) => {
                let cause = self.due.unwrap_or(Cause::Revision);
                let run = self.start(Work::Converge);
                Some(Effect::Start {
                    run,
                    revision,
                    cause,
                })
            }
            _ if is_away && (self.due.is_some() || is_untold) => {
                let run = self.start(Work::Tell);
                Some(Effect::Tell { run })
            }
            _ => None,
        }
    }

    fn guard(&mut self) -> Effect {
        let repairs = self.repairs();
        let run = self.start(Work::Guard);
        Effect::Guard { run, repairs }
    }

    fn start(&mut self, work: Work) -> RunId {
        // A repair is tried again as one: it asks for nothing newer than it did.
        let again = match self.due.take() {
            Some(Cause::Drift) => Cause::Drift,
            _ => Cause::Retry,
        };
        if matches!(work, Work::Converge | Work::Tell) {
            self.told.clone_from(&self.failure);
        }
        if work == Work::Converge {
            self.block = Block::Free;
        }
        let run = RunId(self.next_run);
        self.next_run += 1;
        self.activity = Activity::Running {
            run,
            work,
            again,
            cancelled: false,
        };
        run
    }
}

/// Returns the pause before a retry: doubling from [`FIRST_PAUSE`] to [`LONGEST_PAUSE`], spread by up to a quarter so
/// that applications that failed together do not return together.
pub fn pause(name: &str, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let base = FIRST_PAUSE
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE);
    let spread = Digester::new("jitter")
        .part(name)
        .part(failures.to_be_bytes())
        .finish()
        .as_bytes()[0];
    base.mul_f64(1.0 - f64::from(spread) / 1024.0)
}

#[cfg(test)]
mod tests;
