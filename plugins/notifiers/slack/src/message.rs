//! The message that an event becomes. <https://docs.slack.dev/reference/block-kit>

use pintle_delivery::rfc3339;
use pintle_sdk::notifier::Severity;
use pintle_sdk::{Event, Json};
use serde_json::{Value, json};

use crate::mrkdwn::Text;

/// The length of the longest text of a block in characters, as documented by Slack.
const BLOCK: usize = 3000;

/// The length of the longest headline in characters; Slack asks for at most 4000.
const HEADLINE: usize = 1500;

/// The most findings or objects that a message lists.
const LISTED: usize = 10;

/// The length of the longest line of a list in characters: ten of them fit into a block.
const LINE: usize = 280;

/// The length of the longest reason, or revision that is not a digest, in characters.
const LONGEST_NAME: usize = 100;

/// The number of characters of a revision that suffice for people to tell revisions apart.
const SHORT_REVISION: usize = 12;

/// Builds the message: a headline, which is also what notifications show, and the details beside a bar in the severity's
/// colour.
///
/// The headline is a block too. Without one, people see `text`, in which Slack makes links of whatever looks like a URL or a
/// channel. With one, `text` is what notifications fall back on.
pub(crate) fn of(event: &Event) -> Json {
    let headline = headline(event);
    let said = if headline.is_whole() {
        event.message.as_str()
    } else {
        ""
    };
    let mut blocks = Vec::new();
    blocks.extend(error(&event.details, said));
    blocks.extend(list(&event.details, "findings", finding));
    blocks.extend(list(&event.details, "objects", object));
    blocks.push(json!({"type": "context", "elements": [mrkdwn(facts(event))]}));
    let headline = headline.finish();
    json!({
        "text": headline,
        "blocks": [section(headline.clone())],
        "attachments": [{"color": color(event.severity), "fallback": headline, "blocks": blocks}],
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

/// Returns the metadata for programs that see the message: which event it is, the same on every retry.
pub(crate) fn metadata(event: &Event) -> Json {
    json!({"event_type": "pintle_event", "event_payload": {"id": event.id, "reason": event.reason}})
}

fn color(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "#2eb67d",
        Severity::Warn => "#ecb22e",
        Severity::Error => "#e01e5a",
    }
}

/// Returns a text in our own markup, and no other: `verbatim` keeps Slack from making links and mentions of plain text.
/// <https://docs.slack.dev/reference/block-kit/composition-objects/text-object>
fn mrkdwn(text: String) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

fn section(text: String) -> Value {
    json!({"type": "section", "text": mrkdwn(text)})
}

fn headline(event: &Event) -> Text {
    let sign = match event.severity {
        Severity::Info => ":large_green_circle:",
        Severity::Warn => ":large_yellow_circle:",
        Severity::Error => ":red_circle:",
    };
    let text = Text::new(HEADLINE).markup(sign).markup(" ");
    let text = match application(&event.details) {
        Some(application) => text.markup("*").plain(&application).markup("*: "),
        None => text,
    };
    text.plain(&event.message)
}

/// Returns the name of the application: `shop/web`.
fn application(details: &Value) -> Option<String> {
    let name = text(details, "/application/name")?;
    Some(match text(details, "/application/namespace") {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    })
}

/// Returns a block with what went wrong, unless that has been said already.
fn error(details: &Value, said: &str) -> Option<Value> {
    let error = text(details, "/error")
        .map(str::trim)
        .filter(|error| !error.is_empty() && !said.contains(error))?;
    Some(section(Text::new(BLOCK).lines(error).finish()))
}

/// Returns a block with a line for each item, as far as there is room, and the number of further items, including those that
/// the agent has omitted.
fn list(details: &Value, name: &str, line: fn(&Value) -> Option<String>) -> Option<Value> {
    let items = details.get(name)?.as_array()?;
    let lines: Vec<String> = items.iter().filter_map(line).collect();
    let omitted = details
        .get(format!("{name}Omitted"))
        .and_then(Value::as_u64);
    let omitted = omitted.and_then(|omitted| usize::try_from(omitted).ok());
    let more = lines.len().saturating_sub(LISTED);
    let more = more.saturating_add(omitted.unwrap_or_default());
    let mut listed: Vec<String> = lines.into_iter().take(LISTED).collect();
    if listed.is_empty() {
        return None;
    }
    if more > 0 {
        listed.push(format!("… and {more} more {name}"));
    }
    Some(section(listed.join("\n")))
}

/// Returns a finding as a line, with what to do about it: `• deny guardrails/image-tag-missing Deployment shop/web: image nginx
/// has no tag`.
fn finding(finding: &Value) -> Option<String> {
    let message = text(finding, "/message")?;
    let mut line = Text::new(LINE).markup("• ");
    if let Some(severity) = text(finding, "/severity") {
        line = line.markup("*").plain(severity).markup("* ");
    }
    if let Some(rule) = text(finding, "/rule") {
        line = line.code(rule).markup(" ");
    }
    if let Some(object) = finding.get("object").and_then(identity) {
        line = line.plain(&object).markup(": ");
    }
    line = line.plain(&one_line(message));
    if let Some(hint) = text(finding, "/hint").filter(|_| line.is_whole()) {
        line = line.markup(" _").plain(&one_line(hint)).markup("_");
    }
    Some(line.finish())
}

/// Returns an object as a line: `• Deployment shop/web: degraded no progress within 600 s`.
fn object(object: &Value) -> Option<String> {
    let mut line = Text::new(LINE).markup("• ").plain(&identity(object)?);
    let (status, message) = (text(object, "/status"), text(object, "/message"));
    if status.is_some() || message.is_some() {
        line = line.markup(":");
    }
    if let Some(status) = status {
        line = line.markup(" *").plain(status).markup("*");
    }
    if let Some(message) = message {
        line = line.markup(" ").plain(&one_line(message));
    }
    Some(line.finish())
}

/// Returns an object's kind and name: `Deployment shop/web`.
fn identity(object: &Value) -> Option<String> {
    let (kind, name) = (text(object, "/kind")?, text(object, "/name")?);
    Some(match text(object, "/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    })
}

/// Returns the facts of an event, such as `policy-denied · revision 9f3c2ab7d1e0 · 1 March, 10:00`, with the time in each
/// reader's own zone.
fn facts(event: &Event) -> String {
    let mut text = Text::new(BLOCK).plain(&start(&event.reason));
    if let Some(revision) = self::text(&event.details, "/revision") {
        text = text.markup(" · revision ").code(&short(revision));
    }
    let date = format!(
        "<!date^{}^{{date_short_pretty}} {{time_secs}}|",
        event.time_ms / 1000
    );
    text.markup(" · ")
        .markup(&date)
        .plain(&rfc3339(event.time_ms))
        .markup(">")
        .finish()
}

/// Returns a short form of a revision, such as `9f3c2ab7d1e0` or `sha256:9f3c2ab7d1e0`.
fn short(revision: &str) -> String {
    let (kind, digits) = match revision.split_once(':') {
        Some((kind, digits)) => (format!("{kind}:"), digits),
        None => (String::new(), revision),
    };
    let is_digest = digits.len() >= 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest {
        format!("{kind}{}", &digits[..SHORT_REVISION])
    } else {
        start(revision)
    }
}

/// Returns a short text as it is, and the start of a long one: the date that follows has to fit.
fn start(text: &str) -> String {
    text.chars().take(LONGEST_NAME).collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
