//! Writes YAML files with comments from JSON values.

use std::collections::BTreeMap;

use serde_json::Value;

/// Writes documents into one stream below a header, each with a comment above it.
pub(super) fn stream(header: &str, documents: &[(&str, &Value)]) -> String {
    let mut out = comment(header);
    for (about, document) in documents {
        out.push_str("---\n");
        out.push_str(&comment(about));
        out.push_str(&text(document));
    }
    out
}

fn comment(text: &str) -> String {
    text.lines()
        .map(|line| format!("# {line}").trim_end().to_owned() + "\n")
        .collect()
}

fn text(value: &Value) -> String {
    let mut text =
        serde_saphyr::to_string(&Sorted::of(value)).expect("a JSON value is a YAML value");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// A JSON value with sorted keys, whatever map `serde_json` was built with: the files must not depend on it.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Sorted<'a> {
    Map(BTreeMap<&'a str, Sorted<'a>>),
    List(Vec<Sorted<'a>>),
    Leaf(&'a Value),
}

impl<'a> Sorted<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Object(map) => Self::Map(
                map.iter()
                    .map(|(key, value)| (key.as_str(), Self::of(value)))
                    .collect(),
            ),
            Value::Array(items) => Self::List(items.iter().map(Self::of).collect()),
            leaf => Self::Leaf(leaf),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stream_is_read_back_as_it_was() {
        let one = json!({"b": [1, {"x": "on: off"}], "a": "1", "c": {}, "d": [], "e": "two\nlines", "f": true});
        let text = stream(
            "Header\n\nmore",
            &[("About", &one), ("", &json!({"z": null}))],
        );
        assert!(
            text.starts_with("# Header\n#\n# more\n---\n# About\na: "),
            "{text}"
        );
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(documents, [one, json!({"z": null})]);
    }
}
