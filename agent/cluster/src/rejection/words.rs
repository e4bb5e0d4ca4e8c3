//! The words of the API server's refusals, without what must not be shown.

use pintle_core::object::ObjectId;

use super::FieldProblem;
use crate::request::{Cause, Refusal};

/// Said instead of words that may quote what a Secret holds.
const CONCEALED: &str = "the server refuses its content";

/// Most that is shown of what admission says.
const DENIAL_BYTES: usize = 1 << 10;

impl Refusal {
    /// Says whether an admission webhook or policy refuses the object, or what the server itself admits by: a quota, limits, the
    /// security of pods. The API has no reason for it: each webhook chooses the code, that of a policy is the one of what is not
    /// valid, and the server's own is that of a missing right. None of them is asked about a read.
    pub(crate) fn is_denial(&self) -> bool {
        !self.is_read
            && (self.message.starts_with("admission webhook ")
                || self.message.contains("denied request: ")
                || (self.code == 403 && !self.is_for_want_of_rights()))
    }

    /// Says whether something is forbidden because the account has no right to it: these are the words of the authorizer, and of
    /// what looks whether somebody grants more than he has.
    fn is_for_want_of_rights(&self) -> bool {
        const WORDS: [&str; 4] = [
            "\" cannot ",
            "is attempting to grant ",
            "cannot set ",
            "user not permitted to ",
        ];
        WORDS.iter().any(|words| self.message.contains(words))
    }

    /// Says whether the object does not fit its kind's schema, or breaks a rule of it.
    pub(crate) fn is_against_schema(&self) -> bool {
        self.is_misfit() || (self.code == 422 && !self.is_denial())
    }
}

/// Returns what a refusal says field by field.
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

/// Leaves the value out of `Invalid value: VALUE: reason` when it is long, as a whole pod template is, or secret.
fn short(message: &str, secret: bool) -> String {
    let line = first_line(message);
    let reason = line.rsplit(": ").next().unwrap_or(line);
    if line.starts_with("Invalid value: ") && (secret || line.len() > 160) {
        return reason.to_owned();
    }
    line.to_owned()
}

/// Returns what admission says, on one line: some policies give their reason paragraphs below. Of a Secret only the first line
/// is kept; what follows may quote it.
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

/// Cuts what admission says where it becomes too long.
fn bounded(mut text: String) -> String {
    if text.len() > DENIAL_BYTES {
        text.truncate(text.floor_char_boundary(DENIAL_BYTES));
        text.push('…');
    }
    text
}

/// Returns what comes before the first line break.
pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Reads what a kind's schema has against an object:
/// `failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.replicaz: field not declared in schema`.
/// Where it is more than one thing, `errors:` is there instead, and each has a line of its own below.
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

/// Returns what a schema says of a field without the value that it has found there, which it quotes.
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
