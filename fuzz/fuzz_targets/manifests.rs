//! Manifests with the places of their values, in YAML and JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pintle_yaml::{Limits, read_json, read_yaml};

fuzz_target!(|text: &[u8]| {
    let limits = Limits {
        nodes: 20_000,
        ..Limits::default()
    };
    for document in read_yaml(text, &limits).documents {
        document.into_json();
    }
    for document in read_json(text, &limits).documents {
        document.into_json();
    }
});
