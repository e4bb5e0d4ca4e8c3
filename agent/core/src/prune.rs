//! What may be deleted when it leaves git, and when to stop and ask.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    digest::{Digest, Digester},
    inventory::{Entry, Inventory},
    names::{ALLOWED, PRUNE_ANNOTATION, RESOURCE_POLICY_ANNOTATION},
    object::ObjectId,
};

/// Which of an application's objects may be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PruneSettings {
    /// Whether objects are deleted when they leave the source, and all objects when the Application is deleted.
    pub enabled: bool,
    /// Protected kinds that may be deleted nevertheless: `Namespace`, `PersistentVolumeClaim`, `CustomResourceDefinition`.
    pub allow_kinds: BTreeSet<ProtectedKind>,
    /// The maximum percentage of an application's objects that one revision may delete. A revision that would delete more than
    /// this, and more than `freely` objects, waits for a confirmation.
    #[schemars(range(max = 100))]
    pub max_percent: u8,
    /// The number of objects that may always be deleted, whatever their share.
    pub freely: u32,
}

impl Default for PruneSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            allow_kinds: BTreeSet::new(),
            max_percent: 50,
            freely: 3,
        }
    }
}

/// A kind whose deletion also deletes data or other objects.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
pub enum ProtectedKind {
    /// Its deletion deletes everything in it.
    Namespace,
    /// Its deletion may delete the data.
    PersistentVolumeClaim,
    /// Its deletion deletes every object of the kind.
    CustomResourceDefinition,
}

impl ProtectedKind {
    /// Returns the protected kind of an object, if it has one.
    pub fn of(id: &ObjectId) -> Option<Self> {
        match (id.group.as_str(), id.kind.as_str()) {
            ("", "Namespace") => Some(Self::Namespace),
            ("", "PersistentVolumeClaim") => Some(Self::PersistentVolumeClaim),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                Some(Self::CustomResourceDefinition)
            }
            _ => None,
        }
    }

    /// Returns whether an object is never deleted as a hook. Deleting a custom resource definition deletes all objects of its
    /// kind, and deleting a namespace deletes everything in it.
    pub fn outlives_hooks(id: &ObjectId) -> bool {
        matches!(
            Self::of(id),
            Some(Self::CustomResourceDefinition | Self::Namespace)
        )
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::CustomResourceDefinition => "CustomResourceDefinition",
        }
    }
}

/// The error for a render that would delete too many objects at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.told(&format!("`--confirm-prune {confirmation}`")))]
pub struct TooManyDeletions {
    /// The objects that would be deleted.
    pub deletions: Vec<ObjectId>,
    /// The number of objects that the application has.
    pub total: usize,
    /// The limit.
    pub max_percent: u8,
    /// The digest that confirms exactly these deletions, of exactly these objects.
    pub confirmation: Digest,
}

impl TooManyDeletions {
    /// Returns a text that lists what would be deleted, one object per line, and how to confirm it where the text is shown.
    pub fn told(&self, confirmation: &str) -> String {
        let (count, total, max_percent) = (self.deletions.len(), self.total, self.max_percent);
        let mut text = format!(
            "this revision would delete {count} of {total} objects, more than {max_percent} %: if that is meant, confirm it \
             with {confirmation}"
        );
        for id in &self.deletions {
            text.push('\n');
            text.push_str(&id.to_string());
        }
        text
    }
}

/// The result of pruning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruning {
    /// Entries whose objects are deleted.
    pub delete: Vec<Entry>,
    /// Entries whose objects stay although they have left the source, each with the reason.
    pub keep: Vec<(Entry, String)>,
    /// The deleted objects that a person has confirmed, now or before an interrupted run.
    pub confirmed: BTreeSet<ObjectId>,
}

/// Decides what is deleted: objects that the inventory lists, the render does not, and the settings allow to be deleted.
///
/// `wishes` returns what an object asks for in its annotations. `defines` returns the group and kind that a definition defines.
/// `confirmed` is what a person confirmed. Deletions that they had confirmed before a run was interrupted need no second
/// confirmation. Of the objects that have left the source, every one that was found has its id in the inventory, even if only the
/// intention was recorded.
pub fn decide(
    inventory: &Inventory,
    rendered: &BTreeSet<ObjectId>,
    settings: &PruneSettings,
    wishes: &dyn Fn(&ObjectId) -> Wish,
    defines: &dyn Fn(&ObjectId) -> Option<(String, String)>,
    confirmed: Option<Digest>,
) -> Result<Pruning, TooManyDeletions> {
    let mut pruning = Pruning::default();
    for entry in inventory.entries() {
        let id = entry.id();
        if rendered.contains(&id) {
            continue;
        }
        match reason_to_keep(entry, &id, settings, wishes(&id)) {
            Some(reason) => pruning.keep.push((entry.clone(), reason)),
            None => pruning.delete.push(entry.clone()),
        }
    }
    pruning.hold_what_holds_others(inventory, defines);
    let going = pruning.delete.iter().filter(|entry| entry.going);
    pruning.confirmed = going.map(Entry::id).collect();
    // An object that was intended but never created is no loss, and neither is what a hook left behind. A confirmed deletion
    // counts as done.
    let counts = |entry: &&Entry| entry.uid.is_some() && !entry.hook && !entry.going;
    let real: Vec<&Entry> = pruning.delete.iter().filter(counts).collect();
    let total = inventory.entries().filter(counts).count();
    let share_exceeded = real.len() * 100 > total * usize::from(settings.max_percent);
    if share_exceeded && real.len() > settings.freely as usize {
        // The annotation stays after it has served, so whatever is created again later needs a confirmation of its own.
        let confirmation = real
            .iter()
            .fold(Digester::new("prune/v2"), |digest, entry| {
                let uid = entry.uid.as_deref().unwrap_or_default();
                digest.part(entry.id().to_string()).part(uid)
            })
            .finish();
        if confirmed != Some(confirmation) {
            let max_percent = settings.max_percent;
            return Err(TooManyDeletions {
                deletions: real.into_iter().map(Entry::id).collect(),
                total,
                max_percent,
                confirmation,
            });
        }
        pruning.confirmed.extend(real.into_iter().map(Entry::id));
    }
    Ok(pruning)
}

impl Pruning {
    /// Keeps each definition and each namespace that has an object which stays, whatever allows its deletion: deleting it would
    /// delete that object as well.
    fn hold_what_holds_others(
        &mut self,
        inventory: &Inventory,
        defines: &dyn Fn(&ObjectId) -> Option<(String, String)>,
    ) {
        let going: BTreeSet<ObjectId> = self.delete.iter().map(Entry::id).collect();
        let holder = |entry: &Entry| {
            let id = entry.id();
            let mut staying = inventory.entries().map(Entry::id);
            if id.is("", "Namespace") {
                let is_inside = |inner: &ObjectId| inner.namespace.as_ref() == Some(&id.name);
                return staying.find(|inner| is_inside(inner) && !going.contains(inner));
            }
            let (group, kind) = defines(&id)?;
            staying.find(|id| id.group == group && id.kind == kind && !going.contains(id))
        };
        for entry in std::mem::take(&mut self.delete) {
            match holder(&entry) {
                Some(id) => {
                    let reason = format!("deleting it would take {id} with it, which stays");
                    self.keep.push((entry, reason));
                }
                None => self.delete.push(entry),
            }
        }
    }
}

/// What an object itself says about its deletion, in the annotation `pintle.dev/prune` or in the way charts do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    None,
    /// `disabled`: it stays.
    Keep,
    /// `allowed`: it may be deleted although its kind is protected.
    Allow,
}

impl Wish {
    /// Reads the wish of an object as stored in the cluster. `helm.sh/resource-policy: keep` counts as `disabled`, even in
    /// manifests that were not rendered from a chart: it means the same, and whoever wrote it relies on it.
    ///
    /// <https://helm.sh/docs/howto/charts_tips_and_tricks/#tell-helm-not-to-uninstall-a-resource>
    pub fn of(live: &Value) -> Self {
        let annotations = &live["metadata"]["annotations"];
        match annotations[PRUNE_ANNOTATION].as_str() {
            Some("disabled") => Self::Keep,
            Some(ALLOWED) => Self::Allow,
            _ if annotations[RESOURCE_POLICY_ANNOTATION]
                .as_str()
                .is_some_and(|policy| policy.trim().eq_ignore_ascii_case("keep")) =>
            {
                Self::Keep
            }
            _ => Self::None,
        }
    }
}

/// Returns why an object that is no longer rendered stays, apart from other objects that need it, or `None` if it may be deleted.
pub fn reason_to_keep(
    entry: &Entry,
    id: &ObjectId,
    settings: &PruneSettings,
    wish: Wish,
) -> Option<String> {
    if !settings.enabled {
        return Some("pruning is off for this application".to_owned());
    }
    if wish == Wish::Keep {
        return Some("its annotations ask for it to stay".to_owned());
    }
    let protected = ProtectedKind::of(id);
    let is_allowed =
        wish == Wish::Allow || protected.is_some_and(|kind| settings.allow_kinds.contains(&kind));
    if is_allowed {
        return None;
    }
    if entry.keep {
        return Some(
            "it was applied to stay: allow its deletion with the annotation pintle.dev/prune=allowed"
                .to_owned(),
        );
    }
    let name = protected?.name();
    Some(format!(
        "deleting a {name} destroys what depends on it: allow it with `prune.allowKinds: [{name}]` or the annotation \
         pintle.dev/prune=allowed"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(kind: &str, name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: kind.into(),
            namespace: Some("n".into()),
            name: name.into(),
        }
    }

    fn inventory(ids: &[ObjectId]) -> Inventory {
        let mut inventory = Inventory::default();
        for id in ids {
            inventory.insert(Entry {
                uid: Some("u".into()),
                ..Entry::intended(id, "v1")
            });
        }
        inventory
    }

    fn run(
        ids: &[ObjectId],
        keep: usize,
        settings: &PruneSettings,
    ) -> Result<Pruning, TooManyDeletions> {
        decide(
            &inventory(ids),
            &ids[..keep].iter().cloned().collect(),
            settings,
            &|_| Wish::None,
            &|_| None,
            None,
        )
    }

    #[test]
    fn protected_kinds_stay_until_allowed() {
        let ids = [
            id("ConfigMap", "a"),
            id("Namespace", "b"),
            id("PersistentVolumeClaim", "c"),
        ];
        let pruning = run(&ids, 1, &PruneSettings::default()).unwrap();
        assert!(pruning.delete.is_empty());
        insta::assert_snapshot!(pruning.keep[0].1, @"deleting a Namespace destroys what depends on it: allow it with `prune.allowKinds: [Namespace]` or the annotation pintle.dev/prune=allowed");
        let settings = PruneSettings {
            allow_kinds: [ProtectedKind::Namespace].into(),
            ..Default::default()
        };
        let pruning = run(&ids, 1, &settings).unwrap();
        assert_eq!((pruning.delete.len(), pruning.keep.len()), (1, 1));
        let allowed = decide(
            &inventory(&ids),
            &BTreeSet::new(),
            &PruneSettings::default(),
            &|_| Wish::Allow,
            &|_| None,
            None,
        );
        assert_eq!(allowed.unwrap().delete.len(), 3);
    }

    #[test]
    fn a_render_that_loses_most_objects_waits_for_a_confirmation_of_exactly_that() {
        let ids: Vec<_> = (0..10).map(|n| id("ConfigMap", &format!("c{n}"))).collect();
        assert_eq!(
            run(&ids, 5, &PruneSettings::default())
                .unwrap()
                .delete
                .len(),
            5
        );
        let refused = run(&ids, 4, &PruneSettings::default()).unwrap_err();
        assert_eq!((refused.deletions.len(), refused.total), (6, 10));
        let told = refused.told("a word");
        insta::assert_snapshot!(told.lines().next().unwrap(), @"this revision would delete 6 of 10 objects, more than 50 %: if that is meant, confirm it with a word");
        let listed: Vec<&str> = told.lines().skip(1).collect();
        let deleted: Vec<String> = refused.deletions.iter().map(ToString::to_string).collect();
        assert_eq!(listed, deleted);
        let known = inventory(&ids);
        let confirm = |known: &Inventory, keep: usize| {
            let rendered = ids[..keep].iter().cloned().collect();
            decide(
                known,
                &rendered,
                &PruneSettings::default(),
                &|_| Wish::None,
                &|_| None,
                Some(refused.confirmation),
            )
        };
        assert!(confirm(&known, 4).is_ok());
        assert!(
            confirm(&known, 3).is_err(),
            "another set of deletions needs another confirmation"
        );
        let mut again = known.clone();
        for entry in known.entries() {
            again.insert(Entry {
                uid: Some("another".into()),
                ..entry.clone()
            });
        }
        let again = confirm(&again, 4).unwrap_err();
        assert_eq!(again.deletions, refused.deletions);
        assert_ne!(
            again.confirmation, refused.confirmation,
            "the same set made anew needs another confirmation"
        );
    }

    #[test]
    fn what_is_left_of_confirmed_deletions_needs_no_other_confirmation() {
        let ids: Vec<_> = (0..100)
            .map(|n| id("ConfigMap", &format!("c{n:02}")))
            .collect();
        let decide = |known: &Inventory, keep: usize, confirmed| {
            let rendered = ids[..keep].iter().cloned().collect();
            let settings = PruneSettings::default();
            let (wishes, defines) = (|_: &ObjectId| Wish::None, |_: &ObjectId| None);
            super::decide(known, &rendered, &settings, &wishes, &defines, confirmed)
        };
        let mut known = inventory(&ids);
        let asked = decide(&known, 20, None).unwrap_err();
        let pruning = decide(&known, 20, Some(asked.confirmation)).unwrap();
        assert!(pruning.confirmed.iter().eq(&ids[20..]));
        known.confirm(&pruning.confirmed);
        for gone in &ids[20..50] {
            known.remove(gone);
        }
        let rest = decide(&known, 20, Some(asked.confirmation)).unwrap();
        assert_eq!((rest.delete.len(), rest.confirmed.len()), (50, 50));
        let more = decide(&known, 5, None).unwrap_err();
        assert_eq!((more.deletions.len(), more.total), (15, 20));
        let few = decide(&known, 10, None).unwrap();
        assert_eq!((few.delete.len(), few.confirmed.len()), (60, 50));
    }

    #[test]
    fn what_was_applied_to_stay_does_and_hooks_count_for_nothing() {
        let entry = |kind: &str, name: &str, keep, hook| Entry {
            uid: Some("u".into()),
            keep,
            hook,
            ..Entry::intended(&id(kind, name), "v1")
        };
        let mut all = Inventory::default();
        all.insert(entry("ConfigMap", "kept", true, false));
        all.insert(entry("PersistentVolumeClaim", "kept", true, false));
        for index in 0..9 {
            all.insert(entry("Pod", &format!("hook{index}"), false, true));
        }
        let decide = |settings: &PruneSettings, wish| {
            let rendered = BTreeSet::new();
            super::decide(&all, &rendered, settings, &|_| wish, &|_| None, None).unwrap()
        };
        let pruning = decide(&PruneSettings::default(), Wish::None);
        assert_eq!((pruning.delete.len(), pruning.keep.len()), (9, 2));
        insta::assert_snapshot!(pruning.keep[0].1, @"it was applied to stay: allow its deletion with the annotation pintle.dev/prune=allowed");
        let settings = PruneSettings {
            allow_kinds: [ProtectedKind::PersistentVolumeClaim].into(),
            ..Default::default()
        };
        assert_eq!(decide(&settings, Wish::None).keep.len(), 1);
        assert_eq!(decide(&settings, Wish::Keep).delete.len(), 0);
        assert_eq!(decide(&PruneSettings::default(), Wish::Allow).keep.len(), 0);
    }

    #[test]
    fn a_namespace_stays_as_long_as_an_object_in_it_does() {
        let namespace = ObjectId {
            namespace: None,
            ..id("Namespace", "n")
        };
        let claim = id("PersistentVolumeClaim", "data");
        let elsewhere = ObjectId {
            namespace: Some("m".into()),
            ..id("ConfigMap", "rest")
        };
        let known = inventory(&[namespace.clone(), claim.clone(), elsewhere.clone()]);
        let mut settings = PruneSettings {
            allow_kinds: [ProtectedKind::Namespace].into(),
            ..Default::default()
        };
        let decide = |rendered: &[ObjectId], settings: &PruneSettings| {
            let rendered = rendered.iter().cloned().collect();
            let pruning = super::decide(
                &known,
                &rendered,
                settings,
                &|_| Wish::None,
                &|_| None,
                None,
            );
            let pruning = pruning.unwrap();
            let reason = |one: &ObjectId| {
                let mut kept = pruning.keep.iter();
                kept.find(|(entry, _)| entry.id() == *one)
                    .map(|(_, reason)| reason.clone())
            };
            reason(&namespace)
        };
        let rest = std::slice::from_ref(&elsewhere);
        insta::assert_snapshot!(decide(rest, &settings).unwrap(), @"deleting it would take PersistentVolumeClaim n/data with it, which stays");
        let both = [elsewhere.clone(), claim];
        assert!(
            decide(&both, &settings).is_some(),
            "what is rendered stays, too"
        );
        settings
            .allow_kinds
            .insert(ProtectedKind::PersistentVolumeClaim);
        assert_eq!(decide(rest, &settings), None, "all goes");
    }

    #[test]
    fn a_definition_stays_as_long_as_one_of_its_objects_does() {
        let definition = ObjectId {
            group: "apiextensions.k8s.io".into(),
            namespace: None,
            ..id("CustomResourceDefinition", "widgets.example.com")
        };
        let widget = |name: &str| ObjectId {
            group: "example.com".into(),
            ..id("Widget", name)
        };
        let of_another_group = id("Widget", "c");
        let all = [
            definition.clone(),
            widget("a"),
            widget("b"),
            of_another_group.clone(),
        ];
        let known = inventory(&all);
        // Permission to delete the definition says nothing about the objects that have to stay.
        let settings = PruneSettings {
            allow_kinds: [ProtectedKind::CustomResourceDefinition].into(),
            ..Default::default()
        };
        let decide = |rendered: &[ObjectId], kept: &str| {
            let rendered = rendered.iter().cloned().collect();
            let wishes = |id: &ObjectId| {
                let asks = id.name == kept;
                if asks { Wish::Keep } else { Wish::Allow }
            };
            let defines = |id: &ObjectId| {
                (*id == definition).then(|| ("example.com".to_owned(), "Widget".to_owned()))
            };
            super::decide(&known, &rendered, &settings, &wishes, &defines, None).unwrap()
        };
        let going = |pruning: &Pruning| -> Vec<String> {
            let entries = pruning.delete.iter();
            entries.map(|entry| entry.name.clone()).collect()
        };
        let rest = std::slice::from_ref(&of_another_group);
        assert_eq!(
            going(&decide(rest, "")),
            ["widgets.example.com", "a", "b"],
            "all go"
        );
        let pruning = decide(rest, "b");
        assert_eq!(going(&pruning), ["a"]);
        assert_eq!(pruning.keep[1].0.id(), definition);
        insta::assert_snapshot!(pruning.keep[1].1, @"deleting it would take Widget.example.com n/b with it, which stays");
        let pruning = decide(&[widget("a"), of_another_group.clone()], "");
        assert_eq!(going(&pruning), ["b"], "what is rendered stays, too");
    }

    #[test]
    fn annotations_say_what_they_say() {
        let of = |annotations: Value| {
            Wish::of(&serde_json::json!({"metadata": {"annotations": annotations}}))
        };
        assert_eq!(of(serde_json::json!({})), Wish::None);
        assert_eq!(
            of(serde_json::json!({"pintle.dev/prune": "disabled"})),
            Wish::Keep
        );
        assert_eq!(
            of(serde_json::json!({"helm.sh/resource-policy": "Keep "})),
            Wish::Keep
        );
        assert_eq!(
            of(serde_json::json!({"helm.sh/resource-policy": "other"})),
            Wish::None
        );
        let both =
            serde_json::json!({"pintle.dev/prune": "allowed", "helm.sh/resource-policy": "keep"});
        assert_eq!(of(both), Wish::Allow);
    }

    proptest! {
        #[test]
        fn never_deletes_what_is_rendered_nor_what_is_not_listed(listed in prop::collection::btree_set("[a-f]", 0..6), rendered in prop::collection::btree_set("[a-f]", 0..6)) {
            let ids: Vec<_> = listed.iter().map(|n| id("ConfigMap", n)).collect();
            let keep: BTreeSet<_> = rendered.iter().map(|n| id("ConfigMap", n)).collect();
            let settings = PruneSettings { max_percent: 100, ..Default::default() };
            let pruning = decide(&inventory(&ids), &keep, &settings, &|_| Wish::None, &|_| None, None).unwrap();
            for entry in &pruning.delete {
                prop_assert!(!keep.contains(&entry.id()) && ids.contains(&entry.id()));
            }
            prop_assert_eq!(pruning.delete.len(), listed.difference(&rendered).count());
        }
    }
}
