//! The lines of `--set` and its relatives, each on what those before it gave.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pintle_gotemplate::{Map, Value};
use pintle_helm_chart::values::set::{set, set_file, set_json, set_literal, set_string};

fuzz_target!(|text: &str| {
    let values = Map::new();
    for line in text.lines().take(20) {
        match line.as_bytes().first() {
            Some(b'0') => set_string(&line[1..], &values).ok(),
            Some(b'1') => set_json(&line[1..], &values).ok(),
            Some(b'2') => set_literal(&line[1..], &values).ok(),
            Some(b'3') => set_file(&line[1..], &values, &|path| Ok(Value::from(path))).ok(),
            _ => set(line, &values).ok(),
        };
    }
});
