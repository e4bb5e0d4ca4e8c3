//! A quick check whether settings match a schema.
//!
//! Compiling a schema checks it against the meta-schema, which takes longer than a small render. Schemas that are derived from a
//! plugin's types use few keywords, and nearly all settings are valid. For these, this check is enough.

use std::cell::Cell;

use serde_json::{Map, Value};

/// The maximum number of nested references and levels that are followed.
const DEPTH: usize = 64;

/// The maximum number of steps: the check costs a millisecond at most, whatever a schema refers to. Definitions that refer to
/// each other are examined anew from each place.
const STEPS: usize = 10_000;

/// Returns whether a value is certain to satisfy a schema (JSON Schema 2020-12). False means only that the validator has to
/// decide.
pub(super) fn satisfies(schema: &Value, value: &Value) -> bool {
    let root = Root {
        schema,
        left: Cell::new(STEPS),
    };
    root.accepts(schema, value, DEPTH)
}

/// The document in which local references are resolved, and the steps that are left.
struct Root<'a> {
    schema: &'a Value,
    left: Cell<usize>,
}

impl Root<'_> {
    /// Spends a number of steps, unless too few are left. Nothing is certain after that, since no keyword here can turn an
    /// uncertain result into a certain one.
    fn takes(&self, steps: usize) -> bool {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.unwrap_or_default());
        left.is_some()
    }

    fn accepts(&self, schema: &Value, value: &Value, depth: usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        if !self.takes(1 + length(value)) {
            return false;
        }
        let keywords = match schema {
            Value::Bool(accepts) => return *accepts,
            Value::Object(keywords) => keywords,
            _ => return false,
        };
        keywords
            .iter()
            .all(|(keyword, with)| self.keyword(keywords, keyword, with, value, depth))
    }

    /// Checks one keyword. An unknown keyword may mean anything.
    fn keyword(
        &self,
        keywords: &Map<String, Value>,
        keyword: &str,
        with: &Value,
        value: &Value,
        depth: usize,
    ) -> bool {
        match keyword {
            "$schema" | "$comment" | "$defs" | "title" | "description" | "default" | "examples"
            | "deprecated" | "readOnly" | "writeOnly" => true,
            // It applies only to strings, and options decide whether it is checked.
            "format" => !value.is_string(),
            "type" => match with {
                Value::Array(types) => types.iter().any(|one| is_of_type(one, value)),
                one => is_of_type(one, value),
            },
            "const" => with == value,
            "enum" => with
                .as_array()
                .is_some_and(|all| self.takes(all.len()) && all.contains(value)),
            "minimum" => integers(value, with).is_some_and(|(value, least)| value >= least),
            "maximum" => integers(value, with).is_some_and(|(value, most)| value <= most),
            "required" => value.as_object().is_none_or(|members| {
                let names = with.as_array();
                names.is_some_and(|names| {
                    self.takes(names.len()) && names.iter().all(|name| has(members, name))
                })
            }),
            "properties" => value.as_object().is_none_or(|members| {
                with.as_object().is_some_and(|known| {
                    members.iter().all(|(name, member)| {
                        known
                            .get(name)
                            .is_none_or(|schema| self.accepts(schema, member, depth))
                    })
                })
            }),
            "additionalProperties" => value.as_object().is_none_or(|members| {
                let known = keywords.get("properties").and_then(Value::as_object);
                !keywords.contains_key("patternProperties")
                    && members
                        .iter()
                        .filter(|(name, _)| known.is_none_or(|known| !known.contains_key(*name)))
                        .all(|(_, member)| self.accepts(with, member, depth))
            }),
            "items" => value.as_array().is_none_or(|items| {
                !keywords.contains_key("prefixItems")
                    && items.iter().all(|item| self.accepts(with, item, depth))
            }),
            "anyOf" => with
                .as_array()
                .is_some_and(|any| any.iter().any(|one| self.accepts(one, value, depth))),
            "allOf" => with
                .as_array()
                .is_some_and(|all| all.iter().all(|one| self.accepts(one, value, depth))),
            "$ref" => self
                .resolve(with)
                .is_some_and(|schema| self.accepts(schema, value, depth)),
            _ => false,
        }
    }

    /// Follows a reference to a definition of the root: `#/$defs/Name`.
    fn resolve(&self, reference: &Value) -> Option<&Value> {
        let name = reference.as_str()?.strip_prefix("#/$defs/")?;
        // A pointer in a fragment may be escaped in two ways; names of types need neither.
        let is_plain = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        // If there were an identifier, references would be relative to it.
        if !is_plain || self.schema.get("$id").is_some() {
            return None;
        }
        let schema = self.schema.get("$defs")?.get(name)?;
        schema.get("$id").is_none().then_some(schema)
    }
}

/// Returns the number of members or items of a value, each of which a keyword examines.
fn length(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    }
}

fn has(members: &Map<String, Value>, name: &Value) -> bool {
    name.as_str().is_some_and(|name| members.contains_key(name))
}

fn integers(value: &Value, limit: &Value) -> Option<(i64, i64)> {
    Some((value.as_i64()?, limit.as_i64()?))
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::settings::compile;

    #[test]
    fn settings_as_plugins_have_them_are_certain() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Settings", "type": "object", "additionalProperties": false, "required": ["name"],
            "properties": {
                "name": {"type": "string", "default": ""},
                "count": {"type": ["integer", "null"], "format": "uint32", "minimum": 0},
                "rule": {"anyOf": [{"$ref": "#/$defs/Rule"}, {"type": "null"}]},
                "values": {"type": "object", "additionalProperties": true}
            },
            "$defs": {"Rule": {"type": "object", "properties": {"in": {"type": "array", "items": {"enum": ["a", "b"]}}}}}
        });
        let good = json!({"name": "x", "count": 2, "rule": {"in": ["a", "b"]}, "values": {"a": {"b": [1.5]}}});
        assert!(satisfies(&schema, &good));
        for bad in [
            json!({}),
            json!({"name": 1}),
            json!({"name": "x", "count": -1}),
            json!({"name": "x", "rule": {"in": ["c"]}}),
            json!({"name": "x", "other": 1}),
            json!([]),
        ] {
            assert!(!satisfies(&schema, &bad), "{bad}");
        }
    }

    #[test]
    fn what_it_does_not_know_is_not_certain() {
        for schema in [
            json!({"minProperties": 1}),
            json!({"not": {}}),
            json!({"$ref": "https://example.com/schema"}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": false}}),
            json!({"$ref": "#"}),
            json!(1),
        ] {
            assert!(!satisfies(&schema, &json!({})), "{schema}");
        }
    }

    #[test]
    fn what_takes_too_many_steps_is_not_certain() {
        let again = json!({"$ref": "#/$defs/a"});
        let schema = json!({
            "$ref": "#/$defs/a",
            "$defs": {"a": {"anyOf": [again, again, again]}}
        });
        assert!(!satisfies(&schema, &json!({})), "3 to the power of 32");
        let schema = json!({"type": "array", "items": {"type": "integer"}});
        assert!(satisfies(&schema, &Value::from(vec![1; 1_000])));
        assert!(!satisfies(&schema, &Value::from(vec![1; 2 * STEPS])));
        let schema = json!({"items": {"enum": vec![1; 5_000]}});
        assert!(!satisfies(&schema, &json!([1, 1, 1])));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (-3_i64..4).prop_map(|n| json!(n)),
            prop_oneof![Just(0.5), Just(1.0), Just(-2.0)].prop_map(|n: f64| json!(n)),
            "[ab]{0,2}".prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::btree_map("[abc]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn any_schema() -> impl Strategy<Value = Value> {
        let kind = prop::sample::select(vec![
            "null", "boolean", "string", "number", "integer", "array", "object",
        ]);
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            kind.clone().prop_map(|kind| json!({"type": kind})),
            (kind.clone(), kind).prop_filter_map("types are unique", |(a, b)| (a != b)
                .then(|| json!({"type": [a, b]}))),
            any_value().prop_map(|value| json!({"const": value})),
            any_value().prop_map(|value| json!({"enum": [value]})),
            (-2_i64..3).prop_map(|n| json!({"minimum": n})),
            (-2_i64..3).prop_map(|n| json!({"maximum": n})),
            Just(json!({"$ref": "#/$defs/A"})),
            Just(json!({"required": ["a"]})),
            Just(json!({"format": "email"})),
            Just(json!({"uniqueItems": true})),
        ];
        let nested = leaf.prop_recursive(3, 24, 3, |inner| {
            let named = prop::collection::btree_map("[abc]", inner.clone(), 0..3);
            prop_oneof![
                named.clone().prop_map(|all| json!({"properties": all})),
                (named.clone(), inner.clone()).prop_map(
                    |(all, other)| json!({"properties": all, "additionalProperties": other})
                ),
                (named, inner.clone()).prop_map(
                    |(all, other)| json!({"patternProperties": all, "additionalProperties": other})
                ),
                inner.clone().prop_map(|items| json!({"items": items})),
                (inner.clone(), inner.clone())
                    .prop_map(|(first, items)| json!({"prefixItems": [first], "items": items})),
                prop::collection::vec(inner.clone(), 1..3).prop_map(|any| json!({"anyOf": any})),
                prop::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({"allOf": all})),
                inner.prop_map(|not| json!({"not": not})),
            ]
        });
        (nested.clone(), nested).prop_map(|(root, definition)| {
            // A validator may reject a `$ref` to itself. A definition that is a leaf cannot be one.
            let definition = match definition {
                Value::Object(map) if map.contains_key("type") => Value::Object(map),
                _ => json!({"type": "object"}),
            };
            json!({"allOf": [root], "$defs": {"A": definition}})
        })
    }

    proptest! {
        #[test]
        fn the_validator_accepts_what_is_certain(schema in any_schema(), value in any_value()) {
            if satisfies(&schema, &value) {
                let validator = compile(&schema).expect("made of known keywords");
                prop_assert!(validator.is_valid(&value), "{schema} {value}");
            }
        }
    }
}
