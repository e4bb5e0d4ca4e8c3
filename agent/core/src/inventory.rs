//! What an application has put into the cluster: the identity, version and stored digest of each object.
//!
//! The inventory is stored in the cluster and read by older and newer agents, so its format is versioned. An agent ignores fields
//! that it does not know, and rejects a format with a higher major number rather than guessing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    object::ObjectId,
    plan::{Action, Change},
    release::ReleaseRecord,
};

/// The format that this code writes.
const FORMAT: u32 = 1;

/// A stand-in for a UID, as long as any that a server assigns.
const SOME_UID: &str = "00000000-0000-0000-0000-000000000000";

/// The record of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a mark of its own, and so it is written"
)]
pub struct Entry {
    /// API group of the object; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The version under which the object was last applied.
    pub version: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace of the object; absent if the object has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the object.
    pub name: String,
    /// UID of the object; absent while the object is only about to be created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Digest of the rendered object when it was last applied; absent while the object is only about to be created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Digest>,
    /// Digest of the owned fields as the API server stored them; absent while the object is only about to be created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Digest>,
    /// Whether a hook created the object. Such an object is neither waited for nor watched for changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hook: bool,
    /// Whether the object stays when it leaves the source, until its deletion is explicitly allowed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// Whether the object has left the source and is still listed. Such an object is neither waited for nor repaired.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
    /// Whether a person has confirmed the deletion of the object, or the deletion has begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub going: bool,
}

impl Entry {
    /// Creates the entry of an object that is about to be written.
    pub fn intended(id: &ObjectId, version: &str) -> Self {
        Self {
            group: id.group.clone(),
            version: version.to_owned(),
            kind: id.kind.clone(),
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            uid: None,
            desired: None,
            stored: None,
            hook: false,
            keep: false,
            left: false,
            going: false,
        }
    }

    /// Returns whether it is kept as it was applied: it was not created by a hook and has not left the source.
    pub fn is_managed(&self) -> bool {
        !self.hook && !self.left
    }

    /// Returns the identity.
    pub fn id(&self) -> ObjectId {
        ObjectId {
            group: self.group.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// Returns `apiVersion`.
    pub fn api_version(&self) -> String {
        self.id().api_version(&self.version)
    }
}

/// All objects of one application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    entries: BTreeMap<ObjectId, Entry>,
    /// The last release that was begun; absent until there is one.
    pub release: Option<ReleaseRecord>,
}

/// The inventory as it is kept in the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StoredInventory {
    /// Version of the format. Agents refuse formats that are newer than they know.
    pub format: u32,
    /// The objects, in order of identity.
    pub entries: Vec<Entry>,
    /// The last release that was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseRecord>,
}

/// The reason why a stored inventory cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    /// It was written by a newer agent.
    #[error(
        "the inventory has format {found}, and this version of pintle knows formats up to {FORMAT}: use a newer pintle"
    )]
    Newer {
        /// Its format.
        found: u32,
    },
    /// It is malformed.
    #[error("the inventory is malformed: {0}")]
    Malformed(String),
}

impl Inventory {
    /// Reads the stored form.
    pub fn restore(stored: StoredInventory) -> Result<Self, InventoryError> {
        if stored.format > FORMAT {
            return Err(InventoryError::Newer {
                found: stored.format,
            });
        }
        Ok(Self {
            entries: stored
                .entries
                .into_iter()
                .map(|entry| (entry.id(), entry))
                .collect(),
            release: stored.release,
        })
    }

    /// Reads the stored form from JSON.
    pub fn from_json(text: &str) -> Result<Self, InventoryError> {
        let format = serde_json::from_str::<serde_json::Value>(text)
            .map_err(|error| InventoryError::Malformed(error.to_string()))?["format"]
            .as_u64()
            .and_then(|format| u32::try_from(format).ok())
            .ok_or_else(|| InventoryError::Malformed("it has no `format`".to_owned()))?;
        // Check the format first: a newer one may not even parse.
        if format > FORMAT {
            return Err(InventoryError::Newer { found: format });
        }
        let stored = serde_json::from_str(text)
            .map_err(|error| InventoryError::Malformed(error.to_string()))?;
        Self::restore(stored)
    }

    /// Returns the stored form.
    pub fn store(&self) -> StoredInventory {
        StoredInventory {
            format: FORMAT,
            entries: self.entries.values().cloned().collect(),
            release: self.release.clone(),
        }
    }

    /// Returns an entry.
    pub fn get(&self, id: &ObjectId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// Returns the identities of all objects that are kept as applied: all but those that hooks created or that left the source.
    pub fn managed(&self) -> impl Iterator<Item = &ObjectId> {
        let managed = self.iter().filter(|(_, entry)| entry.is_managed());
        managed.map(|(id, _)| id)
    }

    /// Returns the identities of the objects that have left the source and are still listed.
    pub fn left(&self) -> impl Iterator<Item = &ObjectId> {
        let left = self.iter().filter(|(_, entry)| entry.left);
        left.map(|(id, _)| id)
    }

    /// Records what the source has now: everything else has left it. This also corrects entries written by an earlier version,
    /// which does not know the field `left`.
    pub fn leave_all_but(&mut self, rendered: &BTreeSet<ObjectId>) {
        for (id, entry) in &mut self.entries {
            entry.left = !rendered.contains(id);
        }
    }

    /// Records which deletions a person has confirmed. All others require confirmation.
    pub fn confirm(&mut self, going: &BTreeSet<ObjectId>) {
        for (id, entry) in &mut self.entries {
            entry.going = going.contains(id);
        }
    }

    /// Returns whether this inventory has a confirmation that another one lacks.
    pub fn is_confirmed_beyond(&self, known: &Self) -> bool {
        let mut going = self.iter().filter(|(_, entry)| entry.going);
        going.any(|(id, _)| known.get(id).is_none_or(|known| !known.going))
    }

    /// Returns the entries with their identities, in order of identity.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectId, &Entry)> {
        self.entries.iter()
    }

    /// Returns the identities of all listed objects.
    pub fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.entries.keys()
    }

    /// Returns the entries in order of identity.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Returns the number of objects.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Records an object.
    pub fn insert(&mut self, entry: Entry) {
        self.entries.insert(entry.id(), entry);
    }

    /// Removes an object that is gone.
    pub fn remove(&mut self, id: &ObjectId) -> Option<Entry> {
        self.entries.remove(id)
    }

    /// Adds the objects that are about to be created, without touching existing entries. Returns whether anything changed.
    ///
    /// This is written to the cluster before the first object is. Whatever happens then, Pintle knows every object that it
    /// created. An object about to be replaced is no longer recorded as applied: if it cannot be created again, its absence must
    /// not look as if somebody else had deleted it.
    pub fn intend<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) -> bool {
        let mut grown = false;
        for change in changes {
            match self.entries.get_mut(&change.id) {
                None => {
                    self.insert(Entry::intended(&change.id, &change.version));
                    grown = true;
                }
                Some(entry) if change.action == Action::Replace && entry.desired.is_some() => {
                    (entry.desired, entry.stored) = (None, None);
                    grown = true;
                }
                Some(_) => {}
            }
        }
        grown
    }

    /// Returns the inventory as it will be when all `changes` have been made except the deletions, which fail: the largest that
    /// may have to be recorded. Objects that are only intended so far get placeholder ids and digests.
    #[must_use]
    pub fn when_done(&self, changes: &[Change]) -> Self {
        let mut done = self.clone();
        done.intend(changes);
        let leaving = changes
            .iter()
            .filter(|change| change.action == Action::Delete);
        let leaving: BTreeSet<&ObjectId> = leaving.map(|change| &change.id).collect();
        let some_digest = Digest::of("");
        for (id, entry) in &mut done.entries {
            // Nothing more will become known about it.
            if leaving.contains(id) {
                continue;
            }
            entry.uid.get_or_insert_with(|| SOME_UID.to_owned());
            entry.desired.get_or_insert(some_digest);
            entry.stored.get_or_insert(some_digest);
        }
        done
    }

    /// Returns the size of the stored form as JSON, in bytes.
    pub fn size(&self) -> usize {
        serde_json::to_string(&self.store()).map_or(0, |text| text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(name: &str) -> Entry {
        let id = ObjectId {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: Some("n".into()),
            name: name.into(),
        };
        let mut entry = Entry::intended(&id, "v1");
        entry.stored = Some(Digest::of(name));
        entry
    }

    #[test]
    fn what_another_agent_adds_is_ignored_and_a_newer_format_is_refused() {
        let text = r#"{"format":1,"later":true,"entries":[{"version":"v1","kind":"ConfigMap","name":"a","new":5}]}"#;
        assert_eq!(Inventory::from_json(text).unwrap().len(), 1);
        let newer =
            Inventory::from_json(r#"{"format":2,"entries":{"shape":"unknown"}}"#).unwrap_err();
        insta::assert_snapshot!(newer, @"the inventory has format 2, and this version of pintle knows formats up to 1: use a newer pintle");
        assert!(matches!(
            Inventory::from_json("{}"),
            Err(InventoryError::Malformed(_))
        ));
        assert!(matches!(
            Inventory::from_json("nonsense"),
            Err(InventoryError::Malformed(_))
        ));
    }

    #[test]
    fn known_text() {
        let mut inventory = Inventory::default();
        inventory.insert(Entry {
            stored: None,
            ..entry("web")
        });
        let text = serde_json::to_string(&inventory.store()).unwrap();
        let expected = r#"{"format":1,"entries":[{"group":"apps","version":"v1","kind":"Deployment","namespace":"n","name":"web"}]}"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_confirmed_is_kept_until_something_else_is() {
        let mut inventory = Inventory::default();
        for name in ["goes", "stays"] {
            inventory.insert(entry(name));
        }
        let before = inventory.clone();
        assert!(!inventory.is_confirmed_beyond(&before));
        inventory.confirm(&[entry("goes").id()].into());
        assert!(inventory.is_confirmed_beyond(&before));
        let text = serde_json::to_string(&inventory.store()).unwrap();
        assert_eq!(text.matches(r#""going":true"#).count(), 1, "{text}");
        assert_eq!(Inventory::from_json(&text).unwrap(), inventory);
        assert!(!inventory.is_confirmed_beyond(&inventory.clone()));
        inventory.confirm(&BTreeSet::new());
        assert_eq!(inventory, before);
    }

    #[test]
    fn what_has_left_the_source_is_listed_until_it_comes_back_and_is_not_managed() {
        let mut inventory = Inventory::default();
        for name in ["stays", "leaves"] {
            inventory.insert(entry(name));
        }
        inventory.insert(Entry {
            hook: true,
            ..entry("hook")
        });
        let names = |ids: Vec<&ObjectId>| -> Vec<String> {
            ids.into_iter().map(|id| id.name.clone()).collect()
        };
        let rendered = [entry("stays").id(), entry("hook").id()].into();
        inventory.leave_all_but(&rendered);
        assert_eq!(names(inventory.managed().collect()), ["stays"]);
        assert_eq!(names(inventory.left().collect()), ["leaves"]);
        let text = serde_json::to_string(&inventory.store()).unwrap();
        assert_eq!(text.matches(r#""left":true"#).count(), 1, "{text}");
        assert_eq!(Inventory::from_json(&text).unwrap(), inventory);
        // An earlier version ignores the field and writes the entry without it.
        let older = text.replace(r#","left":true"#, "");
        let mut older = Inventory::from_json(&older).unwrap();
        assert_eq!(older.left().count(), 0);
        older.leave_all_but(&rendered);
        assert_eq!(older, inventory);
        let all = inventory.entries().map(Entry::id).collect();
        inventory.leave_all_but(&all);
        assert_eq!(inventory.left().count(), 0);
        assert_eq!(names(inventory.managed().collect()), ["leaves", "stays"]);
    }

    #[test]
    fn what_is_intended_counts_as_it_will_be_recorded() {
        let recorded = Entry {
            uid: Some("6f1c2e9a-8d1b-4a53-9a55-0c6f4f1f0a11".into()),
            desired: Some(Digest::of("a")),
            ..entry("web")
        };
        let (mut intended, mut done) = (Inventory::default(), Inventory::default());
        intended.insert(Entry::intended(&recorded.id(), "v1"));
        done.insert(recorded);
        assert_eq!(intended.when_done(&[]).size(), done.size());
        assert_eq!(done.when_done(&[]), done);
        assert!(intended.size() < done.size() / 2);
        let change = |action| Change {
            id: entry("web").id(),
            version: "v1".into(),
            action,
            desired: None,
            live: None,
            before: serde_json::Value::Null,
            after: serde_json::Value::Null,
            source: None,
            hook: BTreeSet::new(),
            for_removal: None,
            conflicts: Vec::new(),
        };
        assert_eq!(intended.when_done(&[change(Action::Delete)]), intended);
        let created = Inventory::default().when_done(&[change(Action::Create)]);
        assert_eq!(created.size(), done.size());

        let mut replaced = done.clone();
        assert!(!replaced.intend(&[change(Action::Update)]));
        assert!(replaced.intend(&[change(Action::Replace)]));
        let [entry] = &replaced.entries().collect::<Vec<_>>()[..] else {
            panic!("{replaced:?}")
        };
        assert!(entry.uid.is_some() && entry.desired.is_none() && entry.stored.is_none());
        assert!(
            !replaced.intend(&[change(Action::Replace)]),
            "once is enough"
        );
    }

    proptest! {
        #[test]
        fn storing_loses_nothing_and_order_does_not_matter(names in prop::collection::btree_set("[a-z]{1,6}", 0..12)) {
            let (mut one, mut two) = (Inventory::default(), Inventory::default());
            for name in &names { one.insert(entry(name)); }
            for name in names.iter().rev() { two.insert(entry(name)); }
            let text = serde_json::to_string(&one.store()).unwrap();
            prop_assert_eq!(&text, &serde_json::to_string(&two.store()).unwrap());
            prop_assert_eq!(Inventory::from_json(&text).unwrap(), one);
        }
    }
}
