//! Judges Kubernetes objects: every built-in kind that has a state, and custom resources by their conditions.
//!
//! The rules are those of kstatus (`sigs.k8s.io/cli-utils/pkg/kstatus`), which is the reference in the tests. Where this plugin
//! knows more, `tests/suite/differences.rs` lists the difference and the reason. The README describes the settings and the
//! rules for each kind.

mod api;
mod batch;
mod custom;
mod deployment;
mod generic;
mod network;
mod object;
mod operators;
mod pod;
mod replicas;
mod rules;
mod scaling;
mod settings;
mod storage;
mod time;
mod verdict;

use pintle_sdk::{Assessment, Failure, GroupKind, Health, Plugin, Problem};
use serde_json::Value;

pub use settings::{ConditionStatus, KindRules, Otherwise, Rule, Settings, WithoutConditions};

use object::{Malformed, Object};
use verdict::{Now, Verdict, unknown};

/// The kinds that have rules of their own.
const KINDS: [(&str, &str); 34] = [
    ("", "Namespace"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "Pod"),
    ("", "ReplicationController"),
    ("", "Service"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("argoproj.io", "Application"),
    ("argoproj.io", "Rollout"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("batch", "CronJob"),
    ("batch", "Job"),
    ("bitnami.com", "SealedSecret"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("gateway.networking.k8s.io", "GRPCRoute"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("gateway.networking.k8s.io", "HTTPRoute"),
    ("gateway.networking.k8s.io", "TCPRoute"),
    ("gateway.networking.k8s.io", "TLSRoute"),
    ("gateway.networking.k8s.io", "UDPRoute"),
    ("networking.k8s.io", "Ingress"),
    ("policy", "PodDisruptionBudget"),
    ("route.openshift.io", "Route"),
    ("snapshot.storage.k8s.io", "VolumeSnapshot"),
    ("*", "*"),
];

/// The health check `kubernetes`.
pub struct Kubernetes;

impl Plugin for Kubernetes {
    const NAME: &'static str = "kubernetes";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str =
        "Judges built-in kinds by their state and custom resources by their conditions";
    type Settings = Settings;

    fn validate(settings: &Settings) -> Vec<Problem> {
        settings::validate(settings)
    }
}

impl Health for Kubernetes {
    fn judges() -> Vec<GroupKind> {
        KINDS
            .into_iter()
            .map(|(group, kind)| GroupKind::new(group, kind))
            .collect()
    }

    fn assess(settings: &Settings, object: &Value, now_ms: u64) -> Result<Assessment, Failure> {
        let object = Object::new(object);
        if object.kind().is_empty() {
            return Err(Problem::new("the object has no kind")
                .pointer("/kind")
                .into());
        }
        Ok(judge(object, settings, Now::at(now_ms)).unwrap_or_else(
            |Malformed { pointer, expected }| {
                unknown(format!("cannot be judged: {pointer} is not {expected}"))
            },
        ))
    }
}

fn judge(object: Object, settings: &Settings, now: Now) -> Verdict {
    if let Some(deletion) = generic::deletion(object) {
        return Ok(deletion);
    }
    let (group, kind) = (object.group(), object.kind());
    if let Some(rules) = settings
        .kinds
        .iter()
        .find(|rules| rules.judges(group, kind))
    {
        return rules::judge(object, rules);
    }
    if let Some(stopped) = custom::stopped(object) {
        return Ok(stopped);
    }
    if let Some(outdated) = generic::outdated(object) {
        return match (group, kind) {
            ("apps" | "extensions", "Deployment") => deployment::outdated(object, outdated, now),
            _ => Ok(outdated),
        };
    }
    if let Some(decided) = generic::stalled_or_reconciling(object)? {
        return Ok(decided);
    }
    match (group, kind) {
        ("", "Namespace") => api::namespace(object),
        ("", "PersistentVolume") => Ok(storage::volume(object)),
        ("", "PersistentVolumeClaim") => storage::claim(object, settings, now),
        ("", "Pod") => pod::judge(object, settings, now),
        ("", "ReplicationController") | ("apps" | "extensions", "ReplicaSet") => {
            replicas::replica_set(object)
        }
        ("", "Service") => network::service(object, settings, now),
        (
            "admissionregistration.k8s.io",
            "MutatingAdmissionPolicy" | "ValidatingAdmissionPolicy",
        ) => Ok(api::admission_policy(object)),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => api::definition(object),
        ("apiregistration.k8s.io", "APIService") => api::api_service(object),
        ("apps" | "extensions", "DaemonSet") => Ok(replicas::daemon_set(object)),
        ("apps" | "extensions", "Deployment") => deployment::judge(object, now),
        ("apps", "StatefulSet") => Ok(replicas::stateful_set(object)),
        ("argoproj.io", "Application") => Ok(operators::application(object)),
        ("argoproj.io", "Rollout") => operators::rollout(object, settings, now),
        ("autoscaling", "HorizontalPodAutoscaler") => scaling::autoscaler(object, settings, now),
        ("batch", "CronJob") => Ok(batch::cron_job(object)),
        ("batch", "Job") => batch::job(object, settings),
        ("bitnami.com", "SealedSecret") => operators::sealed_secret(object, settings, now),
        ("certificates.k8s.io", "CertificateSigningRequest") => api::signing_request(object),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => api::flow_schema(object),
        ("gateway.networking.k8s.io", "Gateway") => network::gateway(object),
        ("gateway.networking.k8s.io", "GatewayClass") => network::gateway_class(object),
        ("gateway.networking.k8s.io", kind) if kind.ends_with("Route") => network::route(object),
        ("networking.k8s.io" | "extensions", "Ingress") => Ok(network::ingress(object, settings)),
        ("policy", "PodDisruptionBudget") => scaling::disruption_budget(object),
        ("route.openshift.io", "Route") => network::openshift_route(object),
        ("snapshot.storage.k8s.io", "VolumeSnapshot") => Ok(storage::snapshot(object)),
        (group, _) if group.ends_with(".k8s.elastic.co") => {
            operators::elastic(object, settings, now)
        }
        _ => custom::judge(object, settings, now),
    }
}

pintle_sdk::export_health!(Kubernetes);
