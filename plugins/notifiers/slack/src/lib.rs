//! Notifies Slack channels, through an incoming webhook or as an app.
//!
//! The README describes the settings and how to set Slack up.

mod answer;
mod message;
mod mrkdwn;
mod settings;

use pintle_delivery::{deliver_or, wants};
use pintle_sdk::{Event, Failure, Http, HttpRequest, Notifier, Plugin, Problem, Request};

pub use settings::{Domain, Settings};

use settings::Target;

/// The milliseconds that Slack has to respond.
const TIMEOUT_MS: u32 = 10_000;

/// The notifier `slack`.
pub struct Slack;

impl Plugin for Slack {
    const NAME: &'static str = "slack";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Tells Slack channels, through an incoming webhook or as an app";
    type Settings = Settings;

    fn requests() -> Vec<Request> {
        let hosts = [
            "hooks.slack.com",
            "slack.com",
            "hooks.slack-gov.com",
            "slack-gov.com",
        ];
        hosts.map(|host| Request::HttpHost(host.to_owned())).into()
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        settings::validate(settings)
    }
}

impl Notifier for Slack {
    fn notify(settings: &Settings, event: &Event, http: &dyn Http) -> Result<(), Failure> {
        if !wants(event, &settings.reasons, settings.min_severity) {
            return Ok(());
        }
        let mut message = message::of(event);
        match settings.target()? {
            Target::Webhook(url) => {
                deliver_or(http, &post(url, &message), answer::webhook_refusal)?;
                Ok(())
            }
            Target::App {
                token,
                channel,
                url,
            } => {
                message["channel"] = channel.into();
                message["metadata"] = message::metadata(event);
                let request = post(url, &message)
                    .header("Authorization", format!("Bearer ${{secret:{token}}}"));
                answer::api(&deliver_or(http, &request, answer::api_refusal)?)
            }
        }
    }
}

fn post(url: impl Into<String>, message: &pintle_sdk::Json) -> HttpRequest {
    // Without the character set, Slack's response is a warning.
    HttpRequest::post(url)
        .header("Content-Type", "application/json; charset=utf-8")
        .body(message.to_string())
        .timeout_ms(TIMEOUT_MS)
}

pintle_sdk::export_notifier!(Slack);
