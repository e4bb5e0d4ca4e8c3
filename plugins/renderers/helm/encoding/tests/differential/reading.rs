//! What is read: the same values, or refused by both with the same text.

use pintle_goencoding::json;
use pintle_gotemplate::Value;
use proptest::prelude::*;

use crate::oracle::{self, Answer, sample};

/// Compares what is read; gives how many texts were read at all.
fn compare(op: &str, read: fn(&[u8]) -> Result<Value, String>, texts: &[Vec<u8>]) -> usize {
    let questions: Vec<_> = texts.iter().map(|text| oracle::reading(op, text)).collect();
    let mut differences = Vec::new();
    let mut sound = 0;
    for (text, answer) in texts.iter().zip(oracle::ask(&questions)) {
        let ours = read(text);
        sound += usize::from(ours.is_ok());
        let same = match (&ours, &answer) {
            (Ok(ours), Answer::Value(theirs)) => ours == theirs,
            (Err(ours), Answer::Error(theirs)) => ours == theirs,
            _ => false,
        };
        if !same {
            differences.push(format!(
                "{}\n  ours:   {ours:?}\n  theirs: {answer:?}",
                text.escape_ascii()
            ));
        }
    }
    let found = differences.len();
    differences.sort_by_key(String::len);
    differences.truncate(8);
    assert!(
        found == 0,
        "{op}: {found} of {} differ:\n{}",
        texts.len(),
        differences.join("\n")
    );
    sound
}

/// Texts that are nearly JSON.
fn jsonish() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"b\":",
        " ",
        "\n",
        "true",
        "false",
        "null",
        "tru",
        "nul",
        "fals",
        "0",
        "1",
        "-",
        "-1",
        "01",
        "1.",
        "1.5",
        "1e",
        "1e5",
        "1E+3",
        "1e400",
        "-0",
        "\\",
        "\\n",
        "\\u",
        "\\u00e9",
        "\\ud83d",
        "\\ude00",
        "\\/",
        "\\x",
        "é",
        "\u{1}",
        "'",
        "\"a\": 1",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800x\"",
        "[1, 2]",
        "{\"a\": {}}",
        "\t",
        "\u{7f}",
    ];
    let piece = prop_oneof![
        20 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    let fragments = proptest::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat());
    let sound = || {
        crate::values::value().prop_map(|value| {
            let mut text = Vec::new();
            json::write(
                &value,
                json::Layout {
                    raw: true,
                    pretty: true,
                },
                &mut text,
            )
            .map_or(vec![], |()| text)
        })
    };
    let cut = (sound(), any::<prop::sample::Index>(), fragments.clone()).prop_map(
        |(mut text, at, insert)| {
            if !text.is_empty() {
                let at = at.index(text.len());
                text.splice(at..at, insert);
            }
            text
        },
    );
    prop_oneof![3 => fragments, 1 => sound(), 2 => cut]
}

#[test]
fn json_texts() {
    let texts = sample(jsonish(), 30_000);
    let sound = compare(
        "mustFromJson",
        |text| json::read(text).map_err(|error| error.to_string()),
        &texts,
    );
    assert!(sound > 5000, "only {sound} texts are JSON");
}
