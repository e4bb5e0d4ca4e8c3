//! Sets of fields of an object, as server-side apply records them, and objects reduced to them.
//!
//! While `pintle_core::fields` reduces an object to a digest, this module keeps the object's own shape, so that differences name
//! fields the way people write them.
//! <https://github.com/kubernetes-sigs/structured-merge-diff/tree/master/fieldpath>

mod paths;

use std::collections::BTreeMap;

use pintle_core::fields::{Items, keys_of, keys_text, select};
use serde_json::{Map, Value};

use self::paths::Paths;

/// A set of fields: the tree of a `fieldsV1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    /// Whether the value here is owned as a whole. A field that is neither whole nor contains fields is owned as existing.
    whole: bool,
    /// The path elements: `f:` for a field, `k:` for an item by its key, `v:` for a set member, `i:` for an item by its index.
    inner: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// Reads a `fieldsV1`. A value that is not an object gives an empty set.
    pub(crate) fn read(fields: &Value) -> Self {
        let Some(fields) = fields.as_object() else {
            return Self::default();
        };
        let inner = fields.iter().filter(|(path, _)| *path != ".");
        Self {
            whole: fields.is_empty(),
            inner: inner
                .map(|(path, fields)| (path.clone(), Self::read(fields)))
                .collect(),
        }
    }

    /// Reads what all managers of an object own together.
    pub(crate) fn of_all_managers(object: &Value) -> Self {
        let entries = object["metadata"]["managedFields"]
            .as_array()
            .into_iter()
            .flatten();
        entries.fold(Self::default(), |all, entry| {
            all.union(&Self::read(&entry["fieldsV1"]))
        })
    }

    /// Returns the fields that a desired object names.
    ///
    /// JSON alone does not say which lists have keys; `hint` does, for lists that have been written before. A list that it does
    /// not know counts as one value.
    pub(crate) fn of_desired(desired: &Value, hint: &Self) -> Self {
        let mut all = shape(desired, hint);
        // These are not fields but the identity: the server records them for no manager.
        all.inner.remove("f:apiVersion");
        all.inner.remove("f:kind");
        if let Some(metadata) = all.inner.get_mut("f:metadata") {
            metadata.inner.remove("f:name");
            metadata.inner.remove("f:namespace");
            if metadata.inner.is_empty() {
                all.inner.remove("f:metadata");
            }
        }
        all
    }

    /// Returns the fields that are in either set.
    pub(crate) fn union(mut self, other: &Self) -> Self {
        self.whole |= other.whole;
        for (path, fields) in &other.inner {
            let mine = self.inner.remove(path).unwrap_or_default();
            self.inner.insert(path.clone(), mine.union(fields));
        }
        self
    }

    /// Reduces a `fieldsV1` to the fields in this set, including everything within fields that are in it as a whole.
    pub(crate) fn restrict(&self, fields: &Value) -> Value {
        let Some(map) = fields.as_object() else {
            return Value::Null;
        };
        let mut out = Map::new();
        for (path, inner) in map {
            match self.inner.get(path) {
                Some(mine) if mine.is_whole() || mine.inner.is_empty() => {
                    out.insert(path.clone(), inner.clone());
                }
                Some(mine) => {
                    out.insert(path.clone(), mine.restrict(inner));
                }
                None if path == "." => {
                    out.insert(path.clone(), inner.clone());
                }
                None => {}
            }
        }
        Value::Object(out)
    }

    /// Returns whether each field of the other set is in this one, either itself or within a field that is owned as a whole.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.inner.iter().all(|(path, fields)| {
            let within = |mine: &Self| mine.is_whole() || mine.covers(fields);
            self.inner.get(path).is_some_and(within)
        })
    }

    /// Lists the paths of this set's innermost fields that the other set lacks.
    pub(crate) fn missing_in<'a>(&'a self, other: &Self) -> Vec<Vec<&'a str>> {
        let mut found = Vec::new();
        self.collect_missing(Some(other), &mut Vec::new(), &mut found);
        found
    }

    fn collect_missing<'a>(
        &'a self,
        other: Option<&Self>,
        at: &mut Vec<&'a str>,
        found: &mut Vec<Vec<&'a str>>,
    ) {
        if other.is_some_and(Self::is_whole) {
            return;
        }
        if self.is_leaf() {
            if other.is_none() {
                found.push(at.clone());
            }
            return;
        }
        for (path, fields) in &self.inner {
            at.push(path);
            let other = other.and_then(|other| other.inner.get(path));
            fields.collect_missing(other, at, found);
            at.pop();
        }
    }

    /// Returns whether a field is in the set: itself, through something within it, or within a field that is owned as a whole.
    pub(crate) fn has(&self, path: &[&str]) -> bool {
        let Some((first, rest)) = path.split_first() else {
            return true;
        };
        self.is_whole() || self.inner.get(*first).is_some_and(|inner| inner.has(rest))
    }

    /// Reduces an object to these fields, in its own shape. Returns null if nothing of it remains.
    pub(crate) fn extract(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut out = Map::new();
                for (path, fields) in &self.inner {
                    let Some(name) = path.strip_prefix("f:") else {
                        continue;
                    };
                    if let Some(value) = map.get(name) {
                        out.insert(name.to_owned(), fields.extract_inner(value));
                    }
                }
                Value::Object(out)
            }
            _ => Value::Null,
        }
    }

    /// Lists the fields of this set that `theirs` has, `ours` lacks, and whose values would change.
    ///
    /// For these fields the server requires force. They are written the way the server writes them: `.spec.replicas`.
    pub(crate) fn contested(
        &self,
        ours: &Self,
        theirs: &Self,
        live: &Value,
        desired: &Value,
    ) -> Vec<String> {
        let mut found = Vec::new();
        self.contest("", Some(ours), theirs, (live, desired), &mut found);
        found
    }

    fn contest(
        &self,
        at: &str,
        ours: Option<&Self>,
        theirs: &Self,
        (live, desired): (&Value, &Value),
        found: &mut Vec<String>,
    ) {
        if ours.is_some_and(Self::is_whole) {
            return;
        }
        if self.is_leaf() || theirs.is_leaf() {
            if ours.is_none() && live != desired {
                found.push(at.to_owned());
            }
            return;
        }
        let (mut now, mut then) = (Items::of(live), Items::of(desired));
        for (path, wanted) in &self.inner {
            let Some(theirs) = theirs.inner.get(path) else {
                continue;
            };
            let values = (
                select(live, &mut now, path),
                select(desired, &mut then, path),
            );
            if let (Some(live), Some(desired)) = values {
                let ours = ours.and_then(|ours| ours.inner.get(path));
                wanted.contest(
                    &format!("{at}{}", written(path)),
                    ours,
                    theirs,
                    (live, desired),
                    found,
                );
            }
        }
    }

    fn is_leaf(&self) -> bool {
        self.inner.is_empty()
    }

    /// If one manager owns the whole and another owns parts of it, the parts are more precise.
    fn is_whole(&self) -> bool {
        self.whole && self.inner.is_empty()
    }

    fn leaf() -> Self {
        Self {
            whole: true,
            inner: BTreeMap::new(),
        }
    }

    fn extract_inner(&self, value: &Value) -> Value {
        match value {
            _ if self.is_whole() => value.clone(),
            Value::Array(items) => {
                let paths = Paths::of(&self.inner);
                let items = items.iter().enumerate();
                let kept = items.filter_map(|(index, item)| paths.extract(index, item));
                Value::Array(kept.collect())
            }
            Value::Object(_) => self.extract(value),
            scalar => scalar.clone(),
        }
    }
}

/// Writes a path element as the API server does: `.name`, `[name="main"]`, `["value"]`, `[0]`.
fn written(path: &str) -> String {
    if let Some(keys) = keys_of(path) {
        let keys: Vec<String> = keys
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        return format!("[{}]", keys.join(","));
    }
    match path.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some((_, value)) => format!("[{value}]"),
        None => path.to_owned(),
    }
}

fn shape(desired: &Value, hint: &FieldSet) -> FieldSet {
    let nothing = FieldSet::default();
    match desired {
        Value::Object(map) if !map.is_empty() => {
            let mut set = FieldSet::default();
            // The server drops nulls.
            for (name, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                let path = format!("f:{name}");
                let inner = shape(value, hint.inner.get(&path).unwrap_or(&nothing));
                set.inner.insert(path, inner);
            }
            set
        }
        Value::Array(items) => list_shape(items, hint).unwrap_or_else(FieldSet::leaf),
        _ => FieldSet::leaf(),
    }
}

/// Returns the items' keys or values, if the hint knows such a list and every item has them.
fn list_shape(items: &[Value], hint: &FieldSet) -> Option<FieldSet> {
    let nothing = FieldSet::default();
    let known = hint.inner.keys().next()?;
    let mut set = FieldSet::default();
    if let Some(keys) = keys_of(known) {
        let names: Vec<String> = keys.into_keys().collect();
        for item in items {
            let path = format!("k:{}", keys_text(item, &names)?);
            let inner = shape(item, hint.inner.get(&path).unwrap_or(&nothing));
            set.inner.insert(path, inner);
        }
        return Some(set);
    }
    known.starts_with("v:").then(|| {
        set.inner.extend(
            items
                .iter()
                .map(|item| (format!("v:{item}"), FieldSet::leaf())),
        );
        set
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn fields() -> FieldSet {
        FieldSet::read(&json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {"v:\"a\"": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:name": {}}}
            }
        }))
    }

    fn live() -> Value {
        json!({
            "metadata": {"name": "a", "labels": {"app": "web", "other": "x"}, "finalizers": ["b", "a"]},
            "spec": {"replicas": 2, "selector": {"app": "web"}, "paused": true, "ports": [
                {"port": 443, "protocol": "TCP", "name": "tls"},
                {"port": 80, "protocol": "TCP", "name": "http", "nodePort": 3000}
            ]}
        })
    }

    fn desired() -> Value {
        json!({
            "apiVersion": "v1", "kind": "A",
            "metadata": {"name": "a", "namespace": "n", "labels": {"app": "web"}, "finalizers": ["a"]},
            "spec": {"replicas": 3, "selector": {"app": "web"}, "ports": [{"port": 80, "name": "http"}], "nothing": null}
        })
    }

    #[test]
    fn an_extract_keeps_the_shape_of_the_object() {
        assert_eq!(
            fields().extract(&live()),
            json!({
                "metadata": {"labels": {"app": "web"}, "finalizers": ["a"]},
                "spec": {"replicas": 2, "selector": {"app": "web"}, "ports": [{"port": 80, "protocol": "TCP", "name": "http"}]}
            })
        );
    }

    #[test]
    fn what_is_desired_is_covered_by_what_its_apply_recorded() {
        assert!(fields().covers(&FieldSet::of_desired(&desired(), &fields())));
        let more = |change: fn(&mut Value)| {
            let mut object = desired();
            change(&mut object);
            fields().covers(&FieldSet::of_desired(&object, &fields()))
        };
        assert!(more(
            |o| o["spec"]["selector"] = json!({"other": "below a leaf"})
        ));
        assert!(!more(|o| o["spec"]["paused"] = json!(true)));
        assert!(!more(|o| o["metadata"]["labels"]["other"] = json!("x")));
        assert!(!more(|o| o["metadata"]["finalizers"] = json!(["a", "b"])));
        assert!(!more(|o| o["spec"]["ports"] = json!([{"port": 443}])));
        assert!(!more(|o| o["spec"]["ports"][0]["nodePort"] = json!(1)));
    }

    #[test]
    fn a_field_lost_to_another_manager_uncovers() {
        let mut fields = fields();
        fields
            .inner
            .get_mut("f:spec")
            .unwrap()
            .inner
            .remove("f:replicas");
        assert!(!fields.covers(&FieldSet::of_desired(&desired(), &fields)));
    }

    #[test]
    fn a_list_that_nobody_wrote_before_counts_as_one_value() {
        let set = FieldSet::of_desired(
            &json!({"spec": {"ports": [{"port": 80}]}}),
            &FieldSet::default(),
        );
        assert_eq!(
            set.extract(&live()),
            json!({"spec": {"ports": live()["spec"]["ports"]}})
        );
    }

    #[test]
    fn an_item_of_which_only_the_existence_is_owned_shows_its_keys() {
        let set = FieldSet::read(
            &json!({"f:spec": {"f:ports": {"k:{\"port\":443,\"protocol\":\"TCP\"}": {".": {}}}}}),
        );
        assert_eq!(
            set.extract(&live()),
            json!({"spec": {"ports": [{"port": 443, "protocol": "TCP"}]}})
        );
    }

    #[test]
    fn contested_are_fields_that_others_own_and_that_would_change() {
        let theirs = FieldSet::read(&json!({
            "f:metadata": {"f:labels": {"f:app": {}, "f:other": {}}},
            "f:spec": {"f:replicas": {}, "f:paused": {}, "f:ports": {
                "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:nodePort": {}}
            }}
        }));
        let mut wanted = desired();
        wanted["metadata"]["labels"]["other"] = json!("changed");
        wanted["spec"]["paused"] = json!(true);
        wanted["spec"]["ports"][0]["nodePort"] = json!(4000);
        let set = FieldSet::of_desired(&wanted, &fields());
        let contested = set.contested(&fields(), &theirs, &live(), &wanted);
        // `app`, `replicas` and the port's name are ours too, and `paused` stays as it is.
        assert_eq!(
            contested,
            [
                ".metadata.labels.other",
                r#".spec.ports[port=80,protocol="TCP"].nodePort"#
            ]
        );
    }

    #[test]
    fn fields_that_were_lost_are_named_innermost() {
        let wanted = FieldSet::of_desired(&desired(), &fields());
        assert_eq!(wanted.missing_in(&fields()), Vec::<Vec<&str>>::new());
        let mut ours = fields();
        let spec = ours.inner.get_mut("f:spec").unwrap();
        spec.inner.remove("f:replicas");
        spec.inner.remove("f:ports");
        let port = r#"k:{"port":80,"protocol":"TCP"}"#;
        assert_eq!(
            wanted.missing_in(&ours),
            [
                vec!["f:spec", "f:ports", port, "f:name"],
                vec!["f:spec", "f:ports", port, "f:port"],
                vec!["f:spec", "f:replicas"],
            ]
        );
        assert!(fields().has(&["f:spec", "f:selector", "f:app"]));
        assert!(fields().has(&["f:spec", "f:ports"]) && !ours.has(&["f:spec", "f:ports"]));
    }

    #[test]
    fn what_was_only_defaulted_is_cut_away() {
        let named = FieldSet::of_desired(
            &json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "main", "image": "a"}]}}}}),
            &FieldSet::read(
                &json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"main\"}": {".": {}, "f:image": {}}}}}}}),
            ),
        );
        let owned = json!({"f:spec": {"f:replicas": {}, "f:strategy": {"f:type": {}}, "f:template": {"f:spec": {
            "f:containers": {"k:{\"name\":\"main\"}": {".": {}, "f:name": {}, "f:image": {}, "f:terminationMessagePath": {}}},
            "f:dnsPolicy": {},
        }}}});
        assert_eq!(
            named.restrict(&owned),
            json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {
                "f:containers": {"k:{\"name\":\"main\"}": {".": {}, "f:name": {}, "f:image": {}}},
            }}}})
        );
    }

    #[test]
    fn each_of_very_many_items_is_found() {
        let item = |number: usize| json!({"name": format!("name-{number}"), "value": number});
        let items: Vec<Value> = (0..50_000).map(item).collect();
        let path = |item: &Value| format!("k:{}", json!({"name": item["name"]}));
        let paths = items
            .iter()
            .map(|item| (path(item), json!({".": {}, "f:value": {}})));
        let paths: Map<String, Value> = paths.collect();
        let owned = json!({ "f:env": paths });
        let (owned, live) = (FieldSet::read(&owned), json!({"env": items}));
        assert_eq!(owned.extract(&live), live);
        let mut desired = live.clone();
        desired["env"][40_000]["value"] = json!("changed");
        let wanted = FieldSet::of_desired(&desired, &owned);
        let contested = wanted.contested(&FieldSet::default(), &owned, &live, &desired);
        assert_eq!(contested, [r#".env[name="name-40000"].value"#]);
    }

    #[test]
    fn items_that_are_called_the_same_are_all_extracted() {
        let set = FieldSet::read(&json!({"f:a": {"k:{\"name\":\"x\"}": {}, "v:1": {}}}));
        let live = json!({"a": [{"name": "x", "b": 1}, {"name": "y"}, 1, {"name": "x"}, 1, 2]});
        let kept = json!({"a": [{"name": "x"}, 1, {"name": "x"}, 1]});
        assert_eq!(set.extract(&live), kept);
    }

    #[test]
    fn managers_together_own_the_union() {
        let object = json!({"metadata": {"managedFields": [
            {"fieldsV1": {"f:spec": {"f:a": {}}}}, {"fieldsV1": {"f:spec": {"f:b": {}}}}, {"fieldsV1": 5}
        ]}});
        let all = FieldSet::of_all_managers(&object);
        assert_eq!(
            all,
            FieldSet::read(&json!({"f:spec": {"f:a": {}, "f:b": {}}}))
        );
    }

    fn any_object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            "[ab]".prop_map(Value::from)
        ];
        let inner = leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-c]", inner, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn the_fields_of_an_object_give_all_of_it_and_cover_themselves(object in any_object()) {
            let set = FieldSet::of_desired(&object, &FieldSet::default());
            prop_assert_eq!(set.extract(&object), object);
            prop_assert!(set.covers(&set));
        }

        #[test]
        fn a_union_is_the_same_from_both_sides(a in any_object(), b in any_object()) {
            let set = |object| FieldSet::of_desired(object, &FieldSet::default());
            let (a, b) = (set(&a), set(&b));
            let both = a.clone().union(&b);
            prop_assert_eq!(both.clone().union(&a), both.clone());
            prop_assert_eq!(b.union(&a), both);
        }

        #[test]
        fn malformed_paths_never_panic(path in ".{0,8}", item in any_object()) {
            let fields = FieldSet::read(&json!({"f:a": {path: {"f:b": {}}}}));
            fields.extract(&json!({"a": [item.clone()]}));
            FieldSet::of_desired(&json!({"a": [item]}), &fields);
        }
    }
}
