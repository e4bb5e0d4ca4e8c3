//! Removals for which the application lacks rights, most of all because its namespace is being deleted.
//!
//! A namespace is emptied in no particular order. The account's rights may go first, and the Application last, because its
//! finalizer blocks the deletion of the namespace. What the removal waits for then never comes back.

use std::{collections::BTreeMap, fmt::Write as _};

use pintle_cluster::{
    Application, Applied, ApplyError, ClusterError, Kept, ObjectFailure, PlanError, Weight,
};
use pintle_core::{
    application::ApplicationSpec,
    brief,
    causes::chain,
    event::Reason,
    machine::Retry,
    object::ObjectId,
    plan::{Action, Change, Plan},
};

use super::{
    Stopped,
    failures::{apply_failed, is_forbidden, plan_failed},
};
use crate::agent::{reasons, report::Verdict, shared::Shared};

/// How many objects are named at most where not all of them fit.
const NAMED: usize = 10;

/// What a person who waits for a removal can do where rights are missing. The removal is retried until it is done.
const WAY_OUT: &str = "\nto let the Application go and leave its objects where they are, set `deletionPolicy: Orphan`";

/// Why an object stays that nobody has tried to delete.
const NOT_TRIED: &str = "it goes after one that stays";

/// Returns the namespace of an Application if it is being deleted, and the objects are in the same cluster.
pub(super) async fn namespace(
    shared: &Shared,
    application: &Application,
    spec: &ApplicationSpec,
) -> Result<Option<String>, Stopped> {
    let Some(namespace) = application
        .namespace
        .as_ref()
        .filter(|_| spec.cluster.is_none())
    else {
        return Ok(None);
    };
    // Read as the agent itself: the account may have no read access any more.
    let reader = shared.home.reader();
    match reader.get("v1", "Namespace", None, namespace).await {
        Ok(Some(found)) if !found["metadata"]["deletionTimestamp"].is_null() => {
            Ok(Some(namespace.clone()))
        }
        Ok(_) => Ok(None),
        // Where an operator has restricted the agent's rights, a removal still does everything that the account may do.
        Err(error) if error.is_forbidden() => Ok(None),
        Err(error) => {
            let message = chain(&error);
            Err(Stopped::failed(
                Reason::ApplyFailed,
                Retry::Backoff,
                message,
            ))
        }
    }
}

/// Adds the way out to a removal that needs something that may never come.
pub(super) fn with_way_out(mut stopped: Stopped) -> Stopped {
    if let Some(verdict) = &mut stopped.verdict {
        verdict.message.push_str(WAY_OUT);
        if let Some(error) = verdict.details.get_mut("error") {
            *error = verdict.message.as_str().into();
        }
    }
    stopped
}

/// Keeps the way out at the end of a message that is too long for a status.
pub(super) fn in_brief(mut verdict: Verdict) -> Verdict {
    if brief::is_long(&verdict.message)
        && let Some(message) = verdict.message.strip_suffix(WAY_OUT)
    {
        verdict.message = brief::cut_before(message, WAY_OUT);
        if let Some(error) = verdict.details.get_mut("error") {
            *error = verdict.message.as_str().into();
        }
    }
    verdict
}

/// Handles a removal that could not be planned.
pub(super) fn unplanned(error: ClusterError<PlanError>) -> Stopped {
    let lacks_rights = matches!(
        &error,
        ClusterError::Failed(PlanError::Objects(failures)) if failures.iter().any(is_forbidden)
    );
    let stopped = plan_failed(error);
    if lacks_rights {
        with_way_out(stopped)
    } else {
        stopped
    }
}

/// Handles a removal that was not carried out, or not completely.
pub(super) fn unapplied(error: ClusterError<ApplyError>) -> Stopped {
    let lacks_rights = matches!(
        &error,
        ClusterError::Failed(error) if error.failures.iter().any(is_forbidden)
    );
    let stopped = apply_failed(error);
    if lacks_rights {
        with_way_out(stopped)
    } else {
        stopped
    }
}

/// The fate of the objects of an application that is deleted with its namespace, except for those in the namespace.
pub(super) struct Parted {
    deleted: usize,
    left: Vec<Kept>,
}

impl Parted {
    /// Interprets the result of a removal. If the account may not delete an object, the removal is over for that object.
    pub(super) fn of(
        applied: Result<Applied, ClusterError<ApplyError>>,
        kept: Vec<Kept>,
        plan: &Plan,
    ) -> Result<Self, Stopped> {
        let mut left: BTreeMap<ObjectId, String> = BTreeMap::new();
        match applied {
            Ok(_) => {}
            Err(ClusterError::Failed(error)) if is_out_of_reach(&error) => {
                let entries = error.inventory.entries();
                left.extend(entries.map(|entry| (entry.id(), NOT_TRIED.to_owned())));
                let refused = |failure: ObjectFailure| (failure.id, failure.error.to_string());
                left.extend(error.failures.into_iter().map(refused));
            }
            Err(error) => return Err(unapplied(error)),
        }
        left.extend(kept.into_iter().map(|kept| (kept.id, kept.reason)));
        let is_deleted =
            |change: &&Change| change.action == Action::Delete && !left.contains_key(&change.id);
        Ok(Self {
            deleted: plan.changes().iter().filter(is_deleted).count(),
            left: left
                .into_iter()
                .map(|(id, reason)| Kept { id, reason })
                .collect(),
        })
    }

    /// Interprets a removal that deletes nothing. What is in the namespace goes all the same, and nothing else does.
    pub(super) fn let_go(mut staying: Vec<Kept>, namespace: &str) -> Self {
        let is_gone = |id: &ObjectId| {
            let is_itself = id.is("", "Namespace") && id.name == namespace;
            is_itself || id.namespace.as_deref() == Some(namespace)
        };
        staying.retain(|kept| !is_gone(&kept.id));
        Self {
            deleted: 0,
            left: staying,
        }
    }

    /// Returns the message about it.
    pub(super) fn message(&self) -> String {
        let mut text = format!(
            "removed with its namespace: {} objects outside of it deleted",
            self.deleted
        );
        if !self.left.is_empty() {
            let _ = write!(text, "; left behind: {}", self.names());
        }
        text
    }

    /// Reports what is left behind, which nobody will handle any more: each object in the log, and all of them in an Event.
    pub(super) async fn tell(&self, shared: &Shared, application: &Application) {
        if self.left.is_empty() {
            return;
        }
        let name = application.application_name();
        for Kept { id, reason } in &self.left {
            tracing::warn!(application = %name, object = %id, reason, "left behind");
        }
        let note = format!(
            "{name} went with its namespace; left behind: {}",
            self.names()
        );
        // No Event can be created in a namespace that is being deleted. Events about objects without a namespace are in
        // `default`.
        let about = Application {
            namespace: None,
            ..application.clone()
        };
        let (kind, reason) = ("Application", reasons::LEFT_BEHIND);
        let events = &shared.events;
        events
            .emit(&about, kind, Weight::Warning, reason, "Remove", &note)
            .await;
    }

    fn names(&self) -> String {
        let first = self.left.iter().take(NAMED);
        let mut names: Vec<String> = first.map(|kept| kept.id.to_string()).collect();
        if self.left.len() > NAMED {
            names.push(format!("and {} more", self.left.len() - NAMED));
        }
        names.join(", ")
    }
}

/// Returns whether missing rights were the only obstacle.
fn is_out_of_reach(error: &ApplyError) -> bool {
    let is_over = error.store.is_none() && !error.cancelled && !error.failures.is_empty();
    is_over && error.failures.iter().all(is_forbidden)
}

#[cfg(test)]
mod tests {
    use pintle_cluster::WriteError;
    use pintle_core::{
        inventory::{Entry, Inventory},
        plan::Depth,
        seed::Seed,
    };
    use serde_json::Value;

    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: Some("far".into()),
            name: name.into(),
        }
    }

    fn plan(names: &[&str]) -> Plan {
        let delete = |name: &&str| Change {
            id: id(name),
            version: "v1".into(),
            action: Action::Delete,
            desired: None,
            live: None,
            before: Value::Null,
            after: Value::Null,
            source: None,
            hook: [].into(),
            for_removal: None,
            conflicts: Vec::new(),
        };
        let changes = names.iter().map(delete).collect();
        Plan::new(Depth::Local, changes, &Seed::from_text("s"))
    }

    fn failed(name: &str, error: WriteError, rest: &[&str]) -> ClusterError<ApplyError> {
        let mut inventory = Inventory::default();
        for name in rest.iter().chain([&name]) {
            inventory.insert(Entry::intended(&id(name), "v1"));
        }
        ClusterError::Failed(ApplyError {
            failures: vec![ObjectFailure {
                id: id(name),
                position: None,
                error,
            }],
            store: None,
            cancelled: false,
            inventory,
        })
    }

    fn forbidden() -> WriteError {
        WriteError::Forbidden {
            account: None,
            message: "no".into(),
        }
    }

    #[test]
    fn what_the_account_may_not_delete_is_left_and_named() {
        let kept = vec![Kept {
            id: id("kept"),
            reason: "it is protected".into(),
        }];
        let applied = Err(failed("refused", forbidden(), &["later"]));
        let parted = Parted::of(applied, kept, &plan(&["gone", "refused", "later"]));
        let parted = parted.ok().unwrap();
        insta::assert_snapshot!(parted.message(), @"removed with its namespace: 1 objects outside of it deleted; left behind: ConfigMap far/kept, ConfigMap far/later, ConfigMap far/refused");
        let reasons: Vec<&str> = parted.left.iter().map(|kept| &*kept.reason).collect();
        assert_eq!(reasons[..2], ["it is protected", NOT_TRIED]);
    }

    #[test]
    fn what_is_let_go_outside_of_the_namespace_is_named() {
        let namespace = ObjectId {
            kind: "Namespace".into(),
            namespace: None,
            ..id("near")
        };
        let near = ObjectId {
            namespace: Some("near".into()),
            ..id("in-it")
        };
        let staying = [namespace, near, id("outside")].map(|id| Kept {
            id,
            reason: "the application is suspended".into(),
        });
        let parted = Parted::let_go(staying.into(), "near");
        insta::assert_snapshot!(parted.message(), @"removed with its namespace: 0 objects outside of it deleted; left behind: ConfigMap far/outside");
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let error = WriteError::NamespaceTerminating("far".into());
        let parted = Parted::of(Err(failed("a", error, &[])), Vec::new(), &plan(&["a"]));
        let verdict = parted.err().and_then(|stopped| stopped.verdict).unwrap();
        assert!(!verdict.message.contains("Orphan"), "{}", verdict.message);
    }

    #[test]
    fn who_lacks_rights_is_told_the_way_out() {
        let stopped = unapplied(failed("a", forbidden(), &[]));
        let verdict = stopped.verdict.unwrap();
        insta::assert_snapshot!(verdict.message, @r"
        ConfigMap far/a: the account in use may not do this: no
        to let the Application go and leave its objects where they are, set `deletionPolicy: Orphan`
        ");
        assert_eq!(verdict.details["error"], *verdict.message);
        assert_eq!(in_brief(verdict.clone()), verdict);
    }

    #[test]
    fn the_way_out_is_told_however_many_objects_are_in_its_way() {
        let failure = |number: usize| ObjectFailure {
            id: id(&format!("one-of-{number}")),
            position: None,
            error: WriteError::Forbidden {
                account: None,
                message: "no right to delete configmaps in the namespace far".repeat(3),
            },
        };
        let stopped = unapplied(ClusterError::Failed(ApplyError {
            failures: (0..40).map(failure).collect(),
            store: None,
            cancelled: false,
            inventory: Inventory::default(),
        }));
        let whole = stopped.verdict.unwrap();
        assert!(brief::is_long(&whole.message), "{}", whole.message);
        let told = in_brief(whole);
        assert!(!brief::is_long(&told.message), "{}", told.message);
        assert!(told.message.ends_with(WAY_OUT), "{}", told.message);
        assert_eq!(told.details["error"], *told.message);
    }
}
