//! Checks objects and lists.

use std::collections::{BTreeMap, BTreeSet};

use pintle_gotemplate::{Text, Value};
use serde_json::Value as Json;

use super::{
    super::document::Draft,
    Keywords, Outcome, Validator,
    compare::{hash, values_equal},
    count_of,
};

impl<'a> Validator<'a> {
    pub(super) fn object(
        &mut self,
        schema: &'a Keywords,
        base: &str,
        entries: &[(Text, Value)],
        whole: &Value,
        outcome: &mut Outcome,
    ) {
        self.bounds(
            schema,
            "minProperties",
            "maxProperties",
            entries.len(),
            outcome,
        );
        let there: BTreeSet<&[u8]> = entries.iter().map(|(key, _)| &**key).collect();
        let has = |key: &str| there.contains(key.as_bytes());
        if let Some(missing) = missing(schema.get("required"), &has) {
            self.fail(outcome, format!("missing {missing}"));
        }
        self.dependencies(schema, base, whole, &has, outcome);
        self.properties(schema, base, entries, outcome);
        if self.draft >= Draft::V6
            && let Some(names) = schema.get("propertyNames")
        {
            for (key, _) in entries {
                let name = Value::String(key.clone());
                for (_, message) in self.check(names, base, &name).problems {
                    self.fail(outcome, format!("invalid propertyName {key:?}: {message}"));
                }
            }
        }
    }

    /// Checks what must be present, or must hold, if something is present.
    fn dependencies(
        &mut self,
        schema: &'a Keywords,
        base: &str,
        whole: &Value,
        has: &dyn Fn(&str) -> bool,
        outcome: &mut Outcome,
    ) {
        let newer = ["dependentSchemas", "dependentRequired"];
        let newer: &[&str] = if self.draft >= Draft::V2019 {
            &newer
        } else {
            &[]
        };
        for keyword in ["dependencies"].iter().chain(newer) {
            let Some(Json::Object(dependencies)) = schema.get(*keyword) else {
                continue;
            };
            for (key, wanted) in dependencies.iter().filter(|(key, _)| has(key)) {
                match wanted {
                    Json::Array(_) => {
                        if let Some(missing) = missing(Some(wanted), has) {
                            self.fail(outcome, format!("{missing} required, if {key:?} exists"));
                        }
                    }
                    wanted => outcome.merge(self.check(wanted, base, whole)),
                }
            }
        }
    }

    fn properties(
        &mut self,
        schema: &'a Keywords,
        base: &str,
        entries: &[(Text, Value)],
        outcome: &mut Outcome,
    ) {
        let object = |keyword: &str| schema.get(keyword).and_then(Json::as_object);
        let (properties, patterns) = (object("properties"), object("patternProperties"));
        let additional = schema.get("additionalProperties");
        let mut refused = Vec::new();
        for (key, value) in entries {
            let bytes = key.as_bytes();
            let key = key.to_str_lossy();
            let mut seen = false;
            if let Some(schema) = properties.and_then(|properties| properties.get(&*key)) {
                seen = true;
                outcome
                    .problems
                    .extend(self.inside(&*key, schema, base, value));
            }
            for (pattern, schema) in patterns.into_iter().flatten() {
                if self.document.matches(pattern, bytes) {
                    seen = true;
                    outcome
                        .problems
                        .extend(self.inside(&*key, schema, base, value));
                }
            }
            if let (false, Some(additional)) = (seen, additional) {
                seen = true;
                match additional {
                    Json::Bool(false) => refused.push(format!("{key:?}")),
                    schema => outcome
                        .problems
                        .extend(self.inside(&*key, schema, base, value)),
                }
            }
            if seen && self.document.tracks {
                outcome.seen.properties.insert(key.into_owned());
            }
        }
        if !refused.is_empty() {
            let message = format!("additional properties {} not allowed", refused.join(", "));
            self.fail(outcome, message);
        }
    }

    pub(super) fn list(
        &mut self,
        schema: &'a Keywords,
        base: &str,
        items: &[Value],
        outcome: &mut Outcome,
    ) {
        self.bounds(schema, "minItems", "maxItems", items.len(), outcome);
        if schema.get("uniqueItems") == Some(&Json::Bool(true))
            && let Some((first, second)) = duplicates(items)
        {
            self.fail(outcome, format!("items at {first} and {second} are equal"));
        }
        let (first, rest) = if self.draft < Draft::V2020 {
            match schema.get("items") {
                Some(Json::Array(first)) => (first.as_slice(), schema.get("additionalItems")),
                rest => (&[][..], rest),
            }
        } else {
            match schema.get("prefixItems") {
                Some(Json::Array(first)) => (first.as_slice(), schema.get("items")),
                _ => (&[][..], schema.get("items")),
            }
        };
        for (index, item) in items.iter().enumerate() {
            let Some(schema) = first.get(index).or(rest) else {
                break;
            };
            outcome.seen.items.insert(index);
            let problems = self.inside(index.to_string(), schema, base, item);
            outcome.problems.extend(problems);
        }
        if self.draft >= Draft::V6
            && let Some(wanted) = schema.get("contains")
        {
            self.contains(schema, wanted, base, items, outcome);
        }
    }

    fn contains(
        &mut self,
        schema: &'a Keywords,
        wanted: &'a Json,
        base: &str,
        items: &[Value],
        outcome: &mut Outcome,
    ) {
        let mut found = 0;
        for (index, item) in items.iter().enumerate() {
            if self
                .inside(index.to_string(), wanted, base, item)
                .is_empty()
            {
                found += 1;
                if self.draft >= Draft::V2020 {
                    outcome.seen.items.insert(index);
                }
            }
        }
        let counted = self.draft >= Draft::V2019;
        let least = counted.then(|| count_of(schema, "minContains")).flatten();
        let most = counted.then(|| count_of(schema, "maxContains")).flatten();
        match least {
            None if found == 0 => self.fail(outcome, "no items match contains schema"),
            Some(least) if found < least => {
                let message =
                    format!("min {least} items required to match contains schema, but {found} do");
                self.fail(outcome, message);
            }
            _ => {}
        }
        if let Some(most) = most.filter(|most| found > *most) {
            let message = format!("max {most} items may match contains schema, but {found} do");
            self.fail(outcome, message);
        }
    }
}

/// Describes the names in a list of names that are missing.
fn missing(names: Option<&Json>, has: &dyn Fn(&str) -> bool) -> Option<String> {
    let names = names?.as_array()?.iter().filter_map(Json::as_str);
    let missing: Vec<String> = names
        .filter(|name| !has(name))
        .map(|name| format!("{name:?}"))
        .collect();
    match missing.as_slice() {
        [] => None,
        [one] => Some(format!("property {one}")),
        _ => Some(format!("properties {}", missing.join(", "))),
    }
}

/// Returns the first item that equals an earlier one, after that earlier one. Because there may be many items, only those with
/// the same hash are compared.
fn duplicates(items: &[Value]) -> Option<(usize, usize)> {
    let mut seen: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let alike = seen.entry(hash(item)).or_default();
        let mut earlier = alike.iter().copied();
        if let Some(first) = earlier.find(|&one| values_equal(&items[one], item)) {
            return Some((first, index));
        }
        alike.push(index);
    }
    None
}
