//! The state machine of one application: what to do when something happens.
//!
//! `step(state, event) -> (state, effects)` is pure; other code performs the effects and reports back with events. Time
//! comes with the events that need it. The machine decides *whether and when* work runs; the work itself (render, plan,
//! check, apply, observe) is ordered by the types of the pipeline.

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
    /// The source's newest commit is this one.
    Revision(String),
    /// The spec names another source: what the one before gave counts no more, and nothing runs until this one has answered.
    SourceChanged,
    /// A plugin that the application uses changed, appeared or broke.
    PluginChanged,
    /// Objects differ from what was applied.
    Drifted,
    /// What was in the way of a run that waits for a change is gone.
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

#[derive(Debug, Clone, PartialEq, Eq)]
enum Activity {
    Idle,
    Running {
        run: RunId,
        removing: bool,
        cancelled: bool,
    },
    Backoff {
        until: Millis,
    },
    Blocked,
    Removed,
}

/// Where an application is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    name: String,
    generation: Option<i64>,
    suspended: bool,
    deleting: bool,
    revision: Option<String>,
    /// Why another run is due.
    due: Option<Cause>,
    activity: Activity,
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
            deleting: false,
            revision: None,
            due: None,
            activity: Activity::Idle,
            failures: 0,
            next_run: 0,
        }
    }

    /// Says whether a run is under way.
    pub fn is_running(&self) -> bool {
        matches!(self.activity, Activity::Running { .. })
    }

    /// Says whether a run has failed that is tried again only after a change.
    pub fn is_blocked(&self) -> bool {
        self.activity == Activity::Blocked
    }

    /// Says whether everything is removed and nothing will ever run again.
    pub fn is_removed(&self) -> bool {
        self.activity == Activity::Removed
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
                if self.revision.as_ref() != Some(&revision) {
                    self.revision = Some(revision);
                    self.change(Cause::Revision);
                }
            }
            Event::SourceChanged => {
                self.revision = None;
                self.change(Cause::Revision);
            }
            Event::PluginChanged => self.change(Cause::Settings),
            Event::Unblocked => {
                if self.is_blocked() {
                    self.activity = Activity::Idle;
                    self.due = self.due.or(Some(Cause::Retry));
                }
            }
            Event::Requested => self.change(Cause::Request),
            Event::Drifted => {
                // What waits for a change is not tried again by a drift: it would fail the same way.
                if !self.is_blocked() {
                    self.due = self.due.or(Some(Cause::Drift));
                }
            }
            Event::Deleted => {
                if !self.deleting {
                    self.deleting = true;
                    self.change(Cause::Request);
                }
            }
            Event::Finished { run, outcome, now } => self.finished(run, outcome, now, &mut effects),
            Event::Woke { now } => {
                if matches!(self.activity, Activity::Backoff { until } if until <= now) {
                    self.activity = Activity::Idle;
                    self.due = self.due.or(Some(Cause::Retry));
                }
            }
        }
        self.advance(&mut effects);
        (self, effects)
    }

    fn spec(&mut self, generation: i64, suspended: bool) {
        let resumed = self.suspended && !suspended;
        self.suspended = suspended;
        if self.generation != Some(generation) || resumed {
            self.generation = Some(generation);
            self.change(Cause::Settings);
        }
    }

    /// Something changed that makes a new attempt worthwhile at once, whatever waits or failed.
    fn change(&mut self, cause: Cause) {
        self.due = Some(cause);
        self.failures = 0;
        if matches!(self.activity, Activity::Backoff { .. } | Activity::Blocked) {
            self.activity = Activity::Idle;
        }
    }

    fn finished(
        &mut self,
        finished: RunId,
        outcome: Outcome,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        let Activity::Running { run, removing, .. } = self.activity else {
            return;
        };
        if run != finished {
            return;
        }
        self.activity = match outcome {
            Outcome::Done if removing => Activity::Removed,
            Outcome::Done => {
                self.failures = 0;
                Activity::Idle
            }
            Outcome::Cancelled => Activity::Idle,
            // A newer change is due: it decides what comes next, and at once.
            Outcome::Failed(_) if self.due.is_some_and(|cause| cause != Cause::Drift) => {
                Activity::Idle
            }
            Outcome::Failed(Retry::OnChange) => {
                self.due = None;
                Activity::Blocked
            }
            Outcome::Failed(Retry::Backoff) => {
                self.failures = self.failures.saturating_add(1);
                let pause = pause(&self.name, self.failures);
                let until =
                    now.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
                effects.push(Effect::WakeAt(until));
                Activity::Backoff { until }
            }
        };
        // A removal is never given up: whatever it ended with, it is due until it is done.
        if removing && !matches!(self.activity, Activity::Removed) {
            self.due = Some(Cause::Retry);
        }
    }

    /// Starts or cancels what the state asks for.
    fn advance(&mut self, effects: &mut Vec<Effect>) {
        match self.activity {
            Activity::Running {
                run,
                removing,
                cancelled: false,
            } => {
                let superseded =
                    matches!(self.due, Some(cause) if cause != Cause::Drift) && !removing;
                if superseded || (self.suspended && !removing) {
                    self.activity = Activity::Running {
                        run,
                        removing,
                        cancelled: true,
                    };
                    effects.push(Effect::Cancel { run });
                }
            }
            Activity::Idle => {
                let Some(cause) = self.due else { return };
                if self.deleting {
                    let run = self.start(true);
                    effects.push(Effect::Remove { run });
                } else if let (false, Some(_), Some(revision)) =
                    (self.suspended, self.generation, self.revision.clone())
                {
                    let run = self.start(false);
                    effects.push(Effect::Start {
                        run,
                        revision,
                        cause,
                    });
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, removing: bool) -> RunId {
        self.due = None;
        let run = RunId(self.next_run);
        self.next_run += 1;
        self.activity = Activity::Running {
            run,
            removing,
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
