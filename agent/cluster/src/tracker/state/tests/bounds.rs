//! Tests of how much is remembered.

use super::*;
use crate::tracker::state::bounds::{FULL, MOST};

impl Fixture {
    /// Sees so many objects more than are remembered.
    fn overflow(&mut self, more: usize) {
        for number in 0..MOST + more {
            let name = number.to_string();
            self.see(&name, observed(&name, 1, "s"));
        }
    }
}

#[test]
fn of_an_application_with_too_many_objects_nothing_is_said_of_the_rest() {
    let mut fixture = Fixture::new();
    fixture.overflow(0);
    assert!(fixture.is_gone("one more"));
    assert!(fixture.see("one more", observed("u", 1, "s")), "it is news");
    assert!(!fixture.see("another", observed("v", 1, "s")));
    assert!(!fixture.is_known("one more") && !fixture.is_known("another"));
    assert!(
        fixture.see("7", observed("7", 2, "t")),
        "it is known already"
    );
    assert_eq!(fixture.state.objects(), MOST);
    let problem = format!("ConfigMap of v1: {FULL}");
    let is_told = |fixture: &Fixture| {
        let unseen = fixture.state.unseen(LABEL);
        unseen.iter().any(|kind| kind.problem == problem)
    };
    assert!(is_told(&fixture));
    // Less than all is told, and then all.
    let gone = fixture.pass(&["a"]);
    assert!(gone.len() >= MOST, "{}", gone.len());
    assert!(!fixture.is_known("one more") && is_told(&fixture));
    assert_eq!(fixture.pass(&["a"]), ["all"]);
    assert!(fixture.is_gone("one more") && !is_told(&fixture));
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
