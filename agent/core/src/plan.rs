//! Everything that is about to be done to the cluster, known in full before the first write.

use std::{collections::BTreeSet, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    canonical,
    diff::{self, Difference},
    digest::{Digest, Digester},
    hook::{Hook, HookEvent},
    object::{Object, ObjectId, conceal},
    problem::Position,
    seed::Seed,
};

/// The depth of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Compares the desired state with what was last applied and stored. Creates need no request, updates one read.
    Local,
    /// Performs a dry-run apply for each changed object, which shows defaulting, admission and immutability before the first
    /// write.
    Server,
}

/// What happens to one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It does not exist yet.
    Create,
    /// Some of its fields change.
    Update,
    /// An immutable field changes: the object is deleted and created again.
    Replace,
    /// It left the source.
    Delete,
    /// It is not created now: it is a hook, kept until the application is removed.
    Keep,
    /// Nothing happens.
    Unchanged,
}

impl Action {
    /// Returns the name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Keep => "keep",
            Self::Unchanged => "unchanged",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happens to an object, and why.
#[derive(Debug, Clone)]
pub struct Change {
    /// The object.
    pub id: ObjectId,
    /// The version part of the `apiVersion` under which it is written.
    pub version: String,
    /// What happens to it.
    pub action: Action,
    /// The object as rendered; absent for a deletion. Shared with the code that prepared it, since most objects of a plan do not
    /// change.
    pub desired: Option<Arc<Object>>,
    /// The object in the cluster, if it was read.
    pub live: Option<Value>,
    /// The fields that the application owns before the change; null if unknown or none.
    pub before: Value,
    /// The fields that the application will own after the change; null for a deletion.
    pub after: Value,
    /// The position of the object in the source.
    pub source: Option<Position>,
    /// The events at which it runs if it is a hook: in this plan and, if the plan keeps it for the removal, when the application
    /// is removed. Empty for every other object.
    pub hook: BTreeSet<HookEvent>,
    /// The hook's properties, if the plan keeps it for the removal. It may run at other events before that.
    pub for_removal: Option<Box<Hook>>,
    /// The managers whose fields are taken over, with the fields. They are shown because the takeover may be unexpected.
    pub conflicts: Vec<Conflict>,
}

/// A field that another manager owns and this plan sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The other manager's name.
    pub manager: String,
    /// The field, as the API server writes it: `.spec.replicas`.
    pub field: String,
}

impl Change {
    /// Returns whether it is a hook, and so not one of the objects that make up the application.
    pub fn is_hook(&self) -> bool {
        !self.hook.is_empty()
    }

    /// Returns the fields that differ. Values of Secrets are concealed with the seed.
    pub fn differences(&self, seed: &Seed) -> Vec<Difference> {
        let secret = self.id.is_secret();
        diff::differences(
            &conceal(secret, &self.before, seed),
            &conceal(secret, &self.after, seed),
        )
    }
}

/// The number of objects per action.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(default)]
pub struct Summary {
    /// Objects to create.
    pub create: u32,
    /// Objects to update.
    pub update: u32,
    /// Objects to delete and create again.
    pub replace: u32,
    /// Objects to delete.
    pub delete: u32,
    /// Objects that stay as they are.
    pub unchanged: u32,
    /// Hooks to run.
    #[serde(skip_serializing_if = "is_zero")]
    pub hooks: u32,
    /// Hooks that are not run, but kept for the removal of the application.
    #[serde(rename = "keptHooks", skip_serializing_if = "is_zero")]
    pub kept_hooks: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to create, {} to update", self.create, self.update)?;
        if self.replace > 0 {
            write!(f, ", {} to replace", self.replace)?;
        }
        write!(
            f,
            ", {} to delete, {} unchanged",
            self.delete, self.unchanged
        )?;
        match self.hooks {
            0 => {}
            1 => f.write_str(", 1 hook to run")?,
            hooks => write!(f, ", {hooks} hooks to run")?,
        }
        match self.kept_hooks {
            0 => Ok(()),
            1 => f.write_str(", 1 hook to keep for the removal"),
            hooks => write!(f, ", {hooks} hooks to keep for the removal"),
        }
    }
}

/// The complete set of changes, in order of identity.
#[derive(Debug, Clone)]
pub struct Plan {
    depth: Depth,
    changes: Vec<Change>,
    digest: Digest,
}

impl Plan {
    /// Sorts changes by identity and computes the plan digest, by which the output of a plan, the status and the history refer to
    /// it.
    ///
    /// The digest covers the action, the identity, the owned fields before and after, and the hook events of every change that
    /// does something. It does not depend on fields that the application does not own, nor on the order of `changes`.
    pub fn new(depth: Depth, mut changes: Vec<Change>, seed: &Seed) -> Self {
        changes.sort_by(|a, b| a.id.cmp(&b.id).then_with(|| a.hook.cmp(&b.hook)));
        let mut digest = Digester::new("plan/v1");
        for change in changes
            .iter()
            .filter(|change| change.action != Action::Unchanged)
        {
            let secret = change.id.is_secret();
            digest.add(change.action.name());
            digest.add(change.id.to_string());
            digest.add(canonical::to_string(&conceal(secret, &change.before, seed)));
            digest.add(canonical::to_string(&conceal(secret, &change.after, seed)));
            for event in &change.hook {
                digest.add(event.name());
            }
        }
        Self {
            depth,
            changes,
            digest: digest.finish(),
        }
    }

    /// Returns the depth of the plan.
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// Returns the changes, including unchanged objects, in order of identity.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Returns the plan digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns whether nothing would be done.
    pub fn is_empty(&self) -> bool {
        self.changes
            .iter()
            .all(|change| change.action == Action::Unchanged)
    }

    /// Counts the changes.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for change in &self.changes {
            *match change.action {
                Action::Keep => &mut summary.kept_hooks,
                _ if change.is_hook() => &mut summary.hooks,
                Action::Create => &mut summary.create,
                Action::Update => &mut summary.update,
                Action::Replace => &mut summary.replace,
                Action::Delete => &mut summary.delete,
                Action::Unchanged => &mut summary.unchanged,
            } += 1;
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn change(name: &str, action: Action, before: Value, after: Value) -> Change {
        let id = ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: None,
            name: name.into(),
        };
        let (version, conflicts) = ("v1".to_owned(), Vec::new());
        Change {
            id,
            version,
            action,
            desired: None,
            live: None,
            before,
            after,
            source: None,
            hook: BTreeSet::new(),
            for_removal: None,
            conflicts,
        }
    }

    fn digest(changes: Vec<Change>) -> Digest {
        Plan::new(Depth::Local, changes, &Seed::from_text("s")).digest()
    }

    #[test]
    fn counts_and_says_when_nothing_is_to_do() {
        let plan = |actions: &[Action]| {
            let changes = actions
                .iter()
                .map(|a| change("a", *a, json!(1), json!(2)))
                .collect();
            Plan::new(Depth::Local, changes, &Seed::from_text("s"))
        };
        assert!(plan(&[Action::Unchanged]).is_empty() && plan(&[]).is_empty());
        let some = plan(&[
            Action::Create,
            Action::Create,
            Action::Delete,
            Action::Unchanged,
        ]);
        assert!(!some.is_empty());
        assert_eq!(
            some.summary().to_string(),
            "2 to create, 0 to update, 1 to delete, 1 unchanged"
        );
    }

    #[test]
    fn what_is_kept_for_the_removal_is_something_to_do_and_no_object_to_be_made() {
        let hook = |event: HookEvent| {
            let hook = Hook {
                events: [event].into(),
                ..Hook::default()
            };
            Change {
                hook: hook.removal_events().collect(),
                for_removal: Some(Box::new(hook)),
                ..change("a", Action::Keep, Value::Null, json!(1))
            }
        };
        let kept = vec![
            hook(HookEvent::PreDelete),
            change("b", Action::Unchanged, json!(1), json!(1)),
        ];
        let plan = Plan::new(Depth::Local, kept, &Seed::from_text("s"));
        assert!(!plan.is_empty());
        assert_eq!(
            plan.summary().to_string(),
            "0 to create, 0 to update, 0 to delete, 1 unchanged, 1 hook to keep for the removal"
        );
        assert_ne!(
            digest(vec![hook(HookEvent::PreDelete)]),
            digest(vec![hook(HookEvent::PostDelete)])
        );
        let both = Change {
            hook: [HookEvent::PreInstall, HookEvent::PreDelete].into(),
            action: Action::Create,
            ..hook(HookEvent::PreDelete)
        };
        let summary = Plan::new(Depth::Local, vec![both], &Seed::from_text("s")).summary();
        assert_eq!(
            (summary.create, summary.hooks, summary.kept_hooks),
            (0, 1, 0)
        );
    }

    #[test]
    fn secrets_are_concealed_in_differences() {
        let mut secret = change(
            "a",
            Action::Update,
            json!({"data": {"p": "b2xk"}}),
            json!({"data": {"p": "bmV3"}}),
        );
        secret.id.kind = "Secret".into();
        let text = serde_json::to_string(&secret.differences(&Seed::from_text("s"))).unwrap();
        assert!(text.contains("/data/p") && text.contains("hmac-sha256:"));
        assert!(!text.contains("b2xk") && !text.contains("bmV3"), "{text}");
    }

    proptest! {
        #[test]
        fn order_and_unchanged_objects_never_change_the_digest(names in prop::collection::btree_set("[a-z]{1,4}", 2..8)) {
            let changes: Vec<_> = names.iter().map(|n| change(n, Action::Update, json!(1), json!(n))).collect();
            let before = digest(changes.clone());
            let mut other = changes;
            other.reverse();
            other.push(change("zzzzz", Action::Unchanged, json!(1), json!(1)));
            prop_assert_eq!(digest(other), before);
        }

        #[test]
        fn every_owned_field_counts(before in 0..3, after in 0..3, b in 0..3, a in 0..3) {
            let one = digest(vec![change("x", Action::Update, json!({"f": before}), json!({"f": after}))]);
            let two = digest(vec![change("x", Action::Update, json!({"f": b}), json!({"f": a}))]);
            prop_assert_eq!(one == two, (before, after) == (b, a));
        }
    }
}
