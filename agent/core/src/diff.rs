//! Differences between two JSON values, field by field.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The RFC 6901 pointer to the field. For a list item that is gone, it has the item's previous index.
    pub pointer: String,
    /// The previous value; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The new value; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Lists the differences between two values, in order of their pointers' parents.
///
/// Lists whose items all have a distinct `name` are compared item by item by name, since that is how Kubernetes keys most of its
/// lists. Other lists of equal length are compared item by item, and lists that grew or shrank are compared as a whole.
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(String::new(), Some(before), Some(after), &mut found);
    found
}

/// Escapes a key for use as one part of an RFC 6901 pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn compare(
    pointer: String,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                compare(
                    format!("{pointer}/{}", escape(key)),
                    old.get(key),
                    new.get(key),
                    found,
                );
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => match (names(old), names(new)) {
            (Some(old_names), Some(new_names)) => {
                compare_named(&pointer, (old, &old_names), (new, &new_names), found);
            }
            _ if old.len() == new.len() => {
                for (index, (old, new)) in old.iter().zip(new).enumerate() {
                    compare(format!("{pointer}/{index}"), Some(old), Some(new), found);
                }
            }
            _ => push(pointer, before, after, found),
        },
        (old, new) if same(old, new) => {}
        _ => push(pointer, before, after, found),
    }
}

/// Returns whether two values are equal. `1` and `1.0` are the same number in JSON, and a server may write one where a client
/// wrote the other.
fn same(before: Option<&Value>, after: Option<&Value>) -> bool {
    match (before, after) {
        (Some(old @ Value::Number(_)), Some(new @ Value::Number(_))) => {
            canonical::to_string(old) == canonical::to_string(new)
        }
        (old, new) => old == new,
    }
}

fn push(
    pointer: String,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    found.push(Difference {
        pointer,
        before: before.cloned(),
        after: after.cloned(),
    });
}

fn names(items: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<&str> = items
        .iter()
        .map(|item| item.get("name")?.as_str())
        .collect::<Option<_>>()?;
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    (distinct.len() == names.len()).then_some(names)
}

fn compare_named(
    pointer: &str,
    (old, old_names): (&[Value], &[&str]),
    (new, new_names): (&[Value], &[&str]),
    found: &mut Vec<Difference>,
) {
    for (index, name) in new_names.iter().enumerate() {
        let before = old_names
            .iter()
            .position(|old| old == name)
            .map(|at| &old[at]);
        compare(
            format!("{pointer}/{index}"),
            before,
            Some(&new[index]),
            found,
        );
    }
    for (index, name) in old_names.iter().enumerate() {
        if !new_names.contains(name) {
            push(format!("{pointer}/{index}"), Some(&old[index]), None, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn text(before: Value, after: Value) -> Vec<String> {
        let show = |value: Option<Value>| value.map_or("-".to_owned(), |value| value.to_string());
        let line =
            |d: Difference| format!("{}: {} -> {}", d.pointer, show(d.before), show(d.after));
        differences(&before, &after).into_iter().map(line).collect()
    }

    #[test]
    fn names_each_field() {
        assert_eq!(
            text(
                json!({"a": 1, "b": {"c/d": "x"}, "e": 1}),
                json!({"a": 2, "b": {"c/d": "y"}, "f": null})
            ),
            [
                "/a: 1 -> 2",
                "/b/c~1d: \"x\" -> \"y\"",
                "/e: 1 -> -",
                "/f: - -> null"
            ]
        );
    }

    #[test]
    fn follows_named_items_when_they_move() {
        let before = json!([{"name": "a", "image": "1"}, {"name": "b"}, {"name": "c"}]);
        let after = json!([{"name": "c"}, {"name": "a", "image": "2"}]);
        assert_eq!(
            text(before, after),
            ["/1/image: \"1\" -> \"2\"", "/1: {\"name\":\"b\"} -> -"]
        );
    }

    #[test]
    fn lists_without_names_differ_item_by_item_or_whole() {
        assert_eq!(text(json!([1, 2]), json!([1, 3])), ["/1: 2 -> 3"]);
        assert_eq!(text(json!([1]), json!([1, 2])), [": [1] -> [1,2]"]);
        assert!(text(json!({"n": 1}), json!({"n": 1.0})).is_empty());
    }

    proptest! {
        #[test]
        fn equal_values_have_no_difference_and_others_have_one(a in any_small(), b in any_small()) {
            prop_assert!(differences(&a, &a).is_empty());
            prop_assert_eq!(differences(&a, &b).is_empty(), a == b);
        }
    }

    fn any_small() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            (0..3i32).prop_map(|n| json!(n)),
            "[ab]".prop_map(|s| json!(s))
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::hash_map("[ab]", inner, 0..3)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }
}
