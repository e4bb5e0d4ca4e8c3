//! Tests of what an application has to catch up on.

use super::*;

const API: &str = "shop.api";

/// Returns another kind.
fn secrets() -> WatchKey {
    (ResourceType::secrets(), None)
}

/// Returns the number with which the objects of a watch have to be listed.
fn number_of(backlog: &Backlog, key: &WatchKey) -> Option<u64> {
    let mut unlisted = backlog.unlisted.iter();
    let found = unlisted.find(|(unlisted, _)| unlisted == key);
    found.map(|(_, number)| *number)
}

impl Fixture {
    /// Creates a fixture that also has a watch of Secrets, which has reported that there are none. Returns the number of that
    /// watch, too.
    fn with_secrets() -> (Self, u64) {
        let mut fixture = Self::new();
        let both = [key(), secrets()].into();
        let registration = fixture.state.register(&release("web"), both);
        assert_eq!(
            registration.backlog,
            Backlog::default(),
            "it has missed nothing"
        );
        let [(_, number)] = &registration.open[..] else {
            panic!("one watch is new");
        };
        fixture.state.restarted(&secrets(), *number);
        fixture.state.complete(&secrets(), *number);
        (fixture, *number)
    }

    /// Marks all objects to be examined again. Returns the numbers with which those of the two kinds have to be listed.
    fn look_again(&mut self) -> [u64; 2] {
        let backlog = self.state.begin_catching_up(LABEL);
        let number = |key: WatchKey| number_of(&backlog, &key).expect("all are to be listed");
        [key(), secrets()].map(number)
    }

    /// Reports that the objects of a watch were listed. Returns whether that counts.
    fn listed(&mut self, key: &WatchKey, number: u64) -> bool {
        let event = self.state.listed(LABEL, key, number);
        assert!(event.is_none() || event == Some(sight()));
        event.is_some()
    }

    /// Returns for which of the two kinds something is known.
    fn known_kinds(&self) -> [bool; 2] {
        ["ConfigMap", "Secret"].map(|kind| {
            let id = ObjectId {
                kind: kind.into(),
                ..id("a")
            };
            !matches!(self.state.known(LABEL, &id, None), Known::Nothing)
        })
    }
}

#[test]
fn nothing_is_said_about_an_application_until_what_was_missed_is_known() {
    let mut fixture = Fixture::new();
    fixture.state.early.keep(API, "u", &serde_json::json!({}));
    let api = release("api");
    let registration = fixture.state.register(&api, [key()].into());
    assert_eq!(registration.backlog.unlisted, []);
    let Some((objects, number)) = registration.backlog.kept else {
        panic!("one was kept");
    };
    assert_eq!(objects.len(), 1);
    assert!(matches!(
        fixture.state.known(API, &id("a"), None),
        Known::Nothing
    ));
    assert!(fixture.state.is_coming(API));
    assert_eq!(fixture.state.unsynced(API).len(), 1);
    assert_eq!(
        fixture.state.taken_up(API, number + 1),
        None,
        "another of that name"
    );
    assert!(fixture.state.is_coming(API));
    assert!(fixture.state.taken_up(API, number).is_some());
    assert!(matches!(
        fixture.state.known(API, &id("a"), None),
        Known::Gone
    ));
    assert!(!fixture.state.is_coming(API));
    assert!(fixture.state.unsynced(API).is_empty());
    // Registered again, it has missed nothing.
    let again = fixture.state.register(&api, [key()].into());
    assert_eq!(again.backlog, Backlog::default());
}

#[test]
fn all_objects_are_looked_at_again_by_other_rules() {
    let mut fixture = Fixture::new();
    let mut other = release("web");
    let rule = serde_json::json!({"ignore": [{"pointers": ["/data"]}]});
    other.drift = serde_json::from_value(rule).unwrap();
    let register = |fixture: &mut Fixture| fixture.state.register(&other, [key()].into()).backlog;
    let first = number_of(&register(&mut fixture), &key()).unwrap();
    assert!(fixture.state.is_unlisted(LABEL, &key(), first));
    let again = register(&mut fixture);
    assert_eq!(again, Backlog::default(), "once is enough");
    let others_again = fixture.state.begin_catching_up(LABEL);
    let second = number_of(&others_again, &key()).unwrap();
    assert!(!fixture.state.is_unlisted(LABEL, &key(), first));
    assert!(!fixture.listed(&key(), first));
    assert!(!fixture.is_known("a"), "some may be judged by those before");
    assert!(fixture.listed(&key(), second));
    assert!(fixture.is_gone("a"));
    let unknown = fixture.state.begin_catching_up("shop.unknown");
    assert_eq!(unknown, Backlog::default());
}

#[test]
fn a_kind_that_cannot_be_listed_says_nothing_against_another() {
    let (mut fixture, number) = Fixture::with_secrets();
    assert_eq!(fixture.known_kinds(), [true, true]);
    let [first, second] = fixture.look_again();
    assert_eq!(fixture.known_kinds(), [false, false]);
    assert!(fixture.listed(&key(), first));
    assert_eq!(fixture.known_kinds(), [true, false]);
    assert!(fixture.state.is_coming(LABEL), "its watch works");
    let unsynced = fixture.state.unsynced(LABEL);
    assert_eq!(
        unsynced,
        ["Secret of v1: its objects have not been listed yet"]
    );
    let refused = failure("no", true);
    fixture.state.failed(&secrets(), number, refused);
    assert!(fixture.state.is_coming(LABEL), "it may be back in a moment");
    fixture.state.lost(&secrets(), number);
    assert!(!fixture.state.is_coming(LABEL));
    assert_eq!(fixture.state.unsynced(LABEL), ["Secret of v1: no"]);
    assert_eq!(fixture.known_kinds(), [true, false]);
    fixture.state.resumed(&secrets(), number);
    assert!(fixture.state.is_coming(LABEL));
    assert_eq!(fixture.known_kinds(), [true, false]);
    assert!(fixture.listed(&secrets(), second));
    assert!(!fixture.state.is_coming(LABEL));
    assert!(fixture.state.unsynced(LABEL).is_empty());
    assert_eq!(fixture.known_kinds(), [true, true]);
}

#[test]
fn a_kind_that_is_not_used_any_more_is_listed_when_it_is_used_again() {
    let (mut fixture, _) = Fixture::with_secrets();
    // The watch stays open for another application, and does not report everything again.
    fixture.state.register(&release("api"), [secrets()].into());
    let [first, second] = fixture.look_again();
    assert!(fixture.listed(&key(), first));
    let register = |fixture: &mut Fixture, keys: &[WatchKey]| {
        let keys = keys.iter().cloned().collect();
        fixture.state.register(&release("web"), keys).backlog
    };
    assert_eq!(register(&mut fixture, &[key()]), Backlog::default());
    assert!(!fixture.state.is_unlisted(LABEL, &secrets(), second));
    assert!(!fixture.listed(&secrets(), second));
    assert!(!fixture.state.is_coming(LABEL));
    assert_eq!(fixture.known_kinds(), [true, false], "it has no watch");
    let backlog = register(&mut fixture, &[key(), secrets()]);
    assert_eq!(number_of(&backlog, &key()), None);
    let third = number_of(&backlog, &secrets()).unwrap();
    assert!(!fixture.listed(&secrets(), second), "that began before");
    assert_eq!(fixture.known_kinds(), [true, false]);
    assert!(fixture.listed(&secrets(), third));
    assert_eq!(fixture.known_kinds(), [true, true]);
    assert!(!fixture.listed(&secrets(), third), "once is enough");
}

#[test]
fn who_lists_for_an_application_that_was_forgotten_ends() {
    let mut fixture = Fixture::new();
    let backlog = fixture.state.begin_catching_up(LABEL);
    let first = number_of(&backlog, &key()).unwrap();
    fixture.state.forget(LABEL);
    assert!(!fixture.state.is_unlisted(LABEL, &key(), first));
    let registration = fixture.state.register(&release("web"), [key()].into());
    let second = number_of(&registration.backlog, &key()).unwrap();
    assert!(!fixture.state.is_unlisted(LABEL, &key(), first));
    assert!(fixture.state.is_unlisted(LABEL, &key(), second));
    assert!(!fixture.listed(&key(), first));
}

#[test]
fn the_objects_of_many_applications_are_listed_together() {
    let mut state = State::default();
    assert!(state.begin_listing(&key()));
    assert!(!state.begin_listing(&key()), "once is enough");
    assert!(state.begin_listing(&secrets()), "another kind");
    for number in 0..120 {
        let release = release(&number.to_string());
        let both = [key(), secrets()].into();
        state.register(&release, both);
        state.begin_catching_up(&release.application.label_value());
    }
    let mut sizes = Vec::new();
    loop {
        let next = state.next_unlisted(&key());
        if next.is_empty() {
            break;
        }
        assert_eq!(state.next_unlisted(&key()), next, "they are not listed yet");
        for one in &next {
            assert!(state.listed(&one.label, &key(), one.number).is_some());
        }
        sizes.push(next.len());
    }
    assert_eq!(sizes, [50, 50, 20]);
    assert!(state.begin_listing(&key()), "who listed has ended");
    assert!(!state.begin_listing(&secrets()));
}
