mod barred;

use super::*;
use futures::FutureExt as _;
use pintle_core::application::{GitSource, Source};
use std::sync::Arc;
use tokio::runtime::Runtime;

fn id(name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: Some("shop".into()),
        name: name.into(),
    }
}

fn app(name: &str) -> ApplicationName {
    ApplicationName::new("shop", name)
}

fn source(branch: &str) -> SourceKey {
    let git = serde_json::from_value::<GitSource>(serde_json::json!({
        "url": "https://git.example.com/shop.git", "branch": branch
    }));
    SourceKey::of(&Source::Git(git.unwrap()), &app("a"), Ok(account())).unwrap()
}

fn account() -> pintle_cluster::ServiceAccount {
    pintle_cluster::ServiceAccount::new("shop", "deployer")
}

/// Returns claims of applications that all follow one source, which gives the revision `1`. They have rendered nothing yet.
fn claims(names: &[&str]) -> Arc<Claims> {
    let claims = Arc::new(Claims::default());
    claims.assigned(ShardSet::ALL, false);
    for name in names {
        claims.follow(&app(name), String::new(), false);
        claims.source(&app(name), source("main").topic());
    }
    claims.complete();
    claims.asking(&source("main"));
    claims.told(&source("main"), Some("1"));
    claims
}

fn render(claims: &Claims, name: &str, revision: &str, objects: &[&str]) -> bool {
    let ids: Vec<ObjectId> = objects.iter().map(|name| id(name)).collect();
    claims.rendered(&app(name), revision, ids.iter())
}

/// Returns a question that `shop/a` asks, about no objects in particular.
fn question() -> Question {
    Question {
        by: "shop.a".into(),
        cluster: String::new(),
        objects: Vec::new(),
        source: None,
        owner: None,
    }
}

fn runtime() -> Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().unwrap()
}

/// Returns who claims an object that an application is about to delete: `nobody`, or `?` while that is not known.
fn claimant(claims: &Arc<Claims>, by: &str, object: &str) -> String {
    use pintle_cluster::Claims as _;
    let run = RunClaims::new(claims, &app(by), Some("1".into()));
    let runtime = runtime();
    let _guard = runtime.enter();
    let ids = [id(object)];
    match run.claimants(&ids).now_or_never() {
        None => "?".to_owned(),
        Some(found) => {
            let label = found.unwrap().remove(&ids[0]);
            label.unwrap_or_else(|| "nobody".to_owned())
        }
    }
}

fn owner(claims: &Arc<Claims>, by: &str, owner: &str, object: &str) -> Claim {
    use pintle_cluster::Claims as _;
    let run = RunClaims::new(claims, &app(by), Some("1".into()));
    let runtime = runtime();
    let _guard = runtime.enter();
    run.claim(owner, &id(object)).now_or_never().unwrap()
}

#[test]
fn a_removal_that_goes_on_after_a_restart_asks_about_objects_where_they_are() {
    let claims = claims(&[]);
    let claimant = |name: &str| {
        claims.follow(&app(name), "far".to_owned(), false);
        render(&claims, name, "1", &["x"]);
        claimant(&claims, "leaves", "x")
    };
    claims.locate(&app("leaves"), "far".to_owned());
    claims.leave(&app("leaves"));
    assert_eq!(claimant("stays"), "shop.stays");
    // What is known already is kept.
    claims.locate(&app("leaves"), String::new());
    assert_eq!(claimant("stays"), "shop.stays");
}

#[test]
fn who_claims_what_is_what_was_rendered_last() {
    let claims = claims(&["a", "b"]);
    assert!(!render(&claims, "a", "1", &["x"]));
    render(&claims, "b", "1", &[]);
    assert_eq!(owner(&claims, "b", "shop.a", "x"), Claim::Wanted);
    assert_eq!(claimant(&claims, "b", "x"), "shop.a");
    assert_eq!(
        claimant(&claims, "a", "x"),
        "nobody",
        "its own is no other's"
    );
    assert!(render(&claims, "a", "1", &["y"]), "x has left");
    assert_eq!(owner(&claims, "b", "shop.a", "x"), Claim::Left);
    assert!(claims.leave(&app("a")));
    assert!(!claims.leave(&app("a")));
    assert_eq!(owner(&claims, "b", "shop.a", "y"), Claim::Left);
    render(&claims, "a", "1", &["y"]);
    assert_eq!(
        owner(&claims, "b", "shop.a", "y"),
        Claim::Left,
        "a run that ends late"
    );
    assert_eq!(owner(&claims, "b", "shop.cli", "y"), Claim::Unknown);
    claims.follow(&app("a"), String::new(), false);
    render(&claims, "a", "1", &["y"]);
    assert_eq!(
        owner(&claims, "b", "shop.a", "y"),
        Claim::Wanted,
        "it was made again"
    );
    claims.forget(&app("a"));
    render(&claims, "a", "1", &["y"]);
    assert_eq!(
        owner(&claims, "b", "shop.a", "y"),
        Claim::Unknown,
        "it is another replica's"
    );
}

#[test]
fn who_has_not_rendered_yet_says_so_only_while_that_is_about_to_come() {
    let claims = claims(&["a", "b", "idle"]);
    let of = |name: &str| owner(&claims, "b", name, "x");
    assert_eq!(of("shop.a"), Claim::Beginning);
    claims.settle(&app("a"));
    claims.follow(&app("idle"), String::new(), true);
    for name in ["shop.a", "shop.idle"] {
        assert_eq!(of(name), Claim::Unanswered, "{name}");
    }
}

#[test]
fn nothing_is_known_before_all_have_rendered_or_will_not() {
    let claims = claims(&["a", "b", "c", "idle"]);
    render(&claims, "a", "1", &[]);
    claims.follow(&app("idle"), String::new(), true);
    claims.settle(&app("c"));
    assert_eq!(claimant(&claims, "a", "x"), "?", "b is new");
    render(&claims, "b", "1", &["x"]);
    assert_eq!(claimant(&claims, "a", "x"), "shop.b");
    claims.expect(&app("b"), "2");
    assert_eq!(claimant(&claims, "a", "x"), "?");
    render(&claims, "b", "1", &["x"]);
    assert_eq!(claimant(&claims, "a", "x"), "?", "a render of before");
    render(&claims, "b", "2", &[]);
    assert_eq!(claimant(&claims, "a", "x"), "nobody");
    claims.assigned(ShardSet::ALL, true);
    assert_eq!(claimant(&claims, "a", "x"), "?", "there may be more");
}

#[test]
fn whose_source_does_not_answer_is_waited_for_a_while() {
    use super::applications::FIRST_REVISION;
    let claims = claims(&["a", "b"]);
    render(&claims, "a", "1", &[]);
    let question = question();
    let is_waited_for = |after: Duration| {
        let state = claims.lock();
        let unsettled = state.unsettled(&question, Instant::now() + after);
        unsettled.is_some()
    };
    assert!(is_waited_for(Duration::ZERO));
    assert!(!is_waited_for(FIRST_REVISION));
    claims.expect(&app("b"), "1");
    assert!(is_waited_for(FIRST_REVISION), "a run of it is under way");
    render(&claims, "b", "1", &[]);
    assert!(!is_waited_for(Duration::ZERO));
}

#[test]
fn who_fails_and_tries_again_is_still_waited_for_by_those_of_its_source() {
    let claims = claims(&["a", "b"]);
    render(&claims, "a", "1", &[]);
    claims.expect(&app("b"), "1");
    claims.fail(&app("b"));
    assert_eq!(claimant(&claims, "a", "x"), "?");
    claims.source(&app("b"), source("other").topic());
    assert_eq!(claimant(&claims, "a", "x"), "nobody", "it has failed once");
    claims.source(&app("b"), source("main").topic());
    render(&claims, "b", "1", &["x"]);
    assert_eq!(claimant(&claims, "a", "x"), "shop.b");
    claims.expect(&app("b"), "2");
    claims.fail(&app("b"));
    assert_eq!(claimant(&claims, "a", "x"), "?");
    claims.settle(&app("b"));
    assert_eq!(claimant(&claims, "a", "x"), "shop.b", "what it had before");
}

#[test]
fn what_is_pushed_again_is_not_awaited_by_who_has_rendered_it() {
    let claims = claims(&["a", "b"]);
    render(&claims, "a", "1", &[]);
    render(&claims, "b", "1", &["x"]);
    claims.hear(&app("b"), "1");
    assert_eq!(claimant(&claims, "a", "x"), "shop.b");
    claims.hear(&app("b"), "2");
    assert_eq!(claimant(&claims, "a", "x"), "?");
}

#[test]
fn who_is_being_deleted_is_not_waited_for() {
    let claims = claims(&["a", "b"]);
    render(&claims, "a", "0", &[]);
    render(&claims, "b", "0", &["x"]);
    claims.leave(&app("b"));
    claims.hear(&app("b"), "1");
    render(&claims, "a", "1", &[]);
    assert_eq!(claimant(&claims, "a", "x"), "nobody");
    claims.expect(&app("b"), "1");
    assert_eq!(claimant(&claims, "a", "x"), "nobody", "a run of before");
}

/// Returns which of some changes wake those who wait for an answer.
fn woken_by(claims: &Claims, changes: &[(&'static str, &dyn Fn())]) -> Vec<&'static str> {
    let mut waits = claims.changes.subscribe();
    let mut woken = Vec::new();
    for (told, change) in changes {
        change();
        if waits.has_changed().unwrap() {
            woken.push(*told);
        }
        waits.mark_unchanged();
    }
    woken
}

#[test]
fn what_is_known_already_wakes_nobody() {
    let claims = claims(&["a", "b", "leaves", "idle"]);
    let (a, b) = (app("a"), app("b"));
    claims.follow(&app("idle"), String::new(), true);
    claims.leave(&app("leaves"));
    claims.leave(&app("left"));
    claims.rendered(&a, "1", [id("x")].iter());
    claims.expect(&b, "2");
    claims.bar(&a, [id("x")].iter());
    claims.forbid(&a, [id("x")].iter());
    let changes: &[(&str, &dyn Fn())] = &[
        ("follow", &|| claims.follow(&a, String::new(), false)),
        ("idle", &|| claims.follow(&app("idle"), String::new(), true)),
        ("locate", &|| claims.locate(&a, "far".to_owned())),
        ("source", &|| claims.source(&a, source("main").topic())),
        ("asking", &|| claims.asking(&source("main"))),
        ("told", &|| claims.told(&source("other"), Some("1"))),
        ("leave_source", &|| claims.leave_source(&source("other"))),
        ("expect", &|| claims.expect(&b, "2")),
        ("hear", &|| claims.hear(&a, "1")),
        ("late", &|| claims.hear(&app("c"), "1")),
        ("bar", &|| claims.bar(&a, [id("x")].iter())),
        ("forbid", &|| claims.forbid(&a, [id("x")].iter())),
        ("reach", &|| claims.reach(&a, [id("y")].iter())),
        ("prove", &|| claims.prove(&a, [id("y")].iter())),
        ("unbar", &|| claims.unbar(&b)),
        ("settle", &|| claims.settle(&a)),
        ("fail", &|| claims.fail(&a)),
        ("leave", &|| {
            claims.leave(&app("leaves"));
        }),
        ("left", &|| {
            claims.leave(&app("left"));
        }),
        ("forget", &|| claims.forget(&app("c"))),
        ("complete", &|| claims.complete()),
    ];
    let woken = woken_by(&claims, changes);
    assert!(woken.is_empty(), "{woken:?}");
}

#[test]
fn whatever_an_answer_may_depend_on_wakes_those_who_wait_for_it() {
    let claims = claims(&["a", "b", "c", "leaves"]);
    let (a, b, c) = (app("a"), app("b"), app("c"));
    claims.assigned(ShardSet::ALL, true);
    let changes: &[(&str, &dyn Fn())] = &[
        ("complete", &|| claims.complete()),
        ("assigned", &|| claims.assigned(ShardSet::ALL, false)),
        ("rendered", &|| {
            render(&claims, "a", "1", &["x"]);
        }),
        ("expect", &|| claims.expect(&a, "2")),
        ("expect another", &|| claims.expect(&a, "3")),
        ("hear", &|| claims.hear(&a, "4")),
        ("settle", &|| claims.settle(&a)),
        ("fail", &|| claims.fail(&b)),
        ("source", &|| claims.source(&a, source("other").topic())),
        ("follow elsewhere", &|| {
            claims.follow(&a, "far".to_owned(), false);
        }),
        ("follow one that idles", &|| {
            claims.follow(&c, String::new(), true);
        }),
        ("follow a new one", &|| {
            claims.follow(&app("new"), String::new(), false);
        }),
        ("bar", &|| claims.bar(&a, [id("x")].iter())),
        ("reach", &|| claims.reach(&a, [id("x")].iter())),
        ("forbid", &|| claims.forbid(&a, [id("x")].iter())),
        ("prove", &|| claims.prove(&a, [id("x")].iter())),
        ("bar another", &|| claims.bar(&a, [id("y")].iter())),
        ("unbar", &|| claims.unbar(&a)),
        ("leave", &|| {
            claims.leave(&app("leaves"));
        }),
        ("forget", &|| claims.forget(&b)),
        ("asking", &|| claims.asking(&source("other"))),
        ("told", &|| claims.told(&source("main"), Some("1"))),
        ("leave_source", &|| claims.leave_source(&source("main"))),
    ];
    let all: Vec<&str> = changes.iter().map(|(told, _)| *told).collect();
    assert_eq!(woken_by(&claims, changes), all);
}

#[test]
fn a_source_that_nobody_follows_any_more_holds_nobody_up() {
    let claims = claims(&["a"]);
    render(&claims, "a", "1", &[]);
    claims.leave_source(&source("main"));
    claims.told(&source("main"), Some("0"));
    assert_eq!(claimant(&claims, "a", "x"), "nobody");
}

#[test]
fn what_was_deleted_before_its_shard_went_elsewhere_is_not_remembered() {
    let claims = claims(&["a", "b"]);
    render(&claims, "a", "1", &["x"]);
    claims.leave(&app("a"));
    claims.assigned(ShardSet::default(), false);
    claims.assigned(ShardSet::ALL, false);
    assert_eq!(owner(&claims, "b", "shop.a", "x"), Claim::Unknown);
}

#[test]
fn who_was_deleted_is_remembered_for_a_while_and_asked_no_more() {
    let claims = claims(&["a", "b"]);
    render(&claims, "a", "1", &["x"]);
    render(&claims, "b", "1", &[]);
    assert!(claims.leave(&app("a")), "its objects are being deleted");
    claims.forget(&app("a"));
    assert!(claims.leave(&app("a")), "it is gone");
    assert!(!claims.leave(&app("a")));
    claims.source(&app("a"), source("main").topic());
    claims.expect(&app("a"), "2");
    claims.hear(&app("a"), "2");
    assert_eq!(
        claims.lock().applications.iter().count(),
        1,
        "what comes late"
    );
    assert_eq!(owner(&claims, "b", "shop.a", "x"), Claim::Left);
    let asked = Question {
        by: "shop.b".into(),
        cluster: String::new(),
        objects: Vec::new(),
        source: None,
        owner: Some("shop.a".into()),
    };
    assert!(claims.lock().answer(&asked).0.knows_owner, "for others");
    claims.follow(&app("d"), String::new(), false);
    let asked_of = |owner: &str| {
        let owner = Some(owner.to_owned());
        let (answer, _) = claims.lock().answer(&Question {
            owner,
            ..asked.clone()
        });
        (
            answer.knows_owner,
            answer.has_owner,
            answer.is_owner_beginning,
        )
    };
    assert_eq!(
        asked_of("shop.d"),
        (false, true, true),
        "it is to render yet"
    );
    claims.settle(&app("d"));
    assert_eq!(asked_of("shop.d"), (false, true, false), "it does not");
    assert_eq!(asked_of("shop.cli"), (false, false, false));

    let later = Instant::now() + REMEMBERED;
    claims.lock().bury(&app("c"), later);
    assert_eq!(owner(&claims, "b", "shop.a", "x"), Claim::Unknown);
    assert_eq!(owner(&claims, "b", "shop.c", "x"), Claim::Left);
    claims.assigned(ShardSet::NONE, false);
    assert!(claims.lock().deleted.is_empty());
}

#[test]
fn who_was_deleted_and_made_again_claims_what_it_renders() {
    let claims = claims(&["b"]);
    claims.leave(&app("a"));
    assert_eq!(owner(&claims, "b", "shop.a", "x"), Claim::Left);
    claims.follow(&app("a"), String::new(), false);
    assert_eq!(owner(&claims, "b", "shop.a", "x"), Claim::Beginning);
    render(&claims, "a", "1", &["x"]);
    assert_eq!(owner(&claims, "b", "shop.a", "x"), Claim::Wanted);
}

#[test]
fn who_follows_something_else_holds_nobody_up_once_it_has_rendered() {
    let claims = claims(&["a", "b"]);
    render(&claims, "a", "1", &[]);
    claims.source(&app("b"), source("other").topic());
    assert_eq!(claimant(&claims, "a", "x"), "?");
    render(&claims, "b", "7", &["x"]);
    claims.expect(&app("b"), "8");
    assert_eq!(claimant(&claims, "a", "x"), "shop.b");
}

#[test]
fn a_source_that_does_not_have_the_revision_is_asked_first() {
    let claims = claims(&["a"]);
    let (tell, mut told) = mpsc::channel(8);
    claims.connect(tell);
    render(&claims, "a", "1", &[]);
    claims.told(&source("main"), Some("0"));
    runtime().block_on(async {
        use pintle_cluster::Claims as _;
        let run = RunClaims::new(&claims, &app("a"), Some("1".into()));
        let ids = [id("x")];
        let mut asking = run.claimants(&ids);
        tokio::select! {
            biased;
            _ = &mut asking => panic!("it does not have the revision"),
            message = told.recv() => assert!(matches!(message, Some(Message::Look(keys)) if keys == [source("main")])),
        }
        // Any answer will do: an application that fails claims what it claimed before.
        claims.told(&source("main"), None);
        assert_eq!(asking.await, Ok([].into()));
    });
}

#[test]
fn who_wants_what_has_left_and_stays_hears_of_it_whoever_is_behind() {
    let claims = claims(&["a", "b", "late"]);
    let (tell, mut told) = mpsc::channel(8);
    claims.connect(tell);
    render(&claims, "a", "1", &[]);
    render(&claims, "b", "1", &["x", "y"]);
    render(&claims, "late", "1", &[]);
    claims.expect(&app("late"), "2");
    claims.told(&source("main"), Some("0"));
    runtime().block_on(async {
        use pintle_cluster::Claims as _;
        let run = RunClaims::new(&claims, &app("a"), Some("1".into()));
        run.left(&[id("x"), id("y")]);
        let message = told.recv().await;
        assert!(
            matches!(message, Some(Message::Released(names)) if names == [app("b")]),
            "once, however many it wants"
        );
    });
}

#[test]
fn one_name_in_two_clusters_is_two_objects() {
    let claims = claims(&["a", "b"]);
    claims.follow(&app("b"), "shop/prod/value".into(), false);
    render(&claims, "a", "1", &[]);
    assert_eq!(
        claimant(&claims, "a", "x"),
        "nobody",
        "it waits for nobody elsewhere"
    );
    render(&claims, "b", "1", &["x"]);
    assert_eq!(claimant(&claims, "a", "x"), "nobody");
    claims.follow(&app("a"), "shop/prod/value".into(), false);
    assert_eq!(claimant(&claims, "a", "x"), "shop.b");
}

#[test]
fn what_other_replicas_claim_counts() {
    let claims = claims(&["a"]);
    claims.assigned("0-63".parse().unwrap(), false);
    render(&claims, "a", "1", &[]);
    let (ask, mut asks) = mpsc::channel::<Ask>(1);
    claims.join(ask);
    let runtime = runtime();
    let other = |shards: &str, label: &str, question: &Question| Answer {
        shards: shards.parse().unwrap(),
        claims: [(question.objects[0], label.to_owned())].into(),
        knows_owner: true,
        has_owner: true,
        is_owner_beginning: false,
    };
    runtime.block_on(async {
        use pintle_cluster::Claims as _;
        let run = RunClaims::new(&claims, &app("a"), Some("1".into()));
        let answering = async {
            // Some shards are being moved, so the question is asked again.
            for shards in ["64-99", "64-127"] {
                let Ask {
                    question,
                    own,
                    reply,
                } = asks.recv().await.unwrap();
                assert_eq!(own, "0-63".parse().unwrap());
                reply
                    .send(vec![other(shards, "shop.b", &question)])
                    .unwrap();
            }
        };
        let ids = [id("x")];
        let (found, ()) = tokio::join!(run.claimants(&ids), answering);
        assert_eq!(found, Ok([(id("x"), "shop.b".to_owned())].into()));

        for (knows_owner, has_owner, is_owner_beginning, expected) in [
            (true, true, false, Claim::Left),
            (false, true, true, Claim::Beginning),
            (false, true, false, Claim::Unanswered),
            (false, false, false, Claim::Unknown),
        ] {
            let answering = async {
                let Ask {
                    question, reply, ..
                } = asks.recv().await.unwrap();
                assert_eq!(question.owner.as_deref(), Some("shop.b"));
                let answer = Answer {
                    claims: BTreeMap::new(),
                    knows_owner,
                    has_owner,
                    is_owner_beginning,
                    ..other("64-127", "", &question)
                };
                reply.send(vec![answer]).unwrap();
            };
            let x = id("x");
            let (claim, ()) = tokio::join!(run.claim("shop.b", &x), answering);
            assert_eq!(claim, expected);
        }
    });
}

#[test]
fn who_keeps_a_question_from_being_answered_is_told() {
    let claims = claims(&["a", "b"]);
    let question = question();
    let told = || {
        let reason = claims.obstacle(&question);
        pintle_cluster::UnknownClaims { reason }.to_string()
    };
    insta::assert_snapshot!(told(), @"objects have left the source, and it is not known whether they have moved to another application: the application shop/b has not rendered its newest revision within 5 minutes. Nothing was deleted");
    render(&claims, "b", "1", &[]);
    claims.assigned(ShardSet::NONE, false);
    insta::assert_snapshot!(told(), @"objects have left the source, and it is not known whether they have moved to another application: not all other replicas have answered within 5 minutes. Nothing was deleted");
}
