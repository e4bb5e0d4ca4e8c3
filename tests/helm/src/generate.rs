//! Generated expressions, the same on each run.

pub mod functions;
pub mod language;
mod pools;
mod random;
mod special;

pub use random::Random;

use serde_json::{Value, json};

/// How the output of a case is to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// Byte for byte.
    Exactly,
    /// Only whether there is output: it is random, a time, or in no fixed order.
    Success,
}

/// One template to render.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What it tests: a function's name or a part of the language.
    pub about: String,
    /// The template.
    pub text: String,
    /// How to compare its output.
    pub compared: Compared,
}

/// Returns the values that all cases are rendered with: every type that values can have, including nested values and edge cases.
pub fn input() -> Value {
    json!({
        "int": 3, "zero": 0, "negative": -7, "float": 1.5, "big": 1_000_000, "huge": 12_345_678_901_234_567_u64,
        "small": 0.000_001, "string": "hello world", "empty": "", "number": "42", "unicode": "héllo wörld ☃ 日本",
        "yes": true, "no": false, "nothing": null,
        "list": [3, 1, 2, 1], "strings": ["b", "a", "c", "a"], "mixed": [1, "a", true, null, 2.5, [1], {"k": "v"}],
        "emptyList": [], "nested": [[1, 2], [3, [4]]],
        "map": {"b": 2, "a": 1, "c": {"d": {"e": "deep"}}}, "emptyMap": {},
        "other": {"a": "x", "c": {"d": {"f": 5}}, "z": [1]},
        "objects": [{"name": "one", "v": 1}, {"name": "two", "v": 2}],
        "key with space": "odd", "multi": "line one\n  line two\n\nline four\n", "quotes": "a \"b\" 'c' \\ d",
        "html": "<a href='x'>&amp;</a>", "yaml": "a: 1\nb:\n- x\n- y: null\n", "json": "{\"a\": [1, 2.5, \"x\"]}",
        "template": "{{ .Values.int }}-{{ .Release.Name }}"
    })
}

/// The helper templates that cases may include.
pub const HELPERS: &str = r#"{{- define "c.name" -}}{{ .Chart.Name }}-{{ .Release.Name }}{{- end -}}
{{- define "c.value" }}[{{ . }}]{{ end -}}
{{- define "c.list" }}{{ range $i, $v := . }}{{ $i }}={{ $v }};{{ end }}{{ end -}}
{{- define "c.loop" }}{{ if gt (int .) 0 }}{{ . }}{{ include "c.loop" (sub (int .) 1) }}{{ end }}{{ end -}}
{{- define "c.fails" }}{{ fail "on purpose" }}{{ end -}}
{{- define "c.empty" }}{{ end -}}
"#;
