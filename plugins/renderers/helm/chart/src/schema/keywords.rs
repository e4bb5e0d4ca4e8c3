//! The requirements of the metaschemas: the keywords of each draft and what their values must be.
//!
//! Like Helm's library, this looks only in the places where a draft's metaschema expects schemas. Unknown keywords may have any
//! value. A part with its own id may name its own draft.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Number, Value as Json};

use super::{
    document::{Draft, named_draft},
    format::{is_absolute, is_reference},
    number::Decimal,
};

/// The maximum number of problems to report.
const MAX_PROBLEMS: usize = 100;
const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// The required form of a keyword's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Uri,
    Reference,
    /// A reference without a fragment.
    Id,
    Anchor,
    Regex,
    Flag,
    Number,
    Positive,
    Count,
    List,
    /// A non-empty list without duplicates.
    Distinct,
    Types,
    Names,
    /// A non-empty list of names.
    SomeNames,
    /// A list of names for each key.
    NamesOf,
    /// A schema or a list of names for each key.
    Dependencies,
    Vocabularies,
    Schema,
    FlagOrSchema,
    Schemas,
    SchemaOrSchemas,
    SchemaOf,
    /// A schema for each key, where each key is a regex.
    SchemaOfRegex,
}

impl Shape {
    /// Returns whether the value is a schema, or contains schemas.
    pub(super) fn has_schemas(self) -> bool {
        matches!(
            self,
            Self::Dependencies
                | Self::Schema
                | Self::FlagOrSchema
                | Self::Schemas
                | Self::SchemaOrSchemas
                | Self::SchemaOf
                | Self::SchemaOfRegex
        )
    }
}

/// Returns the required form of a keyword's value in a draft; None if it may be anything.
pub(super) fn shape(keyword: &str, draft: Draft) -> Option<Shape> {
    use Draft::{V4, V6, V7, V2019, V2020};
    let (since, shape) = match keyword {
        "id" | "$ref" if draft == V4 => (V4, Shape::Text),
        "$id" if draft >= V2019 => (V2019, Shape::Id),
        "$schema" => (V4, Shape::Uri),
        "$id" | "$ref" => (V6, Shape::Reference),
        "$recursiveRef" => (V2019, Shape::Reference),
        "$dynamicRef" => (V2020, Shape::Reference),
        "$recursiveAnchor" if draft == V2019 => (V2019, Shape::Flag),
        "$anchor" => (V2019, Shape::Anchor),
        "$recursiveAnchor" | "$dynamicAnchor" => (V2020, Shape::Anchor),
        "$vocabulary" => (V2019, Shape::Vocabularies),
        "title" | "description" | "format" => (V4, Shape::Text),
        "$comment" | "contentMediaType" | "contentEncoding" => (V7, Shape::Text),
        "readOnly" | "writeOnly" => (V7, Shape::Flag),
        "deprecated" => (V2019, Shape::Flag),
        "examples" => (V7, Shape::List),
        "type" => (V4, Shape::Types),
        "enum" if draft >= V2019 => (V2019, Shape::List),
        "enum" => (V4, Shape::Distinct),
        "multipleOf" => (V4, Shape::Positive),
        "minimum" | "maximum" => (V4, Shape::Number),
        "exclusiveMinimum" | "exclusiveMaximum" if draft == V4 => (V4, Shape::Flag),
        "exclusiveMinimum" | "exclusiveMaximum" => (V6, Shape::Number),
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
            (V4, Shape::Count)
        }
        "minContains" | "maxContains" => (V2019, Shape::Count),
        "pattern" => (V4, Shape::Regex),
        "uniqueItems" => (V4, Shape::Flag),
        "required" if draft == V4 => (V4, Shape::SomeNames),
        "required" => (V6, Shape::Names),
        "dependentRequired" => (V2019, Shape::NamesOf),
        "dependencies" => (V4, Shape::Dependencies),
        "patternProperties" if draft >= V7 => (V7, Shape::SchemaOfRegex),
        "definitions" | "properties" | "patternProperties" => (V4, Shape::SchemaOf),
        "$defs" | "dependentSchemas" => (V2019, Shape::SchemaOf),
        "additionalProperties" | "additionalItems" if draft == V4 => (V4, Shape::FlagOrSchema),
        "additionalItems" if draft == V2020 => return None,
        "additionalProperties" | "additionalItems" | "contains" | "propertyNames" => {
            (V6, Shape::Schema)
        }
        "items" if draft < V2020 => (V4, Shape::SchemaOrSchemas),
        "items" => (V2020, Shape::Schema),
        "prefixItems" => (V2020, Shape::Schemas),
        "allOf" | "anyOf" | "oneOf" => (V4, Shape::Schemas),
        "not" => (V4, Shape::Schema),
        "if" | "then" | "else" => (V7, Shape::Schema),
        "unevaluatedItems" | "unevaluatedProperties" | "contentSchema" => (V2019, Shape::Schema),
        _ => return None,
    };
    (draft >= since).then_some(shape)
}

/// Returns the schemas in a keyword's value, each with its key or index unless it is the value itself.
pub(super) fn parts(shape: Shape, value: &Json) -> Vec<(Option<Cow<'_, str>>, &Json)> {
    match (shape, value) {
        (Shape::FlagOrSchema, Json::Bool(_)) => Vec::new(),
        (Shape::Schemas | Shape::SchemaOrSchemas, Json::Array(schemas)) => {
            let schemas = schemas.iter().enumerate();
            schemas
                .map(|(index, schema)| (Some(Cow::Owned(index.to_string())), schema))
                .collect()
        }
        (Shape::SchemaOf | Shape::SchemaOfRegex | Shape::Dependencies, Json::Object(schemas)) => {
            let schemas = schemas.iter();
            schemas
                .filter(|(_, schema)| shape != Shape::Dependencies || !schema.is_array())
                .map(|(name, schema)| (Some(Cow::Borrowed(name.as_str())), schema))
                .collect()
        }
        (Shape::Schema | Shape::FlagOrSchema | Shape::SchemaOrSchemas, schema) => {
            vec![(None, schema)]
        }
        _ => Vec::new(),
    }
}

/// Appends a key to a JSON pointer.
pub(super) fn enter(at: &mut String, key: &str) {
    at.push('/');
    for char in key.chars() {
        match char {
            '~' => at.push_str("~0"),
            '/' => at.push_str("~1"),
            char => at.push(char),
        }
    }
}

/// Returns the draft of a schema inside another one. Only a schema with an id is a resource of its own, whose `$schema` counts.
pub(super) fn draft_inside(schema: &Json, outer: Draft) -> Draft {
    let name = schema.get("$schema").and_then(Json::as_str);
    let Some(own) = name.and_then(named_draft) else {
        return outer;
    };
    let id = schema.get(own.id()).and_then(Json::as_str);
    let has_id = id.is_some_and(|id| !id.is_empty() && !id.starts_with('#'));
    let hidden = own < Draft::V2019 && schema.get("$ref").is_some();
    if has_id && !hidden { own } else { outer }
}

/// Finds what a metaschema refuses.
pub(super) struct Checker<'r> {
    /// Returns the error in a regex.
    regex: &'r dyn Fn(&str) -> Option<String>,
    /// A JSON pointer to the part being checked.
    at: String,
    /// The addresses in memory of the schemas that were checked.
    known: BTreeSet<*const Json>,
    pub(super) problems: Vec<String>,
}

impl<'r> Checker<'r> {
    pub(super) fn new(regex: &'r dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            regex,
            at: String::new(),
            known: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    /// Checks a schema inside a schema of a draft, with everything in it.
    pub(super) fn run(&mut self, at: &str, schema: &Json, draft: Draft) {
        at.clone_into(&mut self.at);
        self.schema(schema, draft);
    }

    /// Returns whether a schema was checked.
    pub(super) fn knows(&self, schema: &Json) -> bool {
        self.known.contains(&std::ptr::from_ref(schema))
    }

    /// Records a problem at the current place.
    pub(super) fn note(&mut self, problem: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn refuse(&mut self, value: &Json, wanted: &str) {
        let at = if self.at.is_empty() { "/" } else { &self.at };
        self.note(format!("has {} at {at}: must be {wanted}", shown(value)));
    }

    fn schema(&mut self, schema: &Json, outer: Draft) {
        let draft = draft_inside(schema, outer);
        self.known.insert(std::ptr::from_ref(schema));
        let Json::Object(keywords) = schema else {
            if draft == Draft::V4 {
                self.refuse(schema, "a schema: an object");
            } else if !schema.is_boolean() {
                self.refuse(schema, "a schema: an object or a boolean");
            }
            return;
        };
        for (keyword, value) in keywords {
            if let Some(shape) = shape(keyword, draft) {
                self.within(keyword, |checker| checker.keyword(shape, value, draft));
            }
        }
        for (keyword, bound) in [
            ("exclusiveMaximum", "maximum"),
            ("exclusiveMinimum", "minimum"),
        ] {
            if let Some(value) = keywords.get(keyword)
                && draft == Draft::V4
                && !keywords.contains_key(bound)
            {
                let wanted = format!("beside {bound:?}");
                self.within(keyword, |checker| checker.refuse(value, &wanted));
            }
        }
    }

    fn within(&mut self, key: &str, look: impl FnOnce(&mut Self)) {
        let length = self.at.len();
        enter(&mut self.at, key);
        look(self);
        self.at.truncate(length);
    }

    fn keyword(&mut self, shape: Shape, value: &Json, draft: Draft) {
        if let Some(wanted) = self.wanted(shape, value, draft) {
            return self.refuse(value, &wanted);
        }
        if let Json::Object(entries) = value {
            for (key, value) in entries {
                let wanted = match (shape, value) {
                    (Shape::SchemaOfRegex, _) => self.wanted_regex(key),
                    (Shape::Dependencies, Json::Array(_)) if draft == Draft::V4 => {
                        self.wanted(Shape::SomeNames, value, draft)
                    }
                    (Shape::NamesOf, _) | (Shape::Dependencies, Json::Array(_)) => {
                        self.wanted(Shape::Names, value, draft)
                    }
                    (Shape::Vocabularies, _) if !is_absolute(key) => {
                        Some("at a key that is an absolute URI".to_owned())
                    }
                    (Shape::Vocabularies, _) => self.wanted(Shape::Flag, value, draft),
                    _ => None,
                };
                if let Some(wanted) = wanted {
                    self.within(key, |checker| checker.refuse(value, &wanted));
                }
            }
        }
        for (key, part) in parts(shape, value) {
            match key {
                Some(key) => self.within(&key, |checker| checker.schema(part, draft)),
                None => self.schema(part, draft),
            }
        }
    }

    /// Returns the required form of a value that does not have it. For objects and lists of schemas, their contents are not
    /// checked.
    fn wanted(&self, shape: Shape, value: &Json, draft: Draft) -> Option<String> {
        let text = value.as_str();
        let (holds, wanted) = match shape {
            Shape::Text => (text.is_some(), "a string"),
            Shape::Uri => (text.is_some_and(is_absolute), "an absolute URI"),
            Shape::Reference => (text.is_some_and(is_reference), "a URI reference"),
            Shape::Id => (
                text.is_some_and(|id| is_reference(id) && is_without_fragment(id)),
                "a URI reference without a fragment",
            ),
            Shape::Anchor => (
                text.is_some_and(|name| is_anchor(name, draft)),
                "an anchor: a letter, and then letters, digits, '-', '_' and '.'",
            ),
            Shape::Regex => match text {
                Some(pattern) => return self.wanted_regex(pattern),
                None => (false, "a regex"),
            },
            Shape::Flag => (value.is_boolean(), "a boolean"),
            Shape::Number => (value.is_number(), "a number"),
            Shape::Positive => (is_positive(value), "a number greater than 0"),
            Shape::Count => (is_count(value), "a whole number of at least 0"),
            Shape::List => (value.is_array(), "a list"),
            Shape::Distinct => (
                is_list(value, 1, |_| true) && is_distinct(value),
                "a list that is not empty and has nothing twice",
            ),
            Shape::Types => {
                let is_type = |one: &Json| one.as_str().is_some_and(|name| TYPES.contains(&name));
                let holds = is_type(value) || (is_list(value, 1, is_type) && is_distinct(value));
                if holds {
                    return None;
                }
                return Some(format!("one or several of {}", TYPES.join(", ")));
            }
            Shape::Names => (
                is_list(value, 0, Json::is_string) && is_distinct(value),
                "a list of strings with nothing twice",
            ),
            Shape::SomeNames => (
                is_list(value, 1, Json::is_string) && is_distinct(value),
                "a list of strings that is not empty and has nothing twice",
            ),
            Shape::NamesOf
            | Shape::Dependencies
            | Shape::Vocabularies
            | Shape::SchemaOf
            | Shape::SchemaOfRegex => (value.is_object(), "an object"),
            Shape::Schemas => (
                is_list(value, 1, |_| true),
                "a list of schemas that is not empty",
            ),
            Shape::SchemaOrSchemas => (
                !value.is_array() || is_list(value, 1, |_| true),
                "a schema, or a list of schemas that is not empty",
            ),
            Shape::Schema | Shape::FlagOrSchema => return None,
        };
        (!holds).then(|| wanted.to_owned())
    }

    fn wanted_regex(&self, pattern: &str) -> Option<String> {
        let error = (self.regex)(pattern)?;
        Some(format!("a regex, and {pattern:?} is none: {error}"))
    }
}

fn is_without_fragment(id: &str) -> bool {
    !id.strip_suffix('#').unwrap_or(id).contains('#')
}

fn is_anchor(name: &str, draft: Draft) -> bool {
    let newer = draft >= Draft::V2020;
    let first = |c: char| c.is_ascii_alphabetic() || (newer && c == '_');
    let inner =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') || (!newer && c == ':');
    name.starts_with(first) && name.chars().all(inner)
}

const ZERO: Decimal = Decimal::Exact {
    digits: 0,
    scale: 0,
};

fn is_positive(value: &Json) -> bool {
    Decimal::of_json(value).is_some_and(|number| number.compare(ZERO).is_gt())
}

/// Returns whether a value is a count; `2.0` is one, too.
fn is_count(value: &Json) -> bool {
    let number = Decimal::of_json(value);
    number.is_some_and(|number| number.is_integer() && number.compare(ZERO).is_ge())
}

fn is_list(value: &Json, least: usize, holds: impl Fn(&Json) -> bool) -> bool {
    let list = value.as_array();
    list.is_some_and(|list| list.len() >= least && list.iter().all(holds))
}

/// Returns whether a list has no duplicates. `1` and `1.0` are the same.
fn is_distinct(list: &Json) -> bool {
    let mut seen = BTreeSet::new();
    let mut items = list.as_array().into_iter().flatten();
    items.all(|item| seen.insert(canonical(item)))
}

/// Returns a text that is the same for equal values.
fn canonical(value: &Json) -> String {
    match value {
        Json::Number(number) => canonical_number(number),
        Json::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Json::Object(entries) => {
            let entries: BTreeMap<_, _> = entries
                .iter()
                .map(|(key, value)| (key, canonical(value)))
                .collect();
            format!("{entries:?}")
        }
        Json::Null | Json::Bool(_) | Json::String(_) => value.to_string(),
    }
}

fn canonical_number(number: &Number) -> String {
    match number.as_f64() {
        // Both whole numbers and those with a fraction are written without an exponent.
        Some(float) if number.is_f64() => (float + 0.0).to_string(),
        _ => number.to_string(),
    }
}

/// Formats a value for a message.
fn shown(value: &Json) -> String {
    const MAX_CHARS: usize = 80;
    match value {
        Json::String(text) if text.chars().nth(MAX_CHARS).is_some() => {
            let start: String = text.chars().take(MAX_CHARS).collect();
            format!("{start:?}...")
        }
        Json::String(text) => format!("{text:?}"),
        Json::Array(items) if items.is_empty() => "[]".to_owned(),
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
        Json::Null | Json::Bool(_) | Json::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
