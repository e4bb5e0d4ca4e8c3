//! What is sent, when, and what follows from the response.

#![expect(clippy::unwrap_used, reason = "tests")]

use insta::assert_snapshot;
use pintle_notifier_webhook::{Settings, Webhook};
use pintle_sdk::notifier::Severity;
use pintle_sdk::testing::{ScriptedHttp, check_plugin};
use pintle_sdk::{Event, Failure, HttpRequest, HttpResponse, Notifier, Plugin};
use serde_json::{Value, json};

fn settings(value: Value) -> Settings {
    let settings: Settings = serde_json::from_value(value).unwrap();
    assert_eq!(Webhook::validate(&settings), []);
    settings
}

fn event() -> Event {
    Event {
        id: "4f1c0d".into(),
        reason: "policy-denied".into(),
        severity: Severity::Error,
        message: "1 of 4 changes is denied".into(),
        time_ms: 1_772_359_200_000,
        details: json!({
            "application": {"namespace": "shop", "name": "web"},
            "revision": "9f3c2ab7d1e04c55a8f5b7f2c1d0e9a8b7c6d5e4",
            "digests": {"plan": "sha256:00ff"},
            "findings": [{
                "rule": "guardrails/image-tag-missing", "severity": "deny", "message": "image nginx has no tag", "hint": "pin it",
                "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"},
            }],
        }),
    }
}

/// Returns the request that is sent for an event; `None` if none is.
fn sent(settings: &Settings, event: &Event) -> Option<HttpRequest> {
    let http = ScriptedHttp::new().respond(HttpResponse::new(204));
    Webhook::notify(settings, event, &http).unwrap();
    http.requests().pop()
}

/// Formats a request as a person would write it down.
fn shown(request: &HttpRequest) -> String {
    let headers: Vec<String> = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    format!(
        "{} {}\n{}\n\n{body:#}",
        request.method,
        request.url,
        headers.join("\n")
    )
}

#[test]
fn the_plugin_keeps_the_rules() {
    check_plugin::<Webhook>();
}

#[test]
fn an_event_is_posted_as_json() {
    let settings = settings(json!({"url": "https://hooks.example.com/pintle"}));
    let request = sent(&settings, &event()).unwrap();
    assert_eq!(request.timeout_ms, Some(10_000));
    assert_snapshot!(shown(&request), @r#"
    POST https://hooks.example.com/pintle
    Idempotency-Key: 4f1c0d
    Pintle-Event: policy-denied
    content-type: application/json

    {
      "details": {
        "application": {
          "name": "web",
          "namespace": "shop"
        },
        "digests": {
          "plan": "sha256:00ff"
        },
        "findings": [
          {
            "hint": "pin it",
            "message": "image nginx has no tag",
            "object": {
              "apiVersion": "apps/v1",
              "kind": "Deployment",
              "name": "web",
              "namespace": "shop"
            },
            "rule": "guardrails/image-tag-missing",
            "severity": "deny"
          }
        ],
        "revision": "9f3c2ab7d1e04c55a8f5b7f2c1d0e9a8b7c6d5e4"
      },
      "id": "4f1c0d",
      "message": "1 of 4 changes is denied",
      "reason": "policy-denied",
      "severity": "error",
      "time": "2026-03-01T10:00:00.000Z",
      "version": 1
    }
    "#);
}

#[test]
fn method_headers_signature_and_timeout_are_as_set() {
    let settings = settings(json!({
        "url": "https://hooks.example.com/${secret:path}", "method": "PUT", "timeoutSeconds": 3,
        "headers": {"Authorization": "Bearer ${secret:token}", "X-Env": "prod"},
        "signature": {"secret": "signing-key"},
    }));
    let request = sent(&settings, &event()).unwrap();
    assert_eq!(request.timeout_ms, Some(3000));
    let headers: Vec<String> = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    assert_snapshot!(headers.join("\n"), @r#"
    Idempotency-Key: 4f1c0d
    Pintle-Event: policy-denied
    content-type: application/json
    Authorization: Bearer ${secret:token}
    X-Env: prod
    X-Hub-Signature-256: sha256=${hmac-sha256:signing-key}
    "#);
    assert_eq!(
        (request.method.as_str(), request.url.as_str()),
        ("PUT", "https://hooks.example.com/${secret:path}")
    );
}

#[test]
fn the_message_is_as_its_schema_says() {
    let schema: Value = serde_json::from_str(include_str!("../event.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let settings = settings(json!({"url": "https://hooks.example.com/"}));
    // Details as the agent makes them. The agent's own tests check that the file matches.
    let told = include_str!("../../../../tests/events/told.json");
    let told: Vec<Value> = serde_json::from_str(told).unwrap();
    let told = told.iter().map(|event| event["details"].clone());
    let degraded = json!({"objects": [{
        "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web",
        "status": "progressing", "message": "0 of 1 updated replicas are available",
        "explanation": {"pod": "web-1", "cause": "main waits: ImagePullBackOff", "events": ["Failed: no such image"]},
    }]});
    let drifted = json!({"repairs": 3, "objectsOmitted": 1, "objects": [{
        "kind": "Service", "namespace": "shop", "name": "web",
        "managers": ["kubectl-edit"], "fields": ["/spec/type"], "changedAt": "2026-01-01T00:00:00Z", "deleted": false,
    }]});
    for details in [event().details, degraded, drifted, json!({}), json!(null)]
        .into_iter()
        .chain(told)
    {
        let body = sent(&settings, &Event { details, ..event() }).unwrap().body;
        let message: Value = serde_json::from_slice(&body).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&message)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{message}");
    }
    assert!(
        !validator.is_valid(&json!({"version": 2})),
        "the schema tells messages from others"
    );
}

#[test]
fn a_retry_is_the_same_message() {
    let settings =
        settings(json!({"url": "https://hooks.example.com/", "signature": {"secret": "key"}}));
    assert_eq!(sent(&settings, &event()), sent(&settings, &event()));
}

#[test]
fn nothing_is_sent_for_events_that_are_filtered_out() {
    let settings = settings(
        json!({"url": "https://hooks.example.com/", "reasons": ["*-failed", "policy-denied"], "minSeverity": "warn"}),
    );
    assert!(sent(&settings, &event()).is_some());
    assert_eq!(
        sent(
            &settings,
            &Event {
                reason: "degraded".into(),
                ..event()
            }
        ),
        None
    );
    assert_eq!(
        sent(
            &settings,
            &Event {
                severity: Severity::Info,
                ..event()
            }
        ),
        None
    );
}

#[test]
fn an_event_adds_neither_headers_nor_placeholders() {
    let settings = settings(json!({"url": "https://hooks.example.com/"}));
    let event = Event {
        id: "1\r\nX-Evil: 1".into(),
        reason: "${secret:token}".into(),
        ..event()
    };
    let request = sent(&settings, &event).unwrap();
    let headers: Vec<String> = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    assert_snapshot!(headers.join("\n"), @r#"
    Idempotency-Key: 1--X-Evil:-1
    Pintle-Event: --secret:token-
    content-type: application/json
    "#);
}

#[test]
fn a_busy_receiver_is_tried_again_and_a_refusing_one_is_not() {
    let settings = settings(json!({"url": "https://hooks.example.com/"}));
    let notify = |response| {
        Webhook::notify(&settings, &event(), &ScriptedHttp::new().respond(response)).unwrap_err()
    };
    assert_eq!(
        notify(HttpResponse::new(429).with_header("retry-after", "30")),
        Failure::Unavailable {
            reason: "the receiver answered 429".into(),
            retry_after_ms: Some(30_000)
        }
    );
    assert_snapshot!(notify(HttpResponse::new(422).with_body("{\"error\":\"no such field: version\"}")), @r#"refused: the receiver answered 422: {"error":"no such field: version"} (check what the receiver expects)"#);
}
