//! What is sent to Slack, when, and what follows from the response.

#![expect(clippy::unwrap_used, reason = "tests")]

use insta::assert_snapshot;
use pintle_notifier_slack::{Settings, Slack};
use pintle_sdk::notifier::Severity;
use pintle_sdk::testing::{ScriptedHttp, check_plugin};
use pintle_sdk::{Event, Failure, HttpError, HttpRequest, HttpResponse, Notifier, Plugin};
use serde_json::{Value, json};

fn settings(value: Value) -> Settings {
    let settings: Settings = serde_json::from_value(value).unwrap();
    assert_eq!(Slack::validate(&settings), []);
    settings
}

fn webhook() -> Settings {
    settings(json!({"webhookUrl": "${secret:slack}"}))
}

fn app() -> Settings {
    settings(json!({"tokenSecret": "bot", "channel": "#deploys"}))
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
            "findings": [{
                "rule": "guardrails/image-tag-missing", "severity": "deny", "message": "image nginx has no tag", "hint": "pin it",
                "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"},
            }],
        }),
    }
}

/// Returns events as the agent makes them. The agent's own tests check that the file matches.
fn told_by_the_agent() -> Vec<Event> {
    let told = include_str!("../../../../tests/events/told.json");
    let told: Vec<Value> = serde_json::from_str(told).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    told.iter()
        .map(|event| Event {
            id: "4f1c0d".into(),
            reason: text(&event["reason"]),
            severity: serde_json::from_value(event["severity"].clone()).unwrap(),
            message: text(&event["message"]),
            time_ms: event["timeMs"].as_u64().unwrap(),
            details: event["details"].clone(),
        })
        .collect()
}

fn sent(settings: &Settings, event: &Event) -> Option<HttpRequest> {
    let http = ScriptedHttp::new().respond(HttpResponse::new(200).with_body(r#"{"ok":true}"#));
    Slack::notify(settings, event, &http).unwrap();
    http.requests().pop()
}

fn message(event: &Event) -> Value {
    serde_json::from_slice(&sent(&webhook(), event).unwrap().body).unwrap()
}

/// Returns the texts of the blocks.
fn blocks(message: &Value) -> Vec<&str> {
    let blocks = message["attachments"][0]["blocks"].as_array().unwrap();
    let text = |block: &'_ Value| {
        block
            .pointer("/text/text")
            .or(block.pointer("/elements/0/text"))
            .is_some()
    };
    assert!(blocks.iter().all(text));
    blocks
        .iter()
        .filter_map(|block| {
            block
                .pointer("/text/text")
                .or(block.pointer("/elements/0/text"))?
                .as_str()
        })
        .collect()
}

#[test]
fn the_plugin_keeps_the_rules() {
    check_plugin::<Slack>();
}

#[test]
fn a_webhook_is_sent_the_message() {
    let request = sent(&webhook(), &event()).unwrap();
    assert_eq!(
        (request.method.as_str(), request.url.as_str()),
        ("POST", "${secret:slack}")
    );
    assert_eq!(
        request.headers,
        [(
            "Content-Type".to_owned(),
            "application/json; charset=utf-8".to_owned()
        )]
    );
    assert_snapshot!(format!("{:#}", message(&event())), @r##"
    {
      "attachments": [
        {
          "blocks": [
            {
              "text": {
                "text": "• *deny* `guardrails/image-tag-missing` Deployment shop/web: image nginx has no tag _pin it_",
                "type": "mrkdwn",
                "verbatim": true
              },
              "type": "section"
            },
            {
              "elements": [
                {
                  "text": "policy-denied · revision `9f3c2ab7d1e0` · <!date^1772359200^{date_short_pretty} {time_secs}|2026-03-01T10:00:00.000Z>",
                  "type": "mrkdwn",
                  "verbatim": true
                }
              ],
              "type": "context"
            }
          ],
          "color": "#e01e5a",
          "fallback": ":red_circle: *shop/web*: 1 of 4 changes is denied"
        }
      ],
      "blocks": [
        {
          "text": {
            "text": ":red_circle: *shop/web*: 1 of 4 changes is denied",
            "type": "mrkdwn",
            "verbatim": true
          },
          "type": "section"
        }
      ],
      "text": ":red_circle: *shop/web*: 1 of 4 changes is denied",
      "unfurl_links": false,
      "unfurl_media": false
    }
    "##);
}

#[test]
fn an_app_posts_the_same_into_its_channel() {
    let request = sent(&app(), &event()).unwrap();
    assert_eq!(request.url, "https://slack.com/api/chat.postMessage");
    assert!(request.headers.contains(&(
        "Authorization".to_owned(),
        "Bearer ${secret:bot}".to_owned()
    )));
    let mut sent: Value = serde_json::from_slice(&request.body).unwrap();
    let sent = sent.as_object_mut().unwrap();
    assert_eq!(sent.remove("channel"), Some(json!("#deploys")));
    let metadata = json!({"event_type": "pintle_event", "event_payload": {"id": "4f1c0d", "reason": "policy-denied"}});
    assert_eq!(sent.remove("metadata"), Some(metadata));
    assert_eq!(Value::Object(sent.clone()), message(&event()));
}

#[test]
fn objects_and_errors_are_listed() {
    let event = Event {
        reason: "degraded".into(),
        severity: Severity::Warn,
        details: json!({
            "application": {"name": "web"},
            "revision": "sha256:9f3c2ab7d1e04c55a8f5b7f2c1d0e9a8b7c6d5e49f3c2ab7d1e04c55a8f5b7f2",
            "error": "line one\nline <two> & ```three```\n",
            "objects": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web", "status": "degraded",
                 "message": "no progress within 600 s"},
                {"apiVersion": "v1", "kind": "Namespace", "name": "shop"},
                {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "x", "message": "is\npending"},
            ],
            "findings": [{"message": "about the plan as a whole"}],
        }),
        ..event()
    };
    let message = message(&event);
    assert_eq!(message["attachments"][0]["color"], "#ecb22e");
    assert_snapshot!(blocks(&message).join("\n---\n"), @r#"
    ```line one
    line &lt;two&gt; &amp; '''three'''```
    ---
    • about the plan as a whole
    ---
    • Deployment shop/web: *degraded* no progress within 600 s
    • Namespace shop
    • Pod shop/x: is pending
    ---
    degraded · revision `sha256:9f3c2ab7d1e0` · <!date^1772359200^{date_short_pretty} {time_secs}|2026-03-01T10:00:00.000Z>
    "#);
}

#[test]
fn what_the_agent_tells_is_said_once() {
    let shown = |event: &Event| {
        let message = message(event);
        let mut parts = vec![message["text"].as_str().unwrap()];
        let blocks = blocks(&message);
        // The last block holds reason, revision and time.
        parts.extend(&blocks[..blocks.len() - 1]);
        parts.join("\n")
    };
    let all: Vec<String> = told_by_the_agent().iter().map(shown).collect();
    assert_snapshot!(all.join("\n---\n"), @"
    :red_circle: *shop/web*: the branch main is not there
    ---
    :red_circle: *shop/web*: Job.batch shop/migrate: its pre-upgrade hook failed; the end of its log…
    ```Job.batch shop/migrate: its pre-upgrade hook failed; the end of its log:
        no such relation```
    ---
    :red_circle: *shop/web*: policy refuses the plan, nothing was written…
    • *deny* `guardrails/image-tag-missing` no tag
    ---
    :red_circle: *shop/web*: Service shop/web: it is immutable (instead of 0123456789ab, because ann went back: it is slow)
    ---
    :large_green_circle: *shop/web*: 9f3c2ab7d1e0 is converged: 3 objects are healthy
    ");
}

#[test]
fn an_event_without_details_is_one_line() {
    for details in [
        json!({}),
        Value::Null,
        json!([1]),
        json!({"findings": "x", "objects": [1, {}], "error": " ", "revision": 3}),
    ] {
        let message = message(&Event {
            details,
            severity: Severity::Info,
            ..event()
        });
        insta::allow_duplicates! {
            assert_snapshot!(message["text"].as_str().unwrap(), @":large_green_circle: 1 of 4 changes is denied");
            assert_snapshot!(blocks(&message).join("\n---\n"), @"policy-denied · <!date^1772359200^{date_short_pretty} {time_secs}|2026-03-01T10:00:00.000Z>");
        }
    }
}

#[test]
fn nobody_is_called_by_what_an_event_says() {
    let event = Event {
        message: "<!channel> see <https://evil.example|here> & `there`".into(),
        details: json!({
            "application": {"namespace": "<@U1>", "name": "w&b"},
            "findings": [{"rule": "`<!here>`", "severity": "<!here>", "message": "<!here>", "hint": "<!here>"}],
            "objects": [{"kind": "<!here>", "name": "<!here>", "status": "<!here>", "message": "<!here>"}],
            "error": "<!here>", "revision": "<!here>",
        }),
        reason: "<!here>".into(),
        ..event()
    };
    let message = message(&event);
    // People see the block of the headline: beside blocks, only notifications use the text.
    assert_eq!(message["blocks"][0]["text"]["text"], message["text"]);
    let message = message.to_string();
    let verbatim = message.matches(r#""type":"mrkdwn","verbatim":true"#);
    assert_eq!(verbatim.count(), message.matches("mrkdwn").count());
    assert!(
        !message.contains("<!here") && !message.contains("<!channel") && !message.contains("<@U1"),
        "{message}"
    );
    assert!(!message.contains("<https"), "{message}");
    assert_eq!(
        message.matches("<!").count(),
        1,
        "only our own date: {message}"
    );
}

#[test]
fn a_message_stays_within_the_limits_of_slack() {
    let long = "&".repeat(10_000);
    let finding = json!({"rule": long, "severity": long, "message": long, "hint": long});
    let object =
        json!({"kind": long, "namespace": long, "name": long, "status": long, "message": long});
    for (findings, objects) in [
        (vec![&finding; 60], vec![&object; 60]),
        (vec![&finding], vec![&object]),
    ] {
        let event = Event {
            message: long.clone(),
            reason: long.clone(),
            details: json!({
                "application": {"namespace": long, "name": long}, "revision": long, "error": long,
                "findings": findings, "objects": objects,
            }),
            ..event()
        };
        let message = message(&event);
        assert!(message["text"].as_str().unwrap().chars().count() <= 4000);
        let blocks = blocks(&message);
        assert!(blocks.len() <= 50);
        for text in blocks {
            assert!(
                (1..=3000).contains(&text.chars().count()),
                "{} characters",
                text.chars().count()
            );
        }
    }
}

#[test]
fn what_does_not_fit_is_counted() {
    let findings: Vec<Value> = (0..13)
        .map(|index| json!({"message": format!("finding {index}")}))
        .collect();
    let message = message(&Event {
        details: json!({"findings": findings}),
        ..event()
    });
    let list = blocks(&message)[0];
    assert_eq!(list.lines().count(), 11);
    assert!(
        list.ends_with("• finding 9\n… and 3 more findings"),
        "{list}"
    );
}

#[test]
fn what_the_agent_omits_is_counted() {
    let message = message(&Event {
        details: json!({"objects": vec![json!({"kind": "Pod", "name": "web"}); 200], "objectsOmitted": 1800}),
        ..event()
    });
    let list = blocks(&message)[0];
    assert!(list.ends_with("\n… and 1990 more objects"), "{list}");
}

#[test]
fn nothing_is_sent_for_events_that_are_filtered_out() {
    let settings = settings(
        json!({"webhookUrl": "${secret:slack}", "reasons": ["*-failed"], "minSeverity": "warn"}),
    );
    assert_eq!(sent(&settings, &event()), None);
    assert!(
        sent(
            &settings,
            &Event {
                reason: "apply-failed".into(),
                ..event()
            }
        )
        .is_some()
    );
}

#[test]
fn answers_are_retried_or_refused() {
    let notify = |settings: &Settings, http: ScriptedHttp| {
        Slack::notify(settings, &event(), &http).unwrap_err()
    };
    let respond =
        |status, body: &str| ScriptedHttp::new().respond(HttpResponse::new(status).with_body(body));
    let busy =
        || ScriptedHttp::new().respond(HttpResponse::new(429).with_header("Retry-After", "30"));
    for settings in [webhook(), app()] {
        assert_eq!(
            notify(&settings, busy()),
            Failure::Unavailable {
                reason: "the receiver answered 429".into(),
                retry_after_ms: Some(30_000)
            }
        );
        assert!(matches!(
            notify(&settings, respond(503, "")),
            Failure::Unavailable { .. }
        ));
        let broken = ScriptedHttp::new().fail(HttpError::TimedOut);
        assert!(matches!(
            notify(&settings, broken),
            Failure::Unavailable { .. }
        ));
    }
    assert_snapshot!(notify(&webhook(), respond(404, "no_service")), @"refused: Slack answered no_service (the webhook is gone; make a new one and put its URL into the secret)");
    assert_snapshot!(notify(&app(), respond(200, r#"{"ok":false,"error":"not_in_channel"}"#)), @"refused: Slack answered not_in_channel (check the channel, and invite the app to it)");
    assert_snapshot!(notify(&app(), respond(401, "")), @"refused: Slack answered 401 (check the token and the channel)");
    assert_snapshot!(notify(&app(), respond(403, r#"{"ok":false,"error":"ekm_access_denied"}"#)), @"refused: Slack answered ekm_access_denied (give the app the scope chat:write and install it again)");
}
