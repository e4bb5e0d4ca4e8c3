//! Posts events as JSON to a URL, signed by the host.
//!
//! The README describes the settings, the message, and what a receiver has to do.

mod settings;

use pintle_delivery::{deliver, rfc3339, wants};
use pintle_sdk::{Event, Failure, Http, HttpRequest, Notifier, Plugin, Problem, Request};
use serde_json::{Value, json};

pub use settings::{Method, Settings, Signature};

/// The version of the message's schema. It changes when a field is removed or changes its meaning, not when one is added.
const VERSION: u32 = 1;

/// The notifier `webhook`.
pub struct Webhook;

impl Plugin for Webhook {
    const NAME: &'static str = "webhook";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Posts events as JSON to a URL, signed by the host";
    type Settings = Settings;

    fn requests() -> Vec<Request> {
        // The URL is a setting, and this is called before there are settings. The operator's grant names the hosts.
        vec![Request::HttpHost("*".to_owned())]
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        settings::validate(settings)
    }
}

impl Notifier for Webhook {
    fn notify(settings: &Settings, event: &Event, http: &dyn Http) -> Result<(), Failure> {
        if wants(event, &settings.reasons, settings.min_severity) {
            deliver(http, &request(settings, event))?;
        }
        Ok(())
    }
}

fn request(settings: &Settings, event: &Event) -> HttpRequest {
    let mut request = HttpRequest::new(settings.method.name(), &settings.url)
        .header("Idempotency-Key", header_value(&event.id))
        .header("Pintle-Event", header_value(&event.reason))
        .json(&message(event))
        .timeout_ms(settings.timeout_seconds.saturating_mul(1000));
    for (name, value) in &settings.headers {
        request = request.header(name, value);
    }
    if let Some(Signature {
        secret,
        header,
        prefix,
    }) = &settings.signature
    {
        request = request.header(header, format!("{prefix}${{hmac-sha256:{secret}}}"));
    }
    request
}

/// Returns the message, as `event.schema.json` describes it.
fn message(event: &Event) -> Value {
    json!({
        "version": VERSION,
        "id": event.id,
        "reason": event.reason,
        "severity": event.severity,
        "message": event.message,
        "time": rfc3339(event.time_ms),
        "details": if event.details.is_object() { event.details.clone() } else { json!({}) },
    })
}

/// Returns a text as a header value. What comes from an event must neither end a header nor be taken for a placeholder.
fn header_value(text: &str) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "-_.:/".contains(character);
    text.chars()
        .map(|character| if is_plain(character) { character } else { '-' })
        .collect()
}

pintle_sdk::export_notifier!(Webhook);
