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
    let blocked_again = blocked.clone();
    assert!(effects.is_empty() && blocked.is_blocked());
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
    assert_eq!(
        feed(blocked_again, [Event::Unblocked, Event::Unblocked]).1,
        [start(1, "1", Cause::Retry)]
    );
    assert!(pause("a", 1) < pause("a", 2) && pause("a", 2) < pause("a", 3));
    assert!(pause("a", u32::MAX) <= LONGEST_PAUSE);
}

/// A copy that is fetched again because it could not be read is no news, or a broken one would be tried without a pause.
#[test]
fn the_same_revision_hurries_nothing_that_is_tried_again() {
    let (state, _) = feed(State::new("a"), [spec(), revision("1")]);
    let (backoff, effects) = feed(state, [finished(0, Outcome::Failed(Retry::Backoff))]);
    let [Effect::WakeAt(until)] = effects[..] else {
        panic!("{effects:?}")
    };
    let (backoff, effects) = feed(backoff, [revision("1"), revision("1")]);
    assert_eq!(effects, []);
    assert_eq!(
        feed(backoff, [Event::Woke { now: until }]).1,
        [start(1, "1", Cause::Retry)]
    );
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
fn another_source_must_answer_before_anything_runs() {
    let edited = Event::Spec {
        generation: 2,
        suspended: false,
    };
    let (running, _) = feed(State::new("a"), [spec(), revision("1")]);
    for outcome in [
        Outcome::Done,
        Outcome::Failed(Retry::Backoff),
        Outcome::Failed(Retry::OnChange),
    ] {
        let (ended, _) = feed(running.clone(), [finished(0, outcome)]);
        let (state, effects) = feed(ended, [Event::SourceChanged, edited.clone()]);
        assert_eq!(effects, [], "after {outcome:?}");
        assert_eq!(
            feed(state, [revision("1")]).1,
            [start(1, "1", Cause::Revision)]
        );
    }
    let (state, effects) = feed(running, [Event::SourceChanged, edited]);
    assert_eq!(effects, [Effect::Cancel { run: RunId(0) }]);
    let (state, effects) = feed(state, [finished(0, Outcome::Cancelled)]);
    assert_eq!(effects, []);
    assert_eq!(
        feed(state, [revision("2")]).1,
        [start(1, "2", Cause::Revision)]
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
        Just(Event::SourceChanged),
        Just(Event::PluginChanged),
        Just(Event::Drifted),
        Just(Event::Unblocked),
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
        let (mut suspended, mut deleted, mut known) = (false, false, false);
        for event in events {
            match &event {
                Event::SourceChanged => known = false,
                Event::Revision(_) => known = true,
                Event::Spec { suspended: now, .. } => suspended = *now,
                Event::Deleted => deleted = true,
                Event::Finished { run, .. } if running == Some(*run) => running = None,
                _ => {}
            }
            let (next, effects) = state.step(event);
            for effect in effects {
                match effect {
                    Effect::Start { run, .. } => {
                        prop_assert!(running.is_none() && !suspended && !deleted && known);
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
