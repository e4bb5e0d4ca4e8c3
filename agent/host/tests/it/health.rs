//! Health checks, and faults that only hand-written components can cause.

use bytes::Bytes;
use pintle_core::{application::Limits, health::Status, plugin::PluginError};
use pintle_host::Settings;
use serde_json::json;

use crate::{
    components::Watchman,
    support::{assessed, hostile, limits, load, told, works},
};

async fn assess_within(
    component: &Bytes,
    limits: Limits,
) -> Result<pintle_core::health::Assessment, PluginError> {
    let plugin = load("watchman", component.clone(), limits).await;
    let object = json!({"kind": "Pod", "metadata": {"name": "a"}});
    let health = plugin.health().unwrap();
    assessed(&health, "Pod", &object, 1_700_000_000_000).await
}

async fn failure(watchman: Watchman) -> String {
    let component = watchman.bytes();
    let error = assess_within(&component, limits()).await.unwrap_err();
    works(&hostile().await).await;
    format!("[{}] {}", error.fault.name(), told(&error, &component))
}

#[tokio::test]
async fn judges_and_assesses() {
    let component = Watchman::default().bytes();
    let assessment = assess_within(&component, limits()).await.unwrap();
    assert_eq!(
        (assessment.status, assessment.message.as_str()),
        (Status::Healthy, "all is well")
    );
    let plugin = load("watchman", component, limits()).await;
    assert!(plugin.health().unwrap().judges().await.unwrap().is_empty());
    assert!(
        plugin
            .validate(&Settings::default())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn what_a_secret_holds_is_concealed() {
    let echo = Watchman {
        body: "(global.set $message (local.get 2)) (global.set $length (local.get 3))",
        ..Watchman::default()
    };
    let plugin = load("watchman", echo.bytes(), limits()).await;
    let health = plugin.health().unwrap();
    let message = async |kind: &str| {
        let object = json!({"kind": kind, "data": {"password": "aHVudGVyMg=="}});
        let assessment = assessed(&health, kind, &object, 0).await.unwrap();
        assessment.message
    };
    let told = message("Secret").await;
    assert!(told.contains("hmac-sha256:"), "{told}");
    assert!(!told.contains("aHVudGVyMg=="), "{told}");
    let told = message("ConfigMap").await;
    assert!(told.contains("aHVudGVyMg=="), "{told}");
}

#[tokio::test]
async fn tables_are_bounded() {
    let text = failure(Watchman {
        items: "(table $t 1 funcref)",
        body: "(loop $again (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $again))",
        ..Watchman::default()
    });
    insta::assert_snapshot!(text.await, @"[limit] health `watchman` (sha256:…) failed to assess: it asked for more than 200000 table entries; raise `limits` of the Plugin if this is expected");
}

#[tokio::test]
async fn many_small_memories_are_no_way_around_the_limit() {
    let text = failure(Watchman {
        items: "(memory $one 1) (memory $two 1)",
        body: "(loop $again
            (drop (memory.grow $one (i32.const 16)))
            (drop (memory.grow $two (i32.const 16)))
            (br $again))",
        ..Watchman::default()
    });
    insta::assert_snapshot!(text.await, @"[limit] health `watchman` (sha256:…) failed to assess: it asked for more than 33554432 bytes of memory; raise `limits` of the Plugin if this is expected");
}

#[tokio::test]
async fn handles_are_bounded() {
    let text = failure(Watchman {
        imports: "export things;",
        packages: "interface things { resource thing { } }",
        core_imports: r#"(import "[export]test:guest/things" "[resource-new]thing" (func $new (param i32) (result i32)))"#,
        body: "(loop $again (drop (call $new (i32.const 1))) (br $again))",
        ..Watchman::default()
    });
    insta::assert_snapshot!(text.await, @"[limit] health `watchman` (sha256:…) failed to assess: it held more than 1024 handles; raise `limits` of the Plugin if this is expected");
}

#[tokio::test]
async fn results_that_are_no_values_break_the_contract() {
    let text = failure(Watchman {
        body: "(i32.store8 (i32.const 9000) (i32.const 255))
            (global.set $message (i32.const 9000)) (global.set $length (i32.const 1))",
        ..Watchman::default()
    });
    insta::assert_snapshot!(text.await, @"[contract] health `watchman` (sha256:…) failed to assess: it broke the contract: invalid utf-8 sequence of 1 bytes from index 0");
    let text = failure(Watchman {
        body: "(global.set $message (i32.const 0x7fffffff))",
        ..Watchman::default()
    });
    insta::assert_snapshot!(text.await, @"[contract] health `watchman` (sha256:…) failed to assess: it broke the contract: string pointer/length out of bounds of memory");
    let text = failure(Watchman {
        body: "(i32.store8 (i32.const 3080) (i32.const 99))",
        ..Watchman::default()
    });
    insta::assert_snapshot!(text.await, @"[contract] health `watchman` (sha256:…) failed to assess: it broke the contract: unexpected discriminant: 99");
}

#[tokio::test]
async fn growth_that_fits_is_granted() {
    let component = Watchman {
        body: "(if (i32.eq (memory.grow $memory (i32.const 100)) (i32.const -1)) (then (unreachable)))",
        ..Watchman::default()
    }
    .bytes();
    assert!(assess_within(&component, limits()).await.is_ok());
}
