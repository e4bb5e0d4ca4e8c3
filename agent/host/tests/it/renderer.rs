//! Renderers: what they see, and what happens to those that misbehave.

use std::{
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use pintle_core::{
    application::{Grants, Limits},
    duration::Span,
    plugin::{Capability, Kind},
    readset::{Question, ReadSet},
    tree::{Entry, EntryKind, Tree, TreeError, TreePath, memory::MemoryTree},
};
use pintle_host::{ClusterError, ClusterReader, Input, Page, Settings, Source};
use serde_json::{Value, json};

use crate::{
    components,
    support::{
        failure, fault, hostile, limits, load, load_granted, mode, request, script, shared,
        text_of, told, works,
    },
};

#[tokio::test]
async fn says_what_it_is() {
    let renderer = hostile().await;
    let plugin = renderer.plugin();
    assert_eq!(plugin.id().kind, Kind::Renderer);
    assert_eq!(plugin.description().name, "hostile-renderer");
    assert_eq!(
        plugin.description().requests[0],
        Capability::ClusterRead("v1/ConfigMap".into())
    );
    assert_eq!(plugin.grants().missing().len(), 2);
    let error = plugin.policy().unwrap_err();
    insta::assert_snapshot!(told(&error, &components::renderer()), @"renderer `hostile` (sha256:…) stands where a policy is expected");
}

#[tokio::test]
async fn settings_are_checked_by_schema_and_then_by_the_plugin() {
    let renderer = hostile().await;
    let plugin = renderer.plugin();
    let problems = async |settings: Value| {
        let problems = plugin.validate(&Settings::new(settings)).await.unwrap();
        pintle_core::problem::lines(&problems)
    };
    assert_eq!(problems(json!({"mode": "refuse"})).await, "");
    insta::assert_snapshot!(problems(json!({"mood": "refuse"})).await, @"/mood: unknown field `mood` (expected one of `mode`, `script`)");
    insta::assert_snapshot!(problems(json!({"mode": "unknown"})).await, @"/mode: there is no mode `unknown`");
}

#[tokio::test]
async fn sees_the_folder_and_the_context_and_nothing_else() {
    let tree = || {
        MemoryTree::new([
            ("a.yaml", "one"),
            ("app/b.yaml", "two"),
            ("app/c.txt", "three"),
        ])
    };
    let renderer = hostile().await;
    let questions = "read a.yaml;read none;read app;read app/../a.yaml;read /etc/passwd;read ../x;read a\\\\b;\
        entries app;entries a.yaml;entries none;entries ..;stat app;stat ./app//b.yaml;stat none;stat ../a;\
        glob **/*.yaml;glob ../*;glob [;name;namespace;kube-version;api-versions;revision;revision-time;get ConfigMap;find ConfigMap";
    insta::assert_snapshot!(script(&renderer, questions, tree()).await, @r#"
    read a.yaml = Ok("one")
    read none = Err(ReadError::NotFound)
    read app = Err(ReadError::WrongKind)
    read app/../a.yaml = Err(ReadError::Outside)
    read /etc/passwd = Err(ReadError::Outside)
    read ../x = Err(ReadError::Outside)
    read a\\\\b = Err(ReadError::Outside)
    entries app = Ok([("b.yaml", 3), ("c.txt", 5)])
    entries a.yaml = Err(ReadError::WrongKind)
    entries none = Err(ReadError::NotFound)
    entries .. = Err(ReadError::Outside)
    stat app = Some(("app", 0))
    stat ./app//b.yaml = Some(("b.yaml", 3))
    stat none = None
    stat ../a = None
    glob **/*.yaml = Ok(["a.yaml", "app/b.yaml"])
    glob ../* = Ok([])
    glob [ = Err(ReadError::Outside)
    name = web
    namespace = shop
    kube-version = v1.36.3
    api-versions = ["apps/v1", "v1"]
    revision = 0123abcd
    revision-time = 1700000000
    get ConfigMap = None
    find ConfigMap = []
    "#);
}

#[tokio::test]
async fn every_answer_is_in_the_read_set() {
    let renderer = hostile().await;
    let steps =
        "read a.yaml;read none;entries .;stat app;glob *.yaml;name;secret-bytes db;read ../outside";
    let settings = Settings::new(json!({"mode": "script", "script": steps}));
    let rendering = renderer
        .render(request(settings, MemoryTree::new([("a.yaml", "1")])))
        .await
        .unwrap();
    let questions: Vec<_> = rendering.reads.questions().cloned().collect();
    assert_eq!(
        questions,
        [
            Question::Read("a.yaml".into()),
            Question::Read("none".into()),
            Question::Entries(".".into()),
            Question::Stat("app".into()),
            Question::Glob("*.yaml".into()),
            Question::Context("name".into()),
            Question::Context("seed".into()),
        ]
    );
}

#[tokio::test]
async fn secret_bytes_repeat_for_one_seed_and_purpose() {
    let renderer = hostile().await;
    let bytes = async |purpose: &str| {
        script(
            &renderer,
            &format!("secret-bytes {purpose}"),
            MemoryTree::default(),
        )
        .await
    };
    assert_eq!(bytes("db").await, bytes("db").await);
    assert_ne!(bytes("db").await[15..], bytes("ca").await[15..]);
}

#[tokio::test]
async fn powers_are_calculated_by_the_host_and_are_in_no_read_set() {
    let renderer = hostile().await;
    let steps = "power 4 13 497;power 4 0 497;power 4 13 498";
    let settings = Settings::new(json!({"mode": "script", "script": steps}));
    let rendering = renderer
        .render(request(settings, MemoryTree::default()))
        .await
        .unwrap();
    insta::assert_snapshot!(text_of(rendering.objects[0].object.value()), @r"
    power 4 13 497 = Some([1, 189])
    power 4 0 497 = Some([0, 1])
    power 4 13 498 = None
    ");
    assert_eq!(rendering.reads.questions().count(), 0);
}

#[tokio::test]
async fn notes_warnings_and_objects_come_through() {
    let renderer = hostile().await;
    let rendering = renderer
        .render(request(mode("chatter"), MemoryTree::default()))
        .await
        .unwrap();
    assert_eq!(
        rendering.notes.as_deref(),
        Some("made by the hostile renderer")
    );
    assert_eq!(
        rendering.warnings[0].to_string(),
        "this renderer is hostile"
    );
    assert_eq!(
        text_of(rendering.objects[0].object.value()),
        "still here",
        "its chatter was dropped, and it was not"
    );
}

#[tokio::test]
async fn detects_and_names_its_inputs() {
    let renderer = hostile().await;
    let (is_mine, reads) = renderer
        .detect(Arc::new(MemoryTree::new([("hostile.txt", "")])))
        .await
        .unwrap();
    assert!(is_mine);
    assert_eq!(
        reads.questions().collect::<Vec<_>>(),
        [&Question::Stat("hostile.txt".into())]
    );
    let (is_mine, _) = renderer
        .detect(Arc::new(MemoryTree::default()))
        .await
        .unwrap();
    assert!(!is_mine);

    let (sources, reads) = renderer
        .inputs(&mode("inputs"), Arc::new(MemoryTree::default()))
        .await
        .unwrap();
    assert_eq!(reads.len(), 1);
    assert_eq!(sources.len(), 3);
    assert_eq!(sources[2], Source::Folder("../base".into()));
}

#[tokio::test]
async fn inputs_are_given_and_recorded_whole() {
    let renderer = hostile().await;
    let input = |content: &str| Input {
        source: Source::Folder(format!("../{content}")),
        tree: Arc::new(MemoryTree::new([("file.txt", content)])),
        digest: pintle_core::digest::Digest::of(content),
    };
    let mut prior = ReadSet::default();
    prior.record(
        Question::Stat("inputs.txt".into()),
        pintle_core::digest::Digest::of("x"),
    );
    let mut request = request(mode("inputs"), MemoryTree::default());
    request.inputs = vec![input("one"), input("two")];
    request.prior = prior;
    let rendering = renderer.render(request).await.unwrap();
    assert_eq!(
        text_of(rendering.objects[0].object.value()),
        r#"Ok("one"); Ok("two")"#
    );
    let questions: Vec<_> = rendering.reads.questions().cloned().collect();
    assert_eq!(
        questions,
        [
            Question::Stat("inputs.txt".into()),
            Question::Input("folder ../one".into()),
            Question::Input("folder ../two".into()),
        ]
    );
}

/// A cluster with one object of each requested kind.
#[derive(Debug)]
struct OneOfEach;

#[async_trait]
impl ClusterReader for OneOfEach {
    async fn get(
        &self,
        _: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, ClusterError> {
        Ok(Some(
            json!({"kind": kind, "metadata": {"namespace": namespace, "name": name}}),
        ))
    }

    async fn find(
        &self,
        _: &str,
        kind: &str,
        _: Option<&str>,
        page: Option<&str>,
    ) -> Result<Page, ClusterError> {
        let named = |name: &str| vec![json!({"metadata": {"name": name}})];
        match (kind, page) {
            ("ConfigMap", None) => Ok(Page {
                objects: named("b"),
                next: Some("second".to_owned()),
            }),
            ("ConfigMap", Some("second")) => Ok(Page {
                objects: named("a"),
                next: None,
            }),
            _ => Err(ClusterError {
                reason: "connection refused".into(),
            }),
        }
    }
}

#[tokio::test]
async fn reads_of_the_cluster_need_request_and_grant() {
    let grants = |kinds: &[&str]| Grants {
        cluster_reads: kinds.iter().map(ToString::to_string).collect(),
        ..Grants::default()
    };
    let render = async |kinds: &[&str], steps: &str| {
        let plugin = load_granted("hostile", components::renderer(), limits(), grants(kinds)).await;
        let settings = Settings::new(json!({"mode": "script", "script": steps}));
        let mut request = request(settings, MemoryTree::default());
        request.cluster = Some(Arc::new(OneOfEach));
        plugin.renderer().unwrap().render(request).await
    };
    let granted = render(
        &["v1/ConfigMap"],
        "get ConfigMap;get Secret;find ConfigMap;get Pod",
    )
    .await
    .unwrap();
    insta::assert_snapshot!(text_of(granted.objects[0].object.value()), @r#"
    get ConfigMap = Some("{\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"settings\",\"namespace\":\"shop\"}}")
    get Secret = None
    find ConfigMap = ["{\"metadata\":{\"name\":\"a\"}}", "{\"metadata\":{\"name\":\"b\"}}"]
    get Pod = None
    "#);
    let questions: Vec<_> = granted.reads.questions().cloned().collect();
    assert_eq!(
        questions,
        [
            Question::Cluster("v1/ConfigMap */".into()),
            Question::Cluster("v1/ConfigMap shop/settings".into()),
        ]
    );
    // Granted, but not requested.
    let other = render(&["v1/Pod"], "get Pod").await.unwrap();
    assert_eq!(text_of(other.objects[0].object.value()), "get Pod = None");
    let error = render(&["v1/Secret"], "find Secret").await.unwrap_err();
    assert!(fault(&error).is_retryable());
    insta::assert_snapshot!(told(&error, &components::renderer()), @"renderer `hostile` (sha256:…) failed to render: the cluster cannot be read: connection refused");
}

#[tokio::test]
async fn a_failure_says_what_was_read_from_the_cluster() {
    let grants = Grants {
        cluster_reads: ["v1/ConfigMap", "v1/Secret"].map(ToOwned::to_owned).into(),
        ..Grants::default()
    };
    let plugin = load_granted("hostile", components::renderer(), limits(), grants).await;
    let renderer = plugin.renderer().unwrap();
    for (mode, script, fault) in [
        ("refuse", "read a.txt;get ConfigMap", "refused"),
        ("script", "name;get ConfigMap;nonsense", "trap"),
        ("script", "get ConfigMap;find Secret", "unavailable"),
    ] {
        let settings = Settings::new(json!({"mode": mode, "script": script}));
        let mut request = request(settings, MemoryTree::default());
        request.cluster = Some(Arc::new(OneOfEach));
        let error = renderer.render(request).await.unwrap_err();
        assert_eq!(error.fault.name(), fault);
        let questions: Vec<_> = error.looked_up.questions().collect();
        let asked = Question::Cluster("v1/ConfigMap shop/settings".into());
        assert_eq!(questions, [&asked], "{fault}");
    }
}

/// A tree in which every read fails in one way.
struct Broken(fn(TreePath) -> TreeError);

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Broken")
    }
}

impl Tree for Broken {
    fn stat(&self, path: &TreePath) -> Result<Option<Entry>, TreeError> {
        Err((self.0)(path.clone()))
    }

    fn read(&self, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        Err((self.0)(path.clone()))
    }

    fn entries(&self, path: &TreePath) -> Result<Vec<Entry>, TreeError> {
        Err((self.0)(path.clone()))
    }
}

#[tokio::test]
async fn what_a_guest_cannot_tell_the_host_tells() {
    let renderer = hostile().await;
    let read = async |error: fn(TreePath) -> TreeError| {
        let settings = Settings::new(json!({"mode": "script", "script": "read vendor/lib"}));
        let outcome = renderer.render(request(settings, Broken(error))).await;
        match outcome {
            Ok(rendering) => text_of(rendering.objects[0].object.value()),
            Err(error) => told(&error, &components::renderer()),
        }
    };
    insta::assert_snapshot!(read(|path| TreeError::Submodule { path }).await, @"renderer `hostile` (sha256:…) failed to render: vendor/lib is a git submodule, which is not supported: vendor its files, or deploy it as an application of its own");
    insta::assert_snapshot!(read(|path| TreeError::Unusable { path, reason: "it is a Git LFS pointer".into() }).await, @"renderer `hostile` (sha256:…) failed to render: vendor/lib could not be read: it is a Git LFS pointer");
    insta::assert_snapshot!(read(|path| TreeError::Broken { path, reason: "object 1234 is missing".into() }).await, @"renderer `hostile` (sha256:…) failed to render: vendor/lib could not be read: object 1234 is missing");
    insta::assert_snapshot!(read(|path| TreeError::Link { path }).await, @"read vendor/lib = Err(ReadError::Outside)");
    insta::assert_snapshot!(read(|path| TreeError::TooLarge { path, size: 9, limit: 8, unit: "bytes" }).await, @"read vendor/lib = Err(ReadError::TooLarge(8))");
}

#[tokio::test]
async fn refusal_outage_crash_and_broken_contract_are_told_apart() {
    let renderer = hostile().await;
    let bytes = components::renderer();
    let told = async |mode: &str| {
        let error = failure(&renderer, mode).await;
        works(&renderer).await;
        format!("[{}] {}", error.fault.name(), told(&error, &bytes))
    };
    insta::assert_snapshot!(told("refuse").await, @"[refused] renderer `hostile` (sha256:…) failed to render: web.yaml:3:5: /spec: tabs are not allowed (use spaces)");
    insta::assert_snapshot!(told("refuse-silently").await, @"[contract] renderer `hostile` (sha256:…) failed to render: it broke the contract: it refused its input without saying why");
    insta::assert_snapshot!(told("unavailable").await, @"[unavailable] renderer `hostile` (sha256:…) failed to render: the moon is not up");
    insta::assert_snapshot!(told("panic").await, @"[trap] renderer `hostile` (sha256:…) failed to render: it crashed: wasm `unreachable` instruction executed, after saying `panicked at 'the disk is on fire'`");
    insta::assert_snapshot!(told("overflow").await, @"[trap] renderer `hostile` (sha256:…) failed to render: it crashed: call stack exhausted");
    insta::assert_snapshot!(told("garbage").await, @"[contract] renderer `hostile` (sha256:…) failed to render: it broke the contract: object 0 of its result is not JSON: EOF while parsing a value at line 1 column 15");
    insta::assert_snapshot!(told("no-kind").await, @"[refused] renderer `hostile` (sha256:…) failed to render: templates/web.yaml:12:3: object web is no Kubernetes object: /kind is missing: every object needs it");
}

#[tokio::test]
async fn each_limit_ends_the_call_and_says_which_it_was() {
    let renderer = hostile().await;
    let bytes = components::renderer();
    let told = async |mode: &str| {
        let error = failure(&renderer, mode).await;
        works(&renderer).await;
        format!("[{}] {}", error.fault.name(), told(&error, &bytes))
    };
    insta::assert_snapshot!(told("memory").await, @"[limit] renderer `hostile` (sha256:…) failed to render: it asked for more than 33554432 bytes of memory; raise `limits` of the Plugin if this is expected");
    insta::assert_snapshot!(told("flood").await, @"[limit] renderer `hostile` (sha256:…) failed to render: it logged more than 1048576 bytes; raise `limits` of the Plugin if this is expected");
    insta::assert_snapshot!(told("names").await, @"[limit] renderer `hostile` (sha256:…) failed to render: it asked for more than 33554432 bytes of memory; raise `limits` of the Plugin if this is expected");
    insta::assert_snapshot!(told("reads").await, @"[limit] renderer `hostile` (sha256:…) failed to render: it moved more than 536870912 bytes through host calls; raise `limits` of the Plugin if this is expected");
}

#[tokio::test]
async fn results_are_bounded() {
    let limits = Limits {
        memory_mib: Some(512),
        output_mib: Some(4),
        ..limits()
    };
    let plugin = load("hostile", components::renderer(), limits).await;
    let renderer = plugin.renderer().unwrap();
    for mode in ["huge", "repeated"] {
        let error = failure(&renderer, mode).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(told(&error, &components::renderer()), @"renderer `hostile` (sha256:…) failed to render: its result is larger than 4194304 bytes; raise `limits` of the Plugin if this is expected");
        }
    }
}

#[tokio::test]
async fn a_guest_that_never_ends_is_ended() {
    let limits = Limits {
        time: Some(Span::seconds(1)),
        ..limits()
    };
    let plugin = load("hostile", components::renderer(), limits).await;
    let error = failure(&plugin.renderer().unwrap(), "loop").await;
    insta::assert_snapshot!(told(&error, &components::renderer()), @"renderer `hostile` (sha256:…) failed to render: it ran longer than 1s; raise `limits` of the Plugin if this is expected");
    works(&hostile().await).await;
    // The same plugin, loaded again under other limits, uses the same compiled code.
    assert_eq!(hostile().await.id().digest, plugin.id().digest);
    let _ = shared().await;
}

#[tokio::test]
async fn a_path_that_is_too_long_leads_nowhere_and_is_not_kept() {
    let renderer = hostile().await;
    let long = "a/".repeat(2_049);
    let steps = format!("read {long};entries {long};stat {long}");
    let settings = Settings::new(json!({"mode": "script", "script": steps}));
    let rendering = renderer
        .render(request(settings, MemoryTree::default()))
        .await
        .unwrap();
    let answers = text_of(rendering.objects[0].object.value()).replace(&long, "LONG");
    insta::assert_snapshot!(answers, @r"
    read LONG = Err(ReadError::Outside)
    entries LONG = Err(ReadError::Outside)
    stat LONG = None
    ");
    assert!(rendering.reads.is_empty(), "{:?}", rendering.reads);
}

#[tokio::test]
async fn a_pattern_that_is_too_large_is_malformed() {
    let renderer = hostile().await;
    for pattern in [
        "?".repeat(300_000),
        "{a,b}".repeat(7),
        "{".repeat(400) + &"}".repeat(400),
    ] {
        let tree = MemoryTree::new([("a.yaml", "")]);
        let answer = script(&renderer, &format!("glob {pattern}"), tree).await;
        assert!(answer.ends_with(" = Err(ReadError::Outside)"), "{answer}");
        works(&renderer).await;
    }
}

#[tokio::test]
async fn a_wide_pattern_over_many_files_ends_with_a_limit() {
    let limits = Limits {
        time: Some(Span::seconds(5)),
        ..limits()
    };
    let plugin = load("hostile", components::renderer(), limits).await;
    let renderer = plugin.renderer().unwrap();
    let name = "a".repeat(200);
    let files = (0..2_000).map(|number| (format!("{name}{number}.yaml"), ""));
    // As wide as a pattern may be, and repeated until a limit is reached: either the one on time or the one on bytes that cross.
    let choices: Vec<String> = (0..64).map(|number| format!("*a*a*a*{number}")).collect();
    let step = format!("glob {{{}}}", choices.join(","));
    let steps = vec![step; 500].join(";");
    let settings = Settings::new(json!({"mode": "script", "script": steps}));
    let started = Instant::now();
    let outcome = renderer
        .render(request(settings, MemoryTree::new(files)))
        .await;
    let error = outcome.unwrap_err();
    assert_eq!(error.fault.name(), "limit", "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
    works(&hostile().await).await;
}

/// A tree of many folders that are slow to read.
#[derive(Debug)]
struct Slow;

impl Slow {
    fn entry(name: String, kind: EntryKind) -> Entry {
        Entry {
            name,
            kind,
            size: 0,
            content: String::new(),
        }
    }
}

impl Tree for Slow {
    fn stat(&self, _: &TreePath) -> Result<Option<Entry>, TreeError> {
        Ok(Some(Self::entry(String::new(), EntryKind::Folder)))
    }

    fn read(&self, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        Err(TreeError::NotFound { path: path.clone() })
    }

    fn entries(&self, path: &TreePath) -> Result<Vec<Entry>, TreeError> {
        if path.is_root() {
            let folder = |number: u32| Self::entry(number.to_string(), EntryKind::Folder);
            return Ok((0..2_000).map(folder).collect());
        }
        thread::sleep(Duration::from_millis(20));
        Ok(vec![Self::entry("a.yaml".to_owned(), EntryKind::File)])
    }
}

#[tokio::test]
async fn the_deadline_ends_a_glob_too() {
    let limits = Limits {
        time: Some(Span::seconds(1)),
        ..limits()
    };
    let plugin = load("hostile", components::renderer(), limits).await;
    let renderer = plugin.renderer().unwrap();
    let settings = Settings::new(json!({"mode": "script", "script": "glob **/*.yaml"}));
    let started = Instant::now();
    let error = renderer.render(request(settings, Slow)).await.unwrap_err();
    insta::assert_snapshot!(told(&error, &components::renderer()), @"renderer `hostile` (sha256:…) failed to render: it ran longer than 1s; raise `limits` of the Plugin if this is expected");
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "the whole of it takes 40 s"
    );
    works(&hostile().await).await;
}

#[tokio::test]
async fn a_panic_of_the_host_is_a_fault_of_the_call() {
    let renderer = hostile().await;
    let settings = Settings::new(json!({"mode": "script", "script": "read vendor/lib"}));
    let broken = Broken(|_| panic!("the store is gone"));
    let error = renderer
        .render(request(settings, broken))
        .await
        .unwrap_err();
    insta::assert_snapshot!(told(&error, &components::renderer()), @"renderer `hostile` (sha256:…) failed to render: it crashed: the agent panicked while it served the call, which is a defect of the agent: the store is gone");
    works(&renderer).await;
}
