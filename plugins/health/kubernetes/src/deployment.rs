//! Deployments.

use pintle_sdk::Assessment;

use crate::generic;
use crate::object::{Conditions, Object};
use crate::time;
use crate::verdict::{Now, Verdict, degraded, healthy, progressing, surplus, suspended};

/// How long after a deadline the controller may still report it itself.
const CONTROLLER_SLACK_MS: u64 = 60_000;

/// The `progressDeadlineSeconds` that means no deadline. The controller then writes no `Progressing` condition.
const NO_DEADLINE: i64 = i32::MAX as i64;

/// The reason why `Progressing` is `False` while the controller cannot create the new replica set.
const NOT_MADE: &str = "ReplicaSetCreateError";

/// The numbers of replicas that are wanted and that exist.
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

    /// Describes what is still missing, in the order of a rollout.
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
    let deadline = deadline(object);

    if object.flag("/spec/paused") {
        return Ok(suspended(format!(
            "the rollout is paused: {}",
            replicas.summary()
        )));
    }
    // Replicas of the new replica set show that it was created after all.
    if replicas.updated == 0
        && let Some(not_made) = not_made(object, &conditions, now)
    {
        return Ok(not_made);
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
    if let Some(unobserved) = generic::unobserved(object) {
        return Ok(never_observed(object, deadline, unobserved, now));
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
    // A status that calls the rollout complete while there are old replicas is about the previous rollout: the controller has
    // yet to count progress. The same may hold for what it says about availability.
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

/// Judges a Deployment whose status is about an older generation. It stays so for as long as the new replica set cannot be
/// created.
pub(crate) fn outdated(object: Object, outdated: Assessment, now: Now) -> Verdict {
    Ok(not_made(object, &object.conditions()?, now).unwrap_or(outdated))
}

/// Judges a Deployment whose controller cannot create the new replica set, because a quota is exhausted or a webhook refuses
/// it.
///
/// The controller reports that with this condition only: it records neither the generation that it has observed nor, later,
/// that the deadline has passed.
fn not_made(object: Object, conditions: &Conditions, now: Now) -> Option<Assessment> {
    let deadline = deadline(object)?;
    let failure = conditions
        .untruth("Progressing")
        .filter(|it| it.reason == NOT_MADE)?;
    let why = failure.why();
    // The condition stays as first written, even after the spec has changed in a way that may be the fix.
    let since = failure
        .updated
        .or(failure.changed)
        .max(object.spec_written());
    Some(match since {
        Some(since) => now.until(
            after(since, deadline),
            || progressing(why.as_str()),
            || degraded(format!("no new replica set within {deadline} s: {why}")),
        ),
        None => progressing(why),
    })
}

/// Returns the seconds in which a rollout has to make progress. Without a deadline the controller writes no `Progressing`
/// condition, and one that exists is left over.
fn deadline(object: Object) -> Option<i64> {
    object
        .int("/spec/progressDeadlineSeconds")
        .filter(|seconds| *seconds < NO_DEADLINE)
}

/// Describes why the controller cannot create pods, if it cannot.
fn blocked(conditions: &Conditions) -> String {
    conditions
        .truth("ReplicaFailure")
        .map(|failure| format!("; {}", failure.why()))
        .unwrap_or_default()
}

/// Returns from when on something has lasted longer than the deadline without the controller saying so, and what that is.
///
/// The controller stops counting when a rollout is complete, and it may not be running at all.
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

/// Judges a Deployment that no controller has looked at. The verdict gets worse once the deadline has passed.
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
