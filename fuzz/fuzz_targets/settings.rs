//! What people write into an Application, and the texts in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pintle_core::{application::parse_file, digest::Digest, duration::Span};
use pintle_sdk::glob::Glob;
use pintle_yaml::{Limits, read_yaml};

fuzz_target!(|text: &str| {
    text.parse::<Digest>().ok();
    text.parse::<Span>().ok();
    let (one, other) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(glob) = Glob::parse(one) {
        glob.matches(other);
    }
    for document in read_yaml(text.as_bytes(), &Limits::default()).documents {
        let json = document.into_json();
        parse_file(json.clone(), None).ok();
        parse_file(json, Some("production")).ok();
    }
});
