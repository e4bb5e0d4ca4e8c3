//! The known differences between this crate and the Go module.

use serde_json::Value;

use crate::oracle::{Answer, ask, ours, strings};

/// The intended differences, each with its reason. `Err` is any error.
#[test]
fn known_differences() {
    type Known = (
        &'static str,
        Result<&'static str, ()>,
        Result<&'static str, ()>,
        &'static str,
    );
    let known: &[Known] = &[
        (
            "{a: 1, a: 2}",
            Err(()),
            Ok("{\"a\":2}"),
            "a key that occurs twice is a mistake whose winner nobody sees",
        ),
        ("a: 1\n'a': 2", Err(()), Ok("{\"a\":2}"), "the same, quoted"),
        (
            "1: x\n'1': x",
            Err(()),
            Ok("{\"1\":\"x\"}"),
            "the same, once keys are texts",
        ),
        (
            "a: !!binary /w==",
            Err(()),
            Ok("{\"a\":\"\u{fffd}\"}"),
            "Go loses bytes that are not UTF-8",
        ),
        (
            "a: \"b\nc\"",
            Err(()),
            Ok("{\"a\":\"b c\"}"),
            "YAML wants continuation lines of quoted texts indented",
        ),
        (
            "[a] ]",
            Err(()),
            Ok("[\"a\"]"),
            "Go stops reading after the first document",
        ),
        (
            "a: 1\n---\n]",
            Err(()),
            Ok("{\"a\":1}"),
            "Go stops reading after the first document",
        ),
        (
            "a: !!timestamp x",
            Ok("{\"a\":\"x\"}"),
            Err(()),
            "timestamps are texts, checked by nobody",
        ),
        (
            "\ta: 1",
            Ok("{\"a\":1}"),
            Err(()),
            "YAML 1.2 allows tabs as separation",
        ),
        (
            "- a\n-\tb",
            Ok("[\"a\",\"b\"]"),
            Err(()),
            "YAML 1.2 allows tabs as separation",
        ),
        (
            "v: |\n  \ta\n",
            Ok("{\"v\":\"\\ta\\n\"}"),
            Err(()),
            "the tab is content, after the indentation",
        ),
        (
            "%YAML 1.2\n---\na: yes",
            Ok("{\"a\":true}"),
            Err(()),
            "a directive of YAML 1.2 changes nothing",
        ),
        (
            "a: \"\\/\"",
            Ok("{\"a\":\"/\"}"),
            Err(()),
            "JSON's escape of `/`, part of YAML 1.2",
        ),
        (
            "a: \"\\ud83d\\ude00\"",
            Ok("{\"a\":\"\u{1f600}\"}"),
            Err(()),
            "JSON's surrogate pairs",
        ),
        (
            "a: [http://x/?y]",
            Ok("{\"a\":[\"http://x/?y\"]}"),
            Err(()),
            "YAML 1.2 allows `?` within flow texts",
        ),
        (
            "a: [:b]",
            Ok("{\"a\":[\":b\"]}"),
            Err(()),
            "YAML 1.2 allows `:` before a non-blank",
        ),
        (
            "{a:}",
            Ok("{\"a\":null}"),
            Ok("{\"a:\":null}"),
            "YAML 1.2: a flow indicator ends the key",
        ),
        (
            "v: |+\n  ",
            Ok("{\"v\":\"\\n\"}"),
            Ok("{\"v\":\"\"}"),
            "blanks without a line break, kept, are one empty line",
        ),
        (
            "a: [?b]",
            Ok("{\"a\":[\"?b\"]}"),
            Ok("{\"a\":[{\"b\":null}]}"),
            "YAML 1.2: `?` needs a blank after it",
        ),
        (
            "a: \"x\u{85}y\"",
            Ok("{\"a\":\"x\u{85}y\"}"),
            Ok("{\"a\":\"x y\"}"),
            "not a line break since YAML 1.2",
        ),
        (
            "a: x\u{2028}y",
            Ok("{\"a\":\"x\u{2028}y\"}"),
            Err(()),
            "not a line break since YAML 1.2",
        ),
    ];
    let texts = strings(known.iter().map(|(text, ..)| *text));
    let json = |expected: &Result<&str, ()>| {
        expected.map(|json| serde_json::from_str::<Value>(json).unwrap())
    };
    for ((text, expected, expected_go, reason), answer) in known.iter().zip(ask(&texts)) {
        let go = match answer {
            Answer { error: Some(_), .. } => Err(()),
            Answer { json, .. } => Ok(json.unwrap_or(Value::Null)),
        };
        assert_eq!(
            ours(text).map_err(|_| ()),
            json(expected),
            "ours: {text:?}: {reason}"
        );
        assert_eq!(go, json(expected_go), "Go's: {text:?}: {reason}");
    }
}
