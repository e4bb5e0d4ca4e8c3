//! What is ignored in an object, and the fields that reveal its drift.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::pointer::{FieldPointer, Part, below_item, below_key, ends};
use crate::fields::{Items, unite};

/// What is ignored in one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignored {
    pub(super) pointers: Vec<FieldPointer>,
    pub(super) managers: BTreeSet<String>,
}

impl Ignored {
    /// Returns whether nothing is ignored.
    pub fn is_nothing(&self) -> bool {
        self.pointers.is_empty() && self.managers.is_empty()
    }

    /// Returns whether any fields are ignored by pointer.
    pub(crate) fn has_pointers(&self) -> bool {
        !self.pointers.is_empty()
    }

    /// Returns whether everything that a field manager writes is ignored.
    pub fn is_manager(&self, manager: &str) -> bool {
        self.managers
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => manager.starts_with(prefix),
                None => manager == pattern,
            })
    }

    pub(super) fn parts(&self) -> Vec<&[Part]> {
        self.pointers.iter().map(FieldPointer::parts).collect()
    }

    /// Projects an object onto a `fieldsV1` set as [`fields::project`](crate::fields::project) does, but without what is ignored:
    /// the projection is the same whoever owns an ignored field.
    ///
    /// A field that is owned as a whole (an atomic list or map) and contains an ignored field counts whoever owns it. An ignored
    /// change of a part takes the whole field away from us, and changes of its other parts must still be seen.
    pub fn project(&self, object: &Value, fields: &Value) -> Value {
        let pointers = self.parts();
        let mut fields = fields.clone();
        let entries = object["metadata"]["managedFields"].as_array();
        for entry in entries.into_iter().flatten() {
            let is_plain = entry["subresource"].as_str().unwrap_or_default().is_empty();
            if let Some(atoms) = atoms(object, &entry["fieldsV1"], &pointers).filter(|_| is_plain) {
                unite(&mut fields, &atoms);
            }
        }
        project(object, &fields, &pointers).unwrap_or(Value::Null)
    }
}

/// Returns the fields of a `fieldsV1` that are owned as a whole and contain an ignored field.
fn atoms(value: &Value, fields: &Value, pointers: &[&[Part]]) -> Option<Value> {
    if ends(pointers) || pointers.is_empty() {
        return None;
    }
    let fields = fields.as_object()?;
    if fields.is_empty() {
        return (value.is_object() || value.is_array()).then(|| Value::Object(Map::new()));
    }
    let mut out = Map::new();
    let mut items = Items::of(value);
    for (path, inner) in fields {
        let Some((value, pointers)) = step(value, &mut items, path, pointers) else {
            continue;
        };
        if let Some(found) = atoms(value, inner, &pointers) {
            out.insert(path.clone(), found);
        }
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

fn project(value: &Value, fields: &Value, pointers: &[&[Part]]) -> Option<Value> {
    if ends(pointers) {
        return None;
    }
    let fields = fields.as_object()?;
    if fields.is_empty() {
        return Some(without(value, pointers));
    }
    let mut out = Map::new();
    let mut items = Items::of(value);
    for (path, inner) in fields {
        if path == "." {
            // The manager that created a field around an ignored one may change along with the ignored one.
            if pointers.is_empty() {
                out.insert(".".to_owned(), Value::Bool(true));
            }
            continue;
        }
        let Some((value, pointers)) = step(value, &mut items, path, pointers) else {
            continue;
        };
        match project(value, inner, &pointers) {
            // A field that surrounds only ignored fields goes away when those belong to someone else.
            Some(Value::Object(found)) if found.is_empty() && !pointers.is_empty() => {}
            Some(found) => {
                out.insert(path.clone(), found);
            }
            None => {}
        }
    }
    Some(Value::Object(out))
}

/// Follows one path element of a `fieldsV1` into a value whose items are given, together with the pointers that continue there.
fn step<'v, 'p>(
    value: &'v Value,
    items: &mut Items<'v>,
    path: &str,
    pointers: &[&'p [Part]],
) -> Option<(&'v Value, Vec<&'p [Part]>)> {
    if let Some(key) = path.strip_prefix("f:") {
        return Some((value.get(key)?, below_key(pointers, key)));
    }
    let (index, item) = items.find(path)?;
    Some((item, below_item(pointers, index, item)))
}

/// Returns a value without the fields that the pointers name.
pub(super) fn without(value: &Value, pointers: &[&[Part]]) -> Value {
    if pointers.is_empty() {
        return value.clone();
    }
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter_map(|(key, value)| {
                let pointers = below_key(pointers, key);
                (!ends(&pointers)).then(|| (key.clone(), without(value, &pointers)))
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => {
            let kept = items.iter().enumerate().filter_map(|(index, item)| {
                let pointers = below_item(pointers, index, item);
                (!ends(&pointers)).then(|| without(item, &pointers))
            });
            Value::Array(kept.collect())
        }
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fields::stored_digest, seed::Seed};
    use proptest::prelude::*;
    use serde_json::json;

    const US: &str = "pintle/shop/web";

    fn ignoring(pointers: &[&str]) -> Ignored {
        Ignored {
            pointers: pointers.iter().map(|text| text.parse().unwrap()).collect(),
            managers: BTreeSet::new(),
        }
    }

    fn applied(fields: Value, more: Value, spec: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "managedFields": [
            {"manager": US, "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": fields},
            {"manager": "other", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": more},
        ]}, "spec": spec})
    }

    fn digest(object: &Value, ignored: &Ignored) -> Option<crate::digest::Digest> {
        stored_digest(object, US, &Seed::from_text("s"), ignored)
    }

    #[test]
    fn a_field_that_another_takes_changes_nothing_where_it_is_ignored() {
        let before = applied(
            json!({"f:spec": {"f:replicas": {}}}),
            json!({}),
            json!({"replicas": 2}),
        );
        let after = applied(
            json!({"f:metadata": {}}),
            json!({"f:spec": {"f:replicas": {}}}),
            json!({"replicas": 5}),
        );
        let replicas = ignoring(&["/spec/replicas"]);
        // Only the field around the ignored one differs, so nothing is left.
        assert_eq!(
            replicas.project(&before, &json!({"f:spec": {"f:replicas": {}}})),
            json!({})
        );
        assert_ne!(
            digest(&before, &Ignored::default()),
            digest(&after, &Ignored::default())
        );
    }

    #[test]
    fn items_are_found_by_their_keys_wherever_they_are() {
        let fields = json!({"f:spec": {"f:containers": {
            "k:{\"name\":\"main\"}": {".": {}, "f:name": {}, "f:image": {}},
            "k:{\"name\":\"side\"}": {".": {}, "f:name": {}, "f:image": {}},
        }}});
        let spec = |main: &str, side: &str| json!({"containers": [{"name": "side", "image": side}, {"name": "main", "image": main}]});
        let of = |main: &str, side: &str, pointer: &str| {
            digest(
                &applied(fields.clone(), json!({}), spec(main, side)),
                &ignoring(&[pointer]),
            )
        };
        let main = "/spec/containers/[name=main]/image";
        assert_eq!(of("1", "1", main), of("2", "1", main));
        assert_ne!(of("1", "1", main), of("1", "2", main));
        let all = "/spec/containers/*/image";
        assert_eq!(of("1", "1", all), of("2", "2", all));
        assert_eq!(
            of("1", "1", "/spec/containers/0/image"),
            of("1", "2", "/spec/containers/0/image")
        );
    }

    #[test]
    fn what_is_not_ignored_of_an_atomic_field_is_seen_although_another_owns_it() {
        let rules = ignoring(&["/spec/rules/0/weight"]);
        let ours = |weight: u32, host: &str| {
            applied(
                json!({"f:spec": {"f:rules": {}}}),
                json!({}),
                json!({"rules": [{"host": host, "weight": weight}]}),
            )
        };
        let theirs = |weight: u32, host: &str| {
            applied(
                json!({"f:spec": {"f:x": {}}}),
                json!({"f:spec": {"f:rules": {}}}),
                json!({"rules": [{"host": host, "weight": weight}]}),
            )
        };
        assert_eq!(
            digest(&ours(1, "a"), &rules),
            digest(&theirs(9, "a"), &rules)
        );
        assert_ne!(
            digest(&ours(1, "a"), &rules),
            digest(&theirs(9, "b"), &rules)
        );
    }

    proptest! {
        #[test]
        fn ignored_values_never_count_and_others_always_do(a in 0..9u8, b in 0..9u8, x in 0..9u8, y in 0..9u8) {
            let fields = json!({"f:spec": {"f:a": {}, "f:b": {"f:c": {}, "f:d": {}}}});
            let of = |a: u8, c: u8, d: u8| digest(
                &applied(fields.clone(), json!({}), json!({"a": a, "b": {"c": c, "d": d}})),
                &ignoring(&["/spec/b/c"]),
            );
            prop_assert_eq!(of(1, a, 1), of(1, b, 1));
            prop_assert_eq!(of(x, a, y) == of(a, b, b), x == a && y == b);
        }

        #[test]
        fn no_pointer_panics(text in "(/[a-c*0-9=\\[\\]]{0,4}){1,4}", path in ".{0,8}") {
            if let Ok(pointer) = text.parse::<FieldPointer>() {
                let ignored = Ignored { pointers: vec![pointer], managers: BTreeSet::new() };
                let object = applied(json!({"f:a": {path: {}}}), json!({"f:b": {}}), json!({"a": [1, {"b": 2}]}));
                ignored.project(&object, &json!({"f:spec": {"f:a": {}}}));
            }
        }
    }
}
