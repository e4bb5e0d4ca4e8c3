mod pauses;
mod suspension;

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

fn suspended() -> Event {
    Event::Spec {
        generation: 2,
        suspended: true,
    }
}

fn resumed() -> Event {
    Event::Spec {
        generation: 3,
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

fn guard(run: u64, repairs: bool) -> Effect {
    let run = RunId(run);
    Effect::Guard { run, repairs }
}

fn tell(run: u64) -> Effect {
    Effect::Tell { run: RunId(run) }
}

fn rest(run: u64) -> Effect {
    Effect::Rest { run: RunId(run) }
}

fn away(reason: &str) -> Event {
    Event::SourceFailed(reason.into())
}

const WAITS: Outcome = Outcome::Failed(Retry::OnChange);

/// A state whose revision 1 runs and has converged.
fn converged() -> State {
    feed(
        State::new("a"),
        [spec(), revision("1"), finished(0, Outcome::Done)],
    )
    .0
}

/// A state whose revision 2 waits for a change, and whose next run is run 2.
fn blocked() -> State {
    feed(converged(), [revision("2"), finished(1, WAITS)]).0
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
        feed(blocked.clone(), [Event::Woke { now: u64::MAX }])
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

#[test]
fn what_is_tried_again_has_failed_so_often() {
    let failed = |run| finished(run, Outcome::Failed(Retry::Backoff));
    let woke = || Event::Woke { now: u64::MAX };
    let (running, _) = feed(State::new("a"), [spec(), revision("1")]);
    assert_eq!(running.retries(), None);
    let (once, _) = feed(running, [failed(0)]);
    assert_eq!(once.retries(), Some(1));
    let (twice, _) = feed(once.clone(), [woke(), failed(1)]);
    assert_eq!(twice.retries(), Some(2));
    let (newer, _) = feed(twice, [revision("2"), failed(2)]);
    assert_eq!(newer.retries(), Some(1));
    // An application that waits for something else, rests, or only repairs drift is not on its way to what is wanted.
    let (waiting, _) = feed(once.clone(), [woke(), finished(1, WAITS)]);
    assert_eq!(waiting.retries(), None);
    let resting = Event::Spec {
        generation: 1,
        suspended: true,
    };
    assert_eq!(feed(once, [resting]).0.retries(), None);
    let (guarding, _) = feed(blocked(), [Event::Drifted, failed(2)]);
    assert_eq!(guarding.retries(), None);
}

/// A copy that is fetched again because it could not be read is no news. Otherwise a broken copy would be retried without a
/// pause.
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
fn what_is_tried_again_need_not_wait_for_its_time_and_goes_on_with_its_pauses() {
    let failed = |run| finished(run, Outcome::Failed(Retry::Backoff));
    let (backoff, _) = feed(State::new("a"), [spec(), revision("1"), failed(0)]);
    let (state, effects) = feed(backoff.clone(), [Event::Unblocked, Event::Unblocked]);
    assert_eq!(effects, [start(1, "1", Cause::Retry)]);
    let (state, effects) = feed(state, [failed(1)]);
    let later: Millis = pause("a", 2).as_millis().try_into().unwrap();
    assert_eq!(effects, [Effect::WakeAt(1000 + later)]);
    assert_eq!(state.retries(), Some(2));
    // The time until which it was to wait no longer matters.
    let (_, effects) = feed(state, [Event::Unblocked, Event::Woke { now: u64::MAX }]);
    assert_eq!(effects, [start(2, "1", Cause::Retry)]);
    // What rests keeps resting.
    let (_, effects) = feed(backoff, [suspended(), Event::Unblocked]);
    assert_eq!(effects, [rest(1)]);
}

#[test]
fn neither_a_repair_nor_a_removal_is_tried_sooner_for_others() {
    let failed = |run| finished(run, Outcome::Failed(Retry::Backoff));
    let told = [Event::SourceChanged, away("x"), finished(1, Outcome::Done)];
    let (state, _) = feed(converged(), told);
    let (repairing, effects) = feed(state, [Event::Drifted, failed(2)]);
    let [Effect::Guard { .. }, Effect::WakeAt(_)] = effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(feed(repairing, [Event::Unblocked]).1, []);
    let (removing, effects) = feed(converged(), [Event::Deleted, failed(1)]);
    let [Effect::Remove { .. }, Effect::WakeAt(_)] = effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(feed(removing, [Event::Unblocked]).1, []);
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
fn what_was_applied_is_guarded_while_a_newer_revision_waits() {
    let (state, effects) = feed(blocked(), [Event::Drifted]);
    assert_eq!(effects, [guard(2, true)]);
    // Each drift is handled, and the fact that the revision waits is not forgotten.
    let (state, effects) = feed(state, [Event::Drifted, finished(2, Outcome::Done)]);
    assert_eq!(effects, [guard(3, true)]);
    let (state, effects) = feed(state, [finished(3, Outcome::Done), revision("2")]);
    assert_eq!((effects, state.is_blocked()), (Vec::new(), true));
    // A repair that may succeed later is retried with pauses, and the revision is not.
    let failed = finished(4, Outcome::Failed(Retry::Backoff));
    let (waiting, effects) = feed(state, [Event::Drifted, failed]);
    let [Effect::Guard { .. }, Effect::WakeAt(until)] = effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(feed(waiting.clone(), [Event::Drifted]).1, []);
    let (state, effects) = feed(waiting.clone(), [Event::Woke { now: until }]);
    assert_eq!(effects, [guard(5, true)]);
    assert_eq!(
        feed(waiting, [Event::Unblocked]).1,
        [start(5, "2", Cause::Retry)]
    );
    // A repair that waits for a change is not retried, and drift is reported.
    let (state, effects) = feed(state, [finished(5, WAITS)]);
    assert_eq!((effects, state.repairs()), (Vec::new(), false));
    let (state, effects) = feed(state, [Event::Drifted, finished(6, Outcome::Done)]);
    assert_eq!((effects, state.repairs()), (vec![guard(6, false)], false));
    assert!(state.is_blocked());
    let unblocked = feed(state.clone(), [Event::Unblocked]).1;
    assert_eq!(unblocked, [start(7, "2", Cause::Retry)]);
    let (state, effects) = feed(state, [Event::Requested]);
    assert_eq!(effects, [start(7, "2", Cause::Request)]);
    assert!(state.repairs());
}

#[test]
fn a_change_supersedes_a_guard() {
    for (change, wanted) in [
        (revision("3"), start(3, "3", Cause::Revision)),
        (Event::Requested, start(3, "2", Cause::Request)),
        (Event::Unblocked, start(3, "2", Cause::Retry)),
    ] {
        let (state, effects) = feed(blocked(), [Event::Drifted, change]);
        let cancelled = Effect::Cancel { run: RunId(2) };
        assert_eq!(effects, [guard(2, true), cancelled]);
        // However it ends, its outcome is about what was wanted before.
        for outcome in [Outcome::Cancelled, Outcome::Done, WAITS] {
            let (state, effects) = feed(state.clone(), [finished(2, outcome)]);
            assert_eq!(effects, std::slice::from_ref(&wanted), "after {outcome:?}");
            assert!(state.repairs() && !state.is_blocked());
        }
    }
}

#[test]
fn a_source_that_fails_is_told_and_takes_nothing_back() {
    let (state, effects) = feed(converged(), [away("x"), away("x")]);
    assert_eq!(effects, [tell(1)]);
    let (state, effects) = feed(state, [finished(1, Outcome::Done), away("x")]);
    assert_eq!(effects, []);
    let (state, effects) = feed(state, [Event::Drifted, finished(2, Outcome::Done)]);
    assert_eq!(effects, [start(2, "1", Cause::Drift)]);
    // Another reason is reported as well, and so is the source answering again.
    let (state, effects) = feed(state, [away("y"), finished(3, Outcome::Done)]);
    assert_eq!(effects, [tell(3)]);
    let (state, effects) = feed(state, [Event::Steered("1".into())]);
    assert_eq!(effects, []);
    assert_eq!(
        feed(state.clone(), [Event::Steered("0".into())]).1,
        [start(4, "0", Cause::Revision)]
    );
    let (state, effects) = feed(state, [revision("1")]);
    assert_eq!(effects, [start(4, "1", Cause::Revision)]);
    let (_, effects) = feed(state, [finished(4, Outcome::Done), revision("1")]);
    assert_eq!(effects, []);
}

#[test]
fn what_is_withdrawn_does_not_run_again_until_it_is_told_anew() {
    let (state, effects) = feed(converged(), [Event::Withdrawn, Event::Drifted]);
    assert_eq!(effects, [guard(1, true)]);
    let changes = [
        finished(1, Outcome::Done),
        Event::PluginChanged,
        Event::Requested,
    ];
    let (state, effects) = feed(state, changes);
    assert_eq!(effects, []);
    assert_eq!(
        feed(state, [revision("1")]).1,
        [start(2, "1", Cause::Revision)]
    );
    // A run in progress continues to its end.
    let (running, _) = feed(State::new("a"), [spec(), revision("1")]);
    let (state, effects) = feed(running, [Event::Withdrawn, finished(0, Outcome::Done)]);
    assert_eq!(effects, []);
    assert_eq!(
        feed(state, [revision("1")]).1,
        [start(1, "1", Cause::Revision)]
    );
}

#[test]
fn a_source_that_fails_holds_up_nothing_that_is_under_way() {
    let (running, _) = feed(State::new("a"), [spec(), revision("1")]);
    let (state, effects) = feed(running.clone(), [away("x")]);
    assert_eq!(effects, []);
    assert_eq!(
        feed(state.clone(), [finished(0, Outcome::Done)]).1,
        [tell(1)]
    );
    // The source answers before it was reported that it does not.
    let (_, effects) = feed(state.clone(), [revision("1"), finished(0, Outcome::Done)]);
    assert_eq!(effects, []);
    // The retry reports it.
    let (state, effects) = feed(state, [finished(0, Outcome::Failed(Retry::Backoff))]);
    let [Effect::WakeAt(until)] = effects[..] else {
        panic!("{effects:?}")
    };
    let (state, effects) = feed(state, [away("y"), Event::Woke { now: until }]);
    assert_eq!(effects, [start(1, "1", Cause::Retry)]);
    assert_eq!(feed(state, [finished(1, Outcome::Done)]).1, []);
    // A revision that waits for a change keeps waiting.
    let (state, effects) = feed(blocked(), [away("x"), finished(2, Outcome::Done)]);
    assert_eq!(effects, [tell(2)]);
    assert_eq!(feed(state.clone(), [Event::Drifted]).1, [guard(3, true)]);
    assert_eq!(
        feed(state, [revision("2")]).1,
        [start(3, "2", Cause::Revision)]
    );
}

#[test]
fn a_source_that_never_answered_is_told_to_whoever_asks() {
    let (state, effects) = feed(State::new("a"), [away("x"), spec()]);
    assert_eq!(effects, [tell(0)]);
    let (state, effects) = feed(state, [finished(0, Outcome::Done), Event::Requested]);
    assert_eq!(effects, [tell(1)]);
    // The status was not written.
    let failed = finished(1, Outcome::Failed(Retry::Backoff));
    let (state, effects) = feed(state, [failed]);
    let [Effect::WakeAt(until)] = effects[..] else {
        panic!("{effects:?}")
    };
    let (state, effects) = feed(state, [Event::Woke { now: until }]);
    assert_eq!(effects, [tell(2)]);
    let (_, effects) = feed(state, [revision("1"), finished(2, Outcome::Cancelled)]);
    let cancelled = Effect::Cancel { run: RunId(2) };
    assert_eq!(effects, [cancelled, start(3, "1", Cause::Revision)]);
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
    // What the previous source gave is still in the cluster.
    let (state, effects) = feed(
        converged(),
        [Event::SourceChanged, edited.clone(), away("x")],
    );
    assert_eq!(effects, [tell(1)]);
    let (_, effects) = feed(state, [finished(1, Outcome::Done), Event::Drifted]);
    assert_eq!(effects, [guard(2, true)]);
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
fn deletion_removes_even_what_was_suspended_or_never_ran() {
    let deleted = [suspended(), Event::Deleted, finished(0, Outcome::Done)];
    let (state, effects) = feed(State::new("a"), deleted);
    assert_eq!(effects, [rest(0), Effect::Remove { run: RunId(1) }]);
    let (state, effects) = feed(
        state,
        [
            finished(1, Outcome::Failed(Retry::Backoff)),
            Event::Woke { now: u64::MAX },
        ],
    );
    assert_eq!(effects[1..], [Effect::Remove { run: RunId(2) }]);
    let (state, effects) = feed(
        state,
        [finished(2, Outcome::Done), revision("9"), Event::Requested],
    );
    assert!(effects.is_empty() && state.activity == Activity::Removed);
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Done),
        Just(Outcome::Cancelled),
        Just(Outcome::Failed(Retry::Backoff)),
        Just(Outcome::Failed(Retry::OnChange)),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1..4i64, any::<bool>()).prop_map(|(generation, suspended)| Event::Spec {
            generation,
            suspended
        }),
        "[a-d]".prop_map(Event::Revision),
        "[a-d]".prop_map(Event::Steered),
        Just(Event::Withdrawn),
        "[xy]".prop_map(Event::SourceFailed),
        Just(Event::SourceChanged),
        Just(Event::PluginChanged),
        Just(Event::Drifted),
        Just(Event::Unblocked),
        Just(Event::Requested),
        Just(Event::Deleted),
        (0..8u64, any_outcome(), 0..10_000u64).prop_map(|(run, outcome, now)| Event::Finished {
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
        let (mut suspended, mut deleted, mut known, mut away) = (false, false, false, false);
        for event in events {
            match &event {
                Event::SourceChanged => (known, away) = (false, false),
                Event::Revision(_) => (known, away) = (true, false),
                Event::Steered(_) => known = true,
                Event::Withdrawn => known = false,
                Event::SourceFailed(_) => away = true,
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
                    Effect::Guard { run, .. } => {
                        prop_assert!(running.is_none() && !suspended && !deleted);
                        running = Some(run);
                    }
                    Effect::Tell { run } => {
                        prop_assert!(running.is_none() && !suspended && !deleted && away);
                        running = Some(run);
                    }
                    Effect::Rest { run } => {
                        prop_assert!(running.is_none() && suspended && !deleted);
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
        let started = |effect: Effect| match effect {
            Effect::Start { run, revision, .. } => Some((run, revision)),
            Effect::Guard { run, .. } | Effect::Tell { run } | Effect::Rest { run } => {
                Some((run, String::new()))
            }
            _ => None,
        };
        let (mut state, effects) = feed(State::new("a"), live);
        let mut last = effects.into_iter().filter_map(started).next_back();
        // Things calm down: the application is resumed, a commit arrives, and every run succeeds.
        for event in [Event::Spec { generation: 9, suspended: false }, revision("newest")] {
            let (next, effects) = state.step(event);
            state = next;
            last = effects.into_iter().filter_map(started).next_back().or(last);
        }
        for _ in 0..3 {
            let Some((run, _)) = last.clone() else { break };
            if !state.is_running() { break }
            let (next, effects) = state.step(Event::Finished { run, outcome: Outcome::Done, now: 0 });
            state = next;
            last = effects.into_iter().filter_map(started).next_back().or(last);
        }
        prop_assert_eq!(last.map(|(_, revision)| revision), Some("newest".to_owned()));
        prop_assert!(!state.is_running());
    }
}
