//! The renderer `helm` as shipped, with 32-bit lengths and a small stack. This shows what native tests of its crates cannot.

use bytes::Bytes;
use pintle_core::{
    application::Limits,
    duration::Span,
    plugin::{Kind, PluginError},
    tree::memory::MemoryTree,
};
use pintle_host::{Renderer, Settings};
use serde_json::{Value, json};

use crate::support::{fault, load, request};

async fn helm() -> Renderer {
    let component = pintle_builtin::component(Kind::Renderer, "helm").unwrap();
    let limits = Limits {
        time: Some(Span::seconds(60)),
        ..Limits::default()
    };
    let plugin = load("helm", Bytes::from_static(component.bytes), limits).await;
    plugin.renderer().unwrap()
}

/// Renders a chart with one template, whose only object is a `ConfigMap` with the given data. Returns the rendered data.
async fn data(renderer: &Renderer, data: &str) -> Result<Value, PluginError> {
    let template =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n{data}\n");
    let chart = MemoryTree::new([
        ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n"),
        ("templates/a.yaml", template.as_str()),
    ]);
    let asked = request(Settings::new(json!({})), chart);
    let rendering = renderer.render(asked).await?;
    Ok(rendering.objects[0].object.value()["data"].clone())
}

/// Expressions and the JSON of what Helm returns for them.
const LARGE_NUMBERS: &[(&str, &str)] = &[
    (r#"b32enc "100m""#, r#""GEYDA3I=""#),
    (r#"b32enc "4294967296""#, r#""GQZDSNBZGY3TEOJW""#),
    (r#"wrap 4294967296 "hello world""#, r#""hello world""#),
    (
        r#"wrapWith 4294967297 "|" "hello world""#,
        r#""hello world""#,
    ),
    (
        r#"abbrevboth 4294967296 10 "abcdefghijklmnopqrstuvwxyz""#,
        r#""...tuvwxyz""#,
    ),
    (
        r#"abbrev 4294967300 "abcdefghijklmnopqrstuvwxyz""#,
        r#""abcdefghijklmnopqrstuvwxyz""#,
    ),
    ("chunk 4294967297 (list 1 2 3)", "[[1,2,3]]"),
    ("chunk 9223372036854775807 (list 1 2 3)", "[[1,2,3]]"),
    (r#"repeat 4294967296 """#, r#""""#),
    (r#"trunc 4294967297 "abc""#, r#""abc""#),
    (r#"trunc -4294967297 "abc""#, r#""abc""#),
    (r#"substr 1 4294967297 "abc""#, r#""bc""#),
    (r#"splitn "," 4294967297 "a,b" | len"#, "2"),
    (
        r#"regexFindAll "a" "banana" 4294967297"#,
        r#"["a","a","a"]"#,
    ),
    (r#"regexSplit "a" "banana" 4294967296 | len"#, "4"),
    (
        r#"regexReplaceAll "(a)" "bab" "[${2147483648}]""#,
        r#""b[]b""#,
    ),
    (
        "untilStep 4294967296 4294967302 3",
        "[4294967296,4294967299]",
    ),
    ("seq 4294967296 4294967297", r#""4294967296 4294967297""#),
    (
        r#"printf "%d %x" 4294967296 4294967296"#,
        r#""4294967296 100000000""#,
    ),
    (r#"date "2006-01-02" 4294967296"#, r#""2106-02-07""#),
    ("add 4294967295 1", "4294967296"),
    ("mul 4294967296 2", "8589934592"),
    ("toDecimal 40000000000", "4294967296"),
    (
        r#"fromYaml "a: 4294967296" | toJson"#,
        r#""{\"a\":4294967296}""#,
    ),
];

#[tokio::test]
async fn numbers_may_be_larger_than_a_length() {
    let renderer = helm().await;
    let lines: Vec<String> = LARGE_NUMBERS
        .iter()
        .enumerate()
        .map(|(at, (expression, _))| format!("  k{at}: {{{{ {expression} | toJson | quote }}}}"))
        .collect();
    let found = data(&renderer, &lines.join("\n")).await.unwrap();
    for (at, (expression, expected)) in LARGE_NUMBERS.iter().enumerate() {
        assert_eq!(found[format!("k{at}")], *expected, "{expression}");
    }
}

#[tokio::test]
async fn numbers_that_no_list_and_no_text_can_have_are_refused() {
    let renderer = helm().await;
    let refusals = [
        ("randAlpha 4294967296", "too much memory"),
        ("randBytes 4294967296", "too much memory"),
        (r#"repeat 4294967297 "a""#, "too much memory"),
        ("until 4294967296", "too much memory"),
        (
            r#"substr 4294967297 4294967296 "abc""#,
            "slice bounds out of range [4294967297:3]",
        ),
        (
            "index (list 1 2) 4294967296",
            "index out of range: 4294967296",
        ),
        ("slice (list 1 2) 0 4294967297", "slice index out of bounds"),
    ];
    for (expression, expected) in refusals {
        let line = format!("  k: {{{{ {expression} | toJson | quote }}}}");
        let error = data(&renderer, &line).await.unwrap_err();
        let told = fault(&error).to_string();
        assert!(told.contains(expected), "{expression}: {told}");
    }
}

#[tokio::test]
async fn lists_are_put_together_of_many_items() {
    let renderer = helm().await;
    let lines = "  {{- $l := list }}{{ range until 20000 }}{{ $l = append $l . }}{{ end }}\n  k: {{ len $l | quote }}";
    let found = data(&renderer, lines).await.unwrap();
    assert_eq!(found["k"], "20000");
}

#[tokio::test]
async fn templates_nest_as_deep_as_the_stack_allows() {
    let renderer = helm().await;
    let line = r#"  k: {{ define "n" }}{{ if . }}{{ include "n" (sub . 1 | int) }}{{ end }}{{ end }}{{ include "n" 190 }}"#;
    data(&renderer, line).await.unwrap();
    let line = r#"  k: {{ define "n" }}{{ include "n" . }}{{ end }}{{ include "n" . }}"#;
    let error = data(&renderer, line).await.unwrap_err();
    let told = fault(&error).to_string();
    assert!(
        told.contains("exceeded maximum template depth (1000): "),
        "{told}"
    );
}
