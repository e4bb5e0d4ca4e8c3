//! Checks one value against one schema.

mod collections;
mod compare;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use pintle_gotemplate::{Text, Value, rune};
use serde_json::{Map as JsonMap, Value as Json};

use super::{
    Problems,
    document::{Document, Draft, Skipped},
    format,
    number::Decimal,
};
use compare::{equals, show};

/// The maximum depth to which schemas may lead from one to another. Values are less deep.
const MAX_DEPTH: usize = 150;
/// The maximum number of schemas to evaluate in total, because alternatives of alternatives grow fast.
const MAX_STEPS: usize = 2_000_000;
/// The maximum number of problems to report.
const MAX_PROBLEMS: usize = 100;

/// Checks values against a schema.
pub(super) struct Validator<'a> {
    document: &'a Document<'a>,
    /// The draft of the schema being evaluated.
    draft: Draft,
    /// The keys that lead to the value being checked.
    path: Vec<String>,
    skipped: Skipped,
    depth: usize,
    steps: usize,
}

/// The parts of an object or a list that some schema has evaluated, for `unevaluated…`.
#[derive(Clone, Debug, Default)]
struct Seen {
    properties: BTreeSet<String>,
    items: BTreeSet<usize>,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.properties.extend(other.properties);
        self.items.extend(other.items);
    }
}

/// The result of one schema for one value.
#[derive(Debug, Default)]
struct Outcome {
    problems: Problems,
    seen: Seen,
}

impl Outcome {
    fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }

    /// Adds the result of another schema for the same value.
    fn merge(&mut self, other: Self) {
        if other.is_valid() {
            self.seen.add(other.seen);
        } else {
            self.problems.extend(other.problems);
        }
    }
}

type Keywords = JsonMap<String, Json>;

impl<'a> Validator<'a> {
    pub(super) fn new(document: &'a Document<'a>) -> Self {
        Self {
            document,
            draft: document.draft,
            path: Vec::new(),
            skipped: Skipped::new(),
            depth: 0,
            steps: 0,
        }
    }

    /// Returns the problems of a value.
    pub(super) fn run(&mut self, value: &Value) -> Problems {
        let document = self.document;
        let mut problems = self.check(document.root, &document.address, value).problems;
        problems.truncate(MAX_PROBLEMS);
        problems
    }

    /// Returns the encountered references that lead elsewhere.
    pub(super) fn into_skipped(self) -> Skipped {
        self.skipped
    }

    fn problem(&self, message: impl Into<String>) -> (Vec<String>, String) {
        (self.path.clone(), message.into())
    }

    fn fail(&self, outcome: &mut Outcome, message: impl Into<String>) {
        outcome.problems.push(self.problem(message));
    }

    fn check(&mut self, schema: &'a Json, base: &str, value: &Value) -> Outcome {
        let mut outcome = Outcome::default();
        self.steps += 1;
        if self.depth >= MAX_DEPTH || self.steps > MAX_STEPS {
            let message = "the schema leads in circles, or is too large to be followed";
            self.fail(&mut outcome, message);
            return outcome;
        }
        match schema {
            Json::Bool(false) => self.fail(&mut outcome, "nothing is allowed here"),
            Json::Object(keywords) => {
                self.depth += 1;
                let outer = self.draft;
                let mut base = base;
                if let Some(own) = self.document.resource(schema) {
                    base = own.address.as_str();
                    self.draft = own.draft;
                }
                self.keywords(keywords, base, value, &mut outcome);
                self.draft = outer;
                self.depth -= 1;
            }
            _ => {}
        }
        outcome
    }

    fn keywords(&mut self, schema: &'a Keywords, base: &str, value: &Value, outcome: &mut Outcome) {
        let draft = self.draft;
        if draft < Draft::V2019
            && let Some(reference) = schema.get("$ref").and_then(Json::as_str)
        {
            // Up to draft 7, a reference hides everything beside it, except that Helm's library still checks `const`.
            if let Some(message) = self.constant(schema, value) {
                return self.fail(outcome, message);
            }
            return outcome.merge(self.reference(reference, base, value));
        }
        // As in Helm's library, a problem that these find ends the evaluation of this schema.
        if let Some(message) = self.at_once(schema, value) {
            return self.fail(outcome, message);
        }
        for keyword in draft.references() {
            if let Some(reference) = schema.get(*keyword).and_then(Json::as_str) {
                outcome.merge(self.reference(reference, base, value));
            }
        }
        match value {
            Value::Map(map) => self.object(schema, base, &map.entries(), value, outcome),
            Value::List(list) => self.list(schema, base, &list.items(), outcome),
            Value::String(text) => self.text(schema, text, outcome),
            Value::Int(_) | Value::Float(_) => self.number(schema, value, outcome),
            _ => {}
        }
        self.combinations(schema, base, value, outcome);
        if self.document.tracks && draft >= Draft::V2019 {
            self.unevaluated(schema, base, value, outcome);
        }
    }

    /// Checks `type`, `const`, `enum` and `format`.
    fn at_once(&self, schema: &Keywords, value: &Value) -> Option<String> {
        let wanted: Vec<&str> = match schema.get("type") {
            Some(Json::String(name)) => vec![name],
            Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
            _ => Vec::new(),
        };
        if !wanted.is_empty() && !wanted.iter().any(|name| is_type(value, name)) {
            let wanted = wanted.join(" or ");
            return Some(format!("got {}, want {wanted}", type_of(value)));
        }
        if let Some(message) = self.constant(schema, value) {
            return Some(message);
        }
        if let Some(Json::Array(allowed)) = schema.get("enum")
            && !allowed.iter().any(|one| equals(value, one))
        {
            let listed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            return Some(match listed.as_slice() {
                [one] => format!("value must be {one}"),
                _ => format!("value must be one of {}", listed.join(", ")),
            });
        }
        if self.draft < Draft::V2019
            && let Some(name) = schema.get("format").and_then(Json::as_str)
            && let Value::String(text) = value
            && !format::holds(name, &text.to_str_lossy())
        {
            return Some(format!("{} is not valid {name}", show(value)));
        }
        None
    }

    fn constant(&self, schema: &Keywords, value: &Value) -> Option<String> {
        let wanted = schema.get("const")?;
        let differs = self.draft >= Draft::V6 && !equals(value, wanted);
        differs.then(|| format!("value must be {wanted}"))
    }

    fn reference(&mut self, reference: &str, base: &str, value: &Value) -> Outcome {
        match self.document.resolve(reference, base) {
            Ok(Some(target)) => {
                let outer = std::mem::replace(&mut self.draft, target.draft);
                let outcome = self.check(target.schema, &target.base, value);
                self.draft = outer;
                outcome
            }
            Ok(None) => {
                self.skipped.insert(reference.to_owned());
                Outcome::default()
            }
            Err(message) => {
                let mut outcome = Outcome::default();
                self.fail(&mut outcome, format!("values.schema.json {message}"));
                outcome
            }
        }
    }

    /// Checks the value at a key or index.
    fn inside(
        &mut self,
        key: impl Into<String>,
        schema: &'a Json,
        base: &str,
        value: &Value,
    ) -> Problems {
        self.path.push(key.into());
        let problems = self.check(schema, base, value).problems;
        self.path.pop();
        problems
    }

    fn text(&self, schema: &Keywords, text: &Text, outcome: &mut Outcome) {
        let length = rune::count(text);
        self.bounds(schema, "minLength", "maxLength", length, outcome);
        if let Some(pattern) = schema.get("pattern").and_then(Json::as_str)
            && !self.document.matches(pattern, text)
        {
            let message = format!(
                "{:?} does not match pattern {pattern:?}",
                text.to_str_lossy()
            );
            self.fail(outcome, message);
        }
    }

    /// Checks a minimum and a maximum count.
    fn bounds(
        &self,
        schema: &Keywords,
        least: &str,
        most: &str,
        count: usize,
        outcome: &mut Outcome,
    ) {
        let count = count as u64;
        if let Some(wanted) = count_of(schema, least)
            && count < wanted
        {
            self.fail(outcome, format!("{least}: got {count}, want {wanted}"));
        }
        if let Some(wanted) = count_of(schema, most)
            && count > wanted
        {
            self.fail(outcome, format!("{most}: got {count}, want {wanted}"));
        }
    }

    fn number(&self, schema: &Keywords, value: &Value, outcome: &mut Outcome) {
        let Some(number) = Decimal::of_value(value) else {
            return;
        };
        // Draft 4 makes a bound exclusive by a boolean beside it.
        let exclusive = |keyword: &str| schema.get(keyword) == Some(&Json::Bool(true));
        let bounds = [
            ("minimum", exclusive("exclusiveMinimum"), Ordering::Less),
            ("maximum", exclusive("exclusiveMaximum"), Ordering::Greater),
            ("exclusiveMinimum", true, Ordering::Less),
            ("exclusiveMaximum", true, Ordering::Greater),
        ];
        for (keyword, exclusive, outside) in bounds {
            let Some(json) = schema.get(keyword) else {
                continue;
            };
            let Some(bound) = Decimal::of_json(json) else {
                continue;
            };
            let order = number.compare(bound);
            if order == outside || (exclusive && order == Ordering::Equal) {
                self.fail(
                    outcome,
                    format!("{keyword}: got {}, want {json}", show(value)),
                );
            }
        }
        if let Some(json) = schema.get("multipleOf")
            && let Some(unit) = Decimal::of_json(json)
            && !number.is_multiple_of(unit)
        {
            self.fail(
                outcome,
                format!("multipleOf: got {}, want {json}", show(value)),
            );
        }
    }

    /// Checks `not`, `allOf`, `anyOf`, `oneOf` and `if`.
    fn combinations(
        &mut self,
        schema: &'a Keywords,
        base: &str,
        value: &Value,
        outcome: &mut Outcome,
    ) {
        if let Some(not) = schema.get("not")
            && self.check(not, base, value).is_valid()
        {
            self.fail(outcome, "'not' failed");
        }
        for one in schemas(schema, "allOf") {
            outcome.merge(self.check(one, base, value));
        }
        if schema.contains_key("anyOf") {
            self.alternatives(schema, "anyOf", base, value, outcome);
        }
        if schema.contains_key("oneOf") {
            self.alternatives(schema, "oneOf", base, value, outcome);
        }
        if self.draft >= Draft::V7
            && let Some(condition) = schema.get("if")
        {
            let holds = self.check(condition, base, value);
            let then = if holds.is_valid() {
                outcome.merge(holds);
                schema.get("then")
            } else {
                schema.get("else")
            };
            if let Some(then) = then {
                outcome.merge(self.check(then, base, value));
            }
        }
    }

    fn alternatives(
        &mut self,
        schema: &'a Keywords,
        keyword: &str,
        base: &str,
        value: &Value,
        outcome: &mut Outcome,
    ) {
        let alternatives = schemas(schema, keyword);
        let mut reasons = Vec::new();
        let mut matched = Vec::new();
        for (index, one) in alternatives.iter().enumerate() {
            let result = self.check(one, base, value);
            if !result.is_valid() {
                reasons.push(result.problems);
                continue;
            }
            if matched.is_empty() || keyword == "anyOf" {
                outcome.seen.add(result.seen);
            }
            matched.push(index);
            // All alternatives count when determining what is unevaluated.
            if keyword == "anyOf" && !self.document.tracks {
                break;
            }
        }
        match matched.as_slice() {
            [first, second, ..] if keyword == "oneOf" => {
                let message = format!("'oneOf' failed, subschemas {first}, {second} matched");
                self.fail(outcome, message);
            }
            [] if !alternatives.is_empty() => {
                let message = match keyword {
                    "oneOf" => "'oneOf' failed, none matched",
                    _ => "'anyOf' failed",
                };
                self.fail(
                    outcome,
                    format!("{message}: {}", told(&self.path, &reasons)),
                );
            }
            _ => {}
        }
    }

    fn unevaluated(
        &mut self,
        schema: &'a Keywords,
        base: &str,
        value: &Value,
        outcome: &mut Outcome,
    ) {
        if let (Value::Map(map), Some(rest)) = (value, schema.get("unevaluatedProperties")) {
            for (key, value) in map.entries() {
                let key = key.to_string();
                if !outcome.seen.properties.contains(&key) {
                    outcome
                        .problems
                        .extend(self.inside(key.clone(), rest, base, &value));
                    outcome.seen.properties.insert(key);
                }
            }
        }
        if let (Value::List(list), Some(rest)) = (value, schema.get("unevaluatedItems")) {
            for (index, value) in list.iter().enumerate() {
                if outcome.seen.items.insert(index) {
                    let problems = self.inside(index.to_string(), rest, base, &value);
                    outcome.problems.extend(problems);
                }
            }
        }
    }
}

/// Formats the reasons why no alternative matches, each with its location relative to the value.
fn told(path: &[String], reasons: &[Problems]) -> String {
    let told = reasons.iter().map(|problems| {
        let told = problems.iter().map(|(at, message)| {
            match super::dotted(at.get(path.len()..).unwrap_or_default()) {
                here if here.is_empty() => message.clone(),
                inner => format!("at {inner}: {message}"),
            }
        });
        told.collect::<Vec<_>>().join(" and ")
    });
    told.collect::<Vec<_>>().join("; or ")
}

fn schemas<'a>(schema: &'a Keywords, keyword: &str) -> &'a [Json] {
    match schema.get(keyword) {
        Some(Json::Array(schemas)) => schemas,
        _ => &[],
    }
}

/// Returns the count that a keyword specifies. It has 64 bits on every platform, because a count that no value can have must
/// still be enforced.
fn count_of(schema: &Keywords, keyword: &str) -> Option<u64> {
    let json = schema.get(keyword)?;
    json.as_u64().or_else(|| {
        // `3.0` is a count, too.
        let number = json.as_f64().filter(|number| number.fract() == 0.0)?;
        format!("{number}").parse().ok()
    })
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "null",
        Value::Bool(_) => "boolean",
        Value::Int(_) | Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) | Value::Object(_) => "object",
    }
}

fn is_type(value: &Value, name: &str) -> bool {
    type_of(value) == name
        || (name == "integer" && Decimal::of_value(value).is_some_and(Decimal::is_integer))
}
