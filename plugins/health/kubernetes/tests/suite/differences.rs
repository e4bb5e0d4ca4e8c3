//! Where the plugin's verdict differs from that of kstatus, and why.

use pintle_sdk::Status;
use pintle_sdk::Status::{Degraded, Healthy, Progressing, Suspended, Unknown};
use serde_json::Value;

/// An intended difference.
pub(crate) struct Difference {
    /// What the difference is about, and why kstatus is not followed.
    pub(crate) name: &'static str,
    /// What kstatus may say.
    pub(crate) theirs: &'static [Status],
    /// What the plugin says.
    pub(crate) ours: Status,
    /// Returns whether an object is affected.
    pub(crate) applies: fn(&Value) -> bool,
}

const ANY: &[Status] = &[Healthy, Progressing, Degraded, Unknown];

/// Kinds for which kstatus has no rule, so that they are Current unless they have a `Ready` condition.
const UNKNOWN_TO_KSTATUS: [&str; 19] = [
    "APIService",
    "Application",
    "BackendTLSPolicy",
    "CertificateSigningRequest",
    "Elasticsearch",
    "FlowSchema",
    "Gateway",
    "GatewayClass",
    "HTTPRoute",
    "HorizontalPodAutoscaler",
    "Namespace",
    "PersistentVolume",
    "ReplicationController",
    "Rollout",
    "Route",
    "SealedSecret",
    "SecurityPolicy",
    "VolumeSnapshot",
    "ValidatingAdmissionPolicy",
];

/// Conditions of custom resources that are about a part of the resource.
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

/// Values of `status.phase` or `status.state`, recorded or from variations, for objects that are still progressing.
const MOVING: [&str; 5] = [
    "Pending",
    "Promoting",
    "ScalingUp",
    "initializing",
    "reconciling",
];

/// The same for objects that have failed.
const FAILED: [&str; 4] = ["Failed", "Invalid", "PartiallyFailed", "error"];

pub(crate) const ALL: &[Difference] = &[
    Difference {
        name: "stopped on purpose: kstatus has no word for it",
        theirs: ANY,
        ours: Suspended,
        applies: |it| {
            let switch = match kind(it) {
                "Deployment" => "/spec/paused",
                "Job" | "CronJob" => "/spec/suspend",
                _ => {
                    return is_custom(it)
                        && ["/spec/suspend", "/spec/pause", "/spec/paused"]
                            .iter()
                            .any(|switch| flag(it, switch));
                }
            };
            flag(it, switch)
        },
    },
    Difference {
        name: "paused by an annotation, as Crossplane tells it: kstatus has no word for it",
        theirs: ANY,
        ours: Suspended,
        applies: |it| {
            is_custom(it)
                && conditions(it).any(|it| {
                    text(it, "/type") == "Synced" && text(it, "/reason") == "ReconcilePaused"
                })
        },
    },
    Difference {
        name: "a package whose new revision waits for somebody to activate it, as Crossplane tells it: kstatus has no word for it",
        theirs: ANY,
        ours: Suspended,
        applies: |it| {
            is_custom(it)
                && conditions(it).any(|it| {
                    text(it, "/type") == "Installed"
                        && text(it, "/reason") == "InactivePackageRevision"
                })
        },
    },
    Difference {
        name: "a kind that kstatus does not know is moving",
        theirs: &[Healthy],
        ours: Progressing,
        applies: |it| UNKNOWN_TO_KSTATUS.contains(&kind(it)),
    },
    Difference {
        name: "a kind that kstatus does not know is broken",
        theirs: &[Healthy],
        ours: Degraded,
        applies: |it| UNKNOWN_TO_KSTATUS.contains(&kind(it)),
    },
    Difference {
        name: "a kind that kstatus does not know has its own conditions beside Ready",
        theirs: &[Progressing],
        ours: Healthy,
        applies: |it| UNKNOWN_TO_KSTATUS.contains(&kind(it)) && unready(it),
    },
    Difference {
        name: "a kind that kstatus does not know is broken, whatever its Ready says",
        theirs: &[Progressing],
        ours: Degraded,
        applies: |it| UNKNOWN_TO_KSTATUS.contains(&kind(it)) && unready(it),
    },
    Difference {
        name: "a kind that kstatus does not know cannot be read",
        theirs: &[Healthy, Progressing],
        ours: Unknown,
        applies: |it| UNKNOWN_TO_KSTATUS.contains(&kind(it)),
    },
    Difference {
        name: "at rest by a word of its status: kstatus has none for it",
        theirs: ANY,
        ours: Suspended,
        applies: |it| match kind(it) {
            "Application" => text(it, "/status/health/status") == "Suspended",
            "Rollout" => text(it, "/status/phase") == "Paused",
            _ => false,
        },
    },
    Difference {
        name: "an observedGeneration that is a text, which kstatus cannot read: of what is well",
        theirs: &[Unknown],
        ours: Healthy,
        applies: observed_in_a_text,
    },
    Difference {
        name: "an observedGeneration that is a text, which kstatus cannot read: of what is moving",
        theirs: &[Unknown],
        ours: Progressing,
        applies: observed_in_a_text,
    },
    Difference {
        name: "an observedGeneration that is a text, which kstatus cannot read: of what is broken",
        theirs: &[Unknown],
        ours: Degraded,
        applies: observed_in_a_text,
    },
    Difference {
        name: "never observed: the controllers of these kinds always say what they have seen",
        theirs: &[Healthy],
        ours: Progressing,
        applies: |it| {
            [
                "Deployment",
                "StatefulSet",
                "ReplicaSet",
                "PodDisruptionBudget",
            ]
            .contains(&kind(it))
                && it.pointer("/status/observedGeneration").is_none()
        },
    },
    Difference {
        name: "a Deployment that nobody has observed within its deadline",
        theirs: &[Progressing, Healthy],
        ours: Degraded,
        applies: |it| {
            kind(it) == "Deployment"
                && it.pointer("/status/observedGeneration").is_none()
                && is_overdue(it, text(it, "/metadata/creationTimestamp"))
        },
    },
    Difference {
        name: "a Deployment whose controller says after the deadline that it progresses, and has fallen silent",
        theirs: &[Progressing],
        ours: Degraded,
        applies: |it| {
            kind(it) == "Deployment"
                && conditions(it).any(|condition| {
                    text(condition, "/type") == "Progressing"
                        && text(condition, "/status") == "True"
                        && text(condition, "/reason") != "NewReplicaSetAvailable"
                        && is_overdue(it, text(condition, "/lastUpdateTime"))
                })
        },
    },
    Difference {
        name: "a Deployment whose rollout was complete, and that has since had too few replicas for longer than the deadline",
        theirs: &[Progressing],
        ours: Degraded,
        applies: |it| {
            kind(it) == "Deployment"
                && count(it, "/status/replicas") <= count(it, "/status/updatedReplicas")
                && conditions(it).any(|condition| {
                    text(condition, "/type") == "Progressing"
                        && text(condition, "/status") == "True"
                        && text(condition, "/reason") == "NewReplicaSetAvailable"
                })
                && conditions(it).any(|condition| {
                    text(condition, "/type") == "Available"
                        && text(condition, "/status") == "False"
                        && is_overdue(it, text(condition, "/lastTransitionTime"))
                })
        },
    },
    Difference {
        name: "a Deployment whose new replica set could not be made within the deadline",
        theirs: &[Progressing],
        ours: Degraded,
        applies: |it| {
            kind(it) == "Deployment"
                && conditions(it).any(|condition| {
                    text(condition, "/type") == "Progressing"
                        && text(condition, "/status") == "False"
                        && text(condition, "/reason") == "ReplicaSetCreateError"
                        && is_overdue(it, text(condition, "/lastUpdateTime"))
                })
        },
    },
    Difference {
        name: "OnDelete says nothing about readiness, for which kstatus does not wait",
        theirs: &[Healthy],
        ours: Progressing,
        applies: |it| {
            kind(it) == "StatefulSet" && text(it, "/spec/updateStrategy/type") == "OnDelete"
        },
    },
    Difference {
        name: "minReadySeconds asks for available replicas, not just ready ones",
        theirs: &[Healthy],
        ours: Progressing,
        applies: |it| kind(it) == "StatefulSet" && it.pointer("/spec/minReadySeconds").is_some(),
    },
    Difference {
        name: "OnDelete daemons are not updated by themselves, for which kstatus waits for ever",
        theirs: &[Progressing],
        ours: Healthy,
        applies: |it| {
            kind(it) == "DaemonSet" && text(it, "/spec/updateStrategy/type") == "OnDelete"
        },
    },
    Difference {
        name: "a Job is healthy when it is complete, not as soon as it runs",
        theirs: &[Healthy],
        ours: Progressing,
        applies: |it| kind(it) == "Job" && !has(it, "Complete", "True"),
    },
    Difference {
        name: "a Job with FailureTarget is bound to fail",
        theirs: &[Healthy, Progressing],
        ours: Degraded,
        applies: |it| kind(it) == "Job" && has(it, "FailureTarget", "True"),
    },
    Difference {
        name: "a pod that has failed is not as it should be",
        theirs: &[Healthy],
        ours: Degraded,
        applies: |it| kind(it) == "Pod" && text(it, "/status/phase") == "Failed",
    },
    Difference {
        name: "a pod whose containers cannot start, or whose init containers crash",
        theirs: &[Progressing],
        ours: Degraded,
        applies: |it| kind(it) == "Pod" && waits(it),
    },
    Difference {
        name: "a claim that has lost its volume never gets it back",
        theirs: &[Progressing],
        ours: Degraded,
        applies: |it| kind(it) == "PersistentVolumeClaim" && text(it, "/status/phase") == "Lost",
    },
    Difference {
        name: "a bound claim that is being resized",
        theirs: &[Healthy],
        ours: Progressing,
        applies: |it| kind(it) == "PersistentVolumeClaim" && has(it, "Resizing", "True"),
    },
    Difference {
        name: "a bound claim that cannot be changed as asked",
        theirs: &[Healthy],
        ours: Degraded,
        applies: |it| {
            kind(it) == "PersistentVolumeClaim"
                && (text(it, "/status/allocatedResourceStatuses/storage").ends_with("Infeasible")
                    || text(it, "/status/modifyVolumeStatus/status") == "Infeasible")
        },
    },
    Difference {
        name: "a load balancer is of use when it has an address, not when it has a cluster IP",
        theirs: &[Healthy],
        ours: Progressing,
        applies: |it| kind(it) == "Service" && text(it, "/spec/type") == "LoadBalancer",
    },
    Difference {
        name: "a load balancer that refuses a port",
        theirs: &[Healthy, Progressing],
        ours: Degraded,
        applies: |it| kind(it) == "Service" && has(it, "LoadBalancerPortsError", "True"),
    },
    Difference {
        name: "a definition whose new names are refused, or that is going: kstatus takes whichever condition comes first",
        theirs: &[Healthy, Degraded],
        ours: Progressing,
        applies: |it| kind(it) == "CustomResourceDefinition" && has(it, "Terminating", "True"),
    },
    Difference {
        name: "a definition whose new names are refused after it was established",
        theirs: &[Healthy],
        ours: Degraded,
        applies: |it| kind(it) == "CustomResourceDefinition" && has(it, "NamesAccepted", "False"),
    },
    Difference {
        name: "a disruption budget that cannot be computed",
        theirs: &[Healthy],
        ours: Degraded,
        applies: |it| kind(it) == "PodDisruptionBudget" && has(it, "DisruptionAllowed", "False"),
    },
    Difference {
        name: "Stalled and Reconciling at once: kstatus takes whichever comes first",
        theirs: &[Progressing],
        ours: Degraded,
        applies: |it| has(it, "Stalled", "True") && has(it, "Reconciling", "True"),
    },
    Difference {
        name: "Stalled about an older generation: the newer one may be what mends it",
        theirs: &[Degraded],
        ours: Progressing,
        applies: |it| was(it, "Stalled"),
    },
    Difference {
        name: "a custom resource whose older generation has failed, and whose newer one may mend it",
        theirs: &[Healthy],
        ours: Progressing,
        applies: |it| is_custom(it) && (was(it, "Failed") || was(it, "Degraded")),
    },
    Difference {
        name: "a custom resource that says it has failed",
        theirs: &[Healthy, Progressing],
        ours: Degraded,
        applies: |it| {
            is_custom(it)
                && (has(it, "Failed", "True")
                    || has(it, "Degraded", "True")
                    || has(it, "Succeeded", "False"))
        },
    },
    Difference {
        name: "a custom resource that sums itself up in another condition than Ready",
        theirs: &[Healthy],
        ours: Progressing,
        applies: |it| {
            is_custom(it)
                && [
                    "Available",
                    "Succeeded",
                    "Complete",
                    "Healthy",
                    "Established",
                ]
                .iter()
                .any(|kind| states(it, kind))
        },
    },
    Difference {
        name: "a custom resource that says what is in its way in another condition than Ready",
        theirs: &[Healthy],
        ours: Progressing,
        applies: |it| {
            is_custom(it) && (has(it, "NotReady", "True") || has(it, "ACK.Terminal", "True"))
        },
    },
    Difference {
        name: "a custom resource of which a part is not as its spec has it, or was so an older generation ago",
        theirs: &[Healthy],
        ours: Progressing,
        applies: |it| {
            is_custom(it)
                && PARTS
                    .iter()
                    .any(|part| states(it, part) && (!has(it, part, "True") || was(it, part)))
        },
    },
    Difference {
        name: "a custom resource that is on its way by its phase, or had failed by it, maybe before its spec was mended",
        theirs: &[Healthy],
        ours: Progressing,
        applies: |it| {
            let phase = phase(it);
            is_custom(it)
                && (MOVING.contains(&phase) || (FAILED.contains(&phase) && !counts_generations(it)))
        },
    },
    Difference {
        name: "a custom resource that has failed by its phase",
        theirs: &[Healthy],
        ours: Degraded,
        applies: |it| is_custom(it) && FAILED.contains(&phase(it)) && counts_generations(it),
    },
    Difference {
        name: "a Ready that is about an older generation, or neither True, False nor Unknown",
        theirs: &[Healthy],
        ours: Progressing,
        applies: |it| is_custom(it) && states(it, "Ready"),
    },
];

fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

/// Returns whether a kind is judged by its conditions alone.
fn is_custom(object: &Value) -> bool {
    ["Widget", "Cluster", "Node", "KongPlugin", "KongConsumer"].contains(&kind(object))
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Returns the word in which a controller sums up the state of an object.
fn phase(object: &Value) -> &str {
    match text(object, "/status/phase") {
        "" => text(object, "/status/state"),
        phase => phase,
    }
}

fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer) == Some(&Value::Bool(true))
}

fn count(object: &Value, pointer: &str) -> i64 {
    let count = object.pointer(pointer).and_then(Value::as_i64);
    count.unwrap_or(0)
}

/// Returns whether a Deployment's deadline has passed, counted from a time.
fn is_overdue(object: &Value, since: &str) -> bool {
    let deadline = object.pointer("/spec/progressDeadlineSeconds");
    let since: Option<jiff::Timestamp> = since.parse().ok();
    let now = jiff::Timestamp::now().as_second();
    deadline
        .and_then(Value::as_i64)
        .zip(since)
        .is_some_and(|(deadline, since)| since.as_second() + deadline < now)
}

/// Returns whether the status says which generation it is about, and the object which one it has.
fn counts_generations(object: &Value) -> bool {
    ["/metadata/generation", "/status/observedGeneration"]
        .iter()
        .all(|pointer| object.pointer(pointer).is_some())
}

/// Returns whether there is a condition of that type, whatever its status.
fn states(object: &Value, kind: &str) -> bool {
    conditions(object).any(|it| text(it, "/type") == kind)
}

fn has(object: &Value, kind: &str, status: &str) -> bool {
    conditions(object).any(|it| text(it, "/type") == kind && text(it, "/status") == status)
}

fn unready(object: &Value) -> bool {
    has(object, "Ready", "False") || has(object, "Ready", "Unknown")
}

fn observed_in_a_text(object: &Value) -> bool {
    let observed = object.pointer("/status/observedGeneration");
    observed.is_some_and(Value::is_string)
}

/// Returns whether a condition is `True` that is about an older generation.
fn was(object: &Value, kind: &str) -> bool {
    let generation = |value: Option<&Value>| value.and_then(Value::as_i64);
    let now = generation(object.pointer("/metadata/generation"));
    conditions(object).any(|it| {
        let seen = generation(it.get("observedGeneration"));
        text(it, "/type") == kind
            && text(it, "/status") == "True"
            && seen.zip(now).is_some_and(|(seen, now)| seen < now)
    })
}

fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Returns whether a container waits for something other than its turn.
fn waits(object: &Value) -> bool {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .iter()
        .any(|pointer| {
            let list = object.pointer(pointer).and_then(Value::as_array);
            list.into_iter()
                .flatten()
                .any(|it| !text(it, "/state/waiting/reason").is_empty())
        })
}
