//! What the API server says against a write, in words that lead to a remedy.

mod words;

use std::{fmt, time::Duration};

use pintle_core::{
    duration::Span,
    hook::HookEvent,
    machine::Retry,
    names::{ADOPT_ANNOTATION, REPLACE_ANNOTATION},
    object::ObjectId,
    plan::Conflict,
    problem::Position,
};

use self::words::{denial, first_line, misfits, problems};
use crate::{
    connection::ServiceAccount,
    departure::{Departure, held},
    discovery::{KindHint, UnknownKind},
    request::{Cause, Refusal, RequestError},
};

/// A field that the server does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// The field, as the API server writes it: `spec.replicas`. Empty for the object as a whole.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Why one object was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Other managers own fields that would change.
    #[error(
        "{}: leave the field out of the source, or take it over with the annotation {ADOPT_ANNOTATION}=allowed",
        owners(.0)
    )]
    Conflict(Vec<Conflict>),
    /// The object belongs to another application.
    #[error(
        "it belongs to the application {owner}, and {application} renders it too: remove it from one of them, or move it \
         with the annotation {ADOPT_ANNOTATION}=allowed"
    )]
    Foreign {
        /// The other application's label.
        owner: String,
        /// One's own.
        application: String,
    },
    /// The object belongs to another application, of which it is not known whether it wants to keep it.
    #[error(
        "it belongs to the application {owner}, and {application} renders it too: {owner} has not said yet whether it still \
         does; it is asked again. While {owner} is suspended or does not render it cannot say so: resume or mend it, or move \
         the object with the annotation {ADOPT_ANNOTATION}=allowed"
    )]
    Unanswered {
        /// The other application's label.
        owner: String,
        /// One's own.
        application: String,
    },
    /// The object belongs to another application, which wants to keep it.
    #[error(
        "the applications {owner} and {application} both render it, and it is {owner}'s: remove it from one of them"
    )]
    Contested {
        /// The other application's label.
        owner: String,
        /// One's own.
        application: String,
    },
    /// Fields change that must not once the object exists.
    #[error(
        "a field that cannot be changed once the object exists would change: {}; undo that, or let the object be deleted \
         and made again with the annotation {REPLACE_ANNOTATION}=allowed",
        joined(.0)
    )]
    Immutable(Vec<FieldProblem>),
    /// The object is not valid.
    #[error("it is not valid: {}", joined(.0))]
    Invalid(Vec<FieldProblem>),
    /// It does not fit its definition, which has changed in the same run: it was planned by the one before, and the server may
    /// have judged it by that.
    #[error("{0}; its definition has changed in the same run, so it is planned again")]
    Early(Box<WriteError>),
    /// An admission webhook or policy refuses it.
    #[error("admission refuses it: {0}")]
    Denied(String),
    /// The account has no right to do this.
    #[error("{} may not do this: {message}", account_name(.account.as_ref()))]
    Forbidden {
        /// In whose name; nothing for one's own.
        account: Option<ServiceAccount>,
        /// What the server says.
        message: String,
    },
    /// The namespace is on its way out.
    #[error("the namespace {0} is being deleted: waiting until it is gone")]
    NamespaceTerminating(String),
    /// The namespace does not exist.
    #[error("the namespace {0} does not exist: add a Namespace to the source, or create it")]
    NamespaceMissing(String),
    /// The server does not serve the kind, or not yet.
    #[error(transparent)]
    UnknownKind(#[from] UnknownKind),
    /// A definition did not become usable in time.
    #[error("its definition was not established in time: {0}")]
    NotEstablished(String),
    /// An object did not go in time.
    #[error("{departure} and did not go in time: {}", held(.finalizers, .problem.as_deref()))]
    NotGone {
        /// What it was deleted for.
        departure: Departure,
        /// What holds it.
        finalizers: Vec<String>,
        /// Why it cannot be seen.
        problem: Option<String>,
    },
    /// It is not healthy, and what comes after it was not written.
    #[error("what comes after it waits until it is healthy, and it is not{}: {message}", after(.limit.as_ref()))]
    NotHealthy {
        /// How it is.
        message: String,
        /// For how long it was waited; nothing if waiting would not have helped.
        limit: Option<Duration>,
    },
    /// A hook would take the place of an object that nobody knows.
    #[error(
        "it exists already and was not made by this application, and its hook would replace it: rename the hook, delete \
         the object, or hand it over with the annotation {ADOPT_ANNOTATION}=allowed"
    )]
    NotOurHook,
    /// A hook failed.
    #[error("its {event} hook failed: {reason}")]
    HookFailed {
        /// At which event it ran.
        event: HookEvent,
        /// Why.
        reason: String,
    },
    /// Somebody made it and deleted it again meanwhile.
    #[error("it came and went while it was planned: try again")]
    CameAndWent,
    /// Objects of a definition that is to go would go with it.
    #[error(
        "objects of its kind have appeared, and would be deleted with it: allow that with \
         `prune.allowKinds: [CustomResourceDefinition]` or the annotation pintle.dev/prune=allowed"
    )]
    StillUsed,
    /// Anything else that the server or the network says.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl WriteError {
    /// Says when trying again is worthwhile.
    pub fn retry(&self) -> Retry {
        match self {
            // Another object has what it asks for, and may be about to let it go: it is not known when it does.
            Self::Invalid(problems) if is_taken(problems) => Retry::Backoff,
            Self::Conflict(_)
            | Self::Foreign { .. }
            | Self::Contested { .. }
            | Self::Immutable(_)
            | Self::Invalid(_)
            | Self::NotOurHook => Retry::OnChange,
            Self::Request(error) if !error.is_retryable() => Retry::OnChange,
            // Rights, policies, namespaces and definitions change without Pintle being told, and what is not about the object
            // says nothing against it. A 409 that names no field was written at the same moment as somebody else wrote.
            _ => Retry::Backoff,
        }
    }

    /// Understands what a request for an object came to.
    pub(crate) fn of(
        error: RequestError,
        id: &ObjectId,
        version: &str,
        account: Option<&ServiceAccount>,
    ) -> Self {
        match error.refusal() {
            Some(refusal) => {
                understand(refusal, id, version, account).unwrap_or(Self::Request(error))
            }
            None => Self::Request(error),
        }
    }
}

fn after(limit: Option<&Duration>) -> String {
    limit
        .map(|limit| format!(" after {}", Span::seconds(limit.as_secs())))
        .unwrap_or_default()
}

fn understand(
    refusal: &Refusal,
    id: &ObjectId,
    version: &str,
    account: Option<&ServiceAccount>,
) -> Option<WriteError> {
    let namespace = || id.namespace.clone().unwrap_or_default();
    if refusal.is_misfit() {
        return Some(WriteError::Invalid(misfits(refusal, id)));
    }
    match refusal.code {
        409 => {
            let conflicts = conflicts(refusal);
            (!conflicts.is_empty()).then_some(WriteError::Conflict(conflicts))
        }
        403 if refusal
            .causes
            .iter()
            .any(|cause| cause.reason == "NamespaceTerminating") =>
        {
            Some(WriteError::NamespaceTerminating(namespace()))
        }
        404 if refusal.message.starts_with("namespaces ") => {
            Some(WriteError::NamespaceMissing(namespace()))
        }
        _ if refusal.is_unserved() => Some(WriteError::UnknownKind(UnknownKind {
            group: id.group.clone(),
            version: version.to_owned(),
            kind: id.kind.clone(),
            hint: KindHint::Nothing,
        })),
        _ if refusal.is_denial() => Some(WriteError::Denied(denial(refusal, id))),
        403 => Some(WriteError::Forbidden {
            account: account.cloned(),
            message: first_line(&refusal.message).to_owned(),
        }),
        400 | 413 | 422 => {
            let problems = problems(refusal, id);
            let immutable = refusal.causes.iter().any(is_immutable);
            Some(if immutable {
                WriteError::Immutable(problems)
            } else {
                WriteError::Invalid(problems)
            })
        }
        _ => None,
    }
}

/// Reads the conflicts of a refused apply: each cause names the field and, in its message, the manager.
pub(crate) fn conflicts(refusal: &Refusal) -> Vec<Conflict> {
    let of_cause = |cause: &Cause| {
        let manager = cause
            .message
            .strip_prefix("conflict with \"")?
            .split('"')
            .next()?;
        Some(Conflict {
            manager: manager.to_owned(),
            field: cause.field.clone(),
        })
    };
    refusal
        .causes
        .iter()
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .filter_map(of_cause)
        .collect()
}

/// The API has no reason for it: these are the words of the built-in kinds' validations, and of CRDs' own by convention.
fn is_immutable(cause: &Cause) -> bool {
    const WORDS: [&str; 6] = [
        "immutable",
        "may not change",
        "may not be changed",
        "cannot change",
        "cannot be changed",
        "updates to ",
    ];
    let message = cause.message.to_lowercase();
    WORDS.iter().any(|words| message.contains(words))
}

/// Says whether nothing is wrong but that another object has a port or an address of which there is only one. The API has no
/// reason for it: these are the words of the allocators.
fn is_taken(problems: &[FieldProblem]) -> bool {
    let is_taken = |problem: &FieldProblem| problem.message.contains("already allocated");
    !problems.is_empty() && problems.iter().all(is_taken)
}

fn owners(conflicts: &[Conflict]) -> String {
    let one = |conflict: &Conflict| format!("{} is owned by {}", conflict.field, conflict.manager);
    conflicts.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn joined(problems: &[FieldProblem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn account_name(account: Option<&ServiceAccount>) -> String {
    account.map_or_else(
        || "the account in use".to_owned(),
        |account| format!("the service account {}/{}", account.namespace, account.name),
    )
}

/// One object that could not be planned or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{id}: {error}", place(.position.as_ref()))]
pub struct ObjectFailure {
    /// Which object.
    pub id: ObjectId,
    /// Where in the source it is written.
    pub position: Option<Position>,
    /// Why.
    pub error: WriteError,
}

fn place(position: Option<&Position>) -> String {
    position
        .map(|position| format!("{position}: "))
        .unwrap_or_default()
}

/// Joins failures, one on each line.
pub(crate) fn lines(failures: &[ObjectFailure]) -> String {
    failures
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Says when trying again is worthwhile after several failures: soon, if one of them may pass by itself.
pub(crate) fn retry(failures: &[ObjectFailure]) -> Retry {
    let soon = failures
        .iter()
        .any(|failure| failure.error.retry() == Retry::Backoff);
    if soon {
        Retry::Backoff
    } else {
        Retry::OnChange
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;
    use serde_json::{Value, json};

    fn id(kind: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        }
    }

    fn refusal(code: u16, message: &str, causes: Value) -> Refusal {
        Refusal {
            request: "PATCH /x".into(),
            code,
            reason: String::new(),
            message: message.into(),
            object: None,
            causes: serde_json::from_value(causes).unwrap(),
            is_unsure: false,
        }
    }

    fn error_of(kind: &str, code: u16, message: &str, causes: Value) -> WriteError {
        let refusal = refusal(code, message, causes);
        let account = ServiceAccount::new("shop", "deployer");
        WriteError::of(
            RequestError::Refused(Box::new(refusal)),
            &id(kind),
            "v1",
            Some(&account),
        )
    }

    #[test]
    fn a_conflict_names_field_and_manager() {
        let error = error_of(
            "A",
            409,
            "Apply failed with 1 conflict",
            json!([
                {"reason": "FieldManagerConflict", "message": "conflict with \"kubectl-edit\" using apps/v1", "field": ".spec.replicas"}
            ]),
        );
        assert_eq!(error.retry(), Retry::OnChange);
        assert_snapshot!(error, @".spec.replicas is owned by kubectl-edit: leave the field out of the source, or take it over with the annotation pintle.dev/adopt=allowed");
        let race = error_of("A", 409, "object has been modified", json!([]));
        assert!(matches!(race, WriteError::Request(_)));
        assert_eq!(race.retry(), Retry::Backoff);
    }

    #[test]
    fn an_immutable_field_is_told_from_an_invalid_one() {
        let cause = |message: &str| json!([{"reason": "FieldValueInvalid", "message": message, "field": "spec.selector"}]);
        assert_snapshot!(error_of("A", 422, "", cause("Invalid value: {}: field is immutable")), @"a field that cannot be changed once the object exists would change: spec.selector: Invalid value: {}: field is immutable; undo that, or let the object be deleted and made again with the annotation pintle.dev/replace=allowed");
        assert_snapshot!(error_of("A", 422, "", cause("Invalid value: -1: must be greater than or equal to 0")), @"it is not valid: spec.selector: Invalid value: -1: must be greater than or equal to 0");
        let huge = format!("Invalid value: {}: field is immutable", "x".repeat(5000));
        assert!(error_of("A", 422, "", cause(&huge)).to_string().len() < 400);
        let sts =
            "Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden";
        assert!(matches!(
            error_of("A", 422, "", cause(sts)),
            WriteError::Immutable(_)
        ));
    }

    #[test]
    fn what_does_not_fit_a_definition_that_has_just_changed_is_planned_again() {
        let misfit = "failed to create typed patch object (shop/w; example.com/v1, Kind=Widget): .spec.colour: field not declared in schema";
        let early = WriteError::Early(Box::new(error_of("Widget", 500, misfit, json!([]))));
        assert_eq!(early.retry(), Retry::Backoff);
        assert_snapshot!(early, @"it is not valid: spec.colour: field not declared in schema; its definition has changed in the same run, so it is planned again");
    }

    #[test]
    fn a_misfit_names_the_field_although_the_server_calls_it_its_own_fault() {
        let error = error_of(
            "A",
            500,
            "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.replicaz: field not declared in schema",
            json!([]),
        );
        assert_eq!(error.retry(), Retry::OnChange);
        assert_snapshot!(error, @"it is not valid: spec.replicaz: field not declared in schema");
    }

    #[test]
    fn several_misfits_are_told_one_by_one() {
        let of = |kind: &str, details: &str| {
            let start = "failed to create typed patch object (shop/web; /v1, Kind=X): errors:\n";
            error_of(kind, 500, &format!("{start}{details}"), json!([]))
        };
        let two = "  .spec.replicaz: field not declared in schema\n  .spec.templat: field not declared in schema";
        assert_snapshot!(of("A", two), @"it is not valid: spec.replicaz: field not declared in schema; spec.templat: field not declared in schema");
        let secret = "  .data.pin: expected string, got &value.valueUnstructured{Value:1234}\n  .dat: field not declared in schema";
        assert_snapshot!(of("Secret", secret), @"it is not valid: data.pin: expected text: quote the value; dat: field not declared in schema");
    }

    #[test]
    fn no_error_shows_what_a_secret_holds() {
        let cause = json!([{"reason": "FieldValueInvalid", "message": "Invalid value: \"hunter2\": is bad", "field": "data[p]"}]);
        assert_snapshot!(error_of("Secret", 422, "Secret is invalid: hunter2", cause), @"it is not valid: data[p]: is bad");
        assert_snapshot!(error_of("Secret", 422, "hunter2", json!([])), @"it is not valid: the server refuses its content");
        let misfit = "failed to convert new object (shop/se; /v1, Kind=Secret) to proper version: illegal base64 data hunter2";
        assert_snapshot!(error_of("Secret", 500, misfit, json!([])), @"it is not valid: data: cannot be decoded: are all values base64?");
    }

    #[test]
    fn a_value_of_a_secret_that_is_no_text_is_not_shown() {
        let of = |detail: &str| {
            let start = "failed to create typed patch object (shop/web; /v1, Kind=Secret): ";
            error_of("Secret", 500, &format!("{start}{detail}"), json!([])).to_string()
        };
        let number = ".data.pin: expected string, got &value.valueUnstructured{Value:1234}";
        assert_snapshot!(of(number), @"it is not valid: data.pin: expected text: quote the value");
        let map = r#".data.pin: expected string, got &value.valueUnstructured{Value:map[string]interface {}{"a: b":"hunter2"}}"#;
        assert_snapshot!(of(map), @"it is not valid: data.pin: expected text: quote the value");
        let whole = r#".data: expected map, got &value.valueUnstructured{Value:"hunter2"}"#;
        assert_snapshot!(of(whole), @"it is not valid: data: expected map");
        assert_snapshot!(of(".dat: field not declared in schema"), @"it is not valid: dat: field not declared in schema");
        assert_snapshot!(of(".data.pin: hunter2 is odd"), @"it is not valid: data.pin: the server refuses its content");
    }

    #[test]
    fn namespaces_rights_and_admission_are_told_apart() {
        let terminating = json!([{"reason": "NamespaceTerminating", "message": "", "field": ""}]);
        assert_snapshot!(error_of("A", 403, "unable to create new content", terminating), @"the namespace shop is being deleted: waiting until it is gone");
        assert_snapshot!(error_of("A", 404, "namespaces \"shop\" not found", json!([])), @"the namespace shop does not exist: add a Namespace to the source, or create it");
        let forbidden = error_of(
            "A",
            403,
            "configmaps \"web\" is forbidden: User \"u\" cannot patch",
            json!([]),
        );
        assert_eq!(forbidden.retry(), Retry::Backoff);
        assert_snapshot!(forbidden, @r#"the service account shop/deployer may not do this: configmaps "web" is forbidden: User "u" cannot patch"#);
        assert_snapshot!(error_of("A", 404, "the server could not find the requested resource", json!([])), @"the API server has no kind A in v1: is its CRD installed?");
        assert_snapshot!(error_of("A", 403, "admission webhook \"w\" denied the request: no", json!([])), @r#"admission refuses it: admission webhook "w" denied the request: no"#);
    }

    #[test]
    fn the_reason_of_a_denial_is_told_on_whatever_line_it_is() {
        let policy = "admission webhook \"validate.kyverno.svc-fail\" denied the request: \n\nresource Deployment/shop/web was blocked due to the following policies \n\nrequire-labels:\n  check: label team is missing\n";
        assert_snapshot!(error_of("A", 400, policy, json!([])), @r#"admission refuses it: admission webhook "validate.kyverno.svc-fail" denied the request: resource Deployment/shop/web was blocked due to the following policies; require-labels: check: label team is missing"#);
        // It may quote what it looked at.
        let quoting = "admission webhook \"w\" denied the request: data is wrong\nfound hunter2";
        assert_snapshot!(error_of("Secret", 403, quoting, json!([])), @r#"admission refuses it: admission webhook "w" denied the request: data is wrong"#);
        let long = format!(
            "admission webhook \"w\" denied the request: {}",
            "é".repeat(5000)
        );
        for kind in ["A", "Secret"] {
            let shown = error_of(kind, 403, &long, json!([])).to_string();
            assert!(shown.len() < 1100 && shown.ends_with('…'), "{shown}");
        }
    }

    #[test]
    fn what_admission_denies_is_not_against_the_schema() {
        let is_against = |code, message: &str| {
            let refusal = refusal(code, message, json!([]));
            refusal.is_against_schema()
        };
        let policy = "widgets.example.com \"w\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: false";
        assert!(!is_against(422, policy));
        assert!(!is_against(
            422,
            "admission webhook \"w\" denied the request: no"
        ));
        assert!(is_against(
            422,
            "Widget.example.com \"w\" is invalid: spec.colour: Unsupported value"
        ));
        let misfit = "failed to create typed patch object (shop/w; example.com/v1, Kind=Widget): .spec.colour: field not declared in schema";
        assert!(is_against(500, misfit));
    }

    #[test]
    fn only_what_is_about_the_object_waits_for_a_change_of_it() {
        let passing = [
            (401, "Unauthorized"),
            (408, "Request Timeout"),
            (425, ""),
            (522, "<html>connection timed out</html>"),
        ];
        for (code, message) in passing {
            let error = error_of("A", code, message, json!([]));
            assert!(matches!(error, WriteError::Request(_)), "{code}: {error}");
            assert_eq!(error.retry(), Retry::Backoff, "{code}");
        }
        let malformed = RequestError::Malformed {
            request: "PATCH /x".into(),
            detail: "expected value at line 1 column 1".into(),
        };
        let malformed = WriteError::of(malformed, &id("A"), "v1", None);
        assert_eq!(malformed.retry(), Retry::Backoff);
        assert_eq!(WriteError::CameAndWent.retry(), Retry::Backoff);
        for code in [400, 405, 406, 413, 415, 422] {
            let error = error_of("A", code, "", json!([]));
            assert_eq!(error.retry(), Retry::OnChange, "{code}");
        }
    }

    #[test]
    fn what_another_object_may_let_go_is_waited_for() {
        let port = json!({"reason": "FieldValueInvalid", "field": "spec.ports[0].nodePort",
            "message": "Invalid value: 30080: provided port is already allocated"});
        let wrong = json!({"reason": "FieldValueInvalid", "field": "spec.type", "message": "Invalid value: \"x\": no"});
        let retry = |causes: Value| error_of("Service", 422, "", causes).retry();
        assert_eq!(retry(json!([port])), Retry::Backoff);
        assert_eq!(retry(json!([port, wrong])), Retry::OnChange);
    }

    #[test]
    fn a_failure_says_where_the_object_is_written() {
        let failure = ObjectFailure {
            id: id("ConfigMap"),
            position: Some(Position {
                file: "a.yaml".into(),
                line: 3,
                column: 1,
            }),
            error: WriteError::NamespaceMissing("shop".into()),
        };
        assert_snapshot!(failure, @"a.yaml:3:1: ConfigMap shop/web: the namespace shop does not exist: add a Namespace to the source, or create it");
        assert_eq!(retry(std::slice::from_ref(&failure)), Retry::Backoff);
    }
}
