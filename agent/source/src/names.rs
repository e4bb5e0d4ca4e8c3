//! Names of references, stored in little memory.

use gix::ObjectId;

/// Names and the objects that they lead to, sorted by name.
///
/// A repository may have hundreds of thousands of them. All of them together take two allocations, in which each name takes 28
/// bytes beside its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// All names, one after the other.
    text: String,
    places: Vec<Place>,
}

/// The position of a name in the text, and the object that the name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    start: u32,
    end: u32,
    id: ObjectId,
}

impl Names {
    /// Returns the object that a name leads to.
    pub(crate) fn get(&self, name: &str) -> Option<ObjectId> {
        let found = self
            .places
            .binary_search_by(|place| self.name(place).cmp(name));
        found.ok().map(|index| self.places[index].id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, ObjectId)> {
        let places = self.places.iter();
        places.map(move |place| (self.name(place), place.id))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ObjectId> {
        self.places.iter().map(|place| place.id)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn name(&self, place: &Place) -> &str {
        &self.text[place.start as usize..place.end as usize]
    }
}

/// If a name occurs twice, the last one counts.
impl FromIterator<(String, ObjectId)> for Names {
    fn from_iter<I: IntoIterator<Item = (String, ObjectId)>>(names: I) -> Self {
        let mut found: Vec<_> = names.into_iter().collect();
        found.reverse();
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found.dedup_by(|(a, _), (b, _)| a == b);
        let mut text = String::with_capacity(found.iter().map(|(name, _)| name.len()).sum());
        let mut places = Vec::with_capacity(found.len());
        for (name, id) in found {
            let start = text.len();
            text.push_str(&name);
            // A list with 4 GiB of names is far over what is accepted.
            let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(text.len())) else {
                break;
            };
            places.push(Place { start, end, id });
        }
        Self { text, places }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn id(byte: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[byte; 20])
    }

    #[test]
    fn none_at_all() {
        let none: Names = std::iter::empty().collect();
        assert_eq!(none, Names::default());
        assert!(none.is_empty() && none.get("").is_none() && none.keys().next().is_none());
    }

    proptest! {
        #[test]
        fn they_are_what_a_map_of_them_is(names in prop::collection::vec(("[a-c/é]{0,4}", any::<u8>()), 0..40)) {
            let found = || names.iter().map(|(name, byte)| (name.clone(), id(*byte)));
            let (names, map): (Names, BTreeMap<String, ObjectId>) = (found().collect(), found().collect());
            let expected: Vec<_> = map.iter().map(|(name, id)| (name.as_str(), *id)).collect();
            prop_assert_eq!(names.iter().collect::<Vec<_>>(), expected);
            prop_assert!(names.keys().eq(map.keys().map(String::as_str)) && names.ids().eq(map.values().copied()));
            for (name, id) in &map {
                prop_assert_eq!(names.get(name), Some(*id));
            }
            prop_assert_eq!(names.get("other"), None);
            prop_assert_eq!(names.len(), map.len());
        }
    }
}
