//! Drift during the pause before a retry.

use super::*;

fn failed(run: u64) -> Event {
    finished(run, Outcome::Failed(Retry::Backoff))
}

fn woke(now: Millis) -> Event {
    Event::Woke { now }
}

/// Returns a state whose revision 1 runs and whose revision 2 has failed once and is retried, with the time of the retry.
fn retried() -> (State, Millis) {
    let (state, effects) = feed(converged(), [revision("2"), failed(1)]);
    let [Effect::Start { .. }, Effect::WakeAt(until)] = effects[..] else {
        panic!("{effects:?}")
    };
    (state, until)
}

#[test]
fn what_was_applied_is_guarded_while_a_newer_revision_is_tried_again() {
    let (state, until) = retried();
    let (state, effects) = feed(state, [Event::Drifted]);
    assert_eq!(effects, [guard(2, true)]);
    assert_eq!(state.retries(), Some(1));
    // Each drift is handled.
    let done = |run| finished(run, Outcome::Done);
    let (state, effects) = feed(state, [Event::Drifted, done(2), done(3)]);
    let wake = Effect::WakeAt(until);
    assert_eq!(effects, [wake.clone(), guard(3, true), wake]);
    // The failure count of the retry is unchanged, and nothing about it has been forgotten.
    assert_eq!(state.retries(), Some(1));
    let (state, effects) = feed(state, [woke(until - 1)]);
    assert_eq!(effects, []);
    let (state, effects) = feed(state, [woke(until), failed(4)]);
    let longer: Millis = pause("a", 2).as_millis().try_into().unwrap();
    let again = start(4, "2", Cause::Retry);
    assert_eq!(effects, [again, Effect::WakeAt(1000 + longer)]);
    assert_eq!(state.retries(), Some(2));
}

#[test]
fn a_guard_that_takes_longer_than_the_pause_is_superseded_by_what_is_tried_again() {
    for outcome in [
        Outcome::Done,
        Outcome::Cancelled,
        Outcome::Failed(Retry::Backoff),
        WAITS,
    ] {
        let (state, until) = retried();
        let (state, effects) = feed(state, [Event::Drifted, woke(until - 1)]);
        assert_eq!(effects, [guard(2, true)]);
        let (state, effects) = feed(state, [woke(until), Event::Drifted]);
        assert_eq!(effects, [Effect::Cancel { run: RunId(2) }]);
        assert_eq!(state.retries(), Some(1));
        let ended = Event::Finished {
            run: RunId(2),
            outcome,
            now: until,
        };
        let (state, effects) = feed(state, [ended]);
        assert_eq!(effects, [start(3, "2", Cause::Retry)], "after {outcome:?}");
        assert!(!state.is_blocked() && state.repairs());
    }
}

#[test]
fn a_repair_that_fails_in_a_pause_is_tried_again_in_the_next_one() {
    for outcome in [Outcome::Failed(Retry::Backoff), WAITS] {
        let (state, until) = retried();
        let (state, effects) = feed(state, [Event::Drifted, finished(2, outcome)]);
        assert_eq!(effects, [guard(2, true), Effect::WakeAt(until)]);
        assert_eq!((state.retries(), state.is_blocked()), (Some(1), false));
        let (state, effects) = feed(state, [Event::Drifted, Event::Drifted]);
        assert_eq!(effects, []);
        let (state, effects) = feed(state, [woke(until), failed(3)]);
        let [Effect::Start { .. }, Effect::WakeAt(_)] = effects[..] else {
            panic!("{effects:?}")
        };
        assert_eq!(feed(state, [Event::Drifted]).1, [guard(4, true)]);
    }
}

#[test]
fn what_drifts_during_a_try_that_fails_is_put_right_after_it() {
    let (state, _) = feed(converged(), [revision("2"), Event::Drifted]);
    let (_, effects) = feed(state, [failed(1)]);
    let [Effect::WakeAt(_), Effect::Guard { repairs: true, .. }] = effects[..] else {
        panic!("{effects:?}")
    };
}

#[test]
fn a_change_supersedes_a_guard_and_the_pause_that_it_is_in() {
    let deleted = Effect::Remove { run: RunId(3) };
    for (change, wanted) in [
        (revision("3"), start(3, "3", Cause::Revision)),
        (Event::Requested, start(3, "2", Cause::Request)),
        (suspended(), rest(3)),
        (Event::Deleted, deleted),
    ] {
        for outcome in [
            Outcome::Cancelled,
            Outcome::Done,
            Outcome::Failed(Retry::Backoff),
            WAITS,
        ] {
            let (state, effects) = feed(retried().0, [Event::Drifted, change.clone()]);
            let cancelled = Effect::Cancel { run: RunId(2) };
            assert_eq!(effects, [guard(2, true), cancelled]);
            assert_eq!(state.retries(), None);
            let (_, effects) = feed(state, [finished(2, outcome)]);
            assert_eq!(effects, std::slice::from_ref(&wanted), "after {outcome:?}");
        }
    }
}

#[test]
fn what_need_not_wait_any_more_does_not_wait_for_a_guard_and_goes_on_with_its_pauses() {
    let (state, effects) = feed(retried().0, [Event::Drifted, Event::Unblocked]);
    let cancelled = Effect::Cancel { run: RunId(2) };
    assert_eq!(effects, [guard(2, true), cancelled]);
    let (state, effects) = feed(state, [finished(2, Outcome::Done), failed(3)]);
    assert_eq!(effects[0], start(3, "2", Cause::Retry));
    assert_eq!(state.retries(), Some(2));
}

/// A repair asks for nothing newer, and neither does its retry.
#[test]
fn a_repair_is_tried_again_as_a_repair() {
    let (state, effects) = feed(converged(), [Event::Drifted, failed(1)]);
    let [_, Effect::WakeAt(until)] = effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(state.retries(), Some(1));
    let (_, effects) = feed(state, [woke(until)]);
    assert_eq!(effects, [start(2, "1", Cause::Drift)]);
}

#[test]
fn what_drifts_while_a_status_is_written_again_takes_nothing_of_its_place() {
    // The status that was to report on the source was not written.
    let (state, effects) = feed(State::new("a"), [spec(), away("x"), failed(0)]);
    let [Effect::Tell { .. }, Effect::WakeAt(until)] = effects[..] else {
        panic!("{effects:?}")
    };
    let done = finished(1, Outcome::Done);
    let (state, effects) = feed(state, [Event::Drifted, done, woke(until)]);
    assert_eq!(effects, [guard(1, true), Effect::WakeAt(until), tell(2)]);
    assert_eq!(feed(state, [finished(2, Outcome::Done)]).1, []);
}

proptest! {
    #[test]
    fn whatever_drifts_in_a_pause_the_next_try_is_where_it_was(
        failures in 1..6u32,
        guards in prop::collection::vec((any_outcome(), 0..60_000u64), 0..8),
    ) {
        let pause_after = |failures: u32| u64::try_from(pause("a", failures).as_millis()).unwrap();
        let (mut state, _) = feed(State::new("a"), [spec(), revision("1")]);
        for run in 0..failures {
            state = feed(state, [woke(Millis::MAX), failed(run.into())]).0;
        }
        let until = 1000 + pause_after(failures);
        let mut begun = Vec::new();
        for (outcome, now) in guards {
            let (next, effects) = feed(state, [Event::Drifted]);
            state = next;
            let [Effect::Guard { run, .. }] = effects[..] else {
                prop_assert!(effects.is_empty());
                continue;
            };
            prop_assert_eq!(state.retries(), Some(failures));
            let (next, effects) = feed(state, [Event::Finished { run, outcome, now }]);
            state = next;
            if until <= now {
                begun = effects;
                break;
            }
            prop_assert_eq!(effects, [Effect::WakeAt(until)]);
        }
        if begun.is_empty() {
            (state, begun) = feed(state, [woke(until)]);
        }
        let [Effect::Start { run, cause: Cause::Retry, .. }] = begun[..] else {
            panic!("{begun:?}")
        };
        let (_, effects) = feed(state, [finished(run.0, Outcome::Failed(Retry::Backoff))]);
        prop_assert_eq!(effects, [Effect::WakeAt(1000 + pause_after(failures + 1))]);
    }
}
