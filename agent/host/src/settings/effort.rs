//! An estimate of the validator's work before it runs.
//!
//! Definitions that refer to each other make the validator visit one value along every path that leads there. There can be
//! exponentially many paths, and the validator keeps every error that it finds until it is done. A deadline does not help:
//! nothing can interrupt the validator, and its memory grows while it works. So anything that makes the work unknown is rejected
//! in a schema, and the work is then counted for each value.

use std::{collections::HashMap, ptr, slice};

use serde_json::{Map, Value};

/// The maximum number of patterns in a schema. Each takes memory as long as the plugin is loaded.
const PATTERNS: usize = 100;

/// The maximum number of references in a schema.
const REFERENCES: usize = 1_000;

/// The maximum number of steps that settings may take.
const STEPS: usize = 100_000;

/// The maximum number of nested schemas along one path. The validator's stack has room for that many.
const DEPTH: usize = 500;

/// How often a reference may return to the same value. The validator detects that, though perhaps not at once.
const TURNS: usize = 2;

/// The reason why the cost of a schema is unbounded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unbounded {
    /// More patterns than any plugin needs.
    #[error("has {0} patterns, and the limit is {limit}", limit = PATTERNS)]
    Patterns(usize),
    /// More references than any plugin needs.
    #[error("has {0} references, and the limit is {limit}", limit = REFERENCES)]
    References(usize),
    /// A reference whose target cannot be found by looking at the schema.
    #[error("refers to `{0}`: expected what the schema itself has, such as `#/$defs/Name`")]
    Reference(String),
    /// A part with an identifier, to which references would be relative.
    #[error("names a part of itself `{0}`: an `$id` is only for the whole of it")]
    Identifier(String),
}

/// Rejects schemas of unknown cost.
pub(super) fn check(schema: &Value) -> Result<(), Unbounded> {
    let (mut patterns, mut references) = (0, 0);
    let mut open = vec![schema];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(keywords) => {
                for (keyword, with) in keywords {
                    match (keyword.as_str(), with) {
                        ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(to)) => {
                            references += 1;
                            if resolve(schema, to).is_none() {
                                return Err(Unbounded::Reference(to.clone()));
                            }
                        }
                        ("$id", Value::String(name)) if !ptr::eq(value, schema) => {
                            return Err(Unbounded::Identifier(name.clone()));
                        }
                        ("pattern", Value::String(_)) => patterns += 1,
                        ("patternProperties", Value::Object(all)) => {
                            patterns += all.len();
                            open.push(with);
                        }
                        _ => open.push(with),
                    }
                }
            }
            _ => {}
        }
    }
    if patterns > PATTERNS {
        return Err(Unbounded::Patterns(patterns));
    }
    if references > REFERENCES {
        return Err(Unbounded::References(references));
    }
    Ok(())
}

/// The error for settings that take too long to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "to check the settings against the schema takes more than {steps} steps, or more than {depth} levels: nest them less \
     deeply, or say the same with less",
    steps = STEPS,
    depth = DEPTH
)]
pub(super) struct TooMuch;

/// Counts at least as many steps as the validator takes for a value under a schema that passed [`check`].
pub(super) fn bound(schema: &Value, value: &Value) -> Result<(), TooMuch> {
    let mut walk = Walk {
        root: schema,
        left: STEPS,
        open: HashMap::new(),
    };
    walk.apply(schema, value, 0)
}

struct Walk<'a> {
    root: &'a Value,
    left: usize,
    /// How many times a definition is currently being applied to a value, by the addresses of both.
    open: HashMap<(*const Value, *const Value), usize>,
}

impl<'a> Walk<'a> {
    fn spend(&mut self, steps: usize) -> Result<(), TooMuch> {
        self.left = self.left.checked_sub(steps).ok_or(TooMuch)?;
        Ok(())
    }

    fn apply(&mut self, schema: &'a Value, value: &'a Value, depth: usize) -> Result<(), TooMuch> {
        // True and false take no work.
        let Value::Object(keywords) = schema else {
            return Ok(());
        };
        if depth == DEPTH {
            return Err(TooMuch);
        }
        let asks_again = ["unevaluatedProperties", "unevaluatedItems"]
            .iter()
            .any(|keyword| keywords.contains_key(*keyword));
        // To find what has not been evaluated, the validator evaluates all other keywords again.
        let rounds = if asks_again { 3 } else { 1 };
        for _ in 0..rounds {
            self.spend(1 + keywords.len())?;
            for (keyword, with) in keywords {
                self.keyword(keyword, with, value, depth + 1)?;
            }
        }
        Ok(())
    }

    fn keyword(
        &mut self,
        keyword: &str,
        with: &'a Value,
        value: &'a Value,
        depth: usize,
    ) -> Result<(), TooMuch> {
        match keyword {
            "$ref" | "$dynamicRef" | "$recursiveRef" => self.follow(with, value, depth),
            "not" | "if" | "then" | "else" | "allOf" | "anyOf" | "oneOf" => {
                self.each(list(with), value, depth)
            }
            "dependentSchemas" | "dependencies" => self.each(members(with), value, depth),
            "properties" => {
                let known = with.as_object().into_iter().flatten();
                for (name, schema) in known {
                    self.spend(1)?;
                    if let Some(member) = value.get(name) {
                        self.apply(schema, member, depth)?;
                    }
                }
                Ok(())
            }
            "patternProperties" => self.within(members(with), value, depth),
            "additionalProperties"
            | "unevaluatedProperties"
            | "propertyNames"
            | "items"
            | "prefixItems"
            | "additionalItems"
            | "unevaluatedItems"
            | "contains" => self.within(list(with), value, depth),
            _ => Ok(()),
        }
    }

    /// Applies schemas to a value.
    fn each(
        &mut self,
        schemas: impl Iterator<Item = &'a Value>,
        value: &'a Value,
        depth: usize,
    ) -> Result<(), TooMuch> {
        for schema in schemas {
            self.apply(schema, value, depth)?;
        }
        Ok(())
    }

    /// Applies schemas to everything that a value holds, whether or not they are for all of it.
    fn within(
        &mut self,
        schemas: impl Iterator<Item = &'a Value>,
        value: &'a Value,
        depth: usize,
    ) -> Result<(), TooMuch> {
        // True and false take no work, however many items there are.
        for schema in schemas.filter(|schema| schema.is_object()) {
            for item in list(value).filter(|_| value.is_array()) {
                self.apply(schema, item, depth)?;
            }
            for member in members(value) {
                self.apply(schema, member, depth)?;
            }
        }
        Ok(())
    }

    fn follow(
        &mut self,
        reference: &'a Value,
        value: &'a Value,
        depth: usize,
    ) -> Result<(), TooMuch> {
        let target = reference.as_str().and_then(|to| resolve(self.root, to));
        let Some(target) = target else {
            return Ok(());
        };
        let key = (ptr::from_ref(target), ptr::from_ref(value));
        let turns = self.open.entry(key).or_default();
        if *turns == TURNS {
            return Ok(());
        }
        *turns += 1;
        let outcome = self.apply(target, value, depth);
        if let Some(turns) = self.open.get_mut(&key) {
            *turns -= 1;
        }
        outcome
    }
}

/// Finds the target of a reference: the whole schema, or the part at a pointer.
fn resolve<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let place = reference.strip_prefix('#')?;
    // No name of a type needs URL escaping.
    if place.contains('%') {
        return None;
    }
    root.pointer(place)
}

/// Returns the items of a list. A value that is not a list counts as its own only item.
fn list(value: &Value) -> slice::Iter<'_, Value> {
    match value {
        Value::Array(items) => items.iter(),
        one => slice::from_ref(one).iter(),
    }
}

/// Returns the values of an object's members.
fn members(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_object().into_iter().flat_map(Map::values)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns definitions each of which refers three times to the next one.
    fn fan(length: usize, keyword: &str, end: Value) -> Value {
        let mut definitions = Map::new();
        for number in 0..length {
            let next = json!({"$ref": format!("#/$defs/d{}", number + 1)});
            definitions.insert(format!("d{number}"), json!({keyword: [next, next, next]}));
        }
        definitions.insert(format!("d{length}"), end);
        json!({"$ref": "#/$defs/d0", "$defs": definitions})
    }

    #[test]
    fn ordinary_settings_are_little_work() {
        let schema = json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "rules": {"type": "array", "items": {"$ref": "#/$defs/Rule"}},
                "values": {"type": "object", "additionalProperties": true}
            },
            "$defs": {"Rule": {"anyOf": [
                {"type": "string", "pattern": "^[a-z]+$"},
                {"properties": {"all": {"type": "array", "items": {"$ref": "#/$defs/Rule"}}}}
            ]}}
        });
        assert_eq!(check(&schema), Ok(()));
        let rules = vec![json!({"all": ["a", {"all": ["b"]}]}); 500];
        let values: Map<String, Value> = (0..50_000)
            .map(|number| (number.to_string(), json!({"a": [number]})))
            .collect();
        let settings = json!({"rules": rules, "values": values});
        assert_eq!(bound(&schema, &settings), Ok(()));
    }

    #[test]
    fn exponential_work_is_refused_before_it_is_done() {
        for keyword in ["anyOf", "allOf", "oneOf"] {
            let schema = fan(32, keyword, json!({"type": "string"}));
            assert_eq!(check(&schema), Ok(()));
            assert_eq!(bound(&schema, &json!(1)), Err(TooMuch), "{keyword}");
        }
        assert_eq!(
            bound(&fan(4, "anyOf", json!({"type": "string"})), &json!(1)),
            Ok(())
        );
        // The schema is small, but each level of the value adds a power.
        let own = json!({"$ref": "#"});
        let schema = json!({"properties": {"a": {"anyOf": [own, own, own]}}});
        let mut settings = json!({});
        for _ in 0..32 {
            settings = json!({"a": settings});
        }
        assert_eq!(bound(&schema, &settings), Err(TooMuch));
        assert_eq!(bound(&schema, &json!({"a": {"a": {}}})), Ok(()));
    }

    #[test]
    fn what_refers_to_itself_is_followed_round_and_no_further() {
        let own = json!({"$ref": "#/$defs/a"});
        let schema = json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [own, own, own]}}});
        assert_eq!(check(&schema), Ok(()));
        assert_eq!(bound(&schema, &json!({})), Ok(()));
    }

    #[test]
    fn asking_again_counts_again() {
        let mut schema = json!({"type": "object"});
        for _ in 0..32 {
            schema = json!({"anyOf": [schema], "unevaluatedProperties": false});
        }
        assert_eq!(bound(&schema, &json!({"a": 1})), Err(TooMuch));
    }

    #[test]
    fn a_long_chain_is_too_deep() {
        let chain = |length: usize| {
            let mut definitions = Map::new();
            for number in 0..length {
                let next = json!({"$ref": format!("#/$defs/d{}", (number + 1) % length)});
                let deeper = json!({"allOf": [next], "properties": {"a": {"$ref": "#/$defs/d0"}}});
                definitions.insert(format!("d{number}"), deeper);
            }
            json!({"$ref": "#/$defs/d0", "$defs": definitions})
        };
        let schema = chain(450);
        assert_eq!(check(&schema), Ok(()));
        assert_eq!(bound(&schema, &json!({})), Err(TooMuch));
        assert_eq!(bound(&chain(3), &json!({})), Ok(()));
        assert_eq!(check(&chain(501)), Err(Unbounded::References(1003)));
    }

    #[test]
    fn schemas_of_unknown_cost_are_refused() {
        let refused = |schema: Value| check(&schema).unwrap_err().to_string();
        insta::assert_snapshot!(refused(json!({"$ref": "https://example.com/schema.json"})), @"refers to `https://example.com/schema.json`: expected what the schema itself has, such as `#/$defs/Name`");
        insta::assert_snapshot!(refused(json!({"items": [{"$dynamicRef": "#name"}]})), @"refers to `#name`: expected what the schema itself has, such as `#/$defs/Name`");
        insta::assert_snapshot!(refused(json!({"$ref": "#/$defs/gone"})), @"refers to `#/$defs/gone`: expected what the schema itself has, such as `#/$defs/Name`");
        insta::assert_snapshot!(refused(json!({"$defs": {"a": {"$id": "https://example.com/a"}}})), @"names a part of itself `https://example.com/a`: an `$id` is only for the whole of it");
        let patterns = vec![json!({"pattern": "a", "patternProperties": {"b": true}}); 51];
        insta::assert_snapshot!(refused(json!({"allOf": patterns})), @"has 102 patterns, and the limit is 100");
        let named = json!({"$id": "https://example.com/schema.json", "$ref": "#"});
        assert_eq!(check(&named), Ok(()));
    }
}
