//! TOML as Helm reads and writes it: what was read can be written, and is then read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pintle_goencoding::toml;

fuzz_target!(|text: &[u8]| {
    let Ok(value) = toml::read(text, &pintle_sprig::toml_time) else {
        return;
    };
    let mut out = Vec::new();
    toml::write(&value, &mut out).expect("TOML has no value that it cannot write");
    toml::read(&out, &pintle_sprig::toml_time).expect("what is written is TOML");
});
