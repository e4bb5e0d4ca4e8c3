//! Tests of what a tracker knows.

mod bounds;
mod catching_up;
mod checking;

use super::*;
use futures::FutureExt as _;
use pintle_core::{
    digest::Digest,
    health::{Assessment, Status},
    seed::Seed,
};

const LABEL: &str = "shop.web";

fn key() -> WatchKey {
    (ResourceType::config_maps(), None)
}

/// Returns the same kind at another version.
fn at_beta() -> WatchKey {
    let resource = ResourceType {
        version: "v1beta1".into(),
        ..ResourceType::config_maps()
    };
    (resource, None)
}

fn id(name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: Some("shop".into()),
        name: name.into(),
    }
}

fn release(name: &str) -> Release {
    Release::new(ApplicationName::new("shop", name), Seed::from_text("s"))
}

fn observed(uid: &str, version: u64, stored: &str) -> Observed {
    Observed {
        uid: uid.into(),
        resource_version: version.to_string().into(),
        stored: Some(Digest::of(stored)),
        assessment: Assessment::new(Status::Healthy, ""),
        managers: Box::default(),
        deleting: false,
    }
}

fn name(event: TrackEvent) -> String {
    match event {
        TrackEvent::Object { id, .. } => id.name,
        TrackEvent::Sight { .. } => "all".to_owned(),
    }
}

fn sight() -> TrackEvent {
    TrackEvent::Sight {
        application: ApplicationName::new("shop", "web"),
    }
}

fn failure(text: &str, is_refused: bool) -> Failure {
    Failure {
        text: text.into(),
        is_refused,
        is_unserved: false,
    }
}

/// Records an object.
fn take(
    state: &mut State,
    label: &str,
    name: &str,
    observed: Observed,
    origin: Origin<'_>,
) -> Option<Taken> {
    let version = match origin {
        Origin::Watch(key, _) => key.0.api_version(),
        Origin::Answer | Origin::List => "v1".to_owned(),
    };
    let object = serde_json::json!({
        "metadata": {"uid": observed.uid, "resourceVersion": observed.resource_version},
    });
    state.take(Incoming {
        label,
        id: id(name),
        observed,
        object: &Arc::new(object),
        weight: 10,
        version: &version,
        origin,
        at: Instant::now(),
    })
}

fn is_event(taken: Option<Taken>) -> bool {
    taken.is_some_and(|taken| taken.event.is_some())
}

struct Fixture {
    state: State,
    key: WatchKey,
    number: u64,
}

impl Fixture {
    /// Creates a state with one application and a watch that has reported that there is nothing.
    fn new() -> Self {
        let mut state = State::default();
        let opened = state.register(&release("web"), [key()].into());
        let mut fixture = Self {
            state,
            key: key(),
            number: opened.open[0].1,
        };
        assert_eq!(fixture.pass(&[]), ["all"], "nothing was certain before");
        fixture
    }

    fn see(&mut self, name: &str, observed: Observed) -> bool {
        let origin = Origin::Watch(&self.key, self.number);
        is_event(take(&mut self.state, LABEL, name, observed, origin))
    }

    fn feed(&mut self, name: &str, observed: Observed) -> bool {
        let origin = Origin::Answer;
        is_event(take(&mut self.state, LABEL, name, observed, origin))
    }

    /// Reports everything again, and returns what turned out to be gone.
    fn pass(&mut self, names: &[&str]) -> Vec<String> {
        self.state.restarted(&self.key, self.number);
        for name in names {
            self.see(name, observed(name, 1, "s"));
        }
        self.state
            .complete(&self.key, self.number)
            .into_iter()
            .map(name)
            .collect()
    }

    fn fail(&mut self, text: &str, is_refused: bool) -> bool {
        let failure = failure(text, is_refused);
        self.state.failed(&self.key, self.number, failure)
    }

    fn lose(&mut self) -> Vec<TrackEvent> {
        self.state.lost(&self.key, self.number)
    }

    fn resume(&mut self) -> Vec<TrackEvent> {
        self.state.resumed(&self.key, self.number)
    }

    fn is_known(&self, name: &str) -> bool {
        !matches!(self.state.known(LABEL, &id(name), None), Known::Nothing)
    }

    fn is_gone(&self, name: &str) -> bool {
        matches!(self.state.known(LABEL, &id(name), None), Known::Gone)
    }
}

#[test]
fn that_an_object_is_missing_is_known_only_when_everything_was_told() {
    let mut state = State::default();
    state.register(&release("web"), [key()].into());
    assert!(matches!(state.known(LABEL, &id("a"), None), Known::Nothing));
    assert_eq!(
        state.unsynced(LABEL),
        ["ConfigMap of v1: the API server has not answered yet"]
    );
    assert!(Fixture::new().is_gone("a"));
}

#[test]
fn what_a_new_list_does_not_have_is_gone() {
    let mut fixture = Fixture::new();
    assert!(fixture.pass(&["a", "b"]).is_empty());
    assert_eq!(fixture.state.out_of_sight_so_far(LABEL), 0);
    assert_eq!(fixture.pass(&["b"]), ["a"]);
    assert!(fixture.is_gone("a") && !fixture.is_gone("b"));
    assert_eq!(fixture.state.out_of_sight_so_far(LABEL), 1);
    assert!(
        !fixture.feed("a", observed("a", 1, "s")),
        "told before that"
    );
    assert!(fixture.is_gone("a"));
}

#[test]
fn only_what_matters_is_an_event() {
    let mut fixture = Fixture::new();
    assert!(fixture.see("a", observed("u", 1, "s")));
    assert!(
        !fixture.see("a", observed("u", 2, "s")),
        "another state of fields that are not ours"
    );
    assert!(fixture.see("a", observed("u", 3, "drifted")));
    assert!(fixture.see("a", observed("made again", 4, "drifted")));
}

#[test]
fn an_answer_that_is_late_changes_nothing() {
    let mut fixture = Fixture::new();
    fixture.see("a", observed("u", 5, "new"));
    assert!(!fixture.feed("a", observed("u", 4, "old")));
    let removed = fixture.state.remove(LABEL, &id("a"), "u");
    assert_eq!(removed.len(), 1);
    assert!(!fixture.feed("a", observed("u", 6, "of one that is gone")));
    assert!(fixture.is_gone("a"));
    assert!(fixture.feed("a", observed("another", 7, "s")));
}

#[test]
fn an_object_that_has_its_label_again_is_told_of_by_answers_again() {
    let mut fixture = Fixture::new();
    let version = |fixture: &Fixture| {
        let known = fixture.state.observed(LABEL, &id("a"));
        known.map(|known| known.resource_version.to_string())
    };
    fixture.see("a", observed("u", 1, "s"));
    // A watch that selects the label takes the loss of the label for a deletion.
    fixture.state.remove(LABEL, &id("a"), "u");
    fixture.feed("a", observed("u", 2, "s"));
    assert_eq!(version(&fixture), None);
    fixture.see("a", observed("u", 2, "s"));
    fixture.feed("a", observed("u", 3, "s"));
    assert_eq!(version(&fixture).as_deref(), Some("3"));
    let verdict = fixture.state.verdict(LABEL, &id("a"));
    assert!(matches!(verdict, Some(Verdict::Unanswered { .. })));
    let listed = observed("u", 4, "s");
    take(&mut fixture.state, LABEL, "a", listed, Origin::List);
    assert_eq!(version(&fixture).as_deref(), Some("4"));
}

#[test]
fn an_object_that_has_its_label_again_before_its_application_is_known_is_taken_up() {
    let mut state = State::default();
    state.register(&release("api"), [key()].into());
    state.remove(LABEL, &id("a"), "u");
    let object = serde_json::json!({"metadata": {"uid": "u"}});
    let early = state.registered_or_early(LABEL, "u", Some(&object));
    assert!(early.is_err(), "it is kept");
    state.register(&release("web"), [key()].into());
    let (seen, origin) = (observed("u", 2, "s"), Origin::Answer);
    assert!(is_event(take(&mut state, LABEL, "a", seen, origin)));
}

#[test]
fn an_object_that_was_just_applied_is_not_gone_because_a_list_began_before() {
    let mut fixture = Fixture::new();
    fixture.state.restarted(&fixture.key, fixture.number);
    assert!(fixture.feed("a", observed("u", 9, "s")));
    assert!(
        fixture
            .state
            .complete(&fixture.key, fixture.number)
            .is_empty()
    );
    assert_eq!(fixture.pass(&[]), ["a"]);
}

#[test]
fn the_deletion_of_an_earlier_object_of_that_name_is_not_that_of_the_new_one() {
    let mut fixture = Fixture::new();
    fixture.see("a", observed("new", 5, "s"));
    assert!(fixture.state.remove(LABEL, &id("a"), "old").is_empty());
    assert!(fixture.state.remove_everywhere(&id("a"), "old").is_empty());
    assert_eq!(fixture.state.remove_everywhere(&id("a"), "new").len(), 1);
}

#[test]
fn an_object_whose_label_names_another_application_is_lost() {
    let mut fixture = Fixture::new();
    fixture.see("a", observed("u", 5, "s"));
    let mut lose = |label| {
        let appliers = ["kubectl", "pintle/shop/web"].into_iter();
        fixture.state.lose(appliers, label, &id("a"), "u").len()
    };
    assert_eq!(lose(LABEL), 0);
    assert_eq!(lose("shop.api"), 1);
    assert!(fixture.is_gone("a"));
}

#[test]
fn an_object_that_is_handed_over_is_lost_although_nothing_on_it_names_its_old_owner() {
    let mut fixture = Fixture::new();
    let disowned = |version| Observed {
        stored: None,
        ..observed("u", version, "s")
    };
    let lose = |fixture: &mut Fixture| {
        let appliers = ["pintle/shop/api"].into_iter();
        let state = &mut fixture.state;
        state.lose(appliers, "shop.api", &id("a"), "u").len()
    };
    fixture.see("a", observed("u", 5, "s"));
    fixture.see("a", disowned(6));
    assert!(!fixture.is_gone("a"), "it carries the label yet");
    assert_eq!(lose(&mut fixture), 1);
    assert!(fixture.is_gone("a"));
    assert_eq!(lose(&mut fixture), 0);
    fixture.see("a", disowned(7));
    fixture.see("a", observed("u", 8, "s"));
    assert!(fixture.state.disowned.is_empty(), "it was applied again");
    // Nothing is kept about what is gone.
    fixture.see("a", disowned(9));
    assert_eq!(fixture.pass(&[]), ["a"]);
    assert!(fixture.state.disowned.is_empty());
    fixture.see("a", disowned(10));
    fixture.state.remove(LABEL, &id("a"), "u");
    assert!(fixture.state.disowned.is_empty());
    fixture.see("a", disowned(11));
    fixture.state.forget(LABEL);
    assert!(fixture.state.disowned.is_empty());
}

#[test]
fn watches_open_once_and_close_when_nobody_needs_them() {
    let mut state = State::default();
    assert_eq!(
        state.register(&release("web"), [key()].into()).open.len(),
        1
    );
    assert_eq!(
        state.register(&release("api"), [key()].into()).open.len(),
        0
    );
    state.forget("shop.web");
    assert_eq!(state.open_watches(), 1);
    state.register(&release("api"), BTreeSet::new());
    assert_eq!(state.open_watches(), 0);
}

proptest::proptest! {
    #[test]
    fn those_watches_are_open_that_an_application_needs(
        steps in proptest::collection::vec(
            (0..4_u8, proptest::option::of(proptest::collection::btree_set(0..3_usize, 0..3))),
            0..24,
        )
    ) {
        let of_namespace = (ResourceType::config_maps(), Some("shop".to_owned()));
        let all = [key(), at_beta(), of_namespace];
        let mut state = State::default();
        let mut needed: BTreeMap<u8, BTreeSet<WatchKey>> = BTreeMap::new();
        for (app, wanted) in steps {
            let release = release(&app.to_string());
            if let Some(wanted) = wanted {
                let keys: BTreeSet<WatchKey> = wanted.iter().map(|one| all[*one].clone()).collect();
                state.register(&release, keys.clone());
                needed.insert(app, keys);
            } else {
                state.forget(&release.application.label_value());
                needed.remove(&app);
            }
            let open: BTreeSet<&WatchKey> = state.watches.keys().collect();
            let needed: BTreeSet<&WatchKey> = needed.values().flatten().collect();
            proptest::prop_assert_eq!(open, needed);
        }
    }
}

#[tokio::test]
async fn the_task_of_a_watch_ends_with_it() {
    let opened = |fixture: &mut Fixture| {
        let task = tokio::spawn(std::future::pending::<()>());
        let handle = AbortOnDrop(task.abort_handle());
        fixture.state.opened(&fixture.key, fixture.number, handle);
        task
    };
    let ended = async |which: &str, task: tokio::task::JoinHandle<()>| {
        let ended = tokio::time::timeout(std::time::Duration::from_secs(10), task).await;
        let error = ended.expect(which).expect_err(which);
        assert!(error.is_cancelled(), "{which}");
    };
    let mut fixture = Fixture::new();
    let task = opened(&mut fixture);
    fixture.state.forget(LABEL);
    ended("of a watch that nobody needs", task).await;
    let late = opened(&mut fixture);
    ended("of a watch that was closed meanwhile", late).await;
    let mut fixture = Fixture::new();
    let task = opened(&mut fixture);
    drop(fixture);
    ended("of a tracker that is dropped", task).await;
}

#[test]
fn an_application_may_come_to_need_more_watches_than_it_has() {
    let mut state = State::default();
    state.register(&release("web"), [key()].into());
    let opened = state.register_also(&release("web"), [at_beta()].into());
    let opened: Vec<_> = opened.open.into_iter().map(|(key, _)| key).collect();
    assert_eq!(opened, [at_beta()]);
    assert_eq!(state.open_watches(), 2);
    state.register(&release("web"), [at_beta()].into());
    assert_eq!(state.open_watches(), 1);
}

#[test]
fn an_object_is_not_watched_at_a_version_because_it_is_at_another() {
    let mut state = State::default();
    state.register(&release("web"), [key()].into());
    let is_watched_at = |state: &State, version| state.is_watched_at(LABEL, &id("a"), version);
    assert!(is_watched_at(&state, "v1"));
    assert!(!is_watched_at(&state, "v1beta1"));
    assert!(!state.is_watched_at("shop.api", &id("a"), "v1"));
    state.register_also(&release("web"), [at_beta()].into());
    assert!(is_watched_at(&state, "v1beta1") && is_watched_at(&state, "v1"));
}

#[test]
fn the_watches_of_a_kind_that_is_served_from_now_on_are_tried_again() {
    let mut fixture = Fixture::new();
    let nudge = fixture.state.nudge_of(&fixture.key, fixture.number);
    let nudge = nudge.expect("it is open");
    let is_nudged = || nudge.notified().now_or_never().is_some();
    fixture.state.nudge("example.com", "ConfigMap");
    fixture.state.nudge("", "Secret");
    assert!(!is_nudged());
    fixture.state.nudge("", "ConfigMap");
    assert!(is_nudged());
}

#[test]
fn watches_that_do_not_work_are_tried_again_when_that_is_worthwhile() {
    let mut fixture = Fixture::new();
    let nudge = fixture.state.nudge_of(&fixture.key, fixture.number);
    let nudge = nudge.expect("it is open");
    let is_nudged = || nudge.notified().now_or_never().is_some();
    fixture.state.nudge_failed(LABEL);
    assert!(!is_nudged(), "it works, and may be refused later");
    fixture.fail("no", true);
    fixture.state.nudge_failed("shop.api");
    assert!(!is_nudged(), "it is not the other's");
    fixture.state.nudge_failed(LABEL);
    assert!(is_nudged());
}

#[test]
fn a_closed_watch_tells_nothing_any_more() {
    let mut fixture = Fixture::new();
    fixture.state.forget(LABEL);
    fixture.state.register(&release("web"), [key()].into());
    assert!(!fixture.see("a", observed("u", 1, "s")));
    assert!(
        fixture
            .state
            .complete(&fixture.key, fixture.number)
            .is_empty()
    );
    assert!(!fixture.is_gone("a"), "the new watch has not told anything");
}

#[test]
fn a_watch_says_nothing_of_what_is_told_at_another_version() {
    let mut fixture = Fixture::new();
    fixture.pass(&["a"]);
    let both = [key(), at_beta()].into();
    let opened = fixture.state.register(&release("api"), both).open;
    let [(beta, number)] = &opened[..] else {
        panic!("one watch is new");
    };
    let take = |state: &mut State, name: &str, watch: &WatchKey, number: u64| {
        let (seen, origin) = (observed(name, 1, "s"), Origin::Watch(watch, number));
        assert!(is_event(take(state, "shop.api", name, seen, origin)));
    };
    take(&mut fixture.state, "b", &key(), fixture.number);
    let unknown = fixture.state.known("shop.api", &id("x"), None);
    assert!(
        matches!(unknown, Known::Nothing),
        "one of the versions was not told yet"
    );
    let pass = |state: &mut State, names: &[&str]| {
        state.restarted(beta, *number);
        for name in names {
            take(state, name, beta, *number);
        }
        let gone = state.complete(beta, *number).into_iter();
        gone.map(name).collect::<Vec<_>>()
    };
    assert_eq!(pass(&mut fixture.state, &["c"]), ["all"]);
    let unknown = fixture.state.known("shop.api", &id("x"), None);
    assert!(matches!(unknown, Known::Gone));
    assert_eq!(pass(&mut fixture.state, &[]), ["c"]);
    assert!(!fixture.is_gone("a"));
    // The watch that reported an object also reports that it is really gone.
    let mut gone = fixture.pass(&[]);
    gone.sort();
    assert_eq!(gone, ["a", "b"]);
}

#[test]
fn an_object_is_for_the_watch_at_whose_version_it_was_applied() {
    let mut fixture = Fixture::new();
    let both = [key(), at_beta()].into();
    fixture.state.register(&release("api"), both);
    let is_for_another = |label: &str, told: &str, applied: Option<&str>| {
        let state = &fixture.state;
        state.is_for_another_watch(label, &id("a"), told, applied)
    };
    assert!(is_for_another("shop.api", "v1beta1", Some("v1")));
    assert!(is_for_another("shop.api", "v1", Some("v1beta1")));
    assert!(!is_for_another("shop.api", "v1", Some("v1")));
    assert!(!is_for_another("shop.api", "v1beta1", None));
    assert!(is_for_another(LABEL, "v1beta1", Some("v1")));
    assert!(
        !is_for_another(LABEL, "v1", Some("v1beta1")),
        "it has no other watch"
    );
}

#[test]
fn nothing_is_relied_upon_that_a_watch_told_that_does_not_work() {
    let mut fixture = Fixture::new();
    fixture.pass(&["a"]);
    assert!(fixture.is_known("a") && fixture.is_known("b"));
    assert!(fixture.fail("away", false));
    assert!(!fixture.fail("away", false), "it is counted from the first");
    assert!(!fixture.is_known("a") && !fixture.is_known("b"));
    assert!(fixture.see("a", observed("a", 2, "edited")), "it is told");
    assert!(!fixture.is_known("a"), "and does not count");
    assert_eq!(fixture.resume(), [sight()], "so it is told again");
    assert_eq!(fixture.resume(), []);
    assert!(fixture.is_known("a") && fixture.is_known("b"));
    assert_eq!(fixture.lose(), [], "it works");
    // It may also have to start over: then what it reported holds once it has reported everything.
    assert!(fixture.fail("away", false));
    fixture.state.restarted(&fixture.key, fixture.number);
    assert!(!fixture.is_known("a"));
    assert_eq!(fixture.pass(&["a"]), ["all"]);
    assert!(fixture.is_known("a"));
}

#[test]
fn that_objects_are_out_of_sight_for_long_is_told_once_and_that_they_are_not_too() {
    let mut fixture = Fixture::new();
    fixture.pass(&["a"]);
    fixture.state.register(&release("api"), BTreeSet::new());
    let unseen = |fixture: &Fixture| {
        let unseen = fixture.state.unseen(LABEL).into_iter();
        unseen
            .map(|one| (one.problem, one.is_refused))
            .collect::<Vec<_>>()
    };
    fixture.fail("away", false);
    assert_eq!(unseen(&fixture), [], "it may be back in a moment");
    assert_eq!(fixture.lose(), [sight()], "the other one does not use it");
    assert_eq!(
        unseen(&fixture),
        [("ConfigMap of v1: away".to_owned(), false)]
    );
    assert!(!fixture.fail("still away", false));
    assert!(fixture.fail("no", true), "it is another matter");
    assert!(!fixture.fail("no", true));
    assert_eq!(unseen(&fixture), [("ConfigMap of v1: no".to_owned(), true)]);
    assert_eq!(fixture.resume(), [sight()]);
    assert_eq!(fixture.resume(), []);
    assert_eq!(unseen(&fixture), []);
    fixture.fail("away", false);
    fixture.lose();
    fixture.state.restarted(&fixture.key, fixture.number);
    let told = fixture.state.complete(&fixture.key, fixture.number);
    let told: Vec<_> = told.iter().map(|event| *event == sight()).collect();
    assert_eq!(told, [true, false], "and what is gone since");
}

#[test]
fn what_has_failed_for_long_is_not_waited_for() {
    let mut state = State::default();
    let opened = state.register(&release("web"), [key()].into());
    let number = opened.open[0].1;
    state.failed(&key(), number, failure("no", true));
    assert!(state.is_coming(LABEL));
    state.lost(&key(), number);
    assert!(!state.is_coming(LABEL));
    assert_eq!(state.unsynced(LABEL), ["ConfigMap of v1: no"]);
}
