//! In which order objects are written and deleted.

use crate::{object::ObjectId, plan::Change};

/// A group of objects that are written together. Waves follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wave {
    /// Namespaces: everything else may live in one.
    Namespaces,
    /// Custom resource definitions, which must be Established before their resources.
    Definitions,
    /// What others refer to: accounts, roles, configuration, classes, quotas, claims.
    Foundations,
    /// Services, workloads, custom resources and all the rest.
    Main,
    /// What intercepts requests: webhooks and aggregated APIs go last, when their backends are there.
    Interceptors,
}

impl Wave {
    /// All waves in order.
    pub const ALL: [Self; 5] = [
        Self::Namespaces,
        Self::Definitions,
        Self::Foundations,
        Self::Main,
        Self::Interceptors,
    ];

    /// Returns the wave of an object by its kind.
    pub fn of(id: &ObjectId) -> Self {
        match (id.group.as_str(), id.kind.as_str()) {
            ("", "Namespace") => Self::Namespaces,
            ("apiextensions.k8s.io", "CustomResourceDefinition") => Self::Definitions,
            (
                "",
                "ServiceAccount"
                | "Secret"
                | "ConfigMap"
                | "PersistentVolume"
                | "PersistentVolumeClaim"
                | "LimitRange"
                | "ResourceQuota",
            )
            | (
                "rbac.authorization.k8s.io"
                | "storage.k8s.io"
                | "scheduling.k8s.io"
                | "node.k8s.io",
                _,
            )
            | ("networking.k8s.io", "IngressClass" | "NetworkPolicy") => Self::Foundations,
            ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => Self::Interceptors,
            _ => Self::Main,
        }
    }

    /// Says whether the next wave has to wait until this one's objects are usable.
    pub const fn blocks(self) -> bool {
        matches!(self, Self::Namespaces | Self::Definitions)
    }
}

/// Sorts changes into waves, in order; within a wave by identity. Empty waves are left out.
pub fn waves<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Vec<(Wave, Vec<&'a Change>)> {
    let mut waves: std::collections::BTreeMap<Wave, Vec<&Change>> =
        std::collections::BTreeMap::new();
    for change in changes {
        waves.entry(Wave::of(&change.id)).or_default().push(change);
    }
    for changes in waves.values_mut() {
        changes.sort_by(|a, b| a.id.cmp(&b.id));
    }
    waves.into_iter().collect()
}

/// Sorts changes into waves for deletion: the last to be made is the first to go.
pub fn deletion_waves<'a>(
    changes: impl IntoIterator<Item = &'a Change>,
) -> Vec<(Wave, Vec<&'a Change>)> {
    let mut waves = waves(changes);
    waves.reverse();
    waves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Action;
    use proptest::prelude::*;
    use serde_json::Value;

    fn change(group: &str, kind: &str, name: &str) -> Change {
        let id = ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: None,
            name: name.into(),
        };
        Change {
            id,
            version: "v1".into(),
            action: Action::Create,
            desired: None,
            live: None,
            before: Value::Null,
            after: Value::Null,
            source: None,
            hook: std::collections::BTreeSet::new(),
            conflicts: Vec::new(),
        }
    }

    fn all() -> Vec<Change> {
        vec![
            change("", "Namespace", "a"),
            change("apiextensions.k8s.io", "CustomResourceDefinition", "b"),
            change("", "ServiceAccount", "c"),
            change("", "Service", "d"),
            change("apps", "Deployment", "e"),
            change("example.com", "Widget", "f"),
            change(
                "admissionregistration.k8s.io",
                "ValidatingWebhookConfiguration",
                "g",
            ),
        ]
    }

    proptest! {
        #[test]
        fn every_order_of_input_gives_the_same_waves(seed in prop::collection::vec(any::<u32>(), 7)) {
            let mut changes: Vec<(u32, Change)> = seed.into_iter().zip(all()).collect();
            changes.sort_by_key(|(key, _)| *key);
            let changes: Vec<Change> = changes.into_iter().map(|(_, change)| change).collect();
            let order = |waves: Vec<(Wave, Vec<&Change>)>| -> Vec<String> {
                waves.into_iter().flat_map(|(_, w)| w).map(|c| c.id.name.clone()).collect()
            };
            prop_assert_eq!(order(waves(&changes)).concat(), "abcdefg");
            prop_assert_eq!(order(deletion_waves(&changes)).concat(), "gdefcba");
        }
    }
}
