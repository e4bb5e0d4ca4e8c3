//! The stand-ins for the host follow the contract's rules.

use pintle_sdk::testing::{
    FixedContext, MemoryCluster, MemoryPlan, MemoryTree, ScriptedHttp, take_logs,
};
use pintle_sdk::{
    Action, Context, EntryKind, Failure, Http, HttpError, HttpRequest, HttpResponse, ObjectId,
    Plan, Position, Problem, ReadError, Tree, log,
};
use serde_json::{Value, json};

fn tree() -> MemoryTree {
    MemoryTree::new()
        .file("a.yaml", "a")
        .file("a/b.yaml", "bb")
        .file("a/c/d.txt", "ddd")
        .file("ab/e.yaml", "")
}

#[test]
fn paths_are_normal_or_outside() {
    for path in ["a/b.yaml", "./a//b.yaml", "a/./b.yaml", "a/b.yaml/"] {
        assert_eq!(tree().read(path).as_deref(), Ok(&b"bb"[..]), "{path}");
    }
    let long = format!("{}a.yaml", "./".repeat(2_048));
    for path in [
        "/a.yaml",
        "../a.yaml",
        "a/../a.yaml",
        "a\\b.yaml",
        "a\0",
        &long,
    ] {
        assert_eq!(tree().read(path), Err(ReadError::Outside), "{path}");
        assert_eq!(tree().entries(path), Err(ReadError::Outside), "{path}");
        assert_eq!(tree().stat(path), None, "{path}");
    }
}

#[test]
fn files_and_folders_are_told_apart() {
    assert_eq!(tree().read("a"), Err(ReadError::WrongKind));
    assert_eq!(tree().read("x"), Err(ReadError::NotFound));
    assert_eq!(tree().entries("a.yaml"), Err(ReadError::WrongKind));
    assert_eq!(tree().entries("x"), Err(ReadError::NotFound));
    assert_eq!(
        tree().limit(2).read("a/c/d.txt"),
        Err(ReadError::TooLarge(2))
    );
    let names = |path: &str| -> Vec<(String, EntryKind, u64)> {
        let entries = tree().entries(path).expect("a folder");
        entries
            .into_iter()
            .map(|entry| (entry.name, entry.kind, entry.size))
            .collect()
    };
    assert_eq!(
        names(""),
        [
            ("a".to_owned(), EntryKind::Folder, 0),
            ("a.yaml".to_owned(), EntryKind::File, 1),
            ("ab".to_owned(), EntryKind::Folder, 0)
        ]
    );
    assert_eq!(
        names("a"),
        [
            ("b.yaml".to_owned(), EntryKind::File, 2),
            ("c".to_owned(), EntryKind::Folder, 0)
        ]
    );
    assert_eq!(
        tree().stat("").map(|entry| (entry.name, entry.kind)),
        Some((String::new(), EntryKind::Folder))
    );
    assert_eq!(MemoryTree::new().entries(""), Ok(Vec::new()));
}

#[test]
fn globs_stay_within_folders_unless_told_otherwise() {
    let found = |pattern: &str| tree().glob(pattern).expect("a pattern");
    assert_eq!(found("*.yaml"), ["a.yaml"]);
    assert_eq!(found("**/*.yaml"), ["a.yaml", "a/b.yaml", "ab/e.yaml"]);
    assert_eq!(found("a/**"), ["a/b.yaml", "a/c/d.txt"]);
    assert_eq!(found("a/c/d.{txt,yaml}"), ["a/c/d.txt"]);
    assert!(found("../*").is_empty());
    assert_eq!(tree().glob("["), Err(ReadError::Outside));
    let braces = |count| tree().glob(&"{a,b}".repeat(count));
    assert_eq!(braces(6), Ok(Vec::new()), "64 patterns");
    assert_eq!(braces(7), Err(ReadError::Outside), "128 patterns");
}

#[test]
fn reads_are_kept_sorted_and_once() {
    let tree = tree();
    let _ = (
        tree.stat("b"),
        tree.read("a.yaml"),
        tree.read("a.yaml"),
        tree.entries("a"),
    );
    assert_eq!(tree.reads(), ["entries a", "read a.yaml", "stat b"]);
}

#[test]
#[should_panic(expected = "another file is in the way")]
fn a_file_is_no_folder() {
    let _ = MemoryTree::new().file("a", "").file("a/b", "");
}

#[test]
fn secret_bytes_repeat_and_depend_on_their_purpose() {
    let context = FixedContext::new();
    let bytes = context.secret_bytes("password", 24);
    assert_eq!(bytes.len(), 24);
    assert_eq!(bytes, context.secret_bytes("password", 24));
    assert_ne!(bytes, context.secret_bytes("other", 24));
    assert_ne!(
        bytes,
        FixedContext {
            seed: 1,
            ..FixedContext::new()
        }
        .secret_bytes("password", 24)
    );
    assert_eq!(context.secret_bytes("password", 8), bytes[..8]);
    assert_eq!(context.secret_bytes("password", 10_000).len(), 8160);
}

fn config(namespace: &str, name: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace}, "data": data,
    })
}

#[test]
fn the_cluster_finds_by_kind_and_namespace() {
    let cluster = MemoryCluster::new()
        .object(config("b", "two", json!({})))
        .object(config("a", "one", json!({"old": "1"})))
        .object(config("a", "one", json!({"new": "1"})))
        .object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}));
    let context = FixedContext::new().with_cluster(cluster);
    let cluster = context.cluster();
    let names = |namespace| -> Vec<Value> {
        let found = cluster.find("v1", "ConfigMap", namespace);
        found
            .into_iter()
            .map(|object| object["metadata"]["name"].clone())
            .collect()
    };
    assert_eq!(names(None), ["one", "two"]);
    assert_eq!(names(Some("b")), ["two"]);
    let id = ObjectId::of(&config("a", "one", json!(null))).expect("an identity");
    assert_eq!(
        cluster.get(&id).expect("there")["data"],
        json!({"new": "1"})
    );
    assert_eq!(
        cluster.get(&ObjectId {
            name: "three".to_owned(),
            ..id
        }),
        None
    );
}

#[test]
fn plans_compute_their_differences() {
    let plan = MemoryPlan::new()
        .update(
            config("a", "x", json!({"keep": "1", "old": "1", "a/b": "1"})),
            config("a", "x", json!({"keep": "1", "new": "2", "a/b": "2"})),
        )
        .source(Position::new("x.yaml", 3, 1))
        .create(config("a", "y", json!({})))
        .delete(config("a", "z", json!({})))
        .unchanged(config("a", "w", json!({})));
    let actions: Vec<_> = plan.changes().iter().map(|change| change.action).collect();
    assert_eq!(
        actions,
        [
            Action::Update,
            Action::Create,
            Action::Delete,
            Action::Unchanged
        ]
    );
    assert_eq!(
        plan.changes()[0].source,
        Some(Position::new("x.yaml", 3, 1))
    );
    let differences: Vec<_> = plan
        .differences(0)
        .into_iter()
        .map(|difference| (difference.pointer, difference.before, difference.after))
        .collect();
    assert_eq!(
        differences,
        [
            ("/data/a~1b".to_owned(), Some(json!("1")), Some(json!("2"))),
            ("/data/new".to_owned(), None, Some(json!("2"))),
            ("/data/old".to_owned(), Some(json!("1")), None),
        ]
    );
    assert_eq!((plan.live(1), plan.desired(2)), (None, None));
    assert!(plan.differences(3).is_empty() && plan.differences(4).is_empty());
}

#[test]
fn http_errors_become_the_right_failure() {
    let http = ScriptedHttp::new()
        .respond(HttpResponse::new(429).with_header("Retry-After", "3"))
        .fail(HttpError::NotGranted("`x` is not a method".to_owned()))
        .fail(HttpError::TooLarge(1024))
        .fail(HttpError::TimedOut);
    let request = HttpRequest::post("https://example.com/").json(&json!({"a": 1}));
    let response = http.send(&request).expect("answered");
    assert!(!response.is_success());
    assert_eq!(response.header("retry-after"), Some("3"));
    let refused = Failure::from(http.send(&request).expect_err("refused"));
    insta::assert_snapshot!(refused, @"refused: not sent: `x` is not a method");
    let arrived = Failure::from(http.send(&request).expect_err("too large"));
    insta::assert_snapshot!(arrived, @"refused: the answer is larger than the limit of 1024 bytes (the request has arrived, and is not sent again)");
    let unavailable = Failure::from(http.send(&request).expect_err("late"));
    insta::assert_snapshot!(unavailable, @"unavailable: no answer in time");
    assert_eq!(http.requests().len(), 4);
    assert_eq!(http.requests()[0].body, br#"{"a":1}"#);
}

#[test]
#[should_panic(expected = "unscripted request: GET https://example.com/")]
fn an_unscripted_request_fails_the_test() {
    let _ = ScriptedHttp::new().send(&HttpRequest::get("https://example.com/"));
}

#[test]
fn logs_are_kept_for_the_test() {
    log::info("one");
    log::error(format!("{}", 2));
    assert_eq!(
        take_logs(),
        [
            (log::Level::Info, "one".to_owned()),
            (log::Level::Error, "2".to_owned())
        ]
    );
    assert!(take_logs().is_empty());
}

#[test]
fn identities_are_read_from_manifests() {
    let id = ObjectId::of(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
    }));
    let id = id.expect("an identity");
    assert_eq!(
        (id.group(), id.version(), id.to_string().as_str()),
        ("apps", "v1", "apps/v1 Deployment shop/web")
    );
    let core = ObjectId {
        api_version: "v1".to_owned(),
        namespace: None,
        ..id
    };
    assert_eq!(
        (core.group(), core.version(), core.to_string().as_str()),
        ("", "v1", "v1 Deployment web")
    );
    for broken in [
        json!(null),
        json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": ""}}),
        json!({"kind": 1}),
    ] {
        assert_eq!(ObjectId::of(&broken), None, "{broken}");
    }
}

#[test]
fn problems_and_failures_are_told_on_one_line() {
    let failure = Failure::from(vec![
        Problem::new("one")
            .position(Position::new("a.yaml", 1, 2))
            .pointer("/x"),
        Problem::new("two").pointer("").hint("do this"),
    ]);
    insta::assert_snapshot!(failure, @"refused: a.yaml:1:2: /x: one; two (do this)");
    let failure = Failure::Unavailable {
        reason: "busy".to_owned(),
        retry_after_ms: Some(5),
    };
    insta::assert_snapshot!(failure, @"unavailable: busy (again after 5 ms)");
}
