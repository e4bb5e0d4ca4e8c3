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

/// Milliseconds since the epoch.
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
    /// A plugin that the application uses changed, appeared or broke.
    PluginChanged,
    /// Objects differ from what was applied.
    Drifted,
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
            Event::PluginChanged => self.change(Cause::Settings),
            Event::Requested => self.change(Cause::Request),
            Event::Drifted => {
                // What waits for a change is not tried again by a drift: it would fail the same way.
                if self.activity != Activity::Blocked {
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(state: State, events: impl IntoIterator<Item = Event>) -> (State, Vec<Effect>) {
        events
            .into_iter()
            .fold((state, Vec::new()), |(state, mut all), event| {
                let (state, effects) = state.step(event);
                all.extend(effects);
                (state, all)
            })
    }

    fn spec() -> Event {
        Event::Spec {
            generation: 1,
            suspended: false,
        }
    }

    fn revision(name: &str) -> Event {
        Event::Revision(name.into())
    }

    fn finished(run: u64, outcome: Outcome) -> Event {
        Event::Finished {
            run: RunId(run),
            outcome,
            now: 1000,
        }
    }

    fn start(run: u64, revision: &str, cause: Cause) -> Effect {
        Effect::Start {
            run: RunId(run),
            revision: revision.into(),
            cause,
        }
    }

    #[test]
    fn starts_when_spec_and_revision_are_known_and_once_for_each_commit() {
        let (state, effects) = feed(State::new("a"), [spec(), revision("1"), revision("1")]);
        assert_eq!(effects, [start(0, "1", Cause::Revision)]);
        let (_, effects) = feed(state, [finished(0, Outcome::Done), revision("1"), spec()]);
        assert_eq!(effects, []);
    }

    #[test]
    fn a_new_commit_supersedes_what_runs_waits_or_failed() {
        let (running, _) = feed(State::new("a"), [spec(), revision("1")]);
        let (state, effects) = feed(running.clone(), [revision("2")]);
        assert_eq!(effects, [Effect::Cancel { run: RunId(0) }]);
        let (_, effects) = feed(state, [finished(0, Outcome::Cancelled)]);
        assert_eq!(effects, [start(1, "2", Cause::Revision)]);
        for retry in [Retry::OnChange, Retry::Backoff] {
            let (failed, _) = feed(running.clone(), [finished(0, Outcome::Failed(retry))]);
            assert_eq!(
                feed(failed, [revision("2")]).1,
                [start(1, "2", Cause::Revision)]
            );
        }
    }

    #[test]
    fn a_failure_is_retried_with_growing_pauses_or_waits_for_a_change() {
        let (state, _) = feed(State::new("a"), [spec(), revision("1")]);
        let (backoff, effects) = feed(
            state.clone(),
            [finished(0, Outcome::Failed(Retry::Backoff))],
        );
        let [Effect::WakeAt(until)] = effects[..] else {
            panic!("{effects:?}")
        };
        assert!(
            feed(backoff.clone(), [Event::Woke { now: until - 1 }])
                .1
                .is_empty()
        );
        assert_eq!(
            feed(backoff, [Event::Woke { now: until }]).1,
            [start(1, "1", Cause::Retry)]
        );
        let (blocked, effects) = feed(state, [finished(0, Outcome::Failed(Retry::OnChange))]);
        assert!(effects.is_empty());
        assert!(
            feed(
                blocked.clone(),
                [Event::Drifted, Event::Woke { now: u64::MAX }]
            )
            .1
            .is_empty()
        );
        assert_eq!(
            feed(blocked, [Event::Requested]).1,
            [start(1, "1", Cause::Request)]
        );
        assert!(pause("a", 1) < pause("a", 2) && pause("a", 2) < pause("a", 3));
        assert!(pause("a", u32::MAX) <= LONGEST_PAUSE);
    }

    #[test]
    fn drift_starts_a_run_and_never_interrupts_one() {
        let (state, _) = feed(State::new("a"), [spec(), revision("1")]);
        let (state, effects) = feed(state, [Event::Drifted]);
        assert!(effects.is_empty());
        assert_eq!(
            feed(state, [finished(0, Outcome::Done)]).1,
            [start(1, "1", Cause::Drift)]
        );
    }

    #[test]
    fn suspension_rests_and_resuming_starts() {
        let rest = Event::Spec {
            generation: 2,
            suspended: true,
        };
        let (state, effects) = feed(State::new("a"), [spec(), revision("1"), rest]);
        assert_eq!(effects[1..], [Effect::Cancel { run: RunId(0) }]);
        let (state, effects) = feed(
            state,
            [
                finished(0, Outcome::Cancelled),
                revision("2"),
                Event::Drifted,
            ],
        );
        assert!(effects.is_empty());
        let (_, effects) = feed(
            state,
            [Event::Spec {
                generation: 3,
                suspended: false,
            }],
        );
        assert_eq!(effects, [start(1, "2", Cause::Settings)]);
    }

    #[test]
    fn deletion_removes_even_what_was_suspended_or_never_ran() {
        let rest = Event::Spec {
            generation: 1,
            suspended: true,
        };
        let (state, effects) = feed(State::new("a"), [rest, Event::Deleted]);
        assert_eq!(effects, [Effect::Remove { run: RunId(0) }]);
        let (state, effects) = feed(
            state,
            [
                finished(0, Outcome::Failed(Retry::Backoff)),
                Event::Woke { now: u64::MAX },
            ],
        );
        assert_eq!(effects[1..], [Effect::Remove { run: RunId(1) }]);
        let (state, effects) = feed(
            state,
            [finished(1, Outcome::Done), revision("9"), Event::Requested],
        );
        assert!(effects.is_empty() && state.is_removed());
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let outcome = prop_oneof![
            Just(Outcome::Done),
            Just(Outcome::Cancelled),
            Just(Outcome::Failed(Retry::Backoff)),
            Just(Outcome::Failed(Retry::OnChange)),
        ];
        prop_oneof![
            (1..4i64, any::<bool>()).prop_map(|(generation, suspended)| Event::Spec {
                generation,
                suspended
            }),
            "[a-d]".prop_map(Event::Revision),
            Just(Event::PluginChanged),
            Just(Event::Drifted),
            Just(Event::Requested),
            Just(Event::Deleted),
            (0..8u64, outcome, 0..10_000u64).prop_map(|(run, outcome, now)| Event::Finished {
                run: RunId(run),
                outcome,
                now
            }),
            (0..400_000u64).prop_map(|now| Event::Woke { now }),
        ]
    }

    proptest! {
        #[test]
        fn one_run_at_a_time_and_none_while_suspended_or_deleted(events in prop::collection::vec(any_event(), 0..60)) {
            let mut state = State::new("a");
            let mut running = None;
            let (mut suspended, mut deleted) = (false, false);
            for event in events {
                match &event {
                    Event::Spec { suspended: now, .. } => suspended = *now,
                    Event::Deleted => deleted = true,
                    Event::Finished { run, .. } if running == Some(*run) => running = None,
                    _ => {}
                }
                let (next, effects) = state.step(event);
                for effect in effects {
                    match effect {
                        Effect::Start { run, .. } => {
                            prop_assert!(running.is_none() && !suspended && !deleted);
                            running = Some(run);
                        }
                        Effect::Remove { run } => {
                            prop_assert!(running.is_none() && deleted);
                            running = Some(run);
                        }
                        Effect::Cancel { run } => prop_assert_eq!(running, Some(run)),
                        Effect::WakeAt(_) => prop_assert!(running.is_none()),
                    }
                }
                prop_assert_eq!(next.is_running(), running.is_some());
                state = next;
            }
        }

        #[test]
        fn whatever_happened_the_newest_commit_runs_in_the_end(events in prop::collection::vec(any_event(), 0..40)) {
            let live = events.into_iter().filter(|event| !matches!(event, Event::Deleted));
            let (mut state, effects) = feed(State::new("a"), live);
            let mut last = effects.into_iter().filter_map(|effect| match effect {
                Effect::Start { run, revision, .. } => Some((run, revision)),
                _ => None,
            }).next_back();
            // The world calms down: it is resumed, a commit comes, and every run succeeds.
            for event in [Event::Spec { generation: 9, suspended: false }, revision("newest")] {
                let (next, effects) = state.step(event);
                state = next;
                for effect in effects {
                    if let Effect::Start { run, revision, .. } = effect { last = Some((run, revision)); }
                }
            }
            for _ in 0..3 {
                let Some((run, _)) = last.clone() else { break };
                if !state.is_running() { break }
                let (next, effects) = state.step(Event::Finished { run, outcome: Outcome::Done, now: 0 });
                state = next;
                for effect in effects {
                    if let Effect::Start { run, revision, .. } = effect { last = Some((run, revision)); }
                }
            }
            prop_assert_eq!(last.map(|(_, revision)| revision), Some("newest".to_owned()));
            prop_assert!(!state.is_running());
        }
    }
}
