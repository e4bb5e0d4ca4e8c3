//! The YAML that Helm reads and writes: all ways to read a text agree, and what is written is read back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pintle_goencoding::{
    json,
    yaml::{self, Document, Flavor, Numbers},
};

fuzz_target!(|text: &[u8]| {
    let document = Document::new(text);
    let value = document.to_value(Numbers::Float);
    let exact = document.to_value(Numbers::Exact);
    let mut out = Vec::new();
    let written = document.write_json(&mut out);
    assert_eq!(value.as_ref().err(), exact.as_ref().err());
    assert_eq!(value.as_ref().err(), written.as_ref().err());
    let Ok(value) = value else {
        return;
    };
    assert_eq!(
        json::read(&out).as_ref(),
        Ok(&value),
        "{}",
        String::from_utf8_lossy(&out)
    );
    for flavor in [Flavor::Plain, Flavor::Pretty] {
        let mut out = Vec::new();
        if yaml::write(&value, flavor, &mut out).is_err() || out_of_reach(text) {
            continue;
        }
        // Version 3 begins lines of blocks with tabs, which version 2 refuses.
        if flavor == Flavor::Pretty && out.contains(&b'\t') {
            continue;
        }
        let again = Document::new(&out).to_value(Numbers::Float);
        assert_eq!(
            again.as_ref(),
            Ok(&value),
            "{}",
            String::from_utf8_lossy(&out)
        );
    }
});

/// Whether a text can have characters that the library refuses to write, or that it folds, as U+0085.
fn out_of_reach(text: &[u8]) -> bool {
    text.iter().any(|&byte| byte >= 0x7f || byte == b'\\') || text.contains(&b'!')
}
