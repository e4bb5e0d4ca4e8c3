//! The names that Pintle uses in the cluster.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The API group of Pintle's resources, and the prefix of its labels and annotations.
pub const GROUP: &str = "pintle.dev";
/// The version of Pintle's resources.
pub const VERSION: &str = "v1alpha1";
/// Field manager of what is stored alongside an application's objects: inventories, their namespace, seeds, hooks for removals.
pub const PINTLE_MANAGER: &str = "pintle";
/// Field manager of what the agent writes to Pintle's own resources and to its leases.
pub const AGENT_MANAGER: &str = "pintle-agent";
/// Field manager of what people request on the command line.
pub const COMMAND_LINE_MANAGER: &str = "pintle-cli";
/// Label on every managed object: the application that it belongs to.
pub const APPLICATION_LABEL: &str = "pintle.dev/application";
/// The value of an annotation that allows something.
pub const ALLOWED: &str = "allowed";
/// Annotation on every managed object: the digest of the object as rendered. If an agent was killed between an apply and
/// recording it, this shows that the apply has been done.
pub const DESIRED_ANNOTATION: &str = "pintle.dev/desired";
/// Annotation on an object: `allowed` permits taking over fields of an object that already exists.
pub const ADOPT_ANNOTATION: &str = "pintle.dev/adopt";
/// Annotation on an object: `disabled` keeps it when it leaves git, `allowed` permits deleting a protected kind.
pub const PRUNE_ANNOTATION: &str = "pintle.dev/prune";
/// Helm's annotation on an object: `keep` keeps it when it leaves the chart or the release is uninstalled.
pub const RESOURCE_POLICY_ANNOTATION: &str = "helm.sh/resource-policy";
/// Annotation on an object created by a hook: the ticket of the run.
pub const HOOK_RUN_ANNOTATION: &str = "pintle.dev/hook-run";
/// Annotation on an Application: a new value requests a run of its tests now.
pub const TEST_ANNOTATION: &str = "pintle.dev/test-requested-at";
/// Annotation on an Application: the Helm release whose objects it takes over.
pub const ADOPT_HELM_ANNOTATION: &str = "pintle.dev/adopt-helm-release";
/// Annotation on an Application: `allowed` permits a takeover to replace pods.
pub const ADOPT_RESTARTS_ANNOTATION: &str = "pintle.dev/adopt-restarts";
/// Annotation on an object: `allowed` permits replacing it when an immutable field changes.
pub const REPLACE_ANNOTATION: &str = "pintle.dev/replace";
/// Annotation on an object: its wave, a whole number. Each wave is healthy before the next is written.
pub const WAVE_ANNOTATION: &str = "pintle.dev/wave";
/// Annotation on an object: the objects that must be healthy before it is written.
pub const DEPENDS_ON_ANNOTATION: &str = "pintle.dev/depends-on";
/// Annotation on an Application: a new value requests a reconciliation now.
pub const RECONCILE_ANNOTATION: &str = "pintle.dev/reconcile-requested-at";
/// Annotation on an Application: who requested the newest reconciliation and why, as a
/// [`PersonRequest`](crate::request::PersonRequest) with the same id.
pub const RECONCILE_REQUEST_ANNOTATION: &str = "pintle.dev/reconcile-request";
/// Annotation on an Application: who suspended it and why, as a [`PersonRequest`](crate::request::PersonRequest).
pub const SUSPEND_REQUEST_ANNOTATION: &str = "pintle.dev/suspend-request";
/// Annotation on an Application: requests a rollback to an earlier revision, as a
/// [`PersonRequest`](crate::request::PersonRequest).
pub const ROLLBACK_REQUEST_ANNOTATION: &str = "pintle.dev/rollback-request";
/// Annotation on an Application: the digest of a plan whose many deletions a person has confirmed.
pub const CONFIRM_PRUNE_ANNOTATION: &str = "pintle.dev/confirm-prune";
/// Finalizer on an Application: its objects are handled before it is deleted.
pub const FINALIZER: &str = "pintle.dev/finalizer";

/// Kubernetes label values are at most 63 characters long.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
const LABEL_LIMIT: usize = 63;
/// Field manager names are at most 128 characters long (`apimachinery`, `ValidateFieldManager`).
const MANAGER_LIMIT: usize = 128;

/// The application that something belongs to: a namespace and a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ApplicationName {
    /// The namespace in which the application (or, on the command line, the inventory) lives.
    pub namespace: String,
    /// The application's name.
    pub name: String,
}

impl ApplicationName {
    /// Creates the name of an application.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Returns the field manager under which this application's fields are applied.
    pub fn field_manager(&self) -> String {
        fit(
            format!("pintle/{}/{}", self.namespace, self.name),
            MANAGER_LIMIT,
        )
    }

    /// Returns the value of [`APPLICATION_LABEL`] for this application.
    pub fn label_value(&self) -> String {
        fit(format!("{}.{}", self.namespace, self.name), LABEL_LIMIT)
    }
}

impl fmt::Display for ApplicationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Cuts a name to a limit. What is cut off is replaced by a digest of the whole, so that names stay distinct.
fn fit(name: String, limit: usize) -> String {
    if name.len() <= limit {
        return name;
    }
    let suffix = Digest::of(&name).short();
    // Kubernetes names are ASCII, but a command-line argument may be anything, so cut between characters.
    let mut end = limit - suffix.len() - 1;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{suffix}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_plain() {
        let name = ApplicationName::new("shop", "web");
        assert_eq!(name.field_manager(), "pintle/shop/web");
        assert_eq!(name.label_value(), "shop.web");
    }

    #[test]
    fn long_names_fit_and_stay_distinct() {
        let long =
            |last| ApplicationName::new("n".repeat(63), format!("{}{last}", "a".repeat(200)));
        let (one, two) = (long('1'), long('2'));
        assert_eq!(one.label_value().len(), 63);
        assert_eq!(one.field_manager().len(), 128);
        assert_ne!(one.label_value(), two.label_value());
        assert_ne!(one.field_manager(), two.field_manager());
    }
}
