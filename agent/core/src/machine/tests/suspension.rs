//! Suspending and resuming.

use super::*;

#[test]
fn suspension_rests_and_resuming_starts() {
    let (state, effects) = feed(State::new("a"), [spec(), revision("1"), suspended()]);
    assert_eq!(effects[1..], [Effect::Cancel { run: RunId(0) }]);
    let (state, effects) = feed(
        state,
        [
            finished(0, Outcome::Cancelled),
            revision("2"),
            Event::Drifted,
            finished(1, Outcome::Done),
        ],
    );
    assert_eq!(effects, [rest(1)]);
    let (_, effects) = feed(state, [resumed()]);
    assert_eq!(effects, [start(2, "2", Cause::Settings)]);
}

#[test]
fn what_is_suspended_is_told_to_rest_after_each_run_until_that_is_written() {
    let failed = |run| finished(run, Outcome::Failed(Retry::Backoff));
    // One that was being retried, one that waits, one that another agent left behind, and one that could not be stopped in time.
    let (trying, _) = feed(State::new("a"), [spec(), revision("1"), failed(0)]);
    let (stopping, _) = feed(State::new("a"), [spec(), revision("1"), suspended()]);
    for (state, event, run) in [
        (trying, suspended(), 1),
        (blocked(), suspended(), 2),
        (State::new("a"), suspended(), 0),
        (stopping, failed(0), 1),
    ] {
        let (state, effects) = feed(state, [event]);
        let told = effects.iter().filter(|effect| **effect == rest(run));
        assert_eq!(told.count(), 1, "{effects:?}");
        // Nothing stops that report, and it is retried with pauses.
        let (state, effects) = feed(state, [Event::Requested, failed(run)]);
        let [Effect::WakeAt(until)] = effects[..] else {
            panic!("{effects:?}")
        };
        let (state, effects) = feed(state, [Event::Woke { now: until }]);
        assert_eq!(effects, [rest(run + 1)]);
        let others = [revision("3"), Event::Drifted, Event::Requested];
        let told = [finished(run + 1, Outcome::Done), suspended()];
        let (state, effects) = feed(state, told.into_iter().chain(others));
        assert_eq!(effects, []);
        let resumed = feed(state.clone(), [resumed()]).1;
        assert_eq!(resumed, [start(run + 2, "3", Cause::Settings)]);
        // The removal does not rest, or the Application would never go away: that run lets go of its objects.
        let removing = RunId(run + 2);
        let removed = feed(state, [Event::Deleted]).1;
        assert_eq!(removed, [Effect::Remove { run: removing }]);
    }
}

#[test]
fn what_is_resumed_or_deleted_waits_for_no_pause_of_what_told_that_it_rests() {
    let (state, _) = feed(converged(), [suspended()]);
    let failed = || finished(1, Outcome::Failed(Retry::Backoff));
    let (_, effects) = feed(state.clone(), [resumed(), failed()]);
    assert_eq!(effects, [start(2, "1", Cause::Settings)]);
    let (_, effects) = feed(state, [Event::Deleted, failed()]);
    assert_eq!(effects, [Effect::Remove { run: RunId(2) }]);
}
