//! Reading and writing YAML.

use anyhow::Context as _;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// Formats a value as a YAML document.
///
/// Strings that a YAML 1.1 reader would take for something else (`yes`, `0777`, `1_000`) are quoted. Kubernetes' own reader is
/// such a reader.
pub(crate) fn write(value: &Value) -> String {
    let mut out = String::new();
    append(value, &mut out);
    out
}

fn append(value: &Value, out: &mut String) {
    let mut options = serde_saphyr::SerializerOptions::default();
    // Long lines are not folded: folding is for prose, and a diff of manifests is by line.
    options.folded_wrap_chars = usize::MAX;
    options.compact_list_indent = true;
    let start = out.len();
    if serde_saphyr::to_fmt_writer_with_options(out, &Written(value), options).is_err() {
        // JSON is also YAML. Only a bug in the writer can make it fail for a JSON value.
        out.truncate(start);
        out.push_str(&value.to_string());
        out.push('\n');
    }
}

/// A value in the form in which it is written.
struct Written<'a>(&'a Value);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) if hides_indentation(text) => {
                serde_saphyr::DoubleQuoted(text).serialize(serializer)
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Written)),
            Value::Object(map) => {
                serializer.collect_map(map.iter().map(|(key, value)| (key, Written(value))))
            }
            value => value.serialize(serializer),
        }
    }
}

/// Returns whether a reader could not tell how far a text of several lines is indented. It looks at the first line that is not
/// empty, and Kubernetes' reader accepts neither a tab there nor a longer empty line before it (YAML 1.2, 8.1.1.1).
fn hides_indentation(text: &str) -> bool {
    if !text.contains('\n') {
        return false;
    }
    let text = text.trim_start_matches('\n');
    let (line, more) = text.split_once('\n').unwrap_or((text, ""));
    let is_blank = line.chars().all(|c| matches!(c, ' ' | '\t'));
    line.starts_with('\t') || is_blank && !more.is_empty()
}

/// Formats values as one stream, each document after a `---`, in consecutive pieces. A long stream is formatted on all
/// processors.
pub(crate) fn stream(values: &[&Value]) -> Vec<String> {
    let document = |mut out: String, value: &&Value| {
        out.push_str("---\n");
        append(value, &mut out);
        out
    };
    if values.iter().map(|value| weight(value)).sum::<usize>() < LONG {
        return vec![values.iter().fold(String::new(), document)];
    }
    let values = values.par_iter();
    values.map(|value| document(String::new(), value)).collect()
}

/// The number of values at which more threads pay off: formatting this many takes some milliseconds.
const LONG: usize = 8192;

/// Returns the number of values within a value.
fn weight(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(weight).sum::<usize>(),
        _ => 1,
    }
}

/// Parses settings: one YAML or JSON document, as Kubernetes reads YAML.
pub(crate) fn read(text: &[u8], name: &str) -> anyhow::Result<Value> {
    let text = std::str::from_utf8(text).with_context(|| format!("{name} is not UTF-8"))?;
    let mut options = serde_saphyr::Options::default();
    options.legacy_octal_numbers = true;
    serde_saphyr::from_str_with_options(text, options)
        .with_context(|| format!("{name} is not valid YAML"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_reads_back_the_same_by_old_and_new_rules() {
        let value = json!({
            "plain": "a", "yes": "yes", "octal": "0777", "float": "1e3", "under": "1_000", "date": "2001-01-01",
            "empty": "", "null": "null", "tilde": "~", "lines": "a\nb\n", "no-final": "a\nb", "colon": "a: b",
            "hash": "a #b", "list": [1, {"a": []}, {}], "sexagesimal": "1:30", "long": "x ".repeat(200), "merge": "<<",
            "tab": "a\tb", "unicode": "é\u{1f600}\u{85}", "trailing": "a ", "number": 1.5, "big": u64::MAX, "dash": "-"
        });
        let text = write(&value);
        assert_eq!(read(text.as_bytes(), "x").unwrap(), value, "{text}");
        assert!(text.contains("\"yes\"") || text.contains("'yes'"), "{text}");
        let prose = format!("long {}end", "words and ".repeat(50));
        assert_eq!(write(&json!({ "a": prose })), format!("a: {prose}\n"));
        let both = [
            json!({"kind": "A", "items": [{"a": 1, "b": [2]}]}),
            json!({"kind": "B"}),
        ];
        let expected = "---\nitems:\n- a: 1\n  b:\n  - 2\nkind: A\n---\nkind: B\n";
        assert_eq!(stream(&both.each_ref()).concat(), expected);
    }

    #[test]
    fn a_text_that_begins_with_white_space_is_read_as_it_is() {
        for (text, is_block) in [
            ("\techo hi\ndone\n", false),
            ("\n\techo hi\n", false),
            ("\n\n\tdone", false),
            ("  \nx\n", false),
            (" \n\n  x\ny\n", false),
            ("\t\n", false),
            ("  two\nnone\n", true),
            ("\n  two\nnone", true),
            ("none\n\ttab\n  two\n", true),
        ] {
            let value = json!({"a": {"run.sh": text, "list": [text, {"b": text}]}});
            let written = write(&value);
            assert_eq!(read(written.as_bytes(), "x").unwrap(), value, "{written}");
            // libyaml rejects a tab, or a longer empty line, where it looks for the indentation of a block.
            assert_eq!(written.contains('|'), is_block, "{written}");
        }
    }

    #[test]
    fn a_long_stream_is_the_same_as_in_one_piece() {
        let sizes = [0, 9_000, 1, 2, 30_000, 5, 12_000, 0];
        let values = sizes.map(|size| json!({"items": vec![1; size]}));
        let values = values.each_ref();
        let one_by_one = values.map(|value| format!("---\n{}", write(value)));
        assert_eq!(stream(&values).concat(), one_by_one.concat());
    }
}
