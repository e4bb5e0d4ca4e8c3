//! The reasons of conditions and Events, in addition to those of [`Reason`](pintle_core::event::Reason), which notifiers receive.

/// Defines the reasons, and a list of all of them for a test.
macro_rules! reasons {
    ($($(#[$about:meta])+ $name:ident = $text:literal;)+) => {
        $($(#[$about])+ pub(crate) const $name: &str = $text;)+

        #[cfg(test)]
        const ALL: &[&str] = &[$($name),+];
    };
}

reasons! {
    /// All is well. Used by a condition and by the event of this name.
    CONVERGED = "Converged";
    /// A revision is being applied.
    APPLYING = "Applying";
    /// What was applied is progressing.
    PROGRESSING = "Progressing";
    /// A change came in between.
    SUPERSEDED = "Superseded";
    /// Work was stopped, and does not continue until somebody resumes it.
    SUSPENDED = "Suspended";
    /// Nothing is tried, because something else has to be Ready first.
    WAITS_FOR_OTHERS = "DependencyNotReady";
    /// The spec of an Application or a Plugin cannot be read, or makes no sense.
    INVALID_SPEC = "InvalidSpec";
    /// There is no service account to write objects as.
    NO_SERVICE_ACCOUNT = "NoServiceAccount";
    /// No requests can be made as the service account.
    INVALID_SERVICE_ACCOUNT = "InvalidServiceAccount";
    /// The objects are in another cluster than the one that the spec names now.
    CLUSTER_CHANGED = "ClusterChanged";
    /// The record of the objects cannot be used.
    INVENTORY_UNUSABLE = "InventoryUnusable";
    /// A Helm release cannot be taken over.
    ADOPTION_FAILED = "AdoptionFailed";
    /// Taking over a Helm release would replace pods.
    ADOPTION_REPLACES_PODS = "AdoptionReplacesPods";
    /// Something impossible has happened.
    IMPOSSIBLE = "Impossible";
    /// A Plugin is loaded.
    LOADED = "Loaded";
    /// A Plugin could not be loaded.
    LOAD_FAILED = "LoadFailed";
    /// Only an Event: an object has not been ready for longer than most need.
    NOT_READY = "NotReady";
    /// Only an Event: a notifier could not be reached.
    NOTIFICATION_FAILED = "NotificationFailed";
    /// Only an Event: a rollback that somebody asked for is not possible.
    ROLLBACK_REFUSED = "RollbackRefused";
    /// Only an Event: objects stay when a namespace goes.
    LEFT_BEHIND = "LeftBehind";
}

#[cfg(test)]
mod tests {
    use pintle_core::event::Reason;
    use serde_json::json;

    use super::*;

    #[test]
    fn all_of_them_are_explained_to_operators() {
        let operating = include_str!("../../../../docs/operating.md");
        // The reasons of the condition `Drifted` belong to the core.
        for reason in ALL.iter().chain(&["Reported", "Fight"]) {
            assert!(operating.contains(&format!("`{reason}`")), "{reason}");
        }
        // The error for an unknown reason lists all of them.
        let unknown = serde_json::from_value::<Reason>(json!("?")).unwrap_err();
        let unknown = unknown.to_string();
        let (_, names) = unknown.split_once("expected one of ").unwrap();
        for name in names.split(", ") {
            let told: Reason = serde_json::from_value(json!(name.trim_matches('`'))).unwrap();
            let told = told.camel();
            assert!(operating.contains(&format!("`{told}`")), "{told}");
        }
    }
}
