//! The policy as a plan meets it: settings and changes in, findings out.

#![expect(clippy::unwrap_used, reason = "tests")]

mod confinement;
mod deletions;
mod images;
mod labels;
mod pods;
mod properties;
mod settings;
mod verdicts;

use pintle_policy_guardrails::{Guardrails, rules::Rule, settings::Settings};
use pintle_sdk::{
    Finding, Policy,
    policy::Severity,
    testing::{FixedContext, MemoryPlan, check_plugin},
};
use serde_json::{Value, json};

fn parsed(with: &Value) -> Settings {
    pintle_sdk::testing::settings::<Guardrails>(with)
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn findings(plan: &MemoryPlan, with: &Value) -> Vec<Finding> {
    Guardrails::evaluate(&parsed(with), plan, &FixedContext::new()).unwrap()
}

fn line(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Deny => "deny",
        Severity::Warn => "warn",
        Severity::Info => "info",
    };
    let object = finding
        .object
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("{severity} {} [{object}] {}", finding.rule, finding.problem)
}

fn judged(plan: &MemoryPlan, with: &Value) -> String {
    let lines: Vec<String> = findings(plan, with).iter().map(line).collect();
    lines.join("\n")
}

/// Returns the severity and rule of each finding: `deny host-path`.
fn short(plan: &MemoryPlan, with: &Value) -> Vec<String> {
    findings(plan, with)
        .iter()
        .map(|finding| {
            line(finding)
                .split(' ')
                .take(2)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

fn pod(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
}

/// Returns a pod with one container that has these additional fields.
fn container(more: &Value) -> Value {
    let mut container = json!({"name": "app", "image": "ghcr.io/acme/web:1.2.3"});
    container
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    pod(&json!({"containers": [container]}))
}

fn image(image: &str) -> Value {
    container(&json!({"image": image}))
}

fn object(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}})
}

#[test]
fn keeps_the_rules_of_plugins() {
    check_plugin::<Guardrails>();
}

#[test]
fn the_schema_names_every_rule() {
    let schema = pintle_sdk::testing::schema::<Guardrails>().to_string();
    for rule in Rule::ALL {
        assert!(
            schema.contains(&format!("\"{rule}\"")),
            "{rule} is missing in {schema}"
        );
    }
}

#[test]
fn names_of_rules_are_those_of_the_settings() {
    for rule in Rule::ALL {
        let settings = parsed(&json!({"rules": {rule.name(): "info"}}));
        assert_eq!(
            settings.level(rule).severity(),
            Some(Severity::Info),
            "{rule}"
        );
    }
}

#[test]
fn a_sound_plan_has_no_findings() {
    let security = json!({"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}});
    let plan = MemoryPlan::new()
        .create(container(&security))
        .create(object("v1", "ConfigMap", "a"))
        .unchanged(object("v1", "Service", "a"))
        .delete(object("v1", "ConfigMap", "old"));
    assert_eq!(findings(&plan, &json!({})), []);
}
