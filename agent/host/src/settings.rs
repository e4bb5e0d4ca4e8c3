//! Settings of a plugin: merged, and checked against the schema that the plugin states.

mod certain;

use std::sync::{Arc, OnceLock};

use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use pintle_core::{canonical, digest::Digest, object::type_name, plugin::Fault, problem::Problem};
use serde_json::{Map, Value};

/// Settings for one use of a plugin: a JSON object, written once for all calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    value: Arc<Value>,
    text: Arc<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self::new(Value::Null)
    }
}

impl Settings {
    /// Takes settings as they stand; null counts as `{}`.
    pub fn new(value: Value) -> Self {
        let value = match value {
            Value::Null => Value::Object(Map::new()),
            value => value,
        };
        Self {
            text: Arc::new(canonical::to_string(&value)),
            value: Arc::new(value),
        }
    }

    /// Merges the settings of one use into the Plugin's defaults: a JSON merge patch (RFC 7396), where null removes. Only
    /// a null with nothing to remove is kept: it may mean something to the plugin, as it does in values for a chart.
    pub fn merged(defaults: &Value, of_use: &Value) -> Self {
        let mut value = match defaults {
            Value::Null => Value::Object(Map::new()),
            value => value.clone(),
        };
        // A use without settings changes nothing; a patch that is null would replace everything.
        if !of_use.is_null() {
            merge(&mut value, of_use);
        }
        Self::new(value)
    }

    /// Returns the value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Returns the canonical JSON, as it crosses to the plugin.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same, in the type that the generated bindings take.
    pub(crate) fn json(&self) -> &String {
        &self.text
    }

    /// Returns the digest of the canonical JSON.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (key, value) in patch {
        match target.get_mut(key) {
            Some(_) if value.is_null() => {
                target.remove(key);
            }
            Some(known) => merge(known, value),
            None => {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The schema that a plugin states, compiled when it is first needed.
#[derive(Debug)]
pub(crate) struct Schema {
    schema: Value,
    validator: OnceLock<Validator>,
}

/// Problems that are told at once.
const PROBLEMS: usize = 50;

impl Schema {
    /// Takes a schema of which nothing is known, and compiles it: a malformed one is refused.
    pub(crate) fn new(schema: Value) -> Result<Self, Fault> {
        let validator = compile(&schema).map_err(|error| {
            Fault::Contract(format!("its settings schema is not JSON Schema: {error}"))
        })?;
        Ok(Self {
            schema,
            validator: OnceLock::from(validator),
        })
    }

    /// Takes a schema that was compiled before.
    pub(crate) const fn known(schema: Value) -> Self {
        Self {
            schema,
            validator: OnceLock::new(),
        }
    }

    /// Lists what is wrong with settings, in the order of the fields.
    pub(crate) fn problems(&self, settings: &Value) -> Vec<Problem> {
        if certain::satisfies(&self.schema, settings) {
            return Vec::new();
        }
        let validator = match self.validator.get() {
            Some(validator) => validator,
            None => match compile(&self.schema) {
                Ok(validator) => self.validator.get_or_init(|| validator),
                Err(error) => {
                    return vec![Problem::new(format!(
                        "the schema of the settings is not JSON Schema: {error}"
                    ))];
                }
            },
        };
        let errors = validator.iter_errors(settings);
        let mut problems: Vec<Problem> = errors
            .take(PROBLEMS)
            .flat_map(|error| self.told(&error))
            .collect();
        problems.sort_by(|a, b| {
            a.pointer
                .cmp(&b.pointer)
                .then_with(|| a.message.cmp(&b.message))
        });
        problems.dedup();
        problems
    }

    fn told(&self, error: &ValidationError<'_>) -> Vec<Problem> {
        let pointer = error.instance_path().as_str();
        let at = |message: String| Problem::new(message).pointer(pointer);
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let valid = self.fields(error);
                let unknown = |field: &String| {
                    let problem = Problem::new(format!("unknown field `{field}`"))
                        .pointer(format!("{pointer}/{}", pintle_core::diff::escape(field)));
                    if valid.is_empty() {
                        problem.hint("there are no fields here")
                    } else {
                        problem.hint(format!("expected one of {}", valid.join(", ")))
                    }
                };
                unexpected.iter().map(unknown).collect()
            }
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                vec![at(format!("field `{name}` is missing"))]
            }
            ValidationErrorKind::Type { kind } => {
                let expected = match kind {
                    jsonschema::error::TypeKind::Single(one) => one.to_string(),
                    jsonschema::error::TypeKind::Multiple(many) => many
                        .iter()
                        .map(|one| one.to_string())
                        .collect::<Vec<_>>()
                        .join(" or "),
                };
                vec![at(format!(
                    "expected {expected}, found {}",
                    type_name(error.instance())
                ))]
            }
            ValidationErrorKind::Enum { options } => {
                let options: Vec<String> = options
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(Value::to_string)
                    .collect();
                vec![at(format!(
                    "expected one of {}, found {}",
                    options.join(", "),
                    error.instance()
                ))]
            }
            _ => vec![at(error.to_string())],
        }
    }

    /// Lists the fields that the schema has where an error was found.
    fn fields(&self, error: &ValidationError<'_>) -> Vec<String> {
        let path = error.schema_path().as_str();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let properties = self
            .schema
            .pointer(parent)
            .and_then(|schema| schema.get("properties"));
        properties
            .and_then(Value::as_object)
            .map(|map| map.keys().map(|key| format!("`{key}`")).collect())
            .unwrap_or_default()
    }
}

/// Compiles a schema. References out of the schema are not followed, and patterns take linear time.
fn compile(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    jsonschema::options()
        .offline()
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_use_is_merged_into_the_defaults() {
        let merged =
            |defaults: Value, of_use: Value| Settings::merged(&defaults, &of_use).text().to_owned();
        assert_eq!(merged(json!(null), json!(null)), "{}");
        assert_eq!(merged(json!({"a": 1}), json!(null)), r#"{"a":1}"#);
        assert_eq!(
            merged(
                json!({"a": {"b": 1, "c": 2}, "d": [1, 2]}),
                json!({"a": {"b": null, "e": 3}, "d": [3]})
            ),
            r#"{"a":{"c":2,"e":3},"d":[3]}"#
        );
        assert_eq!(
            merged(json!({"a": 1}), json!({"a": {"b": null}})),
            r#"{"a":{"b":null}}"#
        );
        assert_eq!(
            merged(json!({"v": {"a": 1}}), json!({"v": {"a": null, "b": null}})),
            r#"{"v":{"b":null}}"#
        );
    }

    #[test]
    fn a_known_schema_is_compiled_when_it_is_needed() {
        let schema = Schema::known(json!({"properties": {"a": {"type": "string"}}}));
        assert!(schema.problems(&json!({})).is_empty());
        assert_eq!(
            pintle_core::problem::lines(&schema.problems(&json!({"a": 1}))),
            "/a: expected string, found a number"
        );
    }

    fn schema() -> Schema {
        Schema::new(json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "pattern": "^[a-z]+$"},
                "count": {"type": ["integer", "null"], "minimum": 1},
                "mode": {"enum": ["a", "b"]},
                "rule": {"$ref": "#/$defs/Rule"}
            },
            "$defs": {"Rule": {
                "type": "object", "additionalProperties": false,
                "properties": {"severity": {"type": "string"}, "except": {"type": "array"}}
            }}
        }))
        .unwrap()
    }

    fn told(settings: Value) -> String {
        pintle_core::problem::lines(&schema().problems(&settings))
    }

    #[test]
    fn each_problem_names_its_field_and_what_is_valid() {
        assert_eq!(
            told(json!({"name": "x", "count": 2, "mode": "a", "rule": {}})),
            ""
        );
        insta::assert_snapshot!(
            told(json!({"naem": "x", "count": "many", "mode": "c", "rule": {"severty": "deny"}})),
            @r#"
            field `name` is missing
            /count: expected null or integer, found a string
            /mode: expected one of "a", "b", found "c"
            /naem: unknown field `naem` (expected one of `count`, `mode`, `name`, `rule`)
            /rule/severty: unknown field `severty` (expected one of `except`, `severity`)
            "#
        );
        insta::assert_snapshot!(told(json!({"name": "X", "count": 0})), @r#"
        /count: 0 is less than the minimum of 1
        /name: "X" does not match "^[a-z]+$"
        "#);
        insta::assert_snapshot!(told(json!([])), @"expected object, found a list");
    }

    #[test]
    fn a_schema_that_is_none_is_the_plugins_fault() {
        let error = |schema: Value| Schema::new(schema).unwrap_err().to_string();
        insta::assert_snapshot!(error(json!({"type": "objet"})), @r#"it broke the contract: its settings schema is not JSON Schema: "objet" is not valid under any of the schemas listed in the 'anyOf' keyword"#);
        insta::assert_snapshot!(error(json!({"$ref": "https://example.com/schema.json"})), @"it broke the contract: its settings schema is not JSON Schema: Resource 'https://example.com/schema.json' is not present in a registry and retrieving it failed: Retrieval is disabled, cannot fetch https://example.com/schema.json");
    }
}
