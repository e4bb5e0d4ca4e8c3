//! What an application may set.

use std::collections::{BTreeMap, BTreeSet};

use pintle_delivery::{check_header_name, check_placeholders, check_secret_name};
use pintle_sdk::Problem;
use pintle_sdk::glob::Glob;
use pintle_sdk::notifier::Severity;
use schemars::JsonSchema;
use serde::Deserialize;

/// The headers that the notifier writes itself.
const OWN_HEADERS: [&str; 3] = ["content-type", "idempotency-key", "pintle-event"];

/// Where events go, and which ones.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// Where to: `https://hooks.example.com/pintle`. May hold `${secret:NAME}`, or be nothing else.
    pub url: String,
    /// How; POST unless set.
    #[serde(default)]
    pub method: Method,
    /// More headers, by name. A value may hold `${secret:NAME}`: `Bearer ${secret:token}`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Signs each message, so that the receiver knows who sent it.
    #[serde(default)]
    pub signature: Option<Signature>,
    /// Seconds that the receiver has for its answer; 10 unless set, and at most what the host allows.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: u32,
    /// Which events, by reason, with `*` for any part: `degraded`, `*-failed`. All, if empty.
    #[serde(default)]
    pub reasons: Vec<Glob>,
    /// Events that matter less than this are left out; info unless set.
    #[serde(default = "default_severity")]
    pub min_severity: Severity,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// What receivers of webhooks expect.
    #[default]
    Post,
    /// For receivers that store what they get.
    Put,
    /// For receivers that change what they have.
    Patch,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        }
    }
}

/// An HMAC-SHA256 (RFC 2104) over exactly the bytes of the body, in lowercase hexadecimal digits, made by the host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Signature {
    /// Name of the secret that is the key.
    pub secret: String,
    /// The header that carries the signature; `X-Hub-Signature-256` unless set, which receivers of GitHub's webhooks read.
    #[serde(default = "default_header")]
    pub header: String,
    /// What stands before the digits; `sha256=` unless set.
    #[serde(default = "default_prefix")]
    pub prefix: String,
}

fn default_timeout() -> u32 {
    10
}

fn default_severity() -> Severity {
    Severity::Info
}

fn default_header() -> String {
    "X-Hub-Signature-256".to_owned()
}

fn default_prefix() -> String {
    "sha256=".to_owned()
}

/// Checks what the schema cannot.
pub(crate) fn validate(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(check_url(&settings.url));
    let mut seen = BTreeSet::new();
    for (name, value) in &settings.headers {
        let at = format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"));
        if !seen.insert(name.to_ascii_lowercase()) {
            problems.push(
                Problem::new(format!("header {name} is set twice"))
                    .pointer(&at)
                    .hint("names differ in more than their case"),
            );
        }
        problems.extend(check_name(name, &at));
        problems.extend(check_header_value(value, &at));
    }
    if let Some(signature) = &settings.signature {
        problems.extend(check_secret_name(&signature.secret, "/signature/secret"));
        problems.extend(check_name(&signature.header, "/signature/header"));
        problems.extend(check_header_value(&signature.prefix, "/signature/prefix"));
        if seen.contains(&signature.header.to_ascii_lowercase()) {
            problems.push(
                Problem::new(format!(
                    "header {} is among `headers` too",
                    signature.header
                ))
                .pointer("/signature/header")
                .hint("leave it out there: the host writes the signature"),
            );
        }
    }
    if settings.timeout_seconds == 0 || settings.timeout_seconds > 300 {
        problems.push(
            Problem::new(format!("a timeout of {} s", settings.timeout_seconds))
                .pointer("/timeoutSeconds")
                .hint("set 1 to 300"),
        );
    }
    problems
}

fn check_url(url: &str) -> Option<Problem> {
    let at = "/url";
    let has_host = |scheme| {
        url.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    };
    if !(has_host("https://") || has_host("http://") || url.starts_with("${secret:")) {
        return Some(
            Problem::new("the URL is not an absolute one for http or https")
                .pointer(at)
                .hint("write it as https://hooks.example.com/path, or keep the whole in a secret: ${secret:NAME}"),
        );
    }
    if url
        .chars()
        .any(|character| character.is_whitespace() || character.is_control())
    {
        return Some(
            Problem::new("the URL holds a space or a control character")
                .pointer(at)
                .hint("write it as %20"),
        );
    }
    check_placeholders(url, at)
}

fn check_name(name: &str, at: &str) -> Option<Problem> {
    check_header_name(name, at).or_else(|| {
        OWN_HEADERS
            .contains(&name.to_ascii_lowercase().as_str())
            .then(|| {
                Problem::new(format!("header {name} is written by the notifier itself"))
                    .pointer(at)
                    .hint("leave it out")
            })
    })
}

fn check_header_value(value: &str, at: &str) -> Option<Problem> {
    if value.chars().any(char::is_control) {
        return Some(
            Problem::new("the value holds a control character")
                .pointer(at)
                .hint("write it on one line"),
        );
    }
    check_placeholders(value, at)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::{Value, json};

    use super::*;

    fn problems(settings: Value) -> String {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        validate(&settings)
            .iter()
            .map(Problem::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn good_settings_are_accepted() {
        for settings in [
            json!({"url": "https://hooks.example.com/pintle"}),
            json!({"url": "http://127.0.0.1:8080/"}),
            json!({"url": "${secret:url}"}),
            json!({
                "url": "https://hooks.example.com/${secret:path}", "method": "PUT", "timeoutSeconds": 300,
                "headers": {"Authorization": "Bearer ${secret:token}", "X-Env": "prod", "X-Team": "Zürich"},
                "signature": {"secret": "key", "header": "X-Signature", "prefix": ""},
                "reasons": ["*-failed"], "minSeverity": "warn",
            }),
        ] {
            assert_eq!(problems(settings.clone()), "", "{settings}");
        }
    }

    #[test]
    fn bad_urls_are_refused() {
        let all = [
            "",
            "hooks.example.com",
            "ftp://example.com",
            "https://",
            "https:///x",
            "https://a b/",
            "https://a/${TOKEN}",
        ]
        .map(|url| problems(json!({"url": url})));
        assert_snapshot!(all.join("\n"), @r#"
        /url: the URL is not an absolute one for http or https (write it as https://hooks.example.com/path, or keep the whole in a secret: ${secret:NAME})
        /url: the URL is not an absolute one for http or https (write it as https://hooks.example.com/path, or keep the whole in a secret: ${secret:NAME})
        /url: the URL is not an absolute one for http or https (write it as https://hooks.example.com/path, or keep the whole in a secret: ${secret:NAME})
        /url: the URL is not an absolute one for http or https (write it as https://hooks.example.com/path, or keep the whole in a secret: ${secret:NAME})
        /url: the URL is not an absolute one for http or https (write it as https://hooks.example.com/path, or keep the whole in a secret: ${secret:NAME})
        /url: the URL holds a space or a control character (write it as %20)
        /url: `${TOKEN}` is no placeholder (the placeholders are ${secret:NAME} and ${hmac-sha256:NAME})
        "#);
    }

    #[test]
    fn bad_headers_signatures_and_timeouts_are_refused() {
        assert_snapshot!(problems(json!({
            "url": "https://hooks.example.com/",
            "headers": {"a b": "x", "Content-Type": "text/plain", "X-One": "1", "x-one": "2", "X-Two": "a\nb", "X-Three": "${secret:", "": ""},
            "signature": {"secret": "my key", "header": "X-One", "prefix": "v1\r\n"},
            "timeoutSeconds": 0,
        })), @r#"
        /headers/: `` is no name of a header (names are made of letters, digits and `-`)
        /headers/Content-Type: header Content-Type is written by the notifier itself (leave it out)
        /headers/X-Three: a placeholder is not closed (write it as ${secret:NAME})
        /headers/X-Two: the value holds a control character (write it on one line)
        /headers/a b: `a b` is no name of a header (names are made of letters, digits and `-`)
        /headers/x-one: header x-one is set twice (names differ in more than their case)
        /signature/secret: the secret's name is not made of letters, digits, `.`, `_` and `-` (name a secret of the application; its value is no setting)
        /signature/prefix: the value holds a control character (write it on one line)
        /signature/header: header X-One is among `headers` too (leave it out there: the host writes the signature)
        /timeoutSeconds: a timeout of 0 s (set 1 to 300)
        "#);
        assert_snapshot!(problems(json!({"url": "https://a/", "timeoutSeconds": 301, "signature": {"secret": "k", "header": "Host"}})), @r#"
        /signature/header: header Host is set by the host itself (leave it out)
        /timeoutSeconds: a timeout of 301 s (set 1 to 300)
        "#);
    }
}
