//! Custom resources whose controllers report their state in words of their own.

use pintle_sdk::{Assessment, Status};
use serde_json::Value;

use crate::custom::{self, word};
use crate::generic;
use crate::object::Object;
use crate::settings::Settings;
use crate::verdict::{Now, Verdict, degraded, healthy, progressing, suspended};

/// Reasons why a Rollout's condition `Progressing` is `False` for good.
const STUCK: [&str; 2] = ["ProgressDeadlineExceeded", "RolloutAborted"];

/// Judges a Rollout of Argo Rollouts. A failed one stays available through the previous pods.
///
/// <https://argo-rollouts.readthedocs.io/en/stable/features/specification/>
pub(crate) fn rollout(object: Object, settings: &Settings, now: Now) -> Verdict {
    if let Some(unobserved) = generic::unobserved(object) {
        return Ok(unobserved);
    }
    if let Some(unobserved) = unobserved_workload(object) {
        return Ok(unobserved);
    }
    let phase = object.text("/status/phase").unwrap_or_default();
    let text = word("status.phase", phase, object.text("/status/message"));
    match phase {
        // Versions before 1.0 have no phase.
        "" => {}
        "Healthy" => return Ok(healthy(text)),
        "Paused" => return Ok(suspended(text)),
        "Degraded" => return Ok(degraded(text)),
        _ => return Ok(progressing(text)),
    }
    let conditions = object.conditions()?;
    let stuck = conditions
        .untruth("Progressing")
        .filter(|it| STUCK.contains(&it.reason));
    match conditions.truth("InvalidSpec").or(stuck) {
        Some(condition) => Ok(degraded(condition.why())),
        None => custom::judge(object, settings, now),
    }
}

/// Judges a Rollout that takes its pods from another object, such as a Deployment, and has yet to look at the current state of
/// that object. Versions before 1.1 do not say what they have looked at.
fn unobserved_workload(object: Object) -> Option<Assessment> {
    object.at("/spec/workloadRef")?;
    let generation =
        object.text("/metadata/annotations/rollout.argoproj.io~1workload-generation")?;
    let observed = object.text("/status/workloadObservedGeneration")?;
    (generation != observed).then(|| {
        progressing(format!("generation {generation} of its workload has not been observed by its controller, which is at {observed}"))
    })
}

/// Judges an Application of Argo CD, which sums up the objects that it applies.
///
/// <https://argo-cd.readthedocs.io/en/stable/operator-manual/health/>
pub(crate) fn application(object: Object) -> Assessment {
    let health = object.text("/status/health/status").unwrap_or_default();
    let text = word(
        "status.health.status",
        health,
        object.text("/status/health/message"),
    );
    match health {
        "" => progressing("has not been looked at by its controller yet"),
        "Healthy" | "Suspended" if was_of_another_source(object) => {
            progressing("has not been compared with its source as it is now")
        }
        "Healthy" => healthy(text),
        "Suspended" => suspended(text),
        "Degraded" if is_in_step(object) => degraded(text),
        _ => progressing(text),
    }
}

/// Returns whether an Application applies what its spec says now. Otherwise its health is that of what was there before.
fn is_in_step(object: Object) -> bool {
    object.text("/status/sync/status") == Some("Synced") && is_of_its_source(object)
}

/// Returns whether an Application was last compared with a source other than that of its current spec. Its health is then that
/// of what was there before.
fn was_of_another_source(object: Object) -> bool {
    object.at("/status/sync/comparedTo").is_some() && !is_of_its_source(object)
}

/// Returns whether the source that an Application was last compared with is that of its spec.
fn is_of_its_source(object: Object) -> bool {
    // What a hydrator reads is never compared itself, and the place that it writes to seldom changes.
    if object.at("/spec/sourceHydrator").is_some() {
        return true;
    }
    // If there are several sources, the single one is ignored.
    let (spec, compared) = if object.items("/spec/sources").next().is_some() {
        ("/spec/sources", "/status/sync/comparedTo/sources")
    } else {
        ("/spec/source", "/status/sync/comparedTo/source")
    };
    let spec = object.at(spec).map(without_empty);
    spec.is_some() && spec == object.at(compared).map(without_empty)
}

/// Returns a source without its empty fields: Argo CD omits some that were written, and writes some that were not.
fn without_empty(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| match key.as_str() {
                // A chart's values are kept as they were written: one that is false may have another default.
                "valuesObject" => (key.clone(), value.clone()),
                _ => (key.clone(), without_empty(value)),
            })
            .filter(|(_, value)| !is_empty(value))
            .collect(),
        Value::Array(items) => items.iter().map(without_empty).collect(),
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// Judges a resource of Elastic Cloud on Kubernetes. Its conditions say nothing about its nodes.
///
/// <https://www.elastic.co/docs/deploy-manage/deploy/cloud-on-k8s>
pub(crate) fn elastic(object: Object, settings: &Settings, now: Now) -> Verdict {
    let verdict = custom::judge(object, settings, now)?;
    let health = object.text("/status/health").unwrap_or_default();
    let is_fine = match health {
        "" | "green" => true,
        // A yellow cluster lacks copies of some data, and always does with more copies than nodes. For other kinds, yellow
        // means that some nodes are not ready.
        "yellow" => object.kind() == "Elasticsearch",
        _ => false,
    };
    if verdict.status == Status::Healthy && !is_fine {
        return Ok(progressing(word("status.health", health, None)));
    }
    Ok(verdict)
}

/// Judges a sealed secret. What cannot be decrypted stays so until it is sealed anew.
pub(crate) fn sealed_secret(object: Object, settings: &Settings, now: Now) -> Verdict {
    let conditions = object.conditions()?;
    match conditions.untruth("Synced") {
        Some(condition) => Ok(custom::failed(object, condition.why())),
        None => custom::judge(object, settings, now),
    }
}
