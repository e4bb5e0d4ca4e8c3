//! Custom resources, judged by the conventions for conditions.
//!
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties>

use pintle_sdk::{Assessment, Status};

use crate::network;
use crate::object::{Condition, Conditions, Object};
use crate::settings::Settings;
use crate::time;
use crate::verdict::{Now, Verdict, assessment, degraded, healthy, progressing, suspended};

/// The groups whose objects the API server itself serves. Without conditions they have nothing to wait for.
const BUILT_IN_GROUPS: [&str; 25] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "imagepolicy.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// Conditions that are `True` only while something is wrong.
const BAD: [&str; 2] = ["Failed", "Degraded"];

/// Conditions that are `True` while there is an obstacle, and whose controllers keep trying.
const HINDERED: [&str; 2] = ["NotReady", "ACK.Terminal"];

/// Conditions that say nothing about the whole object while they are `True`. While they are not, the object is not what its
/// spec says, even if its previous state still works.
const PARTS: [&str; 9] = [
    "Accepted",
    "ACK.ResourceSynced",
    "AllReplicasReady",
    "Installed",
    "Programmed",
    "Reconciled",
    "ReconcileSuccess",
    "Synced",
    "Valid",
];

/// Conditions that are `False` for these reasons while Crossplane leaves something alone: a package until somebody activates
/// its new revision, and anything while an annotation asks for it.
const RESTING: [(&str, &str); 2] = [
    ("Installed", "InactivePackageRevision"),
    ("Synced", "ReconcilePaused"),
];

/// Kinds of Kong that are configured only if another object refers to them.
const REFERRED_TO: [&str; 3] = ["KongClusterPlugin", "KongPlugin", "KongServiceFacade"];

/// Conditions that sum up an object, the most telling first.
const GOOD: [&str; 6] = [
    "Ready",
    "Available",
    "Succeeded",
    "Complete",
    "Healthy",
    "Established",
];

/// Values of `status.phase` for objects that have failed, compared without regard to case.
const FAILED: [&str; 8] = [
    "ConfigError",
    "Degraded",
    "Error",
    "Failed",
    "FailedValidation",
    "Failure",
    "Invalid",
    "PartiallyFailed",
];

/// Values of `status.phase` for objects that are still progressing.
const MOVING: [&str; 23] = [
    "ApplyingChanges",
    "Creating",
    "Deploying",
    "Finalising",
    "InProgress",
    "Initializing",
    "Installing",
    "MigratingData",
    "New",
    "Pending",
    "Progressing",
    "Promoting",
    "Provisioning",
    "Reconciling",
    "Restarting",
    "ScalingDown",
    "ScalingUp",
    "Stalled",
    "Stopping",
    "Terminating",
    "Unavailable",
    "Updating",
    "Upgrading",
];

/// Fields of the spec that stop an object on purpose.
const SWITCHES: [&str; 4] = [
    "/spec/suspend",
    "/spec/suspended",
    "/spec/pause",
    "/spec/paused",
];

/// Returns the assessment of a custom resource if it is stopped on purpose. Many controllers stop updating the status then, so
/// this comes before any look at it.
pub(crate) fn stopped(object: Object) -> Option<Assessment> {
    if is_built_in(object.group()) {
        return None;
    }
    let switch = SWITCHES.into_iter().find(|switch| object.flag(switch))?;
    Some(suspended(format!(
        "{} is true",
        switch.trim_start_matches('/').replace('/', ".")
    )))
}

/// Judges an object of a kind that nothing more is known about.
pub(crate) fn judge(object: Object, settings: &Settings, now: Now) -> Verdict {
    let conditions = object.conditions()?;
    let generation = object.generation();
    let mut outdated = None;
    for bad in BAD.into_iter().filter_map(|kind| conditions.truth(kind)) {
        match bad.outdated(generation) {
            None => return Ok(degraded(bad.why())),
            // The newer generation may be the fix, and the controller has yet to look at it.
            Some(text) => outdated = outdated.or(Some(text)),
        }
    }
    if let Some(outdated) = outdated {
        return Ok(progressing(outdated));
    }
    if let Some(hindered) = HINDERED.into_iter().find_map(|kind| conditions.truth(kind)) {
        return Ok(progressing(hindered.why()));
    }
    // Being accepted says nothing about the policy's own conditions.
    if let Some(answer) = network::policy(object)?
        && (conditions.is_empty() || answer.status != Status::Healthy)
    {
        return Ok(answer);
    }
    if let Some(lacking) = by_parts(object, &conditions) {
        return Ok(lacking);
    }
    if let Some(summary) = GOOD.into_iter().find_map(|kind| conditions.get(kind)) {
        return Ok(match summary.outdated(generation) {
            Some(outdated) => progressing(outdated),
            None => by_summary(summary),
        });
    }
    if let Some(verdict) = by_phase(object) {
        return Ok(verdict);
    }
    if conditions.is_empty() {
        return Ok(without_conditions(object, settings, now));
    }
    Ok(healthy(format!(
        "has none of the conditions {}",
        GOOD.join(", ")
    )))
}

/// Returns the assessment of an object that has failed. If its status does not say that it is about the current spec, the
/// failure may be an earlier one, and the current spec may be the fix.
pub(crate) fn failed(object: Object, message: String) -> Assessment {
    // An older generation has been ruled out before.
    if object.generation().is_some() && object.observed_generation().is_some() {
        degraded(message)
    } else {
        progressing(message)
    }
}

/// Formats a word of the status, with what its controller adds to it: `status.phase is Paused: CanaryPauseStep`.
pub(crate) fn word(field: &str, word: &str, message: Option<&str>) -> String {
    match message {
        None | Some("") => format!("{field} is {word}"),
        Some(message) => format!("{field} is {word}: {message}"),
    }
}

/// Judges an object by the conditions about its parts, if one of them does not say that the object is now what its spec says.
fn by_parts(object: Object, conditions: &Conditions) -> Option<Assessment> {
    let generation = object.generation();
    let resting = RESTING.into_iter().find_map(|(kind, reason)| {
        conditions
            .untruth(kind)
            .filter(|it| it.reason == reason && it.outdated(generation).is_none())
    });
    if let Some(resting) = resting {
        return Some(suspended(resting.why()));
    }
    PARTS
        .into_iter()
        .filter_map(|kind| conditions.get(kind))
        .filter(|part| !may_be_unused(object, part))
        .find_map(|part| match part.outdated(generation) {
            Some(outdated) => Some(progressing(outdated)),
            None => (!part.is_true()).then(|| progressing(part.why())),
        })
}

/// Returns whether a condition may be as it is because no other object refers to this one. In that case it stays so. Kong calls
/// that pending, and leaves a condition that existed before as it was, about an older generation.
fn may_be_unused(object: Object, part: &Condition) -> bool {
    object.group().ends_with(".konghq.com")
        && REFERRED_TO.contains(&object.kind())
        && part.kind == "Programmed"
        && (part.is_true() || part.reason == "Pending")
}

/// Judges an object by the word that some controllers write instead of conditions. Each controller has its own word for a
/// healthy object, so any other word says nothing.
fn by_phase(object: Object) -> Option<Assessment> {
    let (field, phase) = phase(object)?;
    if is_built_in(object.group()) {
        return None;
    }
    let is_one_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(phase));
    let text = || word(field, phase, object.text("/status/message"));
    if is_one_of(&FAILED) {
        return Some(failed(object, text()));
    }
    is_one_of(&MOVING).then(|| progressing(text()))
}

/// Returns the word, and the field that it is in: some controllers call their phases states.
fn phase(object: Object<'_>) -> Option<(&'static str, &str)> {
    let at = |pointer| object.text(pointer).filter(|word| !word.is_empty());
    let phase = at("/status/phase").map(|phase| ("status.phase", phase));
    phase.or_else(|| at("/status/state").map(|state| ("status.state", state)))
}

fn by_summary(summary: &Condition) -> Assessment {
    match (summary.status, summary.kind) {
        ("True", kind) => healthy(format!("condition {kind} is True")),
        // A run to completion without success is over; anything else may still turn out well.
        ("False", "Succeeded") => degraded(summary.why()),
        _ => progressing(summary.why()),
    }
}

fn without_conditions(object: Object, settings: &Settings, now: Now) -> Assessment {
    if is_built_in(object.group()) {
        return healthy("has no state to wait for");
    }
    let created = object.time("/metadata/creationTimestamp").unwrap_or(0);
    let grace = u64::from(settings.without_conditions_grace_seconds);
    let status = settings.without_conditions.status();
    now.until(
        time::after(created, grace),
        || progressing("has no conditions yet"),
        || assessment(status, format!("has no conditions; taken as {status}")),
    )
}

fn is_built_in(group: &str) -> bool {
    BUILT_IN_GROUPS.contains(&group)
}
