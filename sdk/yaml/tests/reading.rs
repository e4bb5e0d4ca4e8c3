//! What is read, what is refused and where, and what causes a warning.

use pintle_yaml::{Limits, Stream, read_json, read_yaml};
use proptest::prelude::*;
use serde_json::{Value, json};

fn yaml(text: &str) -> Stream {
    read_yaml(text.as_bytes(), &Limits::default())
}

fn one(text: &str) -> Value {
    let mut stream = yaml(text);
    assert_eq!(stream.errors, [], "{text:?}");
    assert_eq!(stream.documents.len(), 1, "{text:?}");
    stream.documents.remove(0).into_json()
}

/// Returns errors and warnings as a person would see them.
fn report(stream: &Stream) -> String {
    let errors = stream.errors.iter().map(|error| {
        let hint = error
            .hint()
            .map(|hint| format!(" ({hint})"))
            .unwrap_or_default();
        format!("error {} {}: {error}{hint}\n", error.mark, error.pointer)
    });
    let warnings = stream.warnings.iter().map(|warning| {
        format!(
            "warning {} {}: {warning} ({})\n",
            warning.mark,
            warning.pointer,
            warning.hint()
        )
    });
    errors.chain(warnings).collect()
}

/// The table that determined how scalars are read.
#[test]
fn the_table_of_kubernetes_semantics() {
    let table = [
        ("yes", json!(true)),
        ("on", json!(true)),
        ("y", json!(true)),
        ("Off", json!(false)),
        ("0777", json!(511)),
        ("0o777", json!(511)),
        ("1_000", json!(1000)),
        ("!!binary aGk=", json!("hi")),
        ("!foo bar", json!("bar")),
        ("1e3", json!(1000)),
        ("1.0", json!(1)),
        ("0.5", json!(0.5)),
        ("12:30:45", json!("12:30:45")),
        ("2001-01-01", json!("2001-01-01")),
        ("~", json!(null)),
        ("'1'", json!("1")),
        ("1.2.3", json!("1.2.3")),
        (
            "18446744073709551615",
            json!(18_446_744_073_709_551_615_u64),
        ),
    ];
    for (text, expected) in table {
        assert_eq!(
            one(&format!("v: {text}")),
            json!({ "v": expected }),
            "{text}"
        );
    }
    assert_eq!(one("on: x"), json!({"true": "x"}));
    assert_eq!(one("1.0: x"), json!({"1": "x"}));
    assert_eq!(
        one("a: &b {x: 1}\nc: {<<: *b, z: 2}"),
        json!({"a": {"x": 1}, "c": {"x": 1, "z": 2}})
    );
    assert!(!yaml("v: .inf").errors.is_empty());
    assert!(!yaml("v: 1\nv: 2").errors.is_empty());
    // Whole numbers are integers, not floats that happen to be whole.
    assert!(one("v: 1e3")["v"].is_i64());
}

#[test]
fn documents_of_a_stream() {
    let stream = yaml("# head\na: 1\n---\n---\n# nothing\n---\nb: 2\n...\n---\nnull\n");
    let documents: Vec<Value> = stream
        .documents
        .into_iter()
        .map(pintle_yaml::Node::into_json)
        .collect();
    assert_eq!(
        documents,
        [
            json!({"a": 1}),
            json!(null),
            json!(null),
            json!({"b": 2}),
            json!(null)
        ]
    );
    assert_eq!(yaml("").documents, []);
}

#[test]
fn every_value_knows_its_place() {
    let stream =
        yaml("\u{feff}# head\r\na:\r\n  - x: 1\r\n    é y: [2,\r\n      3]\r\n---\r\n{b: c}\r\n");
    let mark = |document: usize, pointer: &str| {
        stream.documents[document]
            .at(pointer)
            .unwrap()
            .mark
            .to_string()
    };
    assert_eq!(mark(0, ""), "2:1");
    assert_eq!(mark(0, "/a"), "3:3");
    assert_eq!(mark(0, "/a/0/x"), "3:8");
    assert_eq!(mark(0, "/a/0/é y"), "4:10");
    assert_eq!(mark(0, "/a/0/é y/1"), "5:7");
    assert_eq!(mark(1, "/b"), "7:5");
    assert_eq!(stream.documents[0].nearest("/a/0/z/q").to_string(), "3:5");
    let entry = stream.documents[0]
        .at("/a/0")
        .unwrap()
        .as_mapping()
        .unwrap()
        .entry("é y")
        .unwrap();
    assert_eq!(entry.key_mark.to_string(), "4:5");
}

#[test]
fn errors_name_place_field_and_remedy() {
    insta::assert_snapshot!(report(&yaml("a: 1\nb:\n  c: 1\n  c: 2\nd: [1\n---\ne: .inf\nf: *g\n---\n? [h]\n: 1\n")), @"
    error 4:3 /b/c: the key `c` occurs twice; it was first set at line 3 (keep one of the two)
    error 5:4 /d: invalid YAML: unclosed bracket '['
    error 7:4 /e: `.inf` has no form in JSON (quote the value if it is text)
    error 8:4 /f: the alias `*g` has no anchor `&g` before it in this document (put the anchor before the alias and in the same document, or quote the value if it is text)
    error 10:3 : a list cannot be a key (quote the key if it is text; `{{ ... }}` of a template is no YAML until it is rendered)
    ");
    insta::assert_snapshot!(report(&yaml("a:\n\tb: 1\n")), @"error 2:2 /a: invalid YAML: a tab where only spaces may indent (indent with spaces)");
    insta::assert_snapshot!(report(&yaml("a: &x [*x]\nb: !!int x\nc: {<<: 1}\nd: !!binary '?'\n")), @"
    error 1:8 /a/0: an alias stands for a value that contains it
    error 2:10 /b: `x` is no !!int (quote the value if it is text)
    error 3:9 /c/<<: `<<` merges a mapping or a list of mappings, and this is neither
    error 4:13 /d: the value is tagged `!!binary` and is not base64 (remove the tag to keep the text as it is)
    ");
    insta::assert_snapshot!(report(&yaml("image: {{ .Values.image }}\n")), @"error 1:9 /image: a mapping cannot be a key (quote the key if it is text; `{{ ... }}` of a template is no YAML until it is rendered)");
    insta::assert_snapshot!(report(&yaml("a: 'x\nb: 1\n")), @"error 2:1 /a: invalid YAML: invalid indentation in multiline quoted scalar (close the quote; the lines that continue a quoted text must be indented)");
    insta::assert_snapshot!(report(&yaml("a: 1\n  b: 2\n")), @"error 2:4 : invalid YAML: mapping values are not allowed in this context (check the indentation; a text that contains `: ` must be quoted)");
    insta::assert_snapshot!(report(&yaml("a: \"\\q\"\n")), @"error 1:4 /a: invalid YAML: while parsing a quoted scalar, found unknown escape character (use single quotes to keep backslashes as they are)");
    insta::assert_snapshot!(report(&yaml("a: \u{7}\n")), @r"error 1:4 /a: invalid YAML: unexpected character: `\u{7}' (quote the value if it is text)");
    insta::assert_snapshot!(report(&yaml("a: @b\nc: d\n")), @"error 1:4 /a: invalid YAML: unexpected character: `@' (quote the value if it is text)");
    insta::assert_snapshot!(report(&read_yaml(b"a: 1\nb: \xff\n", &Limits::default())), @"error 2:4 : the text is not UTF-8 (save the file as UTF-8)");
    insta::assert_snapshot!(report(&read_yaml(b"\xff\xfea\0:\0 \x001\0", &Limits::default())), @"error 1:1 : the text is UTF-16, not UTF-8 (save the file as UTF-8)");
    insta::assert_snapshot!(report(&read_yaml(b"a\0:\0 \x001\0", &Limits::default())), @"error 1:1 : the text is UTF-16, not UTF-8 (save the file as UTF-8)");
    insta::assert_snapshot!(report(&read_yaml(b"a: 1\nb: \0", &Limits::default())), @"error 2:4 : the text contains a NUL character (is the file binary? exclude it, or remove the character)");
}

#[test]
fn warnings_name_what_is_read() {
    insta::assert_snapshot!(
        report(&yaml(
            "on: push\n0x10: a\na: yes\nb: 12e5\nc: 1_000\nd: 99999999999999999999\ne: !Ref x\nf: &b {x: 1}\ng: {x: 2, <<: *b}\n\
             fine: [true, 'yes', 0644, 1.5e3, -1e3, 100m, 1: 2]\n"
        )),
        @"
    warning 1:1 /on: the key `on` is read as `true` (quote the key if it is text)
    warning 2:1 /0x10: the key `0x10` is read as `16` (quote the key if it is text)
    warning 3:4 /a: `yes` is read as the boolean true (write true or false, or quote it if it is text)
    warning 4:4 /b: `12e5` is read as the number 1200000 (quote it if it is text)
    warning 5:4 /c: `1_000` is read as the number 1000 (quote it if it is text)
    warning 6:4 /d: the number `99999999999999999999` is too large to be kept exactly (quote it if it is text)
    warning 7:9 /e: the tag `!Ref` is ignored (remove the tag; the values of manifests have no tags)
    warning 9:15 /g: the `<<` after the key `x` replaces its value (put `<<` before the mapping's own keys)
    "
    );
}

/// Small and large mappings look up their keys in different ways.
#[test]
fn keys_are_unique_in_mappings_of_any_size() {
    for size in [1, 14, 15, 16, 17, 40] {
        let keys = |from: usize| {
            (from..size)
                .map(|key| format!("k{key}: {key}\n"))
                .collect::<Vec<_>>()
                .concat()
        };
        assert_eq!(
            yaml(&keys(0)).documents[0].as_mapping().unwrap().len(),
            size
        );
        for again in [0, size / 2, size - 1] {
            let stream = yaml(&format!("{}k{again}: x\n", keys(0)));
            let error = &stream.errors[0];
            assert_eq!(
                (error.mark.line as usize, error.pointer.as_str()),
                (size + 1, format!("/k{again}").as_str())
            );
        }
        let merging = format!(
            "a: &a {{k0: merged, z: 1}}\nb:\n  <<: *a\n  {}",
            keys(0).trim_end().replace('\n', "\n  ")
        );
        let merged = one(&merging);
        assert_eq!(merged["b"].as_object().unwrap().len(), size + 1);
        assert_eq!(
            (&merged["b"]["k0"], &merged["b"]["z"]),
            (&json!(0), &json!(1))
        );
    }
}

#[test]
fn a_bad_document_does_not_hide_the_next() {
    let stream = yaml("a: [\n---\nb: 1\n---\nc: {\n---\nd: 2\n");
    assert_eq!(stream.errors.len(), 2);
    assert_eq!(stream.documents.len(), 2);
}

#[test]
fn costs_are_bounded() {
    let limits = Limits {
        bytes: 2_000_000,
        depth: 10,
        nodes: 1_000,
        alias_nodes: 100,
        alias_bytes: 1_000,
    };
    let read = |text: &str| report(&read_yaml(text.as_bytes(), &limits));
    let bomb =
        "a: &a [x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c]\n";
    insta::assert_snapshot!(read(bomb), @"error 3:14 /c/2: the aliases of this document expand to more than the limit of 100 values or 1000 bytes (write the values out where they are needed)");
    insta::assert_snapshot!(read(&format!("a: &a '{}'\nb: [*a, *a, *a]\n", "x".repeat(400))), @"error 2:13 /b/2: the aliases of this document expand to more than the limit of 100 values or 1000 bytes (write the values out where they are needed)");
    insta::assert_snapshot!(read(&("[".repeat(11) + &"]".repeat(11))), @"error 1:11 /0/0/0/0/0/0/0/0/0/0: more than 10 collections within one another (split it into several documents or files)");
    insta::assert_snapshot!(read(&"[".repeat(1_000_000)), @"error 1:12 : more than 10 collections within one another (split it into several documents or files)");
    insta::assert_snapshot!(read(&"- ".repeat(1_000_000)), @"error 1:21 /0/0/0/0/0/0/0/0/0/0: more than 10 collections within one another (split it into several documents or files)");
    insta::assert_snapshot!(read(&"- x\n".repeat(2_000)), @"error 1000:3 /999: more than 1000 values in one document (split it into several documents or files)");
    insta::assert_snapshot!(read(&"x".repeat(3_000_000)), @"error 1:1 : the file has 3000000 bytes, more than the limit of 2000000 (split it into several documents or files)");
    insta::assert_snapshot!(read("a: &a [[[[[]]]]]\nb: [[[[[*a]]]]]\n"), @"error 2:9 /b/0/0/0/0/0: more than 10 collections within one another (split it into several documents or files)");
    // The deepest nesting that is allowed stays readable.
    assert_eq!(read(&("[".repeat(10) + &"]".repeat(10))), "");
    assert_eq!(report(&yaml(bomb)), "");
}

#[test]
fn the_classic_bomb_is_refused_at_once() {
    let levels = (1..20).map(|level| {
        let previous = format!("*a{}", level - 1);
        format!("a{level}: &a{level} [{}]\n", vec![previous; 9].join(","))
    });
    let text: String = std::iter::once("a0: &a0 lol\n".to_owned())
        .chain(levels)
        .collect();
    insta::assert_snapshot!(report(&yaml(&text)), @"error 7:10 /a6/0: the aliases of this document expand to more than the limit of 100000 values or 4194304 bytes (write the values out where they are needed)");
}

#[test]
fn json_is_read_strictly_and_with_places() {
    let read = |text: &str| read_json(text.as_bytes(), &Limits::default());
    let stream = read(
        "\u{feff}{\n  \"a\" : [1, 2.0, 1e2],\n\t\"b\\n\": {\"c\": \"\\ud83d\\ude00\"}\n}\n{\"d\": null}",
    );
    assert_eq!(report(&stream), "");
    let mark = |document: usize, pointer: &str| {
        stream.documents[document]
            .at(pointer)
            .unwrap()
            .mark
            .to_string()
    };
    assert_eq!(mark(0, "/a"), "2:9");
    assert_eq!(mark(0, "/a/2"), "2:18");
    assert_eq!(mark(0, "/b\n/c"), "3:15");
    assert_eq!(mark(1, "/d"), "5:7");
    assert_eq!(
        stream.documents[0]
            .as_mapping()
            .unwrap()
            .entry("b\n")
            .unwrap()
            .key_mark
            .to_string(),
        "3:2"
    );
    let documents: Vec<Value> = stream
        .documents
        .into_iter()
        .map(pintle_yaml::Node::into_json)
        .collect();
    assert_eq!(
        documents,
        [
            json!({"a": [1, 2, 100], "b\n": {"c": "😀"}}),
            json!({"d": null})
        ]
    );

    insta::assert_snapshot!(report(&read("{\"a\": 1,\n \"b\": {\"c\": 1,\n \"c\": 2}}")), @"error 3:2 /b/c: the key `c` occurs twice; it was first set at line 2 (keep one of the two)");
    insta::assert_snapshot!(report(&read("{\"a\": 99999999999999999999}")), @"warning 1:7 /a: the number `99999999999999999999` is too large to be kept exactly (quote it if it is text)");
    insta::assert_snapshot!(report(&read("{\"a\": 1,}")), @"error 1:9 : invalid JSON: key must be a string");
    insta::assert_snapshot!(report(&read("{\"a\": yes}")), @"error 1:7 : invalid JSON: expected value");
    insta::assert_snapshot!(report(&read("{\"a\": \"\\ud800\"}")), @"error 1:7 /a: invalid JSON: unexpected end of hex escape");
    insta::assert_snapshot!(report(&read("{\"a\": [1e999]}")), @"error 1:8 /a/0: invalid JSON: number out of range");
    insta::assert_snapshot!(report(&read("// a comment\n{}")), @"error 1:1 : invalid JSON: expected value");
    insta::assert_snapshot!(report(&read(&"[".repeat(100_000))), @"error 1:100000 : invalid JSON: EOF while parsing a list");
    insta::assert_snapshot!(report(&read(&("[".repeat(101) + &"]".repeat(101)))), @"error 1:101 /0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0: more than 100 collections within one another (split it into several documents or files)");
    assert_eq!(read("").documents, []);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_yaml(&bytes, &Limits::default());
        let _ = read_json(&bytes, &Limits::default());
    }

    #[test]
    fn no_text_of_yaml_pieces_panics(text in "([a-c]|[:,?&*!|>'\"%@`#{}\\[\\]-]|: |- |\n|\n  |\t|<<: |\\*a|&a |--- |\u{feff}|\u{85}|\0){0,60}") {
        let _ = yaml(&text);
        let _ = read_json(text.as_bytes(), &Limits::default());
    }

    /// JSON is YAML: both readers return the same values at the same positions.
    #[test]
    fn json_and_yaml_agree(value in values()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let (from_json, from_yaml) = (read_json(text.as_bytes(), &Limits::default()), yaml(&text));
        prop_assert_eq!(report(&from_json), "");
        prop_assert_eq!(report(&from_yaml), "");
        prop_assert_eq!(&from_json.documents, &from_yaml.documents);
        prop_assert_eq!(from_json.documents.into_iter().next().unwrap().into_json(), value);
    }
}

fn values() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1000..1000_i32).prop_map(|number| Value::from(f64::from(number) + 0.5)),
        "[ -~é😀\n\t]{0,12}".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map("[a-z/~ ]{1,6}", inner, 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}
