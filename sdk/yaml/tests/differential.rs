//! The same texts through this crate and through the Go module that `kubectl` and the API server use.
//!
//! The oracle is `tests/oracle/yaml`; Go is a requirement of this test, as it is of `cargo xtask test`.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use pintle_yaml::{Limits, read_yaml};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
struct Answer {
    json: Option<Value>,
    error: Option<String>,
}

/// Builds the oracle once for all tests of this binary.
fn oracle() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/yaml");
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("yaml-oracle");
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&binary)
            .arg(".")
            .current_dir(folder)
            .output()
            .expect("this test needs Go 1.24 or newer on the PATH: https://go.dev/dl");
        assert!(
            built.status.success(),
            "the oracle does not build: {}",
            String::from_utf8_lossy(&built.stderr)
        );
        binary
    })
}

fn ask(texts: &[String]) -> Vec<Answer> {
    let mut child = Command::new(oracle())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle was just built");
    let mut stdin = child.stdin.take().expect("the standard input is piped");
    let question = serde_json::to_vec(texts).unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&question));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "the oracle failed");
    let answers: Vec<Answer> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers.len(), texts.len());
    answers
}

fn ours(text: &str) -> Result<Value, String> {
    let stream = read_yaml(text.as_bytes(), &Limits::default());
    match stream.errors.first() {
        Some(error) => Err(format!("{} at {}", error, error.mark)),
        // The Go module reads the first document only.
        None => Ok(stream
            .documents
            .into_iter()
            .next()
            .map_or(Value::Null, pintle_yaml::Node::into_json)),
    }
}

/// Equal, with `-0`, which Go writes for a negative zero and reads as 0.
fn equal(ours: &Value, go: &Value) -> bool {
    match (ours, go) {
        (Value::Number(ours), Value::Number(go)) => {
            ours == go || (go.as_f64() == Some(0.0) && ours.as_i64() == Some(0))
        }
        (Value::Array(ours), Value::Array(go)) => {
            ours.len() == go.len() && ours.iter().zip(go).all(|(ours, go)| equal(ours, go))
        }
        (Value::Object(ours), Value::Object(go)) => {
            ours.len() == go.len()
                && ours
                    .iter()
                    .all(|(key, value)| go.get(key).is_some_and(|other| equal(value, other)))
        }
        (ours, go) => ours == go,
    }
}

/// What differs, as `text => ours | Go's`.
fn differences(texts: &[String]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (text, answer) in texts.iter().zip(ask(texts)) {
        let go = match answer {
            Answer {
                error: Some(error), ..
            } => Err(error),
            Answer { json, .. } => Ok(json.unwrap_or(Value::Null)),
        };
        let ours = ours(text);
        let same = match (&ours, &go) {
            (Ok(ours), Ok(go)) => equal(ours, go),
            (Err(_), Err(_)) => true,
            _ => false,
        };
        if !same {
            found.insert(text.clone(), format!("{ours:?} | {go:?}"));
        }
    }
    found
}

#[track_caller]
fn same(texts: &[String]) {
    let found = differences(texts);
    let listed: Vec<String> = found
        .iter()
        .take(40)
        .map(|(text, difference)| format!("{text:?} => {difference}"))
        .collect();
    assert!(
        found.is_empty(),
        "{} of {} differ:\n{}",
        found.len(),
        texts.len(),
        listed.join("\n")
    );
}

const SCALARS: &[&str] = &[
    "",
    "~",
    "null",
    "Null",
    "NULL",
    "nULL",
    "true",
    "True",
    "TRUE",
    "tRUE",
    "false",
    "False",
    "FALSE",
    "yes",
    "Yes",
    "YES",
    "yEs",
    "no",
    "No",
    "NO",
    "on",
    "On",
    "ON",
    "oN",
    "off",
    "Off",
    "OFF",
    "y",
    "Y",
    "n",
    "N",
    "t",
    "f",
    "o",
    "0",
    "-0",
    "+0",
    "00",
    "1",
    "+1",
    "-1",
    "12345678901234567890",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "+18446744073709551615",
    "99999999999999999999999999",
    "0777",
    "0644",
    "+0777",
    "-0777",
    "08",
    "09.5",
    "0o17",
    "0O17",
    "0o8",
    "0x1F",
    "0X1f",
    "-0x1f",
    "0xfg",
    "0x",
    "0b101",
    "-0b101",
    "+0b101",
    "0B1",
    "0b2",
    "0b",
    "0b+1",
    "0b-1",
    "-0b-1",
    "0b1111111111111111111111111111111111111111111111111111111111111111",
    "0xffffffffffffffff",
    "0xffffffffffffffffff",
    "1_000",
    "1__0",
    "_1",
    "1_",
    "0x_1f",
    "0_7",
    "-1_000.5",
    "1.0",
    "1.",
    ".5",
    "-.5",
    "+.5",
    ".",
    "..",
    "-.",
    "+",
    "-",
    "--",
    ".5_0",
    "._5",
    ".5_",
    ".5__0",
    ".5e1",
    ".e5",
    ".5e",
    ".5e+",
    "1e3",
    "1E3",
    "1e+3",
    "1e-3",
    "1.5e3",
    "1e",
    "1e400",
    "-1e400",
    "1e-400",
    "1.7976931348623157e308",
    "4.9e-324",
    "1e21",
    "1e20",
    "1e19",
    "1e18",
    "123456789012345678",
    "0.1",
    "3.14",
    "-3.14",
    "1.10",
    "100000000000000000000.0",
    ".inf",
    ".Inf",
    ".INF",
    "-.inf",
    "+.inf",
    ".iNF",
    ".nan",
    ".NaN",
    ".NAN",
    "inf",
    "nan",
    "Infinity",
    "12:30:45",
    "1:20",
    "190:20:30",
    "190:20:30.15",
    "2001-01-01",
    "2001-1-1",
    "2001-12-14t21:59:43.10-05:00",
    "2001-12-14 21:59:43",
    "2001-13-45",
    "2001-01-01x",
    "1.2.3",
    "1.2.3.4",
    "v1",
    "1a",
    "1Gi",
    "100m",
    "50%",
    "0.5Gi",
    "<<",
    "=",
    "a b",
    "a  b",
    "a\tb",
    "a:b",
    "a#b",
    "a #b",
    "http://x/y",
    "${name}",
    "${name:=1}",
    "$(NAME)",
    "*",
    "<",
    ">=1.2",
    "é",
    "日本",
    "😀",
    "0x1p4",
    "1e3e3",
    "1.2e3.4",
    "+-1",
    "-+1",
    "0.",
    "00.5",
    "1,000",
    "0d1",
    "1L",
    "0777_",
    "0_",
    "0b_1",
    "12e5",
    "abc123",
    "1234567e3",
    "6e2",
    "+12e3",
    "0e0",
    "-0.0",
    "-0e5",
    "1_0e1_0",
    "1_0.1_0",
    "0o_7",
    "0o",
    "007",
    "0008",
];

const TAGS: &[&str] = &[
    "!!str",
    "!!int",
    "!!float",
    "!!bool",
    "!!null",
    "!!binary",
    "!",
    "!foo",
    "!!foo",
    "!<tag:yaml.org,2002:int>",
    "!<x>",
    "!!merge",
    "!!seq",
    "!!map",
];

fn strings(texts: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    texts.into_iter().map(Into::into).collect()
}

#[test]
fn scalars_in_every_place() {
    let places = [
        "{}",
        "v: {}",
        "v: {}\n",
        "- {}\n- x\n",
        "[ {} ]",
        "{{ v: {} }}",
        "{}: x",
        "{{ {}: x }}",
        "v: '{}'",
        "v: \"{}\"",
        "v: {} # comment",
        "v: &a {}\nw: *a",
        "v:\n  {}\n",
        "v: {}\r\nw: {}\r\n",
        "? {}\n: x\n",
    ];
    let texts: Vec<String> = SCALARS
        .iter()
        .flat_map(|scalar| {
            places.iter().map(move |place| {
                place
                    .replace("{}", scalar)
                    .replace("{{", "{")
                    .replace("}}", "}")
            })
        })
        .collect();
    same(&texts);
}

#[test]
fn scalars_with_every_tag() {
    let texts: Vec<String> = SCALARS
        .iter()
        .flat_map(|scalar| {
            TAGS.iter().flat_map(move |tag| {
                [
                    format!("v: {tag} {scalar}"),
                    format!("{tag} {scalar}: v"),
                    format!("v: {tag} \"{scalar}\""),
                ]
            })
        })
        .collect();
    let found: Vec<_> = differences(&texts)
        .into_iter()
        // Go keeps bytes that are not UTF-8 and its JSON encoder replaces each by U+FFFD: the value is lost silently.
        .filter(|(_, difference)| {
            !(difference.contains("not UTF-8 once decoded") && difference.contains('\u{fffd}'))
        })
        .collect();
    assert!(
        found.is_empty(),
        "{} of {} differ: {found:#?}",
        found.len(),
        texts.len()
    );
}

#[test]
fn every_short_number_like_text() {
    let alphabet = [
        '0', '1', '7', '9', '_', '.', '+', '-', 'e', 'E', 'x', 'o', 'b', 'f', ':',
    ];
    let mut texts = vec![String::new()];
    let mut last = texts.clone();
    for _ in 0..4 {
        last = last
            .iter()
            .flat_map(|text| alphabet.iter().map(move |next| format!("{text}{next}")))
            .collect();
        texts.extend(last.iter().cloned());
    }
    let documents: Vec<String> = texts.iter().map(|text| format!("v: {text}")).collect();
    same(&documents);
}

#[test]
fn block_scalars() {
    let bodies = [
        "a\n",
        "a",
        "a\nb\n",
        "a\n\nb\n",
        "a\n\n\nb\n\n\n",
        "\na\n",
        "\n\n  a\n",
        " a\n b\n",
        "a\n  b\nc\n",
        "a\n  b\n\n  c\nd\n",
        "a\n  ",
        "a\n\n",
        "a\n b",
        "a \nb\n",
        "a\tb\n",
        "- a\n",
        "# a\n",
        "",
        "\n",
        "\n\n",
        "a\n---b\n",
        "a: b\n",
        "a\n\tb\n",
        "é\n日本\n",
    ];
    let mut texts = Vec::new();
    for style in ["|", ">"] {
        for chomp in ["", "-", "+"] {
            for indicator in ["", "1", "2"] {
                for body in bodies {
                    for after in ["", "w: x\n", "# end\n", "\nw: x\n"] {
                        let indented: String = body
                            .split_inclusive('\n')
                            .map(|line| {
                                if line == "\n" {
                                    line.to_owned()
                                } else {
                                    format!("  {line}")
                                }
                            })
                            .collect();
                        texts.push(format!("v: {style}{indicator}{chomp}\n{indented}{after}"));
                    }
                }
            }
        }
    }
    same(&texts);
}

#[test]
fn structure_keys_and_merges() {
    same(&strings([
        "a: &b {x: 1, y: 2}\nc: {<<: *b, x: 3}",
        "a: &b {x: 1}\nc:\n  <<: *b\n  x: 3",
        "a: &b {x: 1}\nc:\n  x: 3\n  <<: *b",
        "a: &b {x: 1}\nd: &e {x: 2, z: 4}\nc:\n  <<: [*b, *e]",
        "a: &b {x: 1}\nc: {<<: *b, <<: {x: 5}}",
        "c: {<<: 1}",
        "c: {<<: [1]}",
        "a: &b [{x: 1}]\nc: {<<: *b}",
        "c: {<<: [{x: 1}, {x: 2, y: 3}], z: 1}",
        "c: {'<<': {x: 1}}",
        "c: {!!merge <<: {x: 1}}",
        "a: &b {<<: {q: 1}, x: 1}\nc: {<<: *b}",
        "c: {<<: null}",
        "c: {&k <<: {x: 1}}",
        "a: *b",
        "a: &b 1\nc: *b",
        "a: &b 1\nc: *b\nb: &b 2\nd: *b",
        "a: &b [*b]",
        "a: &b {c: *b}",
        "&k a: 1\nb: *k",
        "a: &k x\n*k : y",
        "a: &k [x]\n*k : y",
        "[a]: b",
        "{a: b}: c",
        "? [a]\n: b",
        "? a\n: b",
        "? a\n? b\n",
        "null: x",
        "~: x",
        ": x",
        "true: x\nfalse: y",
        "on: x",
        "y: x",
        "1: a",
        "1.0: a",
        "1.5: a\n1e6: b\n1e5: c\n1e21: d\n0.0001: e\n0.00001: f\n123456789.5: g\n.inf: h\n-.inf: i\n.nan: j",
        "18446744073709551615: a",
        "0x10: a\n0777: b",
        "2001-01-01: x",
        "!!binary YQ==: x",
        "a: !!binary YQ==",
        "a: !!binary |\n  YWJj\n  ZGVm\n",
        "a: !!binary 'YQ='",
        "a: !!binary ''",
        "a: !!set {x, y}",
        "a: !!omap [x: 1]",
        "a: !!map {x: 1}",
        "a: !!seq [1]",
        "a: !!str [1]",
        "a: !custom {x: 1}",
        "a: !custom [1]",
        "a: [1, 2, ]",
        "a: {x: 1, }",
        "a: {x, y: }",
        "a: [x: 1, y]",
        "a: [[[]]]",
        "a:\n- 1\n- 2\n",
        "a:\n  - 1\n  -\n  - - 2\n    - 3\n",
        "- a: 1\n  b: 2\n-\n  c: 3\n",
        "a: b: c",
        "a: 'b' c",
        "a: 'b\n\n  c'",
        "a: b\n  c\n\n  d\n",
        "a: 'it''s'",
        r#"a: "\a\b\t\n\v\f\r\e\0\x41\u0041\U0001F600\N\_\L\P\\\"\ ""#,
        "a: \"x\\\n  y\"",
        r#"a: "\q""#,
        r#"a: "\x4""#,
        r#"a: "\ud800""#,
        "a: 'x",
        "a: \"x",
        "a: [1",
        "a: {x: 1",
        "a: ]",
        "a: }",
        "a: 1\n b: 2",
        "a:\n  b: 1\n c: 2",
        "a: 1\nb",
        "a\nb: 1",
        "  a: 1\n  b: 2",
        "a: |x\n  y",
        "a: @x",
        "a: `x",
        "a: %x",
        "%YAML 1.1\n---\na: 1",
        "%TAG !e! tag:example.com,2000:\n---\na: !e!x 1",
        "%TAG !! tag:yaml.org,2002:\n---\na: !!int '1'",
        "a: !e!x 1",
        "---\na: 1",
        "--- a",
        "--- {a: 1}",
        "---\n...\n",
        "# only a comment",
        "",
        "\n\n",
        "---",
        "--- # comment\na: 1",
        "a: 1\n...\n",
        "a: 1 # c",
        "a: 1# c",
        "a: x #",
        "a: '#x'",
        "\u{feff}a: 1",
        "a: 1\r\nb: 2\r\n",
        "a: 1\rb: 2\r",
        "a:\t1",
        "a: 1\t",
        "a: [\t1,\t2\t]",
        "{\"a\":1,\"b\":[true,null,\"x\"]}",
        "{\"a\":\n\t1}",
        "{\n\t\"a\": 1\n}",
        "a:\n\tb: 1",
        "a:\n  b: 1\n\tc: 2",
        "a: \u{7}",
        "a: \u{1b}[0m",
        "a: \u{7f}",
        "a: \u{fffe}",
        "'a': 1\n\"b\": 2",
        "a: &x\n  b: 1\nc: *x",
        "a: &x\nc: *x",
        "a: &x 'q'\nc: *x",
        "a: !!str\nb: 1",
        "a: !!str &x 1\nb: &y !!int '2'",
        "a: -1\nb: - 1",
        "a: --- b",
        "a: ...",
        "{a: http://x:80/y}",
        "{a:1}",
        "{\"a\":1}",
        "{'a':1}",
        "[a:1]",
        "[\"a\":1]",
        "a: {b: c}d",
        "a: [b]c",
        "a: *x y",
        "a: &x",
        "a: b: ",
        "a::b",
        "a: :b",
        "a: ?b",
        "a: -b",
        "a: b?",
        "a: [-b]",
        "a: x, y",
        "a: [x y]",
        "a: {x y: z}",
    ]));
}

/// Where the two differ on purpose, each with the reason. `Err` is any error.
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

/// Texts that a fixed generator makes of pieces of YAML. Syntax that one of the two refuses is no concern here (see
/// [`known_differences`]); what both read must be the same.
#[test]
fn what_both_read_is_the_same() {
    let pieces = [
        "a", "b", "k", ": ", "- ", "\n", "\n", "\n  ", "\n    ", " ", "  ", "[", "]", "{", "}",
        ", ", "'", "\"", "#", " # ", "|", ">", "|-\n", ">+\n", "&x ", "*x", "<<: ", "!!str ", "1",
        "0x1", "1.5", "yes", "~", "\\n", "-", "---\n", "\t", "\r\n", "é",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let texts: Vec<String> = (0..200_000)
        .map(|_| {
            (0..=random(14))
                .map(|_| pieces[random(pieces.len())])
                .collect::<String>()
                + "\n"
        })
        .collect();
    let read: Vec<String> = texts
        .into_iter()
        .filter(|text| ours(text).is_ok_and(|value| value.is_object()))
        .collect();
    assert!(
        read.len() > 3_000,
        "the generator makes too little YAML: {}",
        read.len()
    );
    let found: Vec<_> = differences(&read)
        .into_iter()
        .filter(|(_, difference)| !difference.contains(" | Err("))
        .collect();
    assert!(
        found.is_empty(),
        "{} of {} differ: {found:#?}",
        found.len(),
        read.len()
    );
}
