//! Tests of how much is remembered.

use super::*;
use crate::tracker::state::bounds::{FULL, MOST};

impl Fixture {
    /// Sees `more` objects than are remembered.
    fn overflow(&mut self, more: usize) {
        for number in 0..MOST + more {
            let name = number.to_string();
            self.see(&name, observed(&name, 1, "s"));
        }
    }

    /// Reserves places for these objects. Returns the watches whose objects have to be listed because of that.
    fn reserve(&mut self, names: &[&str]) -> Vec<(WatchKey, u64)> {
        let ids: Vec<ObjectId> = names.iter().map(|name| id(name)).collect();
        self.state.reserve(LABEL, ids.iter()).unlisted
    }
}

#[test]
fn of_an_application_with_too_many_objects_nothing_is_said_of_the_rest() {
    let mut fixture = Fixture::new();
    fixture.overflow(0);
    assert!(fixture.is_gone("one more"));
    assert!(!fixture.see("one more", observed("u", 1, "s")));
    assert!(!fixture.see("another", observed("v", 1, "s")));
    assert!(!fixture.is_known("one more") && !fixture.is_known("another"));
    assert!(
        fixture.see("7", observed("7", 2, "t")),
        "it is known already"
    );
    assert_eq!(fixture.state.objects(), MOST);
    let is_told =
        |fixture: &Fixture| fixture.state.problem_of(LABEL, &id("one more")) == Some(FULL);
    assert!(is_told(&fixture));
    // Less than everything is reported, and then everything.
    let gone = fixture.pass(&["a"]);
    assert!(gone.len() >= MOST, "{}", gone.len());
    assert!(!fixture.is_known("one more") && is_told(&fixture));
    assert!(fixture.pass(&["a"]).is_empty());
    assert!(fixture.is_gone("one more") && !is_told(&fixture));
}

#[test]
fn what_is_recorded_has_a_place_however_many_others_there_are() {
    let mut fixture = Fixture::new();
    assert!(fixture.reserve(&["mine", "missing"]).is_empty());
    fixture.overflow(1);
    assert!(fixture.see("mine", observed("mine", 1, "s")));
    assert!(fixture.is_known("mine") && !fixture.is_gone("mine"));
    assert!(fixture.is_gone("missing"), "it would have a place");
    assert!(!fixture.is_known("one more"));
    assert_eq!(fixture.state.problem_of(LABEL, &id("mine")), None);
    assert_eq!(fixture.state.unseen(LABEL), []);
}

#[test]
fn what_was_left_out_before_it_was_recorded_is_listed() {
    let mut fixture = Fixture::new();
    fixture.overflow(1);
    assert!(!fixture.see("mine", observed("mine", 1, "s")));
    let unlisted = fixture.reserve(&["mine", "7"]);
    let [(watch, number)] = &unlisted[..] else {
        panic!("it was left out, and is told by nobody else");
    };
    assert!(fixture.reserve(&["mine", "7"]).is_empty(), "once is enough");
    let mine = observed("mine", 1, "s");
    let listed = take(&mut fixture.state, LABEL, "mine", mine, Origin::List);
    assert!(is_event(listed));
    assert!(fixture.state.listed(LABEL, watch, *number).is_some());
    assert!(fixture.is_known("mine") && !fixture.is_gone("mine"));
}

#[test]
fn what_is_recorded_no_more_takes_no_place_beyond_the_bound() {
    let mut fixture = Fixture::new();
    fixture.reserve(&["mine"]);
    fixture.overflow(0);
    fixture.see("mine", observed("mine", 1, "s"));
    assert_eq!(fixture.state.objects(), MOST + 1);
    fixture.reserve(&["7"]);
    assert_eq!(fixture.state.objects(), MOST);
    assert!(fixture.state.observed(LABEL, &id("7")).is_some());
    // It is not certain which one was dropped, only that it does not count as gone.
    let others = (0..MOST).map(|number| number.to_string());
    let mut all = others.chain(["mine".to_owned()]);
    assert!(!all.any(|name| fixture.is_gone(&name)));
}

#[test]
fn what_was_left_out_is_listed_when_there_is_room() {
    let mut fixture = Fixture::new();
    fixture.overflow(1);
    let register = |fixture: &mut Fixture| {
        let registration = fixture.state.register(&release("web"), [key()].into());
        registration.backlog.unlisted.len()
    };
    assert_eq!(register(&mut fixture), 0);
    for number in 0..MOST {
        let name = number.to_string();
        fixture.state.remove(LABEL, &id(&name), &name);
    }
    assert_eq!(register(&mut fixture), 1);
    assert_eq!(register(&mut fixture), 0, "once is enough");
}

#[test]
fn what_is_no_version_of_a_watch_and_what_was_another_object_are_not_kept() {
    let mut fixture = Fixture::new();
    for number in 0..10 {
        let (name, object) = (number.to_string(), Arc::new(serde_json::json!({})));
        let observed = observed(&name, 1, "s");
        let incoming = Incoming {
            label: LABEL,
            id: id("a"),
            observed: Observed {
                stored: None,
                ..observed
            },
            object: &object,
            weight: 0,
            version: &name,
            origin: Origin::Watch(&fixture.key, fixture.number),
            at: Instant::now(),
        };
        fixture.state.take(incoming);
    }
    assert!(fixture.state.versions.is_empty());
    assert_eq!(fixture.state.disowned.len(), 1);
    fixture.see("b", observed("b", 1, "s"));
    assert_eq!(fixture.state.versions.len(), 1);
}
