//! JSON as Go reads and writes it: what is written is read back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pintle_goencoding::{
    functions,
    json::{self, Layout},
};

fuzz_target!(|text: &[u8]| {
    functions::from_json(text);
    functions::from_json_array(text);
    let Ok(value) = json::read(text) else {
        return;
    };
    for (pretty, raw) in [(false, false), (true, true)] {
        let mut out = Vec::new();
        json::write(&value, Layout { raw, pretty }, &mut out)
            .expect("all that JSON holds can be written");
        assert_eq!(json::read(&out).as_ref(), Ok(&value));
    }
});
