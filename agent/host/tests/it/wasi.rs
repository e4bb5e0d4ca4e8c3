//! Components that import WASI, as `wasm32-wasip2` and other languages produce them.

use serde_json::json;

use crate::{
    components::Watchman,
    support::{assessed, limits, load, told},
};

/// The parts of WASI that the tests use.
const PACKAGES: &str = "
    package wasi:random@0.2.6 { interface random { get-random-u64: func() -> u64; } }
    package wasi:clocks@0.2.6 {
        interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
        interface monotonic-clock { now: func() -> u64; }
    }
    package wasi:cli@0.2.6 {
        interface environment {
            get-environment: func() -> list<tuple<string, string>>;
            get-arguments: func() -> list<string>;
        }
        interface exit { exit: func(status: result); }
    }
    package wasi:filesystem@0.2.6 {
        interface types { resource descriptor { } }
        interface preopens {
            use types.{descriptor};
            get-directories: func() -> list<tuple<descriptor, string>>;
        }
    }
";

const IMPORTS: &str = "
    import wasi:random/random@0.2.6;
    import wasi:clocks/wall-clock@0.2.6;
    import wasi:clocks/monotonic-clock@0.2.6;
    import wasi:cli/environment@0.2.6;
    import wasi:cli/exit@0.2.6;
    import wasi:filesystem/preopens@0.2.6;
";

const CORE_IMPORTS: &str = r#"
    (import "wasi:random/random@0.2.6" "get-random-u64" (func $random (result i64)))
    (import "wasi:clocks/wall-clock@0.2.6" "now" (func $now (param i32)))
    (import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $ticks (result i64)))
    (import "wasi:cli/environment@0.2.6" "get-environment" (func $environment (param i32)))
    (import "wasi:cli/environment@0.2.6" "get-arguments" (func $arguments (param i32)))
    (import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))
    (import "wasi:filesystem/preopens@0.2.6" "get-directories" (func $directories (param i32)))
"#;

/// Writes a number as 16 hexadecimal digits and a space.
const ITEMS: &str = "
    (func $hex (param $value i64) (param $at i32)
        (local $digit i32) (local $shift i64)
        (local.set $shift (i64.const 60))
        (loop $next
            (local.set $digit (i32.wrap_i64 (i64.and (i64.shr_u (local.get $value) (local.get $shift)) (i64.const 15))))
            (i32.store8 (local.get $at) (i32.add (local.get $digit)
                (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $digit) (i32.const 10)))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (local.set $shift (i64.sub (local.get $shift) (i64.const 4)))
            (br_if $next (i64.ge_s (local.get $shift) (i64.const 0))))
        (i32.store8 (local.get $at) (i32.const 32)))
    (func $count (param $of i32) (result i64) (i64.extend_i32_u (i32.load (i32.add (local.get $of) (i32.const 4)))))
";

/// Reports two random numbers, both clocks, and the number of variables, arguments and directories.
const TELL_ALL: &str = "
    (call $hex (call $random) (i32.const 9000))
    (call $hex (call $random) (i32.const 9017))
    (call $now (i32.const 8000))
    (call $hex (i64.load (i32.const 8000)) (i32.const 9034))
    (call $hex (call $ticks) (i32.const 9051))
    (call $environment (i32.const 8000))
    (call $hex (call $count (i32.const 8000)) (i32.const 9068))
    (call $arguments (i32.const 8000))
    (call $hex (call $count (i32.const 8000)) (i32.const 9085))
    (call $directories (i32.const 8000))
    (call $hex (call $count (i32.const 8000)) (i32.const 9102))
    (global.set $message (i32.const 9000))
    (global.set $length (i32.const 118))
";

fn watchman(body: &'static str) -> Watchman {
    Watchman {
        imports: IMPORTS,
        packages: PACKAGES,
        core_imports: CORE_IMPORTS,
        items: ITEMS,
        body,
        ..Watchman::default()
    }
}

async fn assess(now_ms: u64) -> Vec<u64> {
    let plugin = load("watchman", watchman(TELL_ALL).bytes(), limits()).await;
    let health = plugin.health().unwrap();
    let assessment = assessed(&health, "Pod", &json!({}), now_ms).await;
    let assessment = assessment.unwrap();
    let number = |text| u64::from_str_radix(text, 16).unwrap();
    assessment.message.split(' ').map(number).collect()
}

#[tokio::test]
async fn a_pure_kind_has_a_clock_that_stands_and_chance_that_repeats() {
    let first = assess(1_700_000_000_123).await;
    assert_eq!(first, assess(1_700_000_000_123).await);
    assert_ne!(first[0], first[1], "random all the same");
    assert_eq!(first[2], 1_700_000_000, "the time that it was asked about");
    assert_eq!(
        first[3..],
        [0, 0, 0, 0],
        "no ticks, no environment, no arguments, no files"
    );
    assert_eq!(assess(1_800_000_000_000).await[2], 1_800_000_000);
}

#[tokio::test]
async fn an_exit_is_a_crash() {
    let component = watchman("(call $exit (i32.const 1))").bytes();
    let plugin = load("watchman", component.clone(), limits()).await;
    let health = plugin.health().unwrap();
    let error = assessed(&health, "Pod", &json!({}), 0).await.unwrap_err();
    insta::assert_snapshot!(told(&error, &component), @"health `watchman` (sha256:…) failed to assess: it crashed: it exited with status 1");
}
