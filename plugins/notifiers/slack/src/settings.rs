//! What an application may set.

use pintle_delivery::{check_placeholders, check_secret_name};
use pintle_sdk::glob::Glob;
use pintle_sdk::notifier::Severity;
use pintle_sdk::{Failure, Problem};
use schemars::JsonSchema;
use serde::Deserialize;

/// Where messages go, and about which events. Set either `webhookUrl`, or `tokenSecret` and `channel`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// URL of an incoming webhook. It is a secret itself: `${secret:NAME}`.
    #[serde(default)]
    pub webhook_url: Option<String>,
    /// Name of the secret that holds an app's bot token (`xoxb-...`), which needs the scope `chat:write`.
    #[serde(default)]
    pub token_secret: Option<String>,
    /// Id (`C0123456789`) or name (`#deploys`) of the channel, with `tokenSecret`. A webhook has a channel of its own.
    #[serde(default)]
    pub channel: Option<String>,
    /// Where the workspace is, with `tokenSecret`; slack.com unless set.
    #[serde(default)]
    pub domain: Domain,
    /// Which events, by reason, with `*` for any part: `degraded`, `*-failed`. All, if empty.
    #[serde(default)]
    pub reasons: Vec<Glob>,
    /// Events that matter less than this are left out; info unless set.
    #[serde(default = "default_severity")]
    pub min_severity: Severity,
}

/// Where a workspace is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Domain {
    /// Slack.
    #[default]
    #[serde(rename = "slack.com")]
    Slack,
    /// `GovSlack`.
    #[serde(rename = "slack-gov.com")]
    SlackGov,
}

impl Domain {
    fn post_message(self) -> &'static str {
        match self {
            Self::Slack => "https://slack.com/api/chat.postMessage",
            Self::SlackGov => "https://slack-gov.com/api/chat.postMessage",
        }
    }
}

/// The destination of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// An incoming webhook.
    Webhook(&'a str),
    /// A channel, to which an app posts under its own identity.
    App {
        token: &'a str,
        channel: &'a str,
        url: &'static str,
    },
}

impl Settings {
    /// Returns the destination of messages, if the settings name one.
    pub(crate) fn target(&self) -> Result<Target<'_>, Failure> {
        match (&self.webhook_url, &self.token_secret, &self.channel) {
            (Some(url), None, None) => Ok(Target::Webhook(url)),
            (None, Some(token), Some(channel)) => Ok(Target::App {
                token,
                channel,
                url: self.domain.post_message(),
            }),
            _ => Err(validate(self).into()),
        }
    }
}

fn default_severity() -> Severity {
    Severity::Info
}

/// Checks what the schema cannot.
pub(crate) fn validate(settings: &Settings) -> Vec<Problem> {
    match (
        &settings.webhook_url,
        &settings.token_secret,
        &settings.channel,
    ) {
        (Some(url), None, None) => check_webhook(url).into_iter().collect(),
        (None, Some(token), Some(channel)) => check_secret_name(token, "/tokenSecret")
            .into_iter()
            .chain(check_channel(channel))
            .collect(),
        (None, Some(_), None) => {
            vec![
                Problem::new("no channel is set")
                    .pointer("/channel")
                    .hint("set its id, or its name with #"),
            ]
        }
        (Some(_), _, _) => vec![
            Problem::new("a webhook has its own token and channel")
                .pointer("/webhookUrl")
                .hint("set either webhookUrl, or tokenSecret and channel"),
        ],
        (None, None, _) => vec![
            Problem::new("nothing says how to reach Slack")
                .pointer("")
                .hint("set either webhookUrl, or tokenSecret and channel"),
        ],
    }
}

fn check_webhook(url: &str) -> Option<Problem> {
    let at = "/webhookUrl";
    if !(url.starts_with("https://hooks.slack.com/")
        || url.starts_with("https://hooks.slack-gov.com/")
        || url.starts_with("${secret:"))
    {
        return Some(
            Problem::new("the URL is none of an incoming webhook")
                .pointer(at)
                .hint(
                    "it begins with https://hooks.slack.com/; keep it in a secret: ${secret:NAME}",
                ),
        );
    }
    if url
        .chars()
        .any(|character| character.is_whitespace() || character.is_control())
    {
        return Some(
            Problem::new("the URL holds a space or a control character")
                .pointer(at)
                .hint("leave it out"),
        );
    }
    check_placeholders(url, at)
}

fn check_channel(channel: &str) -> Option<Problem> {
    let name = channel.strip_prefix('#').unwrap_or(channel);
    let good = !name.is_empty()
        && !name
            .chars()
            .any(|character| character.is_whitespace() || character.is_control());
    (!good).then(|| {
        Problem::new("the channel is neither an id nor a name")
            .pointer("/channel")
            .hint("write C0123456789, or #deploys in quotes")
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::{Value, json};

    use super::*;

    fn read(settings: Value) -> Settings {
        serde_json::from_value(settings).unwrap()
    }

    #[test]
    fn good_settings_say_where_a_message_goes() {
        for (settings, expected) in [
            (
                json!({"webhookUrl": "${secret:slack}"}),
                Target::Webhook("${secret:slack}"),
            ),
            (
                json!({"webhookUrl": "https://hooks.slack.com/services/${secret:path}"}),
                Target::Webhook("https://hooks.slack.com/services/${secret:path}"),
            ),
            (
                json!({"tokenSecret": "bot", "channel": "#deploys"}),
                Target::App {
                    token: "bot",
                    channel: "#deploys",
                    url: "https://slack.com/api/chat.postMessage",
                },
            ),
            (
                json!({"tokenSecret": "bot", "channel": "C01", "domain": "slack-gov.com"}),
                Target::App {
                    token: "bot",
                    channel: "C01",
                    url: "https://slack-gov.com/api/chat.postMessage",
                },
            ),
        ] {
            let settings = read(settings);
            assert_eq!(validate(&settings), []);
            assert_eq!(settings.target(), Ok(expected));
        }
    }

    #[test]
    fn bad_settings_are_refused_and_lead_nowhere() {
        let all = [
            json!({}),
            json!({"channel": "#deploys"}),
            json!({"tokenSecret": "bot"}),
            json!({"webhookUrl": "${secret:slack}", "channel": "#deploys"}),
            json!({"webhookUrl": "${secret:slack}", "tokenSecret": "bot", "channel": "#deploys"}),
        ];
        for settings in all.iter().cloned().map(read) {
            assert_eq!(settings.target(), Err(validate(&settings).into()));
        }
        let more = [
            json!({"webhookUrl": "https://example.com/"}),
            json!({"webhookUrl": "${secret:slack} "}),
            json!({"webhookUrl": "${secret:slack"}),
            json!({"tokenSecret": "xoxb 1", "channel": "#"}),
        ];
        let problems: Vec<_> = all
            .into_iter()
            .chain(more)
            .flat_map(|settings| validate(&read(settings)))
            .collect();
        assert_snapshot!(problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"), @r#"
        nothing says how to reach Slack (set either webhookUrl, or tokenSecret and channel)
        nothing says how to reach Slack (set either webhookUrl, or tokenSecret and channel)
        /channel: no channel is set (set its id, or its name with #)
        /webhookUrl: a webhook has its own token and channel (set either webhookUrl, or tokenSecret and channel)
        /webhookUrl: a webhook has its own token and channel (set either webhookUrl, or tokenSecret and channel)
        /webhookUrl: the URL is none of an incoming webhook (it begins with https://hooks.slack.com/; keep it in a secret: ${secret:NAME})
        /webhookUrl: the URL holds a space or a control character (leave it out)
        /webhookUrl: a placeholder is not closed (write it as ${secret:NAME})
        /tokenSecret: the secret's name is not made of letters, digits, `.`, `_` and `-` (name a secret of the application; its value is no setting)
        /channel: the channel is neither an id nor a name (write C0123456789, or #deploys in quotes)
        "#);
    }
}
