//! Tests of the objects that wait for health checks, and of the effects of verdicts.

use super::*;

/// The verdict on an object as a waiting caller sees it: what was said, and whether that is about the current state.
type Said = (Option<&'static str>, bool);

impl Fixture {
    /// Records an object, and returns the application that has to be served.
    fn unserved(&mut self, name: &str, observed: Observed, is_listed: bool) -> Option<u64> {
        let origin = if is_listed {
            Origin::List
        } else {
            Origin::Watch(&self.key, self.number)
        };
        let taken = take(&mut self.state, LABEL, name, observed, origin);
        taken.expect("it is not old").unserved
    }

    fn next_check(&mut self) -> Option<Check> {
        let number = self.state.apps.get(LABEL)?.number;
        self.state.next_check(LABEL, number)
    }

    /// Runs all waiting checks, and returns how many there were.
    fn check_all(&mut self, said: &str) -> usize {
        let mut count = 0;
        while let Some(check) = self.next_check() {
            self.answer(&check, said);
            count += 1;
        }
        count
    }

    /// Makes a check report that an object is healthy, with this message. Returns whether that is a change.
    fn answer(&mut self, check: &Check, said: &str) -> bool {
        let said = Assessment::new(Status::Healthy, said);
        self.state.judged(LABEL, check, said, None).is_some()
    }

    fn said(&self, name: &str, words: &[&'static str]) -> Said {
        let word = |said: &Assessment| words.iter().copied().find(|word| said.message == *word);
        match self.state.verdict(LABEL, &id(name)) {
            Some(Verdict::Now(said)) => (word(said), true),
            Some(Verdict::Unanswered { before, .. }) => (before.and_then(word), false),
            None => panic!("{name} is not known"),
        }
    }
}

fn version(check: &Check) -> &str {
    let Subject::Whole(whole) = &check.subject else {
        panic!("there is room for it");
    };
    let version = &whole.object()["metadata"]["resourceVersion"];
    version.as_str().unwrap_or_default()
}

#[test]
fn one_is_asked_to_serve_until_nothing_waits() {
    let mut fixture = Fixture::new();
    let number = fixture.unserved("a", observed("a", 1, "s"), false);
    assert!(number.is_some());
    assert_eq!(fixture.unserved("b", observed("b", 1, "s"), false), None);
    assert_eq!(fixture.said("a", &[]), (None, false));
    assert_eq!(fixture.check_all("well"), 2);
    assert_eq!(fixture.said("a", &["well"]), (Some("well"), true));
    assert_eq!(fixture.unserved("b", observed("b", 2, "s"), false), number);
}

#[test]
fn an_answer_of_before_is_no_answer_about_now() {
    let mut fixture = Fixture::new();
    let words = ["first", "third", "late"];
    fixture.see("a", observed("u", 1, "s"));
    let first = fixture.next_check().unwrap();
    for state in [2, 3] {
        fixture.see("a", observed("u", state, "s"));
    }
    assert!(fixture.answer(&first, "first"));
    assert_eq!(fixture.said("a", &words), (Some("first"), false));
    let third = fixture.next_check().unwrap();
    assert_eq!(version(&third), "3", "what came last waits");
    assert!(fixture.answer(&third, "third"));
    assert_eq!(fixture.said("a", &words), (Some("third"), true));
    assert!(!fixture.answer(&first, "late"));
    assert_eq!(fixture.said("a", &words), (Some("third"), true));
    assert!(fixture.next_check().is_none());
}

#[test]
fn who_waits_hears_of_an_answer_that_is_the_same_again() {
    let mut fixture = Fixture::new();
    fixture.see("a", observed("u", 1, "s"));
    fixture.check_all("well");
    fixture.see("a", observed("u", 2, "s"));
    let check = fixture.next_check().unwrap();
    let mut changes = fixture.state.changes_of(LABEL).unwrap();
    assert!(!fixture.answer(&check, "well"), "it is no event");
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    fixture.answer(&check, "well");
    assert!(!changes.has_changed().unwrap());
}

#[test]
fn what_is_told_again_is_checked_again_only_if_nothing_could_be_said() {
    let mut fixture = Fixture::new();
    fixture.see("a", observed("u", 1, "s"));
    fixture.see("a", observed("u", 1, "s"));
    let check = fixture.next_check().unwrap();
    fixture.see("a", observed("u", 1, "s"));
    assert!(fixture.next_check().is_none(), "its check is under way");
    let unknown = Assessment::new(Status::Unknown, "it has failed");
    fixture.state.judged(LABEL, &check, unknown, None);
    fixture.see("a", observed("u", 1, "s"));
    assert_eq!(
        fixture.said("a", &["it has failed"]),
        (Some("it has failed"), true)
    );
    assert_eq!(fixture.check_all("well"), 1);
    fixture.see("a", observed("u", 1, "s"));
    assert_eq!(fixture.check_all("well"), 0);
}

#[test]
fn by_other_rules_all_is_checked_again_and_what_is_under_way_does_not_count() {
    let mut fixture = Fixture::new();
    fixture.unserved("a", observed("u", 1, "s"), false);
    let before = fixture.next_check().unwrap();
    fixture.unserved("a", observed("u", 1, "s"), true);
    fixture.answer(&before, "by the old rules");
    assert!(!fixture.said("a", &[]).1);
    assert_eq!(fixture.check_all("well"), 1);
    fixture.unserved("a", observed("u", 1, "s"), true);
    assert_eq!(fixture.said("a", &["well"]), (Some("well"), false));
    assert_eq!(fixture.check_all("well"), 1);
    assert!(fixture.said("a", &[]).1);
}

#[test]
fn what_is_gone_is_not_checked_and_what_was_under_way_is_not_of_the_next() {
    let mut fixture = Fixture::new();
    fixture.see("a", observed("old", 1, "s"));
    let check = fixture.next_check().unwrap();
    fixture.see("b", observed("b", 1, "s"));
    fixture.state.remove(LABEL, &id("b"), "b");
    fixture.state.remove(LABEL, &id("a"), "old");
    assert!(!fixture.answer(&check, "of nothing"));
    assert!(fixture.next_check().is_none());
    fixture.see("a", observed("new", 2, "s"));
    assert!(!fixture.answer(&check, "of the old one"));
    assert_eq!(fixture.said("a", &["of the old one"]), (None, false));
    // No watch has reported that it is gone.
    let check = fixture.next_check().unwrap();
    fixture.see("a", observed("newest", 3, "s"));
    assert!(!fixture.answer(&check, "of the new one"));
    assert_eq!(fixture.said("a", &["of the new one"]), (None, false));
    assert_eq!(fixture.check_all("well"), 1);
}

#[test]
fn for_what_there_is_no_room_is_read_when_it_is_its_turn() {
    static ROOM: Room = Room::of(10);
    let mut fixture = Fixture::new();
    fixture.state.room = &ROOM;
    let is_whole = |check: &Check| matches!(&check.subject, Subject::Whole(_));
    let kind_of = |check: &Check| match &check.subject {
        Subject::Unread(kind) => Some(kind.clone()),
        Subject::Whole(_) => None,
    };
    for name in ["a", "b"] {
        fixture.see(name, observed(name, 1, "s"));
    }
    let first = fixture.next_check().unwrap();
    let second = fixture.next_check().unwrap();
    assert!(is_whole(&first));
    assert_eq!(kind_of(&second), Some(key().0));
    fixture.answer(&second, "well");
    assert_eq!(fixture.said("b", &["well"]), (Some("well"), true));
    fixture.state.check_again(LABEL, second);
    assert!(!is_whole(&fixture.next_check().unwrap()));
    // It is kept until its own recheck.
    let again = first.clone();
    drop(first);
    fixture.see("c", observed("c", 1, "s"));
    assert!(!is_whole(&fixture.next_check().unwrap()));
    drop(again);
    fixture.see("d", observed("d", 1, "s"));
    assert!(is_whole(&fixture.next_check().unwrap()));
}

#[test]
fn a_forgotten_application_takes_no_answer_and_gives_no_work() {
    let mut fixture = Fixture::new();
    fixture.see("a", observed("u", 1, "s"));
    let check = fixture.next_check().unwrap();
    let number = fixture.state.apps[LABEL].number;
    fixture.state.forget(LABEL);
    assert!(!fixture.answer(&check, "of before"));
    let opened = fixture.state.register(&release("web"), [key()].into());
    fixture.number = opened.open[0].1;
    fixture.see("a", observed("u", 1, "s"));
    assert!(!fixture.answer(&check, "of before"));
    assert_eq!(fixture.said("a", &["of before"]), (None, false));
    assert!(fixture.state.next_check(LABEL, number).is_none());
    assert_eq!(fixture.check_all("well"), 1);
}

#[test]
fn time_alone_makes_no_answer_invalid() {
    let mut fixture = Fixture::new();
    fixture.see("a", observed("u", 1, "s"));
    let first = fixture.next_check().unwrap();
    fixture.answer(&first, "well");
    let again = |fixture: &mut Fixture| {
        let unserved = fixture.state.check_again(LABEL, first.clone());
        unserved.is_some()
    };
    assert!(fixture.next_check().is_none());
    assert!(again(&mut fixture));
    assert_eq!(fixture.said("a", &["well"]), (Some("well"), true));
    assert!(!again(&mut fixture), "it waits already");
    let timed = fixture.next_check().unwrap();
    fixture.see("a", observed("u", 2, "s"));
    fixture.answer(&timed, "late");
    assert_eq!(fixture.said("a", &["late"]), (Some("late"), false));
    assert_eq!(fixture.check_all("well"), 1);
    assert!(!again(&mut fixture), "it is another now");
}

#[tokio::test]
async fn an_object_is_looked_at_again_only_as_it_was_seen_last() {
    let mut fixture = Fixture::new();
    let answer = |fixture: &mut Fixture, check: &Check| {
        let task = tokio::spawn(std::future::pending::<()>());
        let again = Some(AbortOnDrop(task.abort_handle()));
        let said = Assessment::new(Status::Progressing, "on its way");
        fixture.state.judged(LABEL, check, said, again);
        task
    };
    let ended = async |which: &str, task: tokio::task::JoinHandle<()>| {
        let ended = tokio::time::timeout(std::time::Duration::from_secs(10), task).await;
        let error = ended.expect(which).expect_err(which);
        assert!(error.is_cancelled(), "{which}");
    };
    fixture.see("a", observed("u", 1, "s"));
    let first = fixture.next_check().unwrap();
    fixture.see("a", observed("u", 2, "s"));
    ended("of a state before", answer(&mut fixture, &first)).await;
    let second = fixture.next_check().unwrap();
    let timer = answer(&mut fixture, &second);
    ended("of a check before", answer(&mut fixture, &second)).await;
    fixture.see("a", observed("u", 2, "s"));
    assert!(!timer.is_finished(), "it is told again as it is");
    fixture.see("a", observed("u", 3, "s"));
    ended("of what it was", timer).await;
    let third = fixture.next_check().unwrap();
    let timer = answer(&mut fixture, &third);
    fixture.state.remove(LABEL, &id("a"), "u");
    ended("of what is gone", timer).await;
}
