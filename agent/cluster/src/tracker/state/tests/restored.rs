//! Tests of what is made of a cluster that was restored from a backup.

use std::time::Duration;

use super::*;

impl Fixture {
    /// Begins a new pass, and tells of an object in a state. Returns whether the objects are to be listed.
    fn tell_again(&mut self, version: u64, stored: &str) -> bool {
        self.state.restarted(&self.key, self.number);
        self.is_doubted(version, stored)
    }

    fn is_doubted(&mut self, version: u64, stored: &str) -> bool {
        let origin = Origin::Watch(&self.key, self.number);
        let seen = observed("u", version, stored);
        let taken = take(&mut self.state, LABEL, "a", seen, origin);
        taken.is_some_and(|taken| taken.doubted == Some(key()))
    }

    /// Returns which watches are to be opened after an object was listed in a state.
    fn list(&mut self, version: u64, stored: &str) -> Vec<(WatchKey, u64)> {
        let seen = observed("u", version, stored);
        let taken = take(&mut self.state, LABEL, "a", seen, Origin::List);
        taken.map(|taken| taken.reopened).unwrap_or_default()
    }

    fn stored(&self) -> Option<Digest> {
        self.state
            .observed(LABEL, &id("a"))
            .and_then(|known| known.stored)
    }
}

#[test]
fn what_a_new_pass_and_a_list_say_is_older_is_what_there_is() {
    let mut fixture = Fixture::new();
    fixture.see("a", observed("u", 100, "new"));
    assert!(fixture.tell_again(5, "old"));
    assert!(!fixture.is_known("a"), "it is in doubt");
    let complete = fixture.state.complete(&fixture.key, fixture.number);
    assert!(complete.is_empty(), "it is not gone");
    assert_eq!(fixture.stored(), Some(Digest::of("new")));
    let reopened = fixture.list(5, "old");
    assert_eq!(fixture.stored(), Some(Digest::of("old")));
    let [(reopened, number)] = &reopened[..] else {
        panic!("there is one watch");
    };
    assert_eq!(*reopened, key());
    assert!(
        !fixture.see("a", observed("u", 6, "x")),
        "its watch is closed"
    );
    fixture.number = *number;
    assert!(fixture.see("a", observed("u", 6, "newer")));
    assert!(fixture.list(6, "newer").is_empty(), "that was all");
}

#[test]
fn a_watch_that_begins_with_what_was_before_is_only_behind() {
    let mut fixture = Fixture::new();
    fixture.see("a", observed("u", 100, "new"));
    assert!(fixture.tell_again(90, "old"));
    assert!(fixture.list(100, "new").is_empty());
    assert_eq!(fixture.stored(), Some(Digest::of("new")));
    // What is told while it is listed is newer than the list.
    let mut fixture = Fixture::new();
    fixture.see("a", observed("u", 100, "new"));
    assert!(fixture.tell_again(90, "old"));
    assert!(fixture.see("a", observed("u", 101, "newer")));
    assert!(fixture.list(100, "new").is_empty());
    assert_eq!(fixture.stored(), Some(Digest::of("newer")));
}

#[test]
fn an_answer_that_comes_before_the_watch_tells_is_no_reason_to_doubt_it() {
    let mut fixture = Fixture::new();
    fixture.see("a", observed("u", 5, "old"));
    fixture.feed("a", observed("u", 7, "new"));
    assert!(!fixture.is_doubted(6, "between"));
    assert!(fixture.list(6, "between").is_empty());
    assert_eq!(fixture.stored(), Some(Digest::of("new")));
}

#[test]
fn a_watch_that_goes_back_by_itself_is_doubted_now_and_then() {
    let mut fixture = Fixture::new();
    fixture.see("a", observed("u", 7, "new"));
    assert!(fixture.is_doubted(6, "old"));
    assert!(!fixture.is_doubted(6, "old"), "it was just listed");
    let earlier = |at: Instant| at.checked_sub(Duration::from_secs(10)).unwrap();
    fixture.state.doubted = fixture.state.doubted.map(earlier);
    assert!(fixture.is_doubted(6, "old"));
}
