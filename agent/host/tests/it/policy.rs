//! Policies see the whole plan, and no secret.

use std::sync::Arc;

use async_trait::async_trait;
use pintle_core::{
    application::Grants,
    check::Severity,
    hook::HookEvent,
    object::{Object, ObjectId},
    plan::{Action, Change, Depth, Plan},
    problem::Position,
    seed::Seed,
};
use pintle_host::{ClusterError, ClusterReader, Page, Policy, PolicyRequest, Settings};
use serde_json::{Value, json};

use crate::{
    components,
    support::{context, fault, limits, load, load_granted, told},
};

fn change(action: Action, kind: &str, before: Option<Value>, after: Option<Value>) -> Change {
    let object = |content: &Value| {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "namespace": "shop"}});
        object
            .as_object_mut()
            .unwrap()
            .extend(content.as_object().unwrap().clone());
        object
    };
    Change {
        id: ObjectId {
            group: String::new(),
            kind: kind.to_owned(),
            namespace: Some("shop".to_owned()),
            name: "a".to_owned(),
        },
        version: "v1".to_owned(),
        action,
        desired: after
            .as_ref()
            .map(|after| Arc::new(Object::new(object(after)).unwrap())),
        live: before.as_ref().map(object),
        before: before.unwrap_or_default(),
        after: after.unwrap_or_default(),
        source: Some(Position {
            file: "a.yaml".to_owned(),
            line: 3,
            column: 1,
        }),
        hook: std::collections::BTreeSet::new(),
        for_removal: None,
        conflicts: Vec::new(),
    }
}

fn plan() -> Plan {
    let changes = vec![
        change(
            Action::Create,
            "ConfigMap",
            None,
            Some(json!({"data": {"a": "1"}})),
        ),
        change(Action::Delete, "Service", Some(json!({"spec": {}})), None),
        change(
            Action::Update,
            "Secret",
            Some(json!({"data": {"password": "aHVudGVyMQ=="}})),
            Some(json!({"data": {"password": "aHVudGVyMg=="}, "stringData": {"token": "hunter3"}})),
        ),
    ];
    Plan::new(Depth::Local, changes, &Seed::from_text("seed"))
}

/// A cluster that contains only the `ConfigMap` shop/permit, and that does not answer about any other namespace.
#[derive(Debug)]
struct OneConfigMap;

#[async_trait]
impl ClusterReader for OneConfigMap {
    async fn get(
        &self,
        _: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, ClusterError> {
        if namespace != Some("shop") {
            return Err(ClusterError {
                reason: "403 Forbidden".into(),
            });
        }
        let is_there = (kind, name) == ("ConfigMap", "permit");
        Ok(is_there.then(|| json!({"kind": kind, "metadata": {"name": name}})))
    }

    async fn find(
        &self,
        _: &str,
        _: &str,
        _: Option<&str>,
        _: Option<&str>,
    ) -> Result<Page, ClusterError> {
        Ok(Page::default())
    }
}

async fn telltale() -> Policy {
    let plugin = load("telltale", components::policy(), limits()).await;
    plugin.policy().unwrap()
}

fn request(mode: &str) -> PolicyRequest {
    PolicyRequest {
        settings: crate::support::mode(mode),
        plan: Arc::new(plan()),
        application: Arc::new(json!({"name": "web"})),
        context: context(),
        seed: Seed::from_text("seed"),
        cluster: Arc::new(OneConfigMap),
    }
}

#[tokio::test]
async fn sees_the_whole_plan_and_no_secret() {
    let findings = telltale().await.evaluate(request("tell")).await.unwrap();
    let text: Vec<_> = findings.iter().map(ToString::to_string).collect();
    let text = text.join("\n");
    for secret in ["aHVudGVyMQ", "aHVudGVyMg", "hunter"] {
        assert!(!text.contains(secret), "{text}");
    }
    insta::assert_snapshot!(text, @r#"
    info telltale/told: sha256:dd75f0dc74df73f35984a7b4c6809a80339717acc21d9b16adc9f28fb1dfa06c of {"name":"web"} in shop
    warn telltale/told: ConfigMap shop/a: Action::Create, from Some(("a.yaml", 3)), desired Some("{\"apiVersion\":\"v1\",\"data\":{\"a\":\"1\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"namespace\":\"shop\"}}"), live None, differences [("", None, Some("{\"data\":{\"a\":\"1\"}}"))]
    warn telltale/told: Secret shop/a: Action::Update, from Some(("a.yaml", 3)), desired Some("{\"apiVersion\":\"v1\",\"data\":{\"password\":\"hmac-sha256:c4901aa05abe120e8174e5d17b34b49df4b73430345379dea5b101306b958b81\"},\"kind\":\"Secret\",\"metadata\":{\"name\":\"a\",\"namespace\":\"shop\"},\"stringData\":{\"token\":\"hmac-sha256:684e99ea41e8d7fbb628a850effef1791ac508521270bafd21e4d3b1fd5a8397\"}}"), live Some("{\"apiVersion\":\"v1\",\"data\":{\"password\":\"hmac-sha256:6c21cb435b361bc225cdf0fe4bc06b0281bc6df5ea85b4ea71b8571b311f1e81\"},\"kind\":\"Secret\",\"metadata\":{\"name\":\"a\",\"namespace\":\"shop\"}}"), differences [("/data/password", Some("\"hmac-sha256:6c21cb435b361bc225cdf0fe4bc06b0281bc6df5ea85b4ea71b8571b311f1e81\""), Some("\"hmac-sha256:c4901aa05abe120e8174e5d17b34b49df4b73430345379dea5b101306b958b81\"")), ("/stringData", None, Some("{\"token\":\"hmac-sha256:684e99ea41e8d7fbb628a850effef1791ac508521270bafd21e4d3b1fd5a8397\"}"))]
    warn telltale/told: Service shop/a: Action::Delete, from Some(("a.yaml", 3)), desired None, live Some("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"a\",\"namespace\":\"shop\"},\"spec\":{}}"), differences [("", Some("{\"spec\":{}}"), None)]
    "#);
}

#[tokio::test]
async fn sees_what_is_kept_for_the_removal_as_what_will_be_made() {
    let kept = Change {
        hook: [HookEvent::PreDelete].into(),
        ..change(
            Action::Keep,
            "Pod",
            None,
            Some(json!({"spec": {"hostPID": true}})),
        )
    };
    let plan = Plan::new(Depth::Local, vec![kept], &Seed::from_text("seed"));
    let request = PolicyRequest {
        plan: Arc::new(plan),
        ..request("tell")
    };
    let findings = telltale().await.evaluate(request).await.unwrap();
    let text = findings.last().unwrap().to_string();
    for part in ["Pod shop/a: Action::Create", "hostPID", "live None"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn denies_and_crashes_are_two_things() {
    let policy = telltale().await;
    let findings = policy.evaluate(request("deny")).await.unwrap();
    assert_eq!(
        (findings[0].severity, findings[0].policy.as_str()),
        (Severity::Deny, "telltale")
    );
    assert!(policy.evaluate(request("")).await.unwrap().is_empty());
    let error = policy.evaluate(request("crash")).await.unwrap_err();
    insta::assert_snapshot!(told(&error, &components::policy()), @"policy `telltale` (sha256:…) failed to evaluate: it crashed: wasm `unreachable` instruction executed");
}

#[tokio::test]
async fn what_it_reads_from_the_cluster_needs_a_grant() {
    let grants = Grants {
        cluster_reads: ["v1/ConfigMap".to_owned()].into(),
        ..Grants::default()
    };
    let granted = load_granted("telltale", components::policy(), limits(), grants).await;
    let granted = granted.policy().unwrap();
    let requiring = |name: &str| PolicyRequest {
        settings: Settings::new(json!({"mode": "require", "requires": name})),
        ..request("")
    };
    let denied = async |policy: &Policy, name: &str| {
        let findings = policy.evaluate(requiring(name)).await.unwrap();
        findings.iter().any(|one| one.severity == Severity::Deny)
    };
    assert!(!denied(&granted, "permit").await);
    assert!(denied(&granted, "another").await);
    // Without the grant, it finds nothing.
    assert!(denied(&telltale().await, "permit").await);
    // What cannot be read does not count as missing: there is no verdict about the plan.
    let mut elsewhere = requiring("permit");
    elsewhere.context.namespace = "depot".into();
    let error = granted.evaluate(elsewhere).await.unwrap_err();
    assert!(fault(&error).is_retryable());
    insta::assert_snapshot!(told(&error, &components::policy()), @"policy `telltale` (sha256:…) failed to evaluate: the cluster cannot be read: 403 Forbidden");
}
