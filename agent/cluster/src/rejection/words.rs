//! The words of the API server's refusals, without anything that must not be shown.

use pintle_core::object::ObjectId;

use super::FieldProblem;
use crate::request::{Cause, Refusal};

/// Shown instead of words that may quote the content of a Secret.
const CONCEALED: &str = "the server refuses its content";

/// How much of an admission message is shown.
const DENIAL_BYTES: usize = 1 << 10;

impl Refusal {
    /// Returns whether the object is refused by an admission webhook or policy, or by the server's own admission: a quota,
    /// limits, pod security. The API has no reason code for this: each webhook chooses its status code, a policy uses that of an
    /// invalid object, and the server itself that of a missing right. None of them is consulted about a read.
    pub(crate) fn is_denial(&self) -> bool {
        !self.is_read
            && (self.message.starts_with("admission webhook ")
                || self.message.contains("denied request: ")
                || (self.code == 403 && !self.is_for_want_of_rights()))
    }

    /// Returns whether something is forbidden because the account lacks the right. These are the words of the authorizer, and of
    /// the check that no one grants more rights than they have.
    fn is_for_want_of_rights(&self) -> bool {
        const WORDS: [&str; 4] = [
            "\" cannot ",
            "is attempting to grant ",
            "cannot set ",
            "user not permitted to ",
        ];
        WORDS.iter().any(|words| self.message.contains(words))
    }

    /// Returns whether the object does not fit its kind's schema, or breaks one of its rules.
    pub(crate) fn is_against_schema(&self) -> bool {
        self.is_misfit() || (self.code == 422 && !self.is_denial())
    }
}

/// Returns what a refusal says, field by field.
pub(super) fn problems(refusal: &Refusal, id: &ObjectId) -> Vec<FieldProblem> {
    if refusal.causes.is_empty() {
        let message = if id.is_secret() {
            CONCEALED
        } else {
            first_line(&refusal.message)
        };
        return vec![FieldProblem {
            field: String::new(),
            message: message.to_owned(),
        }];
    }
    let of_cause = |cause: &Cause| FieldProblem {
        field: cause.field.trim_start_matches('.').to_owned(),
        message: short(&cause.message, id.is_secret()),
    };
    refusal.causes.iter().map(of_cause).collect()
}

/// Leaves the value out of `Invalid value: VALUE: reason` if it is long, like a whole pod template, or secret.
fn short(message: &str, secret: bool) -> String {
    let line = first_line(message);
    let reason = line.rsplit(": ").next().unwrap_or(line);
    if line.starts_with("Invalid value: ") && (secret || line.len() > 160) {
        return reason.to_owned();
    }
    line.to_owned()
}

/// Returns what admission says, on one line: some policies give their reason paragraphs further down. For a Secret only the first
/// line is kept, because the rest may quote it.
pub(super) fn denial(refusal: &Refusal, id: &ObjectId) -> String {
    if id.is_secret() {
        return bounded(first_line(&refusal.message).to_owned());
    }
    let mut text = String::new();
    for line in refusal.message.lines().map(str::trim) {
        if line.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push_str(if text.ends_with(':') { " " } else { "; " });
        }
        text.push_str(line);
    }
    bounded(text)
}

/// Cuts an admission message that is too long.
fn bounded(mut text: String) -> String {
    if text.len() > DENIAL_BYTES {
        text.truncate(text.floor_char_boundary(DENIAL_BYTES));
        text.push('…');
    }
    text
}

/// Returns the text before the first line break.
pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Reads what a kind's schema says against an object: `failed to create typed patch object (shop/web; apps/v1, Kind=Deployment):
/// .spec.replicaz: field not declared in schema`. If there are several problems, `errors:` takes the place of the problem, and
/// each follows on a line of its own.
pub(super) fn misfits(refusal: &Refusal, id: &ObjectId) -> Vec<FieldProblem> {
    let message = refusal.message.as_str();
    let details = message
        .split_once("): ")
        .map_or(message, |(_, details)| details);
    let mut lines = details
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    match lines.next() {
        Some("errors:") => lines.map(|line| misfit(line, id)).collect(),
        first => vec![misfit(first.unwrap_or_default(), id)],
    }
}

fn misfit(detail: &str, id: &ObjectId) -> FieldProblem {
    match detail.split_once(": ") {
        Some((field, message)) if field.starts_with('.') => FieldProblem {
            field: field.trim_start_matches('.').to_owned(),
            message: if id.is_secret() {
                without_value(message).to_owned()
            } else {
                message.to_owned()
            },
        },
        // The decoder quotes what it cannot decode.
        _ if id.is_secret() => FieldProblem {
            field: "data".to_owned(),
            message: "cannot be decoded: are all values base64?".to_owned(),
        },
        _ => FieldProblem {
            field: String::new(),
            message: detail.to_owned(),
        },
    }
}

/// Returns what a schema says about a field, without the value that it quotes.
fn without_value(message: &str) -> &str {
    if message == "field not declared in schema" {
        return message;
    }
    match message.split_once(", got ") {
        Some(("expected string", _)) => "expected text: quote the value",
        Some((expected, _)) if expected.starts_with("expected ") => expected,
        _ => CONCEALED,
    }
}
