//! Disruption budgets and autoscalers.

use pintle_sdk::Assessment;
use serde_json::Value;

use crate::generic;
use crate::object::{Condition, Conditions, Malformed, Object};
use crate::settings::Settings;
use crate::time;
use crate::verdict::{Now, Verdict, counted, degraded, healthy, progressing};

/// The annotation in which `autoscaling/v1`, which has no conditions, keeps them.
const CONDITIONS_ANNOTATION: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// Reasons that only a change of the autoscaler, or of another one over the same pods, can end.
const WRONG: [&str; 4] = [
    "InvalidSelector",
    "InvalidMetricSourceType",
    "AmbiguousSelector",
    "InvalidConfiguration",
];

/// Judges a `PodDisruptionBudget` by whether it is in force, not by whether it allows a disruption now.
///
/// <https://kubernetes.io/docs/tasks/run-application/configure-pdb/>
pub(crate) fn disruption_budget(object: Object) -> Verdict {
    if let Some(unobserved) = generic::unobserved(object) {
        return Ok(unobserved);
    }
    let conditions = object.conditions()?;
    if let Some(failed) = conditions
        .untruth("DisruptionAllowed")
        .filter(|it| it.reason == "SyncFailed")
    {
        return Ok(degraded(format!("cannot be computed: {}", failed.why())));
    }
    Ok(healthy(format!(
        "allows {}: {} healthy, {} needed",
        counted(object.count("/status/disruptionsAllowed"), "disruption"),
        counted(object.count("/status/currentHealthy"), "pod"),
        object.count("/status/desiredHealthy"),
    )))
}

/// Judges a `HorizontalPodAutoscaler` of any version.
///
/// <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale-walkthrough/#appendix-horizontal-pod-autoscaler-status-conditions>
pub(crate) fn autoscaler(object: Object, settings: &Settings, now: Now) -> Verdict {
    let annotation = object
        .at("/metadata/annotations")
        .and_then(|all| all.get(CONDITIONS_ANNOTATION));
    let Some(text) = annotation.and_then(Value::as_str) else {
        return Ok(by_conditions(object, &object.conditions()?, settings, now));
    };
    let list: Value = serde_json::from_str(text).map_err(|_| Malformed {
        pointer: format!(
            "/metadata/annotations/{}",
            CONDITIONS_ANNOTATION.replace('/', "~1")
        ),
        expected: "a list of conditions in JSON",
    })?;
    let conditions = Object::new(&list).conditions_at("")?;
    Ok(by_conditions(object, &conditions, settings, now))
}

fn by_conditions(
    object: Object,
    conditions: &Conditions,
    settings: &Settings,
    now: Now,
) -> Assessment {
    let hindered = |condition: &Condition| {
        if WRONG.contains(&condition.reason) {
            return generic::failed(object, condition.changed, now, &condition.why());
        }
        let since = condition.changed.unwrap_or(0);
        let grace = time::after(since, u64::from(settings.autoscaler_grace_seconds));
        now.until(
            grace.max(generic::counts_from(object, condition.changed)),
            || progressing(condition.why()),
            || degraded(condition.why()),
        )
    };
    if conditions.is_empty() {
        return progressing("has not been observed by its controller yet");
    }
    if let Some(unable) = conditions.untruth("AbleToScale") {
        return hindered(unable);
    }
    let replicas = object.count("/status/currentReplicas");
    match conditions.untruth("ScalingActive") {
        Some(idle) if idle.reason == "ScalingDisabled" => {
            healthy("scales nothing: its target has no replicas")
        }
        Some(idle) => hindered(idle),
        None => {
            let limited = match conditions.truth("ScalingLimited") {
                Some(limit) => format!("; {}", limit.why()),
                None => String::new(),
            };
            healthy(format!(
                "its target has {}{limited}",
                counted(replicas, "replica")
            ))
        }
    }
}
