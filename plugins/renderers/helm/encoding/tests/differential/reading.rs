//! Compares reading: both sides return the same values, or refuse with the same message.

use std::fmt::Debug;

use pintle_goencoding::{
    functions, json,
    yaml::{self, Document},
};
use pintle_gotemplate::{Map, Type, Value};
use proptest::prelude::*;

use crate::oracle::{self, Answer, Text, sample};

/// Compares the results of reading. Returns the number of texts that could be read. `same` determines whether our result equals
/// the library's.
pub(crate) fn compare<T: Debug>(
    op: &str,
    read: fn(&[u8]) -> Result<T, String>,
    same: fn(&Result<T, String>, &Answer) -> bool,
    texts: &[Vec<u8>],
) -> usize {
    let questions: Vec<_> = texts.iter().map(|text| oracle::reading(op, text)).collect();
    let mut differences = Vec::new();
    let mut sound = 0;
    for (text, answer) in texts.iter().zip(oracle::ask(&questions)) {
        let ours = read(text);
        sound += usize::from(ours.is_ok());
        if !same(&ours, &answer) {
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

fn same_value(ours: &Result<Value, String>, answer: &Answer) -> bool {
    match (ours, answer) {
        (Ok(ours), Answer::Value(theirs)) => ours == theirs,
        (Err(ours), Answer::Error(theirs)) => ours == theirs || by_chance(ours, theirs),
        _ => false,
    }
}

/// Generates texts that are nearly JSON.
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
    let texts = sample(jsonish(), 12_000);
    let sound = compare(
        "mustFromJson",
        |text| json::read(text).map_err(|error| error.to_string()),
        same_value,
        &texts,
    );
    assert!(sound > 2000, "only {sound} texts are JSON");
}

fn from_yaml(text: &[u8]) -> Result<Value, String> {
    let value = functions::read_yaml(text, Type::ANY_MAP).map_err(|error| error.to_string())?;
    // The library leaves the given map untouched.
    Ok(if value == Value::Nil {
        Map::new().into()
    } else {
        value
    })
}

fn yaml_to_json(text: &[u8]) -> Result<Text, String> {
    let mut out = Vec::new();
    Document::new(text)
        .write_json(&mut out)
        .map_err(|error| error.to_string())?;
    Ok(Text(out))
}

/// Returns the library's JSON without its escapes of `<`, `>` and `&`.
fn without_html_escapes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let unescaped = [
            (&b"\\u003c"[..], b'<'),
            (b"\\u003e", b'>'),
            (b"\\u0026", b'&'),
        ]
        .into_iter()
        .find(|(escape, _)| rest.starts_with(escape));
        if let Some((escape, byte)) = unescaped {
            out.push(byte);
            rest = &rest[escape.len()..];
        } else if byte == b'\\' {
            out.extend_from_slice(&rest[..2]);
            rest = &rest[2..];
        } else {
            out.push(byte);
            rest = after;
        }
    }
    out
}

/// Returns whether the library names one of several keys and numbers that JSON cannot hold, in Go's order of map entries.
fn by_chance(ours: &str, theirs: &str) -> bool {
    let is_json = |text: &str| {
        text.contains("unsupported map key of type") || text.contains("json: unsupported value")
    };
    is_json(ours) && is_json(theirs)
}

/// Compares JSON from YAML. Returns the number of texts that could be read.
fn compare_json(texts: &[Vec<u8>]) -> usize {
    let same = |ours: &Result<Text, String>, answer: &Answer| match (ours, answer) {
        (Ok(ours), Answer::Text(theirs)) => ours.0 == without_html_escapes(&theirs.0),
        (Err(ours), Answer::Error(theirs)) => ours == theirs || by_chance(ours, theirs),
        _ => false,
    };
    compare("yamlToJson", yaml_to_json, same, texts)
}

/// Generates texts that are nearly YAML.
fn yamlish() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&str] = &[
        "a",
        "b",
        "key",
        "a: ",
        "b:",
        "a:\n",
        "- ",
        "-\n",
        "- a\n",
        "  ",
        " ",
        "\n",
        "\n  ",
        "\n    ",
        "\n\n",
        "\t",
        "? ",
        ": ",
        ":",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ",",
        "&x ",
        "*x",
        "*x ",
        "&y ",
        "*y",
        "<<: ",
        "<<: *x\n",
        "!!str ",
        "!!int ",
        "!!binary ",
        "!!float ",
        "!foo ",
        "! ",
        "!!null ",
        "!<x> ",
        "|\n",
        "|-\n",
        ">\n",
        ">+\n",
        "|2\n",
        "> # c\n",
        "'",
        "''",
        "\"",
        "\\n",
        "\\x41",
        "\\\n",
        "'a b'",
        "\"c d\"",
        "# comment\n",
        " # comment",
        "#",
        "---\n",
        "--- ",
        "...\n",
        "%YAML 1.1\n",
        "%TAG !e! tag:e,1:\n",
        "1",
        "1.5",
        "0x1f",
        "010",
        "1e3",
        "~",
        "null",
        "true",
        "yes",
        "on",
        "2001-01-01",
        ".inf",
        ".nan",
        "-1",
        "\r\n",
        "\u{85}",
        "\u{2028}",
        "é",
        "\u{1f600}",
        "a: 1\n",
        "b: 2\n",
        "  c: 3\n",
        "- d: 4\n",
        "  - e\n",
        "text of several words",
        "aGVsbG8=",
        "18446744073709551615",
        "null: ",
        "{{ .Values.x }}",
        "@",
        "`",
        "%",
        "a:b",
        "http://x:80/y#z",
        "\u{feff}",
        "\u{7}",
    ];
    let piece = proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec());
    let fragments =
        || proptest::collection::vec(piece.clone(), 0..10).prop_map(|pieces| pieces.concat());
    let written = || {
        crate::values::map().prop_map(|value| {
            let mut text = Vec::new();
            yaml::write(&value, yaml::Flavor::Pretty, &mut text).map_or(vec![], |()| text)
        })
    };
    let changed = (
        written(),
        any::<prop::sample::Index>(),
        0..4usize,
        fragments(),
    )
        .prop_map(|(mut text, at, cut, insert)| {
            if !text.is_empty() {
                let at = at.index(text.len());
                let end = (at + cut).min(text.len());
                text.splice(at..end, insert);
            }
            text
        });
    prop_oneof![4 => fragments(), 1 => written(), 3 => changed]
}

#[test]
fn yaml_texts() {
    let mut texts = sample(yamlish(), 25_000);
    // After two byte order marks, the library loses the first character of each line.
    texts.retain(|text| !text.starts_with("\u{feff}\u{feff}".as_bytes()));
    let sound = compare_json(&texts);
    assert!(sound > 6_000, "only {sound} texts are YAML");
    compare("fromYaml", from_yaml, same_value, &texts[..8_000]);
}

/// Reads the YAML files of Helm and of Kubernetes' tools; none if there is no module cache.
#[test]
fn yaml_files() {
    let Ok(output) = std::process::Command::new("go")
        .args(["env", "GOMODCACHE"])
        .output()
    else {
        return;
    };
    let root = String::from_utf8(output.stdout).unwrap();
    let root = std::path::Path::new(root.trim());
    let mut folders = ["helm.sh", "sigs.k8s.io", "go.yaml.in"]
        .map(|folder| root.join(folder))
        .to_vec();
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
                && entry.metadata().is_ok_and(|data| data.len() < 300_000)
            {
                texts.extend(std::fs::read(path));
            }
        }
    }
    texts.sort();
    texts.dedup();
    // No value may be that deep, but the JSON parser tests in some modules are.
    texts.retain(|text| {
        !yaml_to_json(text).is_err_and(|error| error.contains("exceeded max depth"))
    });
    // A thousand of them reveal as much as all.
    let texts: Vec<_> = texts
        .iter()
        .step_by(texts.len() / 1000 + 1)
        .cloned()
        .collect();
    compare_json(&texts);
}
