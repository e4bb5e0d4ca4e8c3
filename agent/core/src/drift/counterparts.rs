//! Matching of desired list items with the live items that they become.
//!
//! Where the server tells items apart by their keys or values, `fieldsV1` says by which. A list that is owned as a whole has no
//! such information. There, an item's counterpart is the one that the same condition of a pointer selects; if a pointer selects
//! several, it is the one that is equal apart from ignored fields. Only items that nothing tells apart are matched by index.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::Value;

use super::{
    ignored::without,
    pointer::{Part, below_item},
};
use crate::fields;

/// The desired items of a list matched with its live items.
pub(super) struct Counterparts {
    /// For each desired item, the index of the live one.
    places: Vec<Option<usize>>,
    /// For each live item, its path in a `fieldsV1`.
    paths: Vec<String>,
    /// For each live item, whether it is desired.
    are_desired: Vec<bool>,
}

impl Counterparts {
    /// Matches the items of a list. `owned` holds the fields of the list that any manager owns.
    pub(super) fn of(
        desired: &[Value],
        live: &[Value],
        owned: Option<&Value>,
        pointers: &[&[Part]],
    ) -> Self {
        let mut found = Self {
            places: vec![None; desired.len()],
            paths: (0..live.len()).map(|place| format!("i:{place}")).collect(),
            are_desired: vec![false; live.len()],
        };
        let mut are_told_apart = false;
        let (mut now, mut then) = (fields::Items::new(live), fields::Items::new(desired));
        let owned = owned.and_then(Value::as_object).into_iter().flatten();
        for (path, _) in owned {
            if !path.starts_with("k:") && !path.starts_with("v:") {
                continue;
            }
            are_told_apart = true;
            let Some((place, _)) = now.find(path) else {
                continue;
            };
            found.paths[place].clone_from(path);
            if let Some((index, _)) = then.find(path) {
                found.places[index] = Some(place);
            }
        }
        if !are_told_apart {
            found.places = meant(desired, live, pointers);
        }
        for place in found.places.iter().flatten() {
            found.are_desired[*place] = true;
        }
        found
    }

    /// Returns the index of the live item that a desired item becomes.
    pub(super) fn live_of(&self, index: usize) -> Option<usize> {
        self.places[index]
    }

    /// Returns whether a live item is desired.
    pub(super) fn has(&self, place: usize) -> bool {
        self.are_desired[place]
    }

    /// Returns the path element by which a `fieldsV1` names a live item.
    pub(super) fn path(&self, place: usize) -> &str {
        &self.paths[place]
    }
}

/// Finds, for each desired item, the live item that the same pointer selects.
fn meant(desired: &[Value], live: &[Value], pointers: &[&[Part]]) -> Vec<Option<usize>> {
    if pointers.iter().any(|parts| matches!(parts, [Part::Any])) {
        // The whole list is ignored, and so is its order.
        let places = 0..desired.len();
        return places
            .map(|place| (place < live.len()).then_some(place))
            .collect();
    }
    let wanted = Items::of(desired, pointers);
    let found = Items::of(live, pointers);
    let mut places = vec![None; desired.len()];
    let firsts = pointers.iter().filter_map(|parts| parts.first());
    let parts: BTreeSet<_> = firsts.map(|part| (exactness(part), part)).collect();
    for (_, part) in parts {
        let (mut ours, mut theirs) = (wanted.meant(part), found.meant(part));
        // An item that a rule selects by name is found by that name, whatever else has changed.
        let is_named = ours.len() == 1 && theirs.len() == 1 && *part != Part::Any;
        ours.retain(|index| places[*index].is_none());
        theirs.retain(|place| !places.contains(&Some(*place)));
        let pairs: Vec<(usize, usize)> = if is_named {
            ours.into_iter().zip(theirs).collect()
        } else {
            by_name(&wanted, &ours, &found, &theirs)
                .unwrap_or_else(|| by_content(&wanted, ours, &found, theirs))
        };
        for (index, place) in pairs {
            places[index] = Some(place);
        }
    }
    places
}

/// Returns the sort key of a pointer part: the parts that say more about an item are matched first.
fn exactness(part: &Part) -> (u8, Reverse<usize>) {
    match part {
        Part::Where(conditions) => (0, Reverse(conditions.len())),
        Part::Name(_) => (1, Reverse(0)),
        Part::Any => (2, Reverse(0)),
    }
}

/// The items of one list.
struct Items<'a> {
    all: &'a [Value],
    /// Each item without its ignored fields, by which it can be recognised.
    rest: Vec<Value>,
}

impl<'a> Items<'a> {
    fn of(all: &'a [Value], pointers: &[&[Part]]) -> Self {
        let items = all.iter().enumerate();
        let rest = items.map(|(place, item)| without(item, &below_item(pointers, place, item)));
        Self {
            all,
            rest: rest.collect(),
        }
    }

    fn meant(&self, part: &Part) -> Vec<usize> {
        let items = self.all.iter().enumerate();
        items
            .filter(|(place, item)| part.is_item(*place, item))
            .map(|(place, _)| place)
            .collect()
    }

    /// Maps the names of some items to their indexes, if each item has a name that no other one has.
    fn names(&self, places: &[usize]) -> Option<BTreeMap<&str, usize>> {
        let pairs = places
            .iter()
            .map(|place| Some((self.rest[*place].get("name")?.as_str()?, *place)));
        let names: BTreeMap<&str, usize> = pairs.collect::<Option<_>>()?;
        (names.len() == places.len()).then_some(names)
    }
}

/// Pairs items by name if all of them have one. An item whose name does not occur on the other side has no counterpart.
fn by_name(
    wanted: &Items<'_>,
    ours: &[usize],
    found: &Items<'_>,
    theirs: &[usize],
) -> Option<Vec<(usize, usize)>> {
    let (ours, theirs) = (wanted.names(ours)?, found.names(theirs)?);
    let pairs = ours
        .into_iter()
        .filter_map(|(name, index)| Some((index, *theirs.get(name)?)));
    Some(pairs.collect())
}

/// Pairs items that are equal apart from ignored fields, and then the remaining ones in order.
fn by_content(
    wanted: &Items<'_>,
    mut ours: Vec<usize>,
    found: &Items<'_>,
    mut theirs: Vec<usize>,
) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let ways: [fn(&Value, &Value) -> bool; 2] = [|wanted, found| wanted == found, is_within];
    for is_same in ways {
        ours.retain(|index| {
            let wanted = &wanted.rest[*index];
            let mut places = theirs.iter();
            let Some(at) = places.position(|place| is_same(wanted, &found.rest[*place])) else {
                return true;
            };
            pairs.push((*index, theirs.remove(at)));
            false
        });
    }
    pairs.extend(ours.into_iter().zip(theirs));
    pairs
}

/// Returns whether a live value has everything that is desired. It may have more, since the server adds defaults.
fn is_within(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().all(|(key, wanted)| {
            let found = found.get(key);
            found.is_some_and(|found| is_within(wanted, found))
        }),
        (Value::Array(wanted), Value::Array(found)) => {
            let mut pairs = wanted.iter().zip(found);
            wanted.len() == found.len() && pairs.all(|(wanted, found)| is_within(wanted, found))
        }
        _ => wanted == found,
    }
}
