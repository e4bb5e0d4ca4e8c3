//! What is rejected before or while a plugin describes itself.

use bytes::Bytes;
use pintle_core::{
    application::{Grants, Limits},
    duration::Span,
};
use pintle_host::{Host, LoadError, LoadRequest, Options};

use crate::{
    components::{self, Watchman, component},
    support::{hostile, shared, told, works},
};

fn fault_name(error: &LoadError) -> &'static str {
    match error {
        LoadError::Component { .. } if error.is_retryable() => "unavailable",
        LoadError::Component { .. } => "unloadable",
        LoadError::Grants { .. } => "grants",
        LoadError::Describe(error) => error.fault.name(),
    }
}

async fn refused(component: Bytes) -> String {
    let request = LoadRequest {
        limits: Limits {
            time: Some(Span::seconds(2)),
            ..Limits::default()
        },
        ..LoadRequest::new("strange", component.clone())
    };
    let error = shared().await.load(request).await.unwrap_err();
    works(&hostile().await).await;
    format!("[{}] {}", fault_name(&error), told(&error, &component))
}

#[tokio::test]
async fn what_is_no_component() {
    insta::assert_snapshot!(refused(Bytes::from_static(b"hello, world")).await, @"[unloadable] plugin `strange` (sha256:…) cannot be loaded: it is not WebAssembly: it begins with `hello, world`");
    insta::assert_snapshot!(refused(Bytes::new()).await, @"[unloadable] plugin `strange` (sha256:…) cannot be loaded: it is empty");
    let module = wat::parse_str("(module)").unwrap();
    insta::assert_snapshot!(refused(module.into()).await, @"[unloadable] plugin `strange` (sha256:…) cannot be loaded: it is a core module, and a component is expected: `wasm-tools component new` makes one of a module that was built for the contract");
}

#[tokio::test]
async fn a_truncated_component_is_malformed_wherever_it_is_cut() {
    let whole = Watchman::default().bytes();
    for length in [8, 9, 100, whole.len() / 2, whole.len() - 1] {
        let cut = whole.slice(..length);
        let error = shared()
            .await
            .load(LoadRequest::new("cut", cut.clone()))
            .await
            .unwrap_err();
        // A cut between two sections leaves a valid component that lacks its exports.
        let text = told(&error, &cut);
        assert!(
            text.starts_with(
                "plugin `cut` (sha256:…) cannot be loaded: the component is malformed: "
            ) || text.starts_with("plugin `cut` (sha256:…) cannot be loaded: it exports nothing"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn other_worlds_and_versions() {
    let other = component(
        "package pintle:renderer@2.0.0;
        interface renderer { f: func(); }
        world it { export renderer; }",
        r#"(module (func (export "pintle:renderer/renderer@2.0.0#f")))"#,
    );
    insta::assert_snapshot!(refused(other).await, @"[unloadable] plugin `strange` (sha256:…) cannot be loaded: it is built for `pintle:renderer/renderer@2.0.0`, and this agent speaks `pintle:renderer/renderer@1.0.0`: build it with the SDK of that version");
    let command = component(
        "package test:guest; interface run { run: func(); } world it { export run; }",
        r#"(module (func (export "test:guest/run#run")))"#,
    );
    insta::assert_snapshot!(refused(command).await, @"[unloadable] plugin `strange` (sha256:…) cannot be loaded: it exports `test:guest/run`, which is no kind of plugin: expected one of `pintle:renderer/renderer@1.0.0`, `pintle:policy/policy@1.0.0`, `pintle:health/health@1.0.0`, `pintle:notifier/notifier@1.0.0`");
    let later = component(
        "package pintle:transformer@1.0.0;
        interface transformer { f: func(); }
        world it { export transformer; }",
        r#"(module (func (export "pintle:transformer/transformer@1.0.0#f")))"#,
    );
    insta::assert_snapshot!(refused(later).await, @"[unloadable] plugin `strange` (sha256:…) cannot be loaded: it is a transformer, which this version of the agent does not load yet");
}

#[tokio::test]
async fn imports_that_its_kind_is_not_given() {
    let networked = Watchman {
        imports: "import pintle:types/http@1.0.0; import acme:db/query@1.0.0;",
        packages: "package acme:db@1.0.0 { interface query { f: func(); } }",
        core_imports: r#"(import "acme:db/query@1.0.0" "f" (func))
            (import "pintle:types/http@1.0.0" "send" (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#,
        ..Watchman::default()
    };
    insta::assert_snapshot!(refused(networked.bytes()).await, @"[unloadable] plugin `strange` (sha256:…) cannot be loaded: it imports `pintle:types/http@1.0.0`, `acme:db/query@1.0.0`, which a health plugin is not given: expected `pintle:types/types@1.0.0`, `pintle:types/log@1.0.0`, WASI 0.2 without `wasi:http`");
}

#[tokio::test]
async fn functions_of_another_type() {
    let other = component(
        "package pintle:health@1.0.0;
        interface health { judges: func() -> string; assess: func() -> u32; }
        world it { export pintle:types/plugin@1.0.0; export health; }",
        r#"(module
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (unreachable))
            (func (export "pintle:types/plugin@1.0.0#describe") (result i32) (i32.const 0))
            (func (export "pintle:types/plugin@1.0.0#validate") (param i32 i32) (result i32) (i32.const 0))
            (func (export "pintle:health/health@1.0.0#judges") (result i32) (i32.const 0))
            (func (export "pintle:health/health@1.0.0#assess") (result i32) (i32.const 1)))"#,
    );
    insta::assert_snapshot!(refused(other).await, @"[unloadable] health `strange` (sha256:…) failed to describe: it does not fit the contract: failed to convert function to given type: type mismatch with results: expected `list` found `string`");
}

#[tokio::test]
async fn an_instance_that_takes_the_place_of_too_many_calls() {
    let options = Options {
        calls: 2,
        ..Options::default()
    };
    let host = Host::new(options).unwrap();
    let tables = |count: usize| Watchman {
        items: "(table 1 funcref)".repeat(count).leak(),
        ..Watchman::default()
    };
    let large = tables(9).bytes();
    let request = LoadRequest::new("large", large.clone());
    let error = host.load(request).await.unwrap_err();
    insta::assert_snapshot!(told(&error, &large), @"plugin `large` (sha256:…) cannot be loaded: an instance of it takes too much (memories: 1, at most 2; tables: 9, at most 8): compose it of fewer modules");
    let fitting = LoadRequest::new("fitting", tables(8).bytes());
    assert!(host.load(fitting).await.is_ok());
}

#[tokio::test]
async fn descriptions_that_break_the_contract() {
    let watchman = Watchman::default;
    let named = |name| Watchman { name, ..watchman() }.bytes();
    insta::assert_snapshot!(refused(named("Watch Man")).await, @"[contract] health `strange` (sha256:…) failed to describe: it broke the contract: its name is `Watch Man`: expected lowercase letters, digits and inner `-`, at most 63");
    insta::assert_snapshot!(refused(Watchman { version: "1.2", ..watchman() }.bytes()).await, @"[contract] health `strange` (sha256:…) failed to describe: it broke the contract: its version is `1.2`: expected a semantic version such as 1.2.0 (unexpected end of input while parsing minor version number)");
    insta::assert_snapshot!(refused(Watchman { schema: "{", ..watchman() }.bytes()).await, @"[contract] health `strange` (sha256:…) failed to describe: it broke the contract: its settings schema is not JSON: EOF while parsing an object at line 1 column 1");
    insta::assert_snapshot!(refused(Watchman { schema: r#"{"type": 5}"#, ..watchman() }.bytes()).await, @"[contract] health `strange` (sha256:…) failed to describe: it broke the contract: its settings schema is not JSON Schema: 5 is not valid under any of the schemas listed in the 'anyOf' keyword");
}

#[tokio::test]
async fn schemas_that_cost_too_much() {
    let stated = |schema: String| Watchman {
        schema: schema.leak(),
        ..Watchman::default()
    };
    let long = format!(r#"{{"description": "{}"}}"#, "x".repeat(64 << 10));
    insta::assert_snapshot!(refused(stated(long).bytes()).await, @"[contract] health `strange` (sha256:…) failed to describe: it broke the contract: its settings schema has 65555 bytes, and the limit is 65536");
    let elsewhere = r#"{"$ref": "https://example.com/schema.json"}"#.to_owned();
    insta::assert_snapshot!(refused(stated(elsewhere).bytes()).await, @"[contract] health `strange` (sha256:…) failed to describe: it broke the contract: its settings schema refers to `https://example.com/schema.json`: expected what the schema itself has, such as `#/$defs/Name`");
    let pattern = r#"{"pattern": "[^a]{9999}"}"#.to_owned();
    let told = refused(stated(pattern).bytes()).await;
    assert!(
        told.contains("its settings schema is not JSON Schema"),
        "{told}"
    );
}

#[tokio::test]
async fn a_start_function_that_never_ends_is_ended() {
    let stuck = Watchman {
        items: "(func $forever (loop $again (br $again))) (start $forever)",
        ..Watchman::default()
    };
    insta::assert_snapshot!(refused(stuck.bytes()).await, @"[limit] health `strange` (sha256:…) failed to describe: it ran longer than 2s; raise `limits` of the Plugin if this is expected");
}

#[tokio::test]
async fn malformed_grants() {
    let request = LoadRequest {
        grants: Grants {
            http_hosts: ["https://example.com".to_owned()].into(),
            ..Grants::default()
        },
        ..LoadRequest::new("messenger", components::notifier())
    };
    let error = shared().await.load(request).await.unwrap_err();
    assert!(matches!(error, LoadError::Grants { .. }));
    insta::assert_snapshot!(told(&error, &components::notifier()), @"the grants of plugin `messenger` are malformed: `https://example.com` does not name hosts: expected `hooks.example.com`, `*.example.com`, either with `:PORT`, or `*`");
}
