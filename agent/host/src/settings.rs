//! Settings of a plugin: merged, and checked against the schema that the plugin provides.

mod aside;
mod certain;
mod effort;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use pintle_core::{canonical, digest::Digest, object::type_name, plugin::Fault, problem::Problem};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

/// Settings for one use of a plugin: a JSON object, serialised once for all calls.
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
    /// Creates settings from a value as it stands; null counts as `{}`.
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

    /// Merges the settings of one use into the Plugin's defaults with a JSON merge patch (RFC 7396), in which null removes. A
    /// null that removes nothing is kept: it may mean something to the plugin, as it does in a chart's values.
    pub fn merged(defaults: &Value, of_use: &Value) -> Self {
        let mut value = match defaults {
            Value::Null => Value::Object(Map::new()),
            value => value.clone(),
        };
        // A use without settings changes nothing, whereas a null patch would replace everything.
        if !of_use.is_null() {
            merge(&mut value, of_use);
        }
        Self::new(value)
    }

    /// Returns the value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Returns the canonical JSON, which is what crosses to the plugin.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the canonical JSON in the type that the generated bindings take.
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

/// The maximum size in bytes of a plugin's schema: many times that of the largest built-in one.
pub(crate) const SCHEMA_BYTES: usize = 64 << 10;

/// The approximate maximum size in bytes of a compiled pattern of a schema: enough for `[^/]{1,253}`.
const PATTERN_BYTES: usize = 1 << 20;

/// The schema that a plugin provides, compiled when it is first needed. Clones are the same schema.
///
/// The schema comes from an untrusted source, and so may the settings. The work done with them is limited in steps before it
/// begins. It runs on a separate thread, for which a call waits no longer than for a plugin.
#[derive(Debug, Clone)]
pub(crate) struct Schema(Arc<Compiling>);

#[derive(Debug)]
struct Compiling {
    schema: Value,
    validator: OnceLock<Validator>,
    /// Allows one thread at a time.
    turn: Arc<Semaphore>,
}

/// The maximum number of problems reported at once.
const PROBLEMS: usize = 50;

impl Schema {
    /// Creates a schema that has not been compiled before, and compiles it. A malformed schema is rejected.
    pub(crate) async fn compiled(schema: Value, time: Duration) -> Result<Self, Fault> {
        let schema = Self::known(schema);
        let own = schema.clone();
        let work = move || own.0.validator().map(drop);
        aside::run(&schema.0.turn, time, work).await??;
        Ok(schema)
    }

    /// Creates a schema that was compiled before.
    pub(crate) fn known(schema: Value) -> Self {
        Self(Arc::new(Compiling {
            schema,
            validator: OnceLock::new(),
            turn: Arc::new(Semaphore::new(1)),
        }))
    }

    /// Returns the problems of settings, in the order of the fields.
    pub(crate) async fn problems(
        &self,
        settings: &Settings,
        time: Duration,
    ) -> Result<Vec<Problem>, Fault> {
        if certain::satisfies(&self.0.schema, settings.value()) {
            return Ok(Vec::new());
        }
        let (own, settings) = (self.clone(), settings.clone());
        let work = move || own.0.problems(settings.value());
        aside::run(&self.0.turn, time, work).await?
    }
}

impl Compiling {
    fn validator(&self) -> Result<&Validator, Fault> {
        if let Some(validator) = self.validator.get() {
            return Ok(validator);
        }
        let broken = |reason: String| Fault::Contract(format!("its settings schema {reason}"));
        effort::check(&self.schema).map_err(|error| broken(error.to_string()))?;
        let validator = compile(&self.schema)
            .map_err(|error| broken(format!("is not JSON Schema: {error}")))?;
        Ok(self.validator.get_or_init(|| validator))
    }

    fn problems(&self, settings: &Value) -> Result<Vec<Problem>, Fault> {
        let validator = self.validator()?;
        if let Err(error) = effort::bound(&self.schema, settings) {
            return Ok(vec![Problem::new(error.to_string())]);
        }
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
        Ok(problems)
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

    /// Returns the fields that the schema has at the place where an error was found.
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

/// Compiles a schema. References out of the schema are not followed, and patterns take linear time and little memory.
fn compile(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    let patterns = PatternOptions::regex()
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES);
    jsonschema::options()
        .offline()
        .with_pattern_options(patterns)
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

    /// A timeout that bounded work never reaches.
    const AMPLE: Duration = Duration::from_mins(1);

    async fn found(schema: &Schema, settings: Value) -> String {
        let settings = Settings::new(settings);
        let problems = schema.problems(&settings, AMPLE).await.unwrap();
        pintle_core::problem::lines(&problems)
    }

    #[tokio::test]
    async fn a_known_schema_is_compiled_when_it_is_needed() {
        let schema = Schema::known(json!({"properties": {"a": {"type": "string"}}}));
        assert_eq!(found(&schema, json!({})).await, "");
        assert!(schema.0.validator.get().is_none());
        assert_eq!(
            found(&schema, json!({"a": 1})).await,
            "/a: expected string, found a number"
        );
    }

    #[tokio::test]
    async fn a_schema_that_refers_to_itself_costs_no_more_than_a_moment() {
        let own = json!({"$ref": "#/$defs/a"});
        let schema = json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [own, own, own]}}});
        let schema = Schema::compiled(schema, AMPLE).await.unwrap();
        assert_eq!(found(&schema, json!({})).await, "");
    }

    #[tokio::test]
    async fn settings_that_would_take_forever_are_a_problem() {
        let own = json!({"$ref": "#"});
        let schema = json!({"properties": {"a": {"allOf": [own, own, own]}, "b": false}});
        let schema = Schema::compiled(schema, AMPLE).await.unwrap();
        let mut settings = json!({"b": 1});
        for _ in 0..32 {
            settings = json!({"a": settings});
        }
        insta::assert_snapshot!(found(&schema, settings).await, @"to check the settings against the schema takes more than 100000 steps, or more than 500 levels: nest them less deeply, or say the same with less");
    }

    #[tokio::test]
    async fn patterns_that_take_much_memory_are_refused() {
        let compiled = async |pattern: &str| {
            let schema = json!({"properties": {"a": {"type": "string", "pattern": pattern}}});
            Schema::compiled(schema, AMPLE).await.map(drop)
        };
        let Err(Fault::Contract(reason)) = compiled("[^a]{9999}").await else {
            panic!("it takes 15 MiB");
        };
        assert!(
            reason.starts_with("its settings schema is not JSON Schema: "),
            "{reason}"
        );
        assert_eq!(compiled("^[^/]{1,253}$").await, Ok(()));
    }

    fn schema() -> Schema {
        Schema::known(json!({
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
    }

    fn told(settings: Value) -> String {
        pintle_core::problem::lines(&schema().0.problems(&settings).unwrap())
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
        let error = |schema: Value| {
            let schema = Schema::known(schema);
            schema.0.validator().unwrap_err().to_string()
        };
        insta::assert_snapshot!(error(json!({"type": "objet"})), @r#"it broke the contract: its settings schema is not JSON Schema: "objet" is not valid under any of the schemas listed in the 'anyOf' keyword"#);
        insta::assert_snapshot!(error(json!({"$ref": "https://example.com/schema.json"})), @"it broke the contract: its settings schema refers to `https://example.com/schema.json`: expected what the schema itself has, such as `#/$defs/Name`");
    }
}
