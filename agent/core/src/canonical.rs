//! Canonical JSON: one text for one value, so that digests do not depend on how a document was written.
//!
//! RFC 8785 (JSON Canonicalization Scheme) with one difference: integers beyond 2^53 keep all their digits. Kubernetes
//! has 64-bit integers, and rounding them would give two different objects one digest.

use serde_json::{Map, Value};

/// Writes the canonical text of a value.
///
/// Keys are sorted by UTF-16 code units, there is no white space, strings use the shortest escapes, and a float with an integral
/// value is written as that integer (`1.0` and `1` are the same number in JSON).
pub fn to_string(value: &Value) -> String {
    let mut out = String::with_capacity(256);
    write(value, &mut out);
    out
}

/// Appends the canonical text of a value to `out`.
pub fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            if is_in_order(map) {
                write_members(map.iter(), out);
            } else {
                let mut members: Vec<_> = map.iter().collect();
                members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
                write_members(members.into_iter(), out);
            }
        }
    }
}

/// Returns whether the keys are already in the order in which they must be written. They nearly always are: for ASCII, byte order
/// is the order of UTF-16 code units.
fn is_in_order(map: &Map<String, Value>) -> bool {
    map.keys().all(|key| key.is_ascii()) && map.keys().is_sorted()
}

fn write_members<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>, out: &mut String) {
    out.push('{');
    for (index, (key, member)) in members.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(key, out);
        out.push(':');
        write(member, out);
    }
    out.push('}');
}

fn write_number(number: &serde_json::Number, out: &mut String) {
    if number.is_i64() || number.is_u64() {
        out.push_str(&number.to_string());
        return;
    }
    // Neither i64 nor u64, so a float. serde_json holds neither NaN nor infinities.
    let float = number.as_f64().unwrap_or_default();
    out.push_str(ryu_js::Buffer::new().format(float));
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    // Whatever needs no escape is copied as it stands, which is nearly all of the text.
    let mut rest = text;
    while let Some(at) = first_escape(rest.as_bytes()) {
        out.push_str(&rest[..at]);
        write_escape(rest.as_bytes()[at], out);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Finds the first byte that needs an escape. Most texts have none, so they are searched in blocks with no branch per byte, which
/// the compiler turns into instructions that handle many bytes at once.
fn first_escape(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 32;
    let is_plain = |block: &&[u8]| {
        !block
            .iter()
            .fold(false, |found, byte| found | needs_escape(*byte))
    };
    let plain = bytes.chunks_exact(BLOCK).take_while(is_plain).count() * BLOCK;
    let found = bytes[plain..].iter().position(|byte| needs_escape(*byte))?;
    Some(plain + found)
}

/// Returns whether a byte needs an escape. All such bytes are ASCII, so a text may be cut at them.
const fn needs_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

fn write_escape(byte: u8, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.push_str("\\\""),
        b'\\' => out.push_str("\\\\"),
        8 => out.push_str("\\b"),
        b'\t' => out.push_str("\\t"),
        b'\n' => out.push_str("\\n"),
        12 => out.push_str("\\f"),
        b'\r' => out.push_str("\\r"),
        control => {
            out.push_str("\\u00");
            out.push(char::from(HEX[usize::from(control >> 4)]));
            out.push(char::from(HEX[usize::from(control & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn follows_the_examples_of_rfc_8785() {
        // RFC 8785, section 3.2.2 and 3.2.3.
        let value = json!({
            "numbers": [333_333_333.333_333_3, 1e30, 4.50, 2e-3, 1e-27],
            "string": "\u{20ac}$\u{f}\nA'B\"\\\\\"/",
            "literals": [null, true, false]
        });
        assert_eq!(
            to_string(&value),
            concat!(
                r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
                r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
            )
        );
        let keys = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        assert_eq!(
            to_string(&keys),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
        );
    }

    #[test]
    fn integral_floats_are_integers_and_big_integers_keep_their_digits() {
        assert_eq!(to_string(&json!([1.0, -0.0, 100.0])), "[1,0,100]");
        assert_eq!(
            to_string(&json!([i64::MIN, u64::MAX])),
            "[-9223372036854775808,18446744073709551615]"
        );
    }

    /// Any JSON value, a few levels deep.
    pub(crate) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|n| json!(n)),
            any::<f64>().prop_map(|n| json!(n)),
            ".*".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::hash_map(".{0,8}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reading_back_changes_nothing(value in any_json()) {
            let text = to_string(&value);
            let back: Value = serde_json::from_str(&text).expect("canonical JSON is JSON");
            prop_assert_eq!(to_string(&back), text);
        }

        #[test]
        fn texts_have_the_shortest_escapes(plain in "[a-zé€]{0,80}", text in "[\\x00-\\x1f\"\\\\ -~é]{0,80}") {
            let text = plain + &text;
            let mut out = String::new();
            write_string(&text, &mut out);
            prop_assert_eq!(out, serde_json::to_string(&text).expect("a text is JSON"));
        }
    }
}
