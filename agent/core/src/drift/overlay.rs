//! What is applied to an object with ignored fields.
//!
//! If a field is no longer applied and nobody else owns it, server-side apply deletes it. So an ignored field that we still own
//! is applied with its current value, and one that another manager has taken over is left out. It stays as it is either way.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    Ignored,
    counterparts::Counterparts,
    pointer::{Part, below_item, below_key, below_new_item, ends},
};
use crate::fields::{Items, Keys, keys_of, owned_by, unite};

/// An object as it will be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Respected {
    /// The object, with ignored fields at their live values or left out.
    pub object: Value,
    /// Whether some fields have the values that they had when the object was read. The apply must then not come after another
    /// change, or it would undo that change.
    pub is_bound: bool,
}

/// Returns what `manager` has to apply over `live` so that nothing ignored changes.
///
/// What a rule's managers own is left out, because they keep it. What a rule's pointers name keeps its value: if we own it, it
/// stays ours; otherwise it stays with its owner. A field that was removed stays removed.
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
            is_applied: true,
            is_atomic: false,
        };
        respected.is_bound = keep(&mut respected.object, live, at, &pointers);
    }
    respected
}

/// Who owns which fields of a live object.
struct Fields {
    ours: Option<Value>,
    /// The fields that the ignored managers own.
    theirs: Option<Value>,
    /// The fields that any manager owns.
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
    match object {
        Value::Object(map) => leave_fields(map, fields),
        Value::Array(items) => leave_items(items, fields),
        _ => {}
    }
}

fn leave_fields(map: &mut Map<String, Value>, fields: &Map<String, Value>) {
    for (path, inner) in fields {
        let Some(key) = path.strip_prefix("f:") else {
            continue;
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
    }
}

fn leave_items(items: &mut Vec<Value>, fields: &Map<String, Value>) {
    let mut all = Items::new(items);
    let found = fields.iter().filter_map(|(path, inner)| {
        let (place, _) = all.find(path)?;
        Some((place, path, inner))
    });
    let found: Vec<(usize, &String, &Value)> = found.collect();
    let mut gone = BTreeSet::new();
    for (place, path, inner) in found {
        let (item, keys) = (&mut items[place], keys_of(path).unwrap_or_default());
        if is_leaf(inner) || leaves_keys_only(item, &keys, inner) {
            gone.insert(place);
            continue;
        }
        let kept = pick(item, &keys);
        leave(item, inner);
        // The keys identify the item.
        if let (Some(item), Some(kept)) = (item.as_object_mut(), kept) {
            item.extend(kept);
        }
    }
    let mut place = 0..;
    items.retain(|_| place.next().is_none_or(|place| !gone.contains(&place)));
}

/// Returns whether an item that another manager created would have nothing left of ours but the keys that identify it.
fn leaves_keys_only(item: &Value, keys: &Keys, fields: &Value) -> bool {
    let mut rest = item.clone();
    leave(&mut rest, fields);
    let is_made = fields.get(".").is_some();
    is_made
        && rest
            .as_object()
            .is_some_and(|rest| rest.keys().all(|key| keys.contains_key(key)))
}

fn pick(item: &Value, keys: &Keys) -> Option<Map<String, Value>> {
    let found = keys
        .keys()
        .filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
    Some(found.collect()).filter(|found: &Map<String, Value>| !found.is_empty())
}

fn is_leaf(fields: &Value) -> bool {
    fields.as_object().is_some_and(Map::is_empty)
}

/// A place in an object, and who owns it.
#[derive(Clone, Copy)]
struct Place<'a> {
    ours: Option<&'a Value>,
    all: Option<&'a Value>,
    /// Whether the source has it. What the source does not have is not applied.
    is_applied: bool,
    /// Whether a field around this one is applied as a whole. Whatever is left out of it is then deleted, whoever set it.
    is_atomic: bool,
}

impl<'a> Place<'a> {
    fn below(self, path: &str, is_applied: bool) -> Self {
        let inner = |fields: Option<&'a Value>| match fields {
            // Whoever owns a field as a whole owns everything in it.
            Some(fields) if is_leaf(fields) => Some(fields),
            Some(fields) => fields.get(path),
            None => None,
        };
        Self {
            ours: inner(self.ours),
            all: inner(self.all),
            is_applied,
            is_atomic: self.is_atomic || (self.is_applied && self.all.is_some_and(is_leaf)),
        }
    }

    /// Returns whether the live value here must be sent as it is because it would be deleted otherwise.
    fn is_kept(self) -> bool {
        self.ours.is_some() || self.is_atomic
    }
}

/// Leaves the fields that the pointers name as they are. Returns whether a value was taken from the live object.
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
        let at = at.below(&format!("f:{key}"), desired.contains_key(&key));
        let found = live.get(&key);
        if !ends(&pointers) {
            let Some(found) = found else { continue };
            // The field around it may have left the source while the ignored one is still ours.
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
            Some(found) if at.is_kept() => {
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

/// Returns whether a field holds nothing. A field that has lost all its contents is not applied: that would make all of it ours.
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
    let items = Counterparts::of(desired, live, at.all, pointers);
    let mut is_bound = false;
    let mut gone = Vec::new();
    for (index, item) in desired.iter_mut().enumerate() {
        let Some(place) = items.live_of(index) else {
            // The item is new, or was removed. If it is ignored as a whole, it stays away.
            if ends(&below_new_item(pointers, live.len(), index, item)) {
                gone.push(index);
            }
            continue;
        };
        // A rule applies to the live item, as it does where drift is detected. The source may say something else about the item.
        let found = &live[place];
        let pointers = below_item(pointers, place, found);
        if pointers.is_empty() {
            continue;
        }
        let at = at.below(items.path(place), true);
        if !ends(&pointers) {
            is_bound |= keep(item, found, at, &pointers);
        } else if at.is_kept() {
            item.clone_from(found);
            is_bound = true;
        } else {
            gone.push(index);
        }
    }
    for index in gone.into_iter().rev() {
        desired.remove(index);
    }
    // An item that the source does not have stays where it is if it is ignored as a whole.
    for (place, found) in live.iter().enumerate() {
        let is_meant = !items.has(place) && ends(&below_item(pointers, place, found));
        if is_meant && at.below(items.path(place), false).is_kept() {
            desired.insert(place.min(desired.len()), found.clone());
            is_bound = true;
        }
    }
    is_bound
}

#[cfg(test)]
mod tests;
