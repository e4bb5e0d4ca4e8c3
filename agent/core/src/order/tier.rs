//! The default order of kinds.

use crate::object::ObjectId;

/// The kinds that are written before others where nothing else decides. Each tier is written before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Namespaces: everything else may live in one.
    Namespaces,
    /// Custom resource definitions, which must be Established before their resources.
    Definitions,
    /// What others refer to: service accounts, roles, configuration, classes, quotas, claims.
    Foundations,
    /// Services, workloads, custom resources and all the rest.
    Main,
    /// What intercepts requests: webhooks and aggregated APIs come last, once their backends exist.
    Interceptors,
}

impl Tier {
    /// Returns the tier of an object by its kind.
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

    /// Returns whether objects of this tier must be usable before anything else can be written.
    pub const fn blocks(self) -> bool {
        matches!(self, Self::Namespaces | Self::Definitions)
    }

    pub(super) const fn rank(self) -> i32 {
        self as i32
    }
}
