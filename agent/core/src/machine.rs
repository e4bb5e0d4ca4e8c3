//! The state machine of one application: what to do when something happens.
//!
//! `step(state, event) -> (state, effects)` is pure; other code performs the effects and reports back with events. Events carry
//! the time where it is needed. The machine decides *whether and when* work runs; the types of the pipeline order the work itself
//! (render, plan, check, apply, observe).
//!
//! Three things may keep an application from its newest revision for days: its source does not answer, the revision waits for a
//! change of something, or it fails and is retried. None of them invalidates what was applied before, so drift from that is still
//! repaired.

use std::time::Duration;

use crate::digest::Digester;

/// The id of one run of the pipeline, by which late answers of an earlier run are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// Milliseconds since the epoch. Waiting machines need a clock that never goes back.
pub type Millis = u64;

/// The reason why a run starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A new commit, or the first.
    Revision,
    /// The spec changed, or a plugin that the application uses.
    Settings,
    /// An object is no longer as it was applied.
    Drift,
    /// The last attempt failed.
    Retry,
    /// A person requested it.
    Request,
}

/// When a failed run is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Soon, with increasing pauses: something did not answer, or something that is missing may still appear.
    Backoff,
    /// Only when the source, the settings or a plugin changes, or when a person requests it.
    OnChange,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What was asked for is in place and healthy.
    Done,
    /// It failed.
    Failed(Retry),
    /// It was asked to stop and did.
    Cancelled,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The spec was read, either for the first time or after a change.
    Spec {
        /// `metadata.generation`.
        generation: i64,
        /// Whether all work is suspended.
        suspended: bool,
    },
    /// The source answers, and this revision should run.
    Revision(String),
    /// This revision should run from now on, though not because the source has answered.
    Steered(String),
    /// The revision that was to run should not run any more. The one that should is announced later, even if it is the same one
    /// for another reason. A run in progress continues.
    Withdrawn,
    /// The source does not answer, for this reason. That does not change the revision: the known one should still run.
    SourceFailed(String),
    /// The spec names another source. What the previous source gave no longer counts, and nothing runs until the new one has
    /// answered.
    SourceChanged,
    /// A plugin that the application uses changed, appeared or broke.
    PluginChanged,
    /// Objects differ from what was applied.
    Drifted,
    /// Whatever blocked a run that waits for a change, or that is being retried, is gone or has changed.
    Unblocked,
    /// A person requested a reconciliation.
    Requested,
    /// The Application is being deleted.
    Deleted,
    /// A run ended.
    Finished {
        /// The run.
        run: RunId,
        /// How it ended.
        outcome: Outcome,
        /// When it ended.
        now: Millis,
    },
    /// The time given by `WakeAt` has come.
    Woke {
        /// The current time.
        now: Millis,
    },
}

/// Something that has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Run the pipeline. There is never more than one run at a time.
    Start {
        /// The id of the run.
        run: RunId,
        /// The commit to run.
        revision: String,
        /// The reason.
        cause: Cause,
    },
    /// Repair drift from what was last applied, and do nothing else: the wanted revision waits for a change or for its next
    /// retry.
    Guard {
        /// The id of the run.
        run: RunId,
        /// Whether to repair the drift. If not, it is only reported: a repair has failed that itself waits for a change.
        repairs: bool,
    },
    /// Report that the source does not answer, and do nothing else.
    Tell {
        /// The id of the run.
        run: RunId,
    },
    /// Report that unfinished work rests while the application is suspended, and do nothing else.
    Rest {
        /// The id of the run.
        run: RunId,
    },
    /// Delete (or let go of) all objects, then remove the finalizer.
    Remove {
        /// The id of the run.
        run: RunId,
    },
    /// Stop a run at the next point at which nothing is half done. The run reports with `Finished`.
    Cancel {
        /// The run.
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
        /// The cause of the next run, if this one is retried.
        again: Cause,
        cancelled: bool,
    },
    Backoff(Pause),
    Removed,
}

/// The pause before a failed run is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    until: Millis,
    /// The work that failed.
    work: Work,
    /// The cause of the next run.
    again: Cause,
    /// Whether drift is repaired during the pause. If a repair has failed, the next one waits for the next pause.
    is_guarded: bool,
}

/// Whether the revision waits for a change, and what happens to drift meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// It does not wait.
    Free,
    /// It waits, and drift from what was applied before is repaired.
    Guarded,
    /// It waits, and so does a repair: drift is only reported.
    Unguarded,
}

/// The state of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    name: String,
    generation: Option<i64>,
    suspended: bool,
    /// Whether the suspension has been reported for what the last run left behind.
    is_resting: bool,
    deleting: bool,
    revision: Option<String>,
    /// Why the source does not answer, or `None` if it does.
    failure: Option<String>,
    /// The value of `failure` that the last reporting run knew.
    told: Option<String>,
    block: Block,
    /// Why another run is due.
    due: Option<Cause>,
    activity: Activity,
    /// The pause that continues once the drift found during it has been repaired.
    later: Option<Pause>,
    failures: u32,
    next_run: u64,
}

/// The first pause after a failure. It doubles with each further failure.
pub const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause.
pub const LONGEST_PAUSE: Duration = Duration::from_mins(5);

impl State {
    /// Creates the state of an application about which nothing is known yet. The name is used only to spread retries.
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

    /// Returns whether a run is in progress.
    pub fn is_running(&self) -> bool {
        matches!(self.activity, Activity::Running { .. })
    }

    /// Returns whether the revision waits for a change.
    pub fn is_blocked(&self) -> bool {
        self.block != Block::Free
    }

    /// Returns whether drift may be repaired. If not, it is only reported.
    pub fn repairs(&self) -> bool {
        self.block != Block::Unguarded
    }

    /// Returns how many times in a row the wanted work has failed, if it is retried automatically.
    pub fn retries(&self) -> Option<u32> {
        let pause = match self.activity {
            Activity::Backoff(pause) => pause,
            _ => self.later?,
        };
        let is_wanted = pause.work != Work::Guard && !self.suspended && !self.deleting;
        is_wanted.then_some(self.failures)
    }

    /// Handles an event. Returns the next state and what has to be done.
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

    /// Handles a change that makes a new attempt worthwhile at once, whatever is waiting or has failed.
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

    /// Ends a pause whose time has come. The retry supersedes the guard of its pause: the guard may wait for health as long as
    /// the spec allows, and the retry may be what restores it.
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

    /// Ends a pause and makes its retry due, unless something newer is due.
    fn try_again(&mut self, pause: Pause) {
        self.activity = Activity::Idle;
        self.make_due(pause);
    }

    fn make_due(&mut self, pause: Pause) {
        // Drift found meanwhile is handled by the retry, or after it.
        let newer = self.due.filter(|cause| *cause != Cause::Drift);
        self.due = newer.or(Some(pause.again));
    }

    /// Tries the wanted work at once. A retry continues its series of pauses where it was, since it may fail for another reason.
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
        // A report fails only if it could not be written.
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
            // A newer change is due. It decides what comes next, and at once.
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
        // A removal is never given up: however a run of it ended, it is due until it is done.
        if work == Work::Remove && !matches!(self.activity, Activity::Removed) {
            self.due = Some(Cause::Retry);
        }
    }

    /// Continues a pause during which drift was handled. How that ended says nothing about the retry.
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

    /// Starts or cancels what the state requires.
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
            // The status may still say that work is in progress or being retried. Anyone waiting for that would wait forever.
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
            // The revision's run also reports that the source answers again.
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
        // A repair is retried as a repair: the retry asks for nothing newer.
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

/// Returns the pause before a retry. It doubles from [`FIRST_PAUSE`] to [`LONGEST_PAUSE`], spread by up to a quarter so that
/// applications that failed together are not retried together.
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
