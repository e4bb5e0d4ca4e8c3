//! What is applied to an object of which some fields are ignored.
//!
//! Server-side apply takes a field that is no longer applied for one that is to go, if nobody else owns it. So an ignored
//! field that is still ours is applied with the value that it has, and one that another has taken is left out: it stays as
//! it is either way.

use serde_json::{Map, Value};

use super::{
    Ignored,
    pointer::{Part, below_item, below_key, ends},
};
use crate::fields::{item_at, owned_by, unite};

/// An object as it is to be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Respected {
    /// The object, with ignored fields as they are or left out.
    pub object: Value,
    /// Whether fields have the values that they had when they were looked at: the apply must not come after another
    /// change, or it would undo that.
    pub is_bound: bool,
}

/// Returns what is to be applied by `manager` where `live` is, so that nothing that is ignored changes.
///
/// What a rule's managers own is left out, because they keep it. What a rule's pointers name keeps its value: as ours, if it
/// is ours, and otherwise as whose it is. A field that is gone stays away.
pub fn respecting(desired: &Value, live: &Value, manager: &str, ignored: &Ignored) -> Respected {
    let mut respected = Respected {
        object: desired.clone(),
        is_bound: false,
    };
    if ignored.is_nothing() {
        return respected;
    }
    let fields = Fields::of(live, manager, ignored);
    if let Some(theirs) = &fields.theirs {
        leave(&mut respected.object, theirs);
    }
    let pointers = ignored.parts();
    if !pointers.is_empty() {
        let at = Place {
            ours: fields.ours.as_ref(),
            all: Some(&fields.all),
            is_atomic: false,
        };
        respected.is_bound = keep(&mut respected.object, live, at, &pointers);
    }
    respected
}

/// Who owns what of a live object.
struct Fields {
    ours: Option<Value>,
    /// What the ignored managers own.
    theirs: Option<Value>,
    /// What anybody owns.
    all: Value,
}

impl Fields {
    fn of(live: &Value, manager: &str, ignored: &Ignored) -> Self {
        let ours = owned_by(live, manager).cloned();
        let (mut all, mut theirs) = (Value::Object(Map::new()), None);
        let entries = live["metadata"]["managedFields"].as_array();
        for entry in entries.into_iter().flatten() {
            let fields = &entry["fieldsV1"];
            unite(&mut all, fields);
            let other = entry["manager"].as_str().filter(|other| *other != manager);
            if other.is_some_and(|other| ignored.is_manager(other)) {
                let theirs = theirs.get_or_insert_with(|| Value::Object(Map::new()));
                unite(theirs, fields);
            }
        }
        Self { ours, theirs, all }
    }
}

/// Removes the fields of a `fieldsV1` from an object.
fn leave(object: &mut Value, fields: &Value) {
    let Some(fields) = fields.as_object() else {
        return;
    };
    for (path, inner) in fields {
        if path == "." {
            continue;
        }
        if let Some(key) = path.strip_prefix("f:") {
            let Some(map) = object.as_object_mut() else {
                return;
            };
            if is_leaf(inner) {
                map.remove(key);
            } else if let Some(value) = map.get_mut(key) {
                let was_empty = is_empty(value);
                leave(value, inner);
                if is_empty(value) && !was_empty {
                    map.remove(key);
                }
            }
            continue;
        }
        let Some((index, _)) = item_at(object, path) else {
            continue;
        };
        let Some(items) = object.as_array_mut() else {
            return;
        };
        if is_leaf(inner) || leaves_keys_only(&items[index], path, inner) {
            items.remove(index);
        } else {
            let keys = keys_of(path);
            let kept = pick(&items[index], &keys);
            leave(&mut items[index], inner);
            // The keys say which item it is.
            if let (Some(item), Some(kept)) = (items[index].as_object_mut(), kept) {
                item.extend(kept);
            }
        }
    }
}

/// Says whether an item that another made would have nothing left of ours but what names it.
fn leaves_keys_only(item: &Value, path: &str, fields: &Value) -> bool {
    let keys = keys_of(path);
    let mut rest = item.clone();
    leave(&mut rest, fields);
    let is_made = fields.get(".").is_some();
    is_made
        && rest
            .as_object()
            .is_some_and(|rest| rest.keys().all(|key| keys.contains(key)))
}

fn keys_of(path: &str) -> Vec<String> {
    let keys = path
        .strip_prefix("k:")
        .and_then(|keys| serde_json::from_str::<Map<String, Value>>(keys).ok());
    keys.map(|keys| keys.into_iter().map(|(key, _)| key).collect())
        .unwrap_or_default()
}

fn pick(item: &Value, keys: &[String]) -> Option<Map<String, Value>> {
    let found = keys
        .iter()
        .filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
    Some(found.collect()).filter(|found: &Map<String, Value>| !found.is_empty())
}

fn is_leaf(fields: &Value) -> bool {
    fields.as_object().is_some_and(Map::is_empty)
}

/// Where in an object we are, and whose it is.
#[derive(Clone, Copy)]
struct Place<'a> {
    ours: Option<&'a Value>,
    all: Option<&'a Value>,
    /// Whether a field around this one is owned as a whole: then nothing can be left out of it.
    is_atomic: bool,
}

impl<'a> Place<'a> {
    fn below(self, path: &str) -> Self {
        let inner = |fields: Option<&'a Value>| match fields {
            // What is owned as a whole is owned with all that is in it.
            Some(fields) if is_leaf(fields) => Some(fields),
            Some(fields) => fields.get(path),
            None => None,
        };
        Self {
            ours: inner(self.ours),
            all: inner(self.all),
            is_atomic: self.is_atomic || self.all.is_some_and(is_leaf),
        }
    }

    fn is_ours(self) -> bool {
        self.ours.is_some()
    }
}

/// Lets the fields that pointers name be as they are. Says whether a value was taken from the live object.
fn keep(desired: &mut Value, live: &Value, at: Place<'_>, pointers: &[&[Part]]) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => keep_keys(desired, live, at, pointers),
        (Value::Array(desired), Value::Array(live)) => keep_items(desired, live, at, pointers),
        _ => false,
    }
}

fn keep_keys(
    desired: &mut Map<String, Value>,
    live: &Map<String, Value>,
    at: Place<'_>,
    pointers: &[&[Part]],
) -> bool {
    let mut is_bound = false;
    let mut keys: Vec<String> = desired.keys().chain(live.keys()).cloned().collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let pointers = below_key(pointers, &key);
        if pointers.is_empty() {
            continue;
        }
        let at = at.below(&format!("f:{key}"));
        let found = live.get(&key);
        if !ends(&pointers) {
            let Some(found) = found else { continue };
            // What is around it may have left the source while it is ours.
            let is_missing = !desired.contains_key(&key);
            let mut value = desired.get(&key).cloned().unwrap_or_else(|| empty(found));
            let was_empty = is_empty(&value);
            let is_taken = keep(&mut value, found, at, &pointers);
            is_bound |= is_taken;
            if is_empty(&value) && !was_empty {
                desired.remove(&key);
            } else if !is_missing || is_taken {
                desired.insert(key, value);
            }
            continue;
        }
        match found {
            Some(found) if at.is_ours() || (at.is_atomic && desired.contains_key(&key)) => {
                desired.insert(key, found.clone());
                is_bound = true;
            }
            _ => {
                desired.remove(&key);
            }
        }
    }
    is_bound
}

/// Says whether nothing is in a field. One that has lost all that was in it is not applied: that would make all of it ours.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn empty(like: &Value) -> Value {
    match like {
        Value::Object(_) => Value::Object(Map::new()),
        Value::Array(_) => Value::Array(Vec::new()),
        _ => Value::Null,
    }
}

fn keep_items(
    desired: &mut Vec<Value>,
    live: &[Value],
    at: Place<'_>,
    pointers: &[&[Part]],
) -> bool {
    let mut is_bound = false;
    let mut gone = Vec::new();
    for (index, item) in desired.iter_mut().enumerate() {
        let pointers = below_item(pointers, index, item);
        if pointers.is_empty() {
            continue;
        }
        let Some((path, found)) = counterpart(item, index, live, at) else {
            // It is made now, or was removed: what is ignored as a whole stays away.
            if ends(&pointers) {
                gone.push(index);
            }
            continue;
        };
        let at = at.below(&path);
        if !ends(&pointers) {
            is_bound |= keep(item, found, at, &pointers);
        } else if at.is_ours() || at.is_atomic {
            item.clone_from(found);
            is_bound = true;
        } else {
            gone.push(index);
        }
    }
    for index in gone.into_iter().rev() {
        desired.remove(index);
    }
    is_bound
}

/// Finds the live item that a desired one becomes: by its keys where the list has keys, by its place elsewhere.
fn counterpart<'a>(
    item: &Value,
    index: usize,
    live: &'a [Value],
    at: Place<'_>,
) -> Option<(String, &'a Value)> {
    let paths = at.all.and_then(Value::as_object).into_iter().flatten();
    let mut keyed = paths
        .map(|(path, _)| path)
        .filter(|path| path.starts_with("k:"))
        .peekable();
    if keyed.peek().is_none() {
        return Some((format!("i:{index}"), live.get(index)?));
    }
    let one = Value::Array(vec![item.clone()]);
    let path = keyed.find(|path| item_at(&one, path).is_some())?;
    let live = live.iter();
    let found = live
        .clone()
        .find(|found| item_at(&Value::Array(vec![(*found).clone()]), path).is_some())?;
    Some((path.clone(), found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::DriftSettings;
    use proptest::prelude::*;
    use serde_json::json;

    const US: &str = "pintle/shop/web";

    fn live(spec: Value, entries: &[(&str, Value)]) -> Value {
        let entry = |(manager, fields): &(&str, Value)| {
            let operation = if *manager == US { "Apply" } else { "Update" };
            json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields})
        };
        let entries: Vec<Value> = entries.iter().map(entry).collect();
        json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "managedFields": entries}, "spec": spec})
    }

    fn desired(spec: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "spec": spec})
    }

    fn ignored(rule: Value) -> Ignored {
        let settings: DriftSettings = serde_json::from_value(json!({"ignore": [rule]})).unwrap();
        let id = crate::object::Object::new(desired(json!({})))
            .unwrap()
            .id()
            .clone();
        settings.ignored(&id)
    }

    fn applied(wanted: Value, live: &Value, rule: Value) -> (Value, bool) {
        let respected = respecting(&desired(wanted), live, US, &ignored(rule));
        (respected.object["spec"].clone(), respected.is_bound)
    }

    fn replicas() -> Value {
        json!({"pointers": ["/spec/replicas"]})
    }

    #[test]
    fn an_ignored_field_that_is_ours_keeps_its_value_even_when_it_leaves_the_source() {
        let live = live(
            json!({"replicas": 3, "image": "1"}),
            &[(US, json!({"f:spec": {"f:replicas": {}, "f:image": {}}}))],
        );
        let wanted = json!({"replicas": 7, "image": "2"});
        assert_eq!(
            applied(wanted, &live, replicas()),
            (json!({"replicas": 3, "image": "2"}), true)
        );
        let without = json!({"image": "2"});
        assert_eq!(
            applied(without, &live, replicas()),
            (json!({"replicas": 3, "image": "2"}), true)
        );
    }

    #[test]
    fn an_ignored_field_that_another_has_taken_is_left_to_them() {
        let live = live(
            json!({"replicas": 9, "image": "1"}),
            &[
                (US, json!({"f:spec": {"f:image": {}}})),
                ("scaler", json!({"f:spec": {"f:replicas": {}}})),
            ],
        );
        let wanted = || json!({"replicas": 3, "image": "2"});
        let expected = (json!({"image": "2"}), false);
        assert_eq!(applied(wanted(), &live, replicas()), expected);
        assert_eq!(
            applied(wanted(), &live, json!({"managers": ["scal*"]})),
            expected
        );
        assert_eq!(
            applied(wanted(), &live, json!({"managers": ["other"]})).0,
            wanted()
        );
    }

    #[test]
    fn a_field_that_is_gone_stays_away() {
        let live = live(
            json!({"image": "1"}),
            &[(US, json!({"f:spec": {"f:image": {}}}))],
        );
        let wanted = json!({"replicas": 3, "image": "1"});
        assert_eq!(
            applied(wanted, &live, replicas()),
            (json!({"image": "1"}), false)
        );
    }

    #[test]
    fn what_has_nothing_left_in_it_is_not_applied_and_what_was_empty_is() {
        let live = live(
            json!({"map": {"a": 2}, "emptyDir": {"sizeLimit": "1Gi"}}),
            &[(
                "bot",
                json!({"f:spec": {"f:map": {"f:a": {}}, "f:emptyDir": {"f:sizeLimit": {}}}}),
            )],
        );
        let wanted = || json!({"map": {"a": 1}, "emptyDir": {}, "x": 1});
        let expected = json!({"emptyDir": {}, "x": 1});
        let pointers = json!({"pointers": ["/spec/map/a", "/spec/emptyDir/sizeLimit"]});
        for rule in [pointers, json!({"managers": ["bot"]})] {
            assert_eq!(applied(wanted(), &live, rule).0, expected);
        }
    }

    #[test]
    fn items_are_matched_by_their_keys() {
        let live = live(
            json!({"containers": [{"name": "injected", "image": "x"}, {"name": "main", "image": "5", "args": ["a"]}]}),
            &[
                (
                    US,
                    json!({"f:spec": {"f:containers": {"k:{\"name\":\"main\"}": {".": {}, "f:name": {}, "f:args": {}}}}}),
                ),
                (
                    "bot",
                    json!({"f:spec": {"f:containers": {
                        "k:{\"name\":\"main\"}": {"f:image": {}}, "k:{\"name\":\"injected\"}": {".": {}, "f:name": {}, "f:image": {}},
                    }}}),
                ),
            ],
        );
        let wanted = || json!({"containers": [{"name": "main", "image": "1", "args": ["b"]}]});
        let expected = json!({"containers": [{"name": "main", "args": ["b"]}]});
        for rule in [
            json!({"pointers": ["/spec/containers/[name=main]/image"]}),
            json!({"pointers": ["/spec/containers/*/image"]}),
            json!({"managers": ["bot"]}),
        ] {
            assert_eq!(applied(wanted(), &live, rule), (expected.clone(), false));
        }
        let sidecar = json!({"containers": [{"name": "main"}, {"name": "injected", "image": "y"}]});
        assert_eq!(
            applied(sidecar, &live, json!({"managers": ["bot"]})).0,
            json!({"containers": [{"name": "main"}]}),
            "what another has made is theirs"
        );
    }

    #[test]
    fn of_an_atomic_field_the_ignored_part_is_kept_and_the_rest_put_right() {
        let live = live(
            json!({"rules": [{"host": "edited", "weight": 9}]}),
            &[("scaler", json!({"f:spec": {"f:rules": {}}}))],
        );
        let wanted = json!({"rules": [{"host": "a", "weight": 1}]});
        assert_eq!(
            applied(wanted, &live, json!({"pointers": ["/spec/rules/0/weight"]})),
            (json!({"rules": [{"host": "a", "weight": 9}]}), true)
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            "[ab]".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_changes_where_nothing_is_ignored(wanted in value(), found in value()) {
            let live = live(found, &[(US, json!({"f:spec": {}}))]);
            let respected = respecting(&desired(wanted.clone()), &live, US, &Ignored::default());
            prop_assert_eq!(respected, Respected { object: desired(wanted), is_bound: false });
        }

        #[test]
        fn what_is_ours_and_ignored_as_a_whole_is_applied_as_it_is(wanted in value(), found in value()) {
            let live = live(found.clone(), &[(US, json!({"f:spec": {}}))]);
            prop_assert_eq!(applied(wanted, &live, json!({"pointers": ["/spec"]})).0, found);
        }

        #[test]
        fn no_object_panics(wanted in value(), found in value(), text in "/spec(/[a-c*0-1]){0,3}") {
            let live = live(found, &[(US, json!({"f:spec": {"f:a": {}}})), ("x", json!({"f:spec": {"f:b": {"i:0": {}}}}))]);
            applied(wanted, &live, json!({"pointers": [text], "managers": ["x"]}));
        }
    }
}
