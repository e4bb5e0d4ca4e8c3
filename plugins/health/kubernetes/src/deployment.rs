//! Deployments.

use pintle_sdk::Assessment;

use crate::generic;
use crate::object::{Conditions, Object};
use crate::time;
use crate::verdict::{Now, Verdict, degraded, healthy, progressing, surplus, suspended};

/// How long after a deadline the controller may still come and say so itself.
const CONTROLLER_SLACK_MS: u64 = 60_000;

/// `progressDeadlineSeconds` that means none: the controller then writes no `Progressing` condition.
const NO_DEADLINE: i64 = i32::MAX as i64;

/// Replicas that are wanted and that there are.
struct Replicas {
    wanted: i64,
    total: i64,
    updated: i64,
    ready: i64,
    available: i64,
}

impl Replicas {
    fn of(object: Object) -> Self {
        Self {
            wanted: object.int("/spec/replicas").unwrap_or(1),
            total: object.count("/status/replicas"),
            updated: object.count("/status/updatedReplicas"),
            ready: object.count("/status/readyReplicas"),
            available: object.count("/status/availableReplicas"),
        }
    }

    /// What is still missing, in the order of a rollout.
    fn shortfall(&self) -> Option<String> {
        let Self {
            wanted,
            total,
            updated,
            ready,
            available,
        } = *self;
        if total < wanted {
            Some(format!("{total} of {wanted} replicas exist"))
        } else if updated < wanted {
            Some(format!("{updated} of {wanted} replicas are updated"))
        } else if total > wanted {
            Some(surplus(total, wanted))
        } else if available < updated {
            Some(format!(
                "{available} of {updated} updated replicas are available"
            ))
        } else if ready < wanted {
            Some(format!("{ready} of {wanted} replicas are ready"))
        } else {
            None
        }
    }

    fn summary(&self) -> String {
        let Self {
            wanted,
            updated,
            available,
            ..
        } = self;
        format!("{updated} of {wanted} replicas are updated, {available} available")
    }
}

/// Judges a Deployment by its replicas, its conditions and its progress deadline.
///
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status>
pub(crate) fn judge(object: Object, now: Now) -> Verdict {
    let conditions = object.conditions()?;
    let replicas = Replicas::of(object);
    let deadline = object
        .int("/spec/progressDeadlineSeconds")
        .filter(|seconds| *seconds < NO_DEADLINE);

    if object.flag("/spec/paused") {
        return Ok(suspended(format!(
            "the rollout is paused: {}",
            replicas.summary()
        )));
    }
    if let Some(unobserved) = generic::unobserved(object) {
        return Ok(never_observed(object, deadline, unobserved, now));
    }
    if conditions
        .iter()
        .any(|it| it.kind == "Progressing" && it.reason == "ProgressDeadlineExceeded")
    {
        let within = deadline
            .map(|seconds| format!(" within {seconds} s"))
            .unwrap_or_default();
        let blocked = blocked(&conditions);
        return Ok(degraded(format!(
            "no progress{within}: {}{blocked}",
            replicas.summary()
        )));
    }

    let rolled_out = conditions
        .truth("Progressing")
        .is_some_and(|it| it.reason == "NewReplicaSetAvailable");
    let missing = if let Some(shortfall) = replicas.shortfall() {
        shortfall
    } else if deadline.is_some() && !rolled_out {
        "the new replica set is not complete yet".to_owned()
    } else if conditions.truth("Available").is_none() {
        "the minimum of available replicas is not reached".to_owned()
    } else {
        return Ok(healthy(format!(
            "{} of {} replicas are available",
            replicas.available, replicas.wanted
        )));
    };
    let missing = format!("{missing}{}", blocked(&conditions));
    // What says that a rollout is complete while there are old replicas is about the one before: the controller has yet to count
    // progress. So may be what it says of availability.
    let is_known = !(rolled_out && replicas.total > replicas.updated);
    let limit = deadline
        .filter(|_| is_known)
        .and_then(|seconds| limit(&conditions, rolled_out, seconds));
    Ok(match limit {
        Some((deadline_ms, overdue)) => now.until(
            deadline_ms,
            || progressing(missing.as_str()),
            || degraded(format!("{overdue}: {missing}")),
        ),
        None => progressing(missing),
    })
}

/// Why the controller cannot make pods, if it cannot.
fn blocked(conditions: &Conditions) -> String {
    conditions
        .truth("ReplicaFailure")
        .map(|failure| format!("; {}", failure.why()))
        .unwrap_or_default()
}

/// Says from when on something has lasted longer than the deadline without the controller calling it so, and what.
///
/// It stops counting when a rollout is complete, and it may not be running at all.
fn limit(conditions: &Conditions, rolled_out: bool, deadline: i64) -> Option<(u64, String)> {
    if rolled_out {
        let since = conditions.untruth("Available")?.changed?;
        return Some((
            after(since, deadline),
            format!(
                "the rollout was complete, but too few replicas are available for more than {deadline} s"
            ),
        ));
    }
    let since = conditions.truth("Progressing")?.updated?;
    Some((
        after(since, deadline).saturating_add(CONTROLLER_SLACK_MS),
        format!(
            "no progress for more than {deadline} s, and none from the deployment controller either"
        ),
    ))
}

/// Judges a Deployment that no controller has looked at, which gets worse when the deadline has passed.
fn never_observed(
    object: Object,
    deadline: Option<i64>,
    unobserved: Assessment,
    now: Now,
) -> Assessment {
    let created = object.time("/metadata/creationTimestamp");
    let Some((deadline, created)) = deadline.zip(created) else {
        return unobserved;
    };
    now.until(
        after(created, deadline).saturating_add(CONTROLLER_SLACK_MS),
        || unobserved,
        || degraded(format!("no deployment controller has observed it within {deadline} s; is the controller manager up?")),
    )
}

fn after(since_ms: u64, seconds: i64) -> u64 {
    time::after(since_ms, u64::try_from(seconds).unwrap_or(0))
}
