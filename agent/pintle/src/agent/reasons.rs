//! The reasons of conditions and of Events, beside those of [`Reason`](pintle_core::event::Reason), of which notifiers are told.

/// Defines the reasons, and for a test the list of all.
macro_rules! reasons {
    ($($(#[$about:meta])+ $name:ident = $text:literal;)+) => {
        $($(#[$about])+ pub(crate) const $name: &str = $text;)+

        #[cfg(test)]
        const ALL: &[&str] = &[$($name),+];
    };
}

reasons! {
    /// All is well: what a condition and the event of this name say.
    CONVERGED = "Converged";
    /// A revision is being applied.
    APPLYING = "Applying";
    /// What was applied is on its way.
    PROGRESSING = "Progressing";
    /// A change came in between.
    SUPERSEDED = "Superseded";
    /// Work was stopped, and nobody goes on with it before somebody says so.
    SUSPENDED = "Suspended";
    /// Nothing is tried, because something else has to be Ready first.
    WAITS_FOR_OTHERS = "DependencyNotReady";
    /// The spec of an Application or a Plugin cannot be read, or makes no sense.
    INVALID_SPEC = "InvalidSpec";
    /// There is no account in whose name objects may be written.
    NO_SERVICE_ACCOUNT = "NoServiceAccount";
    /// No requests can be made in the name of the account.
    INVALID_SERVICE_ACCOUNT = "InvalidServiceAccount";
    /// The objects are in another cluster than the spec names now.
    CLUSTER_CHANGED = "ClusterChanged";
    /// What is recorded of the objects cannot be used.
    INVENTORY_UNUSABLE = "InventoryUnusable";
    /// What Helm has installed cannot be taken over.
    ADOPTION_FAILED = "AdoptionFailed";
    /// To take over what Helm has installed would replace pods.
    ADOPTION_REPLACES_PODS = "AdoptionReplacesPods";
    /// What cannot be has happened.
    IMPOSSIBLE = "Impossible";
    /// A Plugin is loaded.
    LOADED = "Loaded";
    /// A Plugin could not be loaded.
    LOAD_FAILED = "LoadFailed";
    /// An Event alone: an object is not ready for longer than most need.
    NOT_READY = "NotReady";
    /// An Event alone: a notifier could not be told.
    NOTIFICATION_FAILED = "NotificationFailed";
    /// An Event alone: a rollback that somebody asked for cannot be.
    ROLLBACK_REFUSED = "RollbackRefused";
    /// An Event alone: objects stay when a namespace goes.
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
        // Those of the condition `Drifted` are the core's.
        for reason in ALL.iter().chain(&["Reported", "Fight"]) {
            assert!(operating.contains(&format!("`{reason}`")), "{reason}");
        }
        // What is no reason is answered with all that are.
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
