//! `StatefulSets`, `DaemonSets`, `ReplicaSets` and `ReplicationControllers`.

use pintle_sdk::Assessment;

use crate::generic;
use crate::object::Object;
use crate::verdict::{Verdict, healthy, progressing, surplus};

/// The update strategy under which pods change only when somebody deletes them.
const ON_DELETE: &str = "OnDelete";

/// Judges a `StatefulSet`. It has no conditions and no deadline, so only the timeout ends the wait for a broken one.
///
/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#update-strategies>
pub(crate) fn stateful_set(object: Object) -> Assessment {
    if let Some(unobserved) = generic::unobserved(object) {
        return unobserved;
    }
    let wanted = object.int("/spec/replicas").unwrap_or(1);
    let total = object.count("/status/replicas");
    let ready = object.count("/status/readyReplicas");
    let current = object.count("/status/currentReplicas");
    let updated = object.count("/status/updatedReplicas");
    let available = object.count("/status/availableReplicas");

    if total < wanted {
        return progressing(format!("{total} of {wanted} replicas exist"));
    }
    if ready < wanted {
        return progressing(format!("{ready} of {wanted} replicas are ready"));
    }
    if total > wanted {
        return progressing(surplus(total, wanted));
    }
    if object.count("/spec/minReadySeconds") > 0 && available < wanted {
        return progressing(format!("{available} of {wanted} replicas are available"));
    }
    if object.text("/spec/updateStrategy/type") == Some(ON_DELETE) {
        return healthy(format!(
            "{ready} of {wanted} replicas are ready, {updated} updated; the others when they are deleted (OnDelete)"
        ));
    }
    if let Some(partition) = object.int("/spec/updateStrategy/rollingUpdate/partition") {
        let due = wanted.saturating_sub(partition).max(0);
        if updated < due {
            return progressing(format!("{updated} of {due} replicas are updated"));
        }
        let kept = if partition > 0 {
            format!(", {updated} updated as partition {partition} asks")
        } else {
            String::new()
        };
        return healthy(format!("{ready} of {wanted} replicas are ready{kept}"));
    }
    if current < wanted {
        return progressing(format!(
            "{current} of {wanted} replicas are at the current revision"
        ));
    }
    let (from, to) = (
        object.text("/status/currentRevision"),
        object.text("/status/updateRevision"),
    );
    if from.unwrap_or_default() != to.unwrap_or_default() {
        let (from, to) = (from.unwrap_or("none"), to.unwrap_or("none"));
        return progressing(format!("revision {to} has not replaced {from} yet"));
    }
    healthy(format!("{ready} of {wanted} replicas are ready"))
}

/// Judges a `DaemonSet`.
///
/// <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/>
pub(crate) fn daemon_set(object: Object) -> Assessment {
    if object.generation().is_none() {
        return progressing("has no generation yet");
    }
    if let Some(unobserved) = generic::unobserved(object) {
        return unobserved;
    }
    let Some(wanted) = object.int("/status/desiredNumberScheduled") else {
        return progressing("its controller has not counted the nodes yet");
    };
    let on_delete = object.text("/spec/updateStrategy/type") == Some(ON_DELETE);
    let updated = object.count("/status/updatedNumberScheduled");
    let steps = [
        (
            "are scheduled",
            object.count("/status/currentNumberScheduled"),
        ),
        // Only a person can make this update, so waiting for it could last forever.
        ("are updated", if on_delete { wanted } else { updated }),
        ("are available", object.count("/status/numberAvailable")),
        ("are ready", object.count("/status/numberReady")),
    ];
    if let Some((what, count)) = steps.into_iter().find(|(_, count)| *count < wanted) {
        return progressing(format!("{count} of {wanted} pods {what}"));
    }
    if wanted == 0 {
        return healthy("no node is selected");
    }
    let old = if on_delete && updated < wanted {
        format!(", {updated} updated; the others when they are deleted (OnDelete)")
    } else {
        String::new()
    };
    healthy(format!("{wanted} of {wanted} pods are ready{old}"))
}

/// Judges a `ReplicaSet` or a `ReplicationController`.
pub(crate) fn replica_set(object: Object) -> Verdict {
    if let Some(failure) = object.conditions()?.truth("ReplicaFailure") {
        return Ok(progressing(failure.why()));
    }
    if let Some(unobserved) = generic::unobserved(object) {
        return Ok(unobserved);
    }
    let wanted = object.int("/spec/replicas").unwrap_or(1);
    let total = object.count("/status/replicas");
    let steps = [
        (
            "are labelled as the template says",
            object.count("/status/fullyLabeledReplicas"),
        ),
        ("are available", object.count("/status/availableReplicas")),
        ("are ready", object.count("/status/readyReplicas")),
    ];
    if let Some((what, count)) = steps.into_iter().find(|(_, count)| *count < wanted) {
        return Ok(progressing(format!("{count} of {wanted} replicas {what}")));
    }
    if total > wanted {
        return Ok(progressing(surplus(total, wanted)));
    }
    Ok(healthy(format!(
        "{wanted} of {wanted} replicas are available"
    )))
}
