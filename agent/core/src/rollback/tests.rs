use super::*;
use crate::history::{Attempt, Ending, record, tests::attempt};
use proptest::prelude::*;

/// Returns the render of a commit, which its first letter names: `b2` changes nothing compared to `b1`.
fn rendered(revision: &str) -> Digest {
    Digest::of(&revision[..1])
}

fn ran(history: &mut Vec<HistoryEntry>, revision: &str, ending: Ending) {
    ran_from(None, history, revision, ending);
}

fn ran_from(
    origin: Option<Digest>,
    history: &mut Vec<HistoryEntry>,
    revision: &str,
    ending: Ending,
) {
    let attempt = Attempt {
        origin,
        ..attempt(revision, &revision[..1], ending)
    };
    record(history, attempt, "t");
}

fn failed(revision: &str) -> Event<'_> {
    Event::Failed {
        revision,
        rendered: rendered(revision),
        reason: "web is not healthy",
        policy: RollbackPolicy::OnFailure,
    }
}

fn asked(to: Option<&str>, begun: Option<Digest>) -> Event<'_> {
    Event::Asked {
        to,
        begun,
        by: "ada",
        reason: "",
    }
}

#[test]
fn another_source_gives_nothing_until_it_has_answered() {
    let mut steering = Steering::default();
    step(&mut steering, Event::Head("a"), &[]);
    steering.forget_head();
    step(&mut steering, Event::Retry, &[]);
    assert_eq!(steering.target(), None);
    step(&mut steering, Event::Head("b"), &[]);
    assert_eq!(steering.target(), Some("b"));
}

fn step(steering: &mut Steering, event: Event<'_>, history: &[HistoryEntry]) {
    steering.step(event, history, None, "t").unwrap();
}

#[test]
fn a_failure_goes_back_once_and_a_new_commit_supersedes_it() {
    let mut history = Vec::new();
    let mut steering = Steering::default();
    ran(&mut history, "a", Ending::Healthy);
    step(&mut steering, Event::Head("b"), &history);
    steering.found_render("b", rendered("b"));
    ran(&mut history, "b", Ending::Unhealthy);
    step(&mut steering, failed("b"), &history);
    assert_eq!(steering.target(), Some("a"));
    let rollback = steering.rollback().unwrap();
    assert_eq!((rollback.instead_of.as_str(), &rollback.by), ("b", &None));
    // The revision that was rolled back to fails as well, and that ends it.
    ran(&mut history, "a", Ending::Unhealthy);
    step(&mut steering, failed("a"), &history);
    assert_eq!(steering.target(), Some("a"));
    // The agent restarts, and the source has the same revision as before.
    let mut restarted = Steering::restore(steering.rollback().cloned());
    assert_eq!((restarted.target(), restarted.rollback()), (None, None));
    step(&mut restarted, Event::Head("b"), &history);
    assert_eq!(restarted.target(), Some("a"));
    step(&mut restarted, Event::Head("c"), &history);
    assert_eq!(
        (restarted.target(), restarted.rollback()),
        (Some("c"), None)
    );
}

#[test]
fn nothing_is_gone_back_to_where_that_would_help_nobody() {
    let mut history = Vec::new();
    let mut steering = Steering::default();
    step(&mut steering, Event::Head("a"), &history);
    ran(&mut history, "a", Ending::Unhealthy);
    step(&mut steering, failed("a"), &history);
    assert_eq!(steering.target(), Some("a"), "nothing was ever healthy");
    ran(&mut history, "a", Ending::Healthy);
    step(&mut steering, Event::Head("b"), &history);
    let never = Event::Failed {
        revision: "b",
        rendered: rendered("b"),
        reason: "",
        policy: RollbackPolicy::Never,
    };
    step(&mut steering, never, &history);
    assert_eq!(steering.target(), Some("b"), "nobody asked for it");
    ran(&mut history, "b", Ending::Healthy);
    ran(&mut history, "b", Ending::Unhealthy);
    step(&mut steering, failed("b"), &history);
    assert_eq!(steering.target(), Some("b"), "it had been healthy");
}

#[test]
fn an_outage_after_a_commit_that_changes_nothing_is_no_reason_to_go_back() {
    let mut history = Vec::new();
    let mut steering = Steering::default();
    for revision in ["a1", "b1"] {
        step(&mut steering, Event::Head(revision), &history);
        ran(&mut history, revision, Ending::Healthy);
    }
    // It is healthy at once, and the history has no trace of it until something breaks.
    step(&mut steering, Event::Head("b2"), &history);
    ran(&mut history, "b2", Ending::Unhealthy);
    step(&mut steering, failed("b2"), &history);
    assert_eq!((steering.target(), steering.rollback()), (Some("b2"), None));
    // Changed settings are not the fault of a commit that was healthy before them.
    step(&mut steering, Event::Head("b3"), &history);
    steering.found_unchanged("b3");
    let otherwise = Event::Failed {
        revision: "b3",
        rendered: rendered("x"),
        reason: "",
        policy: RollbackPolicy::OnFailure,
    };
    step(&mut steering, otherwise, &history);
    assert_eq!((steering.target(), steering.rollback()), (Some("b3"), None));
    // A commit that changes something meanwhile and does not fix it is rolled back to what worked.
    step(&mut steering, Event::Head("c1"), &history);
    ran(&mut history, "c1", Ending::Unhealthy);
    step(&mut steering, failed("c1"), &history);
    assert_eq!(steering.target(), Some("b1"));
}

#[test]
fn what_another_source_gave_is_not_gone_back_to() {
    let [old, new] = ["old", "new"].map(|name| Some(Digest::of(name)));
    let mut history = Vec::new();
    let mut steering = Steering::default();
    ran_from(old, &mut history, "a", Ending::Healthy);
    ran_from(new, &mut history, "b", Ending::Unhealthy);
    let mut take = |event, origin| steering.step(event, &history, origin, "t");
    assert_eq!(take(Event::Head("b"), new), Ok(()));
    assert_eq!(take(failed("b"), new), Ok(()));
    assert_eq!(
        take(asked(None, None), new),
        Err(RollbackError::NoneHealthy)
    );
    assert_eq!(steering.rollback(), None);
    // The source is the earlier one again.
    let again = steering.step(failed("b"), &history, old, "t");
    assert_eq!(again, Ok(()));
    assert_eq!(steering.target(), Some("a"));
}

#[test]
fn a_person_goes_back_and_forth() {
    let mut history = Vec::new();
    let mut steering = Steering::default();
    let ask = |to| asked(to, None);
    let early = steering.step(ask(None), &history, None, "t");
    assert_eq!(early, Err(RollbackError::NoHead));
    for revision in ["a", "b", "c"] {
        step(&mut steering, Event::Head(revision), &history);
        ran(&mut history, revision, Ending::Healthy);
    }
    step(&mut steering, ask(None), &history);
    assert_eq!(steering.target(), Some("b"));
    // What was rolled back to is now the newest in the history, followed by what was rolled back.
    ran(&mut history, "b", Ending::Healthy);
    step(&mut steering, ask(None), &history);
    assert_eq!(steering.target(), Some("a"), "once more goes further back");
    let unknown = steering.step(ask(Some("z")), &history, None, "t");
    let unknown = unknown.unwrap_err();
    insta::assert_snapshot!(unknown, @"there is no z in its history to go back to");
    step(&mut steering, ask(Some("c")), &history);
    assert_eq!((steering.target(), steering.rollback()), (Some("c"), None));
    step(&mut steering, ask(Some("a")), &history);
    step(&mut steering, Event::Retry, &history);
    assert_eq!(steering.target(), Some("c"));
}

#[test]
fn what_was_decided_is_known_before_the_source_answers() {
    let rollback = Rollback {
        to: "a".to_owned(),
        instead_of: "b".to_owned(),
        by: None,
        reason: String::new(),
        since: "t".to_owned(),
        left_digest: None,
    };
    let mut steering = Steering::restore(Some(rollback.clone()));
    assert_eq!(steering.rollback(), None, "there may be a new commit");
    assert_eq!(steering.decided(), Some(&rollback));
    step(&mut steering, Event::Head("b"), &[]);
    assert_eq!(steering.rollback(), Some(&rollback));
    steering.forget_head();
    assert_eq!(steering.decided(), Some(&rollback));
    step(&mut steering, Event::Head("c"), &[]);
    assert_eq!(steering.decided(), None);
}

#[test]
fn a_commit_that_changes_nothing_is_not_what_is_gone_back_from() {
    let mut history = Vec::new();
    let mut steering = Steering::default();
    for revision in ["a", "b"] {
        step(&mut steering, Event::Head(revision), &history);
        ran(&mut history, revision, Ending::Healthy);
    }
    step(&mut steering, Event::Head("same"), &history);
    step(&mut steering, asked(None, None), &history);
    assert_eq!(steering.target(), Some("a"));
}

#[test]
fn what_renders_the_same_is_not_gone_back_to_unless_somebody_names_it() {
    let mut history = Vec::new();
    let mut steering = Steering::default();
    // The last two have entries of their own: the newer one was checked in full, as after a restart.
    for revision in ["a", "b1", "b2"] {
        step(&mut steering, Event::Head(revision), &history);
        ran(&mut history, revision, Ending::Healthy);
    }
    let ask = |to| asked(to, Some(rendered("b")));
    step(&mut steering, ask(Some("b1")), &history);
    assert_eq!(steering.target(), Some("b1"));
    // It goes on from there, and does the same from the source's current revision.
    for again in [false, true] {
        let mut steering = steering.clone();
        if again {
            step(&mut steering, Event::Retry, &history);
        }
        step(&mut steering, ask(None), &history);
        assert_eq!(steering.target(), Some("a"));
    }
    let same = earlier(&history[..2], None, None, None);
    assert_eq!(same, None, "there is nothing else");
}

#[test]
fn what_was_refused_before_anything_was_written_is_not_what_runs() {
    let mut history = Vec::new();
    for (revision, ending) in [
        ("a", Ending::Healthy),
        ("b", Ending::Healthy),
        ("c", Ending::Failed),
    ] {
        ran(&mut history, revision, ending);
    }
    let back = |begun: Option<&str>| {
        let earlier = earlier(&history, None, begun.map(rendered), None);
        earlier.map(|entry| entry.revision.as_str())
    };
    assert_eq!(back(Some("b")), Some("a"));
    assert_eq!(back(Some("c")), Some("b"), "it was written in part");
    // Nothing is known about what was written, or the history does not reach back to it.
    assert_eq!([back(None), back(Some("z"))], [Some("b"), Some("b")]);
    let mut steering = Steering::default();
    step(&mut steering, Event::Head("c"), &history);
    let asked = asked(None, Some(rendered("b")));
    step(&mut steering, asked, &history);
    assert_eq!(steering.target(), Some("a"));
}

#[test]
fn a_commit_that_comes_to_what_was_gone_back_from_supersedes_nothing() {
    let mut history = Vec::new();
    let mut steering = Steering::default();
    ran(&mut history, "a", Ending::Healthy);
    step(&mut steering, Event::Head("b1"), &history);
    steering.found_render("b1", rendered("b"));
    ran(&mut history, "b1", Ending::Unhealthy);
    step(&mut steering, failed("b1"), &history);
    let first = steering.rollback().cloned().unwrap();
    step(&mut steering, Event::Head("b2"), &history);
    // It has to be rendered, and until then the status keeps the decision.
    assert_eq!(steering.target(), Some("b2"));
    assert_eq!(
        (steering.rollback(), steering.decided()),
        (None, Some(&first))
    );
    assert_eq!(steering.left(), Some(rendered("b")));
    step(&mut steering, Event::SameAsLeft("b2"), &history);
    let still = Rollback {
        instead_of: "b2".into(),
        ..first
    };
    assert_eq!((steering.rollback(), steering.left()), (Some(&still), None));
    // A newer one arrived before it was rendered, so what that one renders is not known.
    step(&mut steering, Event::Head("b3"), &history);
    step(&mut steering, Event::Head("c1"), &history);
    step(&mut steering, Event::SameAsLeft("b3"), &history);
    assert_eq!(steering.target(), Some("c1"));
    steering.supersede();
    assert_eq!((steering.decided(), steering.left()), (None, None));
    step(&mut steering, Event::SameAsLeft("c1"), &history);
    assert_eq!(steering.target(), Some("c1"));
}

#[test]
fn a_reconciliation_and_what_was_gone_back_to_end_a_rollback() {
    let mut history = Vec::new();
    let mut steering = Steering::default();
    for revision in ["a", "b1"] {
        step(&mut steering, Event::Head(revision), &history);
        ran(&mut history, revision, Ending::Healthy);
    }
    for event in [Event::Retry, Event::Head("a")] {
        let mut steering = steering.clone();
        steering.found_render("b1", rendered("b"));
        step(&mut steering, asked(None, None), &history);
        step(&mut steering, Event::Head("b2"), &history);
        assert_eq!(steering.left(), Some(rendered("b")));
        step(&mut steering, event, &history);
        assert_eq!((steering.decided(), steering.left()), (None, None));
    }
    // What the newest one renders is not known, so any commit supersedes the rollback.
    for last in [None, Some("a")] {
        let mut steering = steering.clone();
        if let Some(last) = last {
            steering.found_render(last, rendered(last));
        }
        step(&mut steering, asked(None, None), &history);
        assert_eq!(steering.target(), Some("a"));
        step(&mut steering, Event::Head("b2"), &history);
        assert_eq!((steering.decided(), steering.left()), (None, None));
    }
}

#[test]
fn what_a_person_goes_back_from_is_known_whatever_the_history_has_of_it() {
    let mut history = Vec::new();
    let mut steering = Steering::default();
    ran(&mut history, "a", Ending::Healthy);
    // The second commit renders the same and continues the entry of the first.
    for revision in ["b1", "b2"] {
        step(&mut steering, Event::Head(revision), &history);
        ran(&mut history, revision, Ending::Unhealthy);
    }
    assert_eq!(history[0].revision, "b1");
    let asked = || asked(Some("a"), Some(rendered("b")));
    // Its run ended before the request, or is stopped by it.
    for is_over in [true, false] {
        let mut steering = steering.clone();
        if is_over {
            steering.found_render("b2", rendered("b"));
            step(&mut steering, asked(), &history);
        } else {
            step(&mut steering, asked(), &history);
            steering.found_render("b2", rendered("b"));
        }
        step(&mut steering, Event::Head("b3"), &history);
        assert_eq!(steering.left(), Some(rendered("b")));
        // Another request arrives before that is rendered.
        step(&mut steering, asked(), &history);
        assert_eq!(steering.target(), Some("a"));
        step(&mut steering, Event::Head("b4"), &history);
        assert_eq!(steering.left(), Some(rendered("b")));
    }
    // What another source gave says nothing about what this one gives.
    steering.found_render("b2", rendered("b"));
    steering.forget_head();
    step(&mut steering, Event::Head("b2"), &history);
    step(&mut steering, asked(), &history);
    step(&mut steering, Event::Head("b3"), &history);
    assert_eq!(steering.left(), None);
}

#[test]
fn what_an_older_agent_wrote_of_a_rollback_is_read() {
    let text = r#"{"to": "a", "insteadOf": "b", "reason": "", "since": "t"}"#;
    let rollback: Rollback = serde_json::from_str(text).unwrap();
    assert_eq!(rollback.left_digest, None);
    let mut steering = Steering::restore(Some(rollback));
    step(&mut steering, Event::Head("c"), &[]);
    assert_eq!((steering.target(), steering.decided()), (Some("c"), None));
}

#[derive(Debug, Clone)]
enum Happening {
    /// A commit. If it changes nothing that was read, nothing runs and nothing is recorded about it.
    Head(String),
    /// The target ran.
    Ran(Ending),
    Asked(Option<String>),
    Retry,
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    let ending = prop_oneof![
        Just(Ending::Healthy),
        Just(Ending::Unhealthy),
        Just(Ending::Failed)
    ];
    prop_oneof![
        3 => "[a-d][12]".prop_map(Happening::Head),
        4 => ending.prop_map(Happening::Ran),
        1 => prop::option::of("[a-d][12]").prop_map(Happening::Asked),
        1 => Just(Happening::Retry),
        1 => Just(Happening::Restart),
    ]
}

proptest! {
    #[test]
    fn there_is_no_loop_and_the_newest_commit_wins(happenings in prop::collection::vec(happening(), 0..80)) {
        let mut history = Vec::new();
        let mut steering = Steering::default();
        let mut head: Option<String> = None;
        let mut rendered_last: Option<String> = None;
        // How often the agent has rolled back by itself since a commit or a person last had a say.
        let mut by_itself = 0;
        // The objects in the cluster, if they have been healthy since they were written.
        let mut worked = None;
        for happening in happenings {
            let before = steering.clone();
            match happening {
                Happening::Head(new) => {
                    let is_new = head.as_ref() != Some(&new);
                    let changes_something = head.as_deref().map(rendered) != Some(rendered(&new));
                    // A branch that was reset to what had been rolled back.
                    let is_left = before.left.as_ref().is_some_and(|left| left.instead_of == new);
                    step(&mut steering, Event::Head(&new), &history);
                    if changes_something { by_itself = 0; }
                    if is_new && !is_left && before.head.is_some() {
                        prop_assert_eq!(steering.target(), Some(new.as_str()));
                    }
                    head = Some(new);
                }
                Happening::Ran(ending) => {
                    let Some(revision) = before.target() else { continue };
                    let objects = rendered(revision);
                    steering.found_render(revision, objects);
                    rendered_last = Some(revision.to_owned());
                    if before.left() == Some(objects) {
                        step(&mut steering, Event::SameAsLeft(revision), &history);
                        let to = before.decided().map(|left| left.to.as_str());
                        prop_assert_eq!(steering.target(), to, "somebody else's commit puts nothing back");
                    } else {
                        steering.supersede();
                        ran(&mut history, revision, ending);
                        if ending == Ending::Healthy {
                            worked = Some(objects);
                        } else {
                            step(&mut steering, failed(revision), &history);
                            worked = worked.filter(|worked| *worked == objects);
                        }
                        if steering.rollback() != before.rollback() {
                            by_itself += 1;
                            prop_assert_eq!(worked, None, "an outage is no fault of the commit");
                            let to = steering.rollback().map(|rollback| rendered(&rollback.to));
                            prop_assert_ne!(to, Some(objects));
                        }
                    }
                }
                Happening::Asked(to) => {
                    if steering.step(asked(to.as_deref(), None), &history, None, "t").is_ok() { by_itself = 0; }
                    if let Some(rollback) = steering.rollback() && rendered_last == head {
                        prop_assert_eq!(rollback.left_digest, head.as_deref().map(rendered));
                    }
                }
                Happening::Retry => { step(&mut steering, Event::Retry, &history); by_itself = 0; }
                Happening::Restart => {
                    steering = Steering::restore(steering.decided().cloned());
                    rendered_last = None;
                    if let Some(head) = &head { step(&mut steering, Event::Head(head), &history); }
                    prop_assert_eq!(&steering.rollback, &before.rollback);
                    prop_assert_eq!(&steering.left, &before.left);
                }
            }
            prop_assert!(by_itself <= 1, "two revisions take turns");
            prop_assert_eq!(steering.target().is_some(), head.is_some());
            if let Some(rollback) = steering.rollback() {
                prop_assert_ne!(&rollback.to, &rollback.instead_of);
                prop_assert_eq!(Some(&rollback.instead_of), head.as_ref());
            }
        }
    }
}
