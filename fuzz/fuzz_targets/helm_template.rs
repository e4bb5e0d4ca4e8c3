//! Templates with all functions that Helm has: parsed and executed with little of everything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pintle_goencoding::functions::from_json;
use pintle_gotemplate::{Limits, Map, State};
use pintle_renderer_helm::engine::{Engine, Template};
use pintle_sprig::{Clock, Secrets};

const VALUES: &str = r#"{"Values": {"a": 1, "b": "text", "c": [1, "two", null, true, {"d": 1.5}],
    "d": {"e": {"f": "g"}, "h": []}, "i": "1.2.3", "j": "2024-01-02", "k": null, "l": -7, "m": "a,b,c"},
    "Release": {"Name": "r", "Namespace": "n"}, "Chart": {"Name": "c", "Version": "0.1.0"}}"#;

thread_local! {
    static ENGINE: Engine = Engine::new(
        State::default()
            .with(Clock { seconds: 1_700_000_000, nanoseconds: 0 })
            .with(Secrets::new(|purpose, count| purpose.bytes().cycle().take(count as usize).collect())),
    )
    .with_limits(Limits { steps: 20_000, output: 1 << 20, memory: 16 << 20, depth: 60 });
}

fuzz_target!(|text: &[u8]| {
    let values: Map = from_json(VALUES.as_bytes());
    let template = Template {
        name: "c/templates/t.yaml".to_owned(),
        base_path: "c/templates".to_owned(),
        text: text.into(),
        values,
    };
    // Refused or not: it comes to an end.
    ENGINE.with(|engine| engine.render(vec![template])).ok();
});
