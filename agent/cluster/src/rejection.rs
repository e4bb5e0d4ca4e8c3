//! The API server's objections to a write, in words that lead to a remedy.

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
        /// This application's label.
        application: String,
    },
    /// The object belongs to another application, and it is not known whether that application wants to keep it.
    #[error(
        "it belongs to the application {owner}, and {application} renders it too: {owner} has not said yet whether it still \
         does; it is asked again. While {owner} is suspended or does not render it cannot say so: resume or mend it, or move \
         the object with the annotation {ADOPT_ANNOTATION}=allowed"
    )]
    Unanswered {
        /// The other application's label.
        owner: String,
        /// This application's label.
        application: String,
    },
    /// The object belongs to another application, which wants to keep it.
    #[error(
        "the applications {owner} and {application} both render it, and it is {owner}'s: remove it from one of them"
    )]
    Contested {
        /// The other application's label.
        owner: String,
        /// This application's label.
        application: String,
    },
    /// Fields would change that must not change once the object exists.
    #[error(
        "a field that cannot be changed once the object exists would change: {}; undo that, or let the object be deleted \
         and made again with the annotation {REPLACE_ANNOTATION}=allowed",
        joined(.0)
    )]
    Immutable(Vec<FieldProblem>),
    /// The object is not valid.
    #[error("it is not valid: {}", joined(.0))]
    Invalid(Vec<FieldProblem>),
    /// The object does not fit its definition, which has changed in the same run. The object was planned by the previous
    /// definition, and the server may have judged it by that one.
    #[error("{0}; its definition has changed in the same run, so it is planned again")]
    Early(Box<WriteError>),
    /// An admission webhook, a policy or a quota refuses it.
    #[error("admission refuses it: {0}")]
    Denied(String),
    /// The account has no right to do this.
    #[error("{} may not do this: {message}", account_name(.account.as_ref()))]
    Forbidden {
        /// The service account of the request; `None` for the connection's own identity.
        account: Option<ServiceAccount>,
        /// What the server says.
        message: String,
    },
    /// The namespace is being deleted.
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
    /// A deleted object was not gone in time.
    #[error("{departure} and did not go in time: {}", held(.finalizers, .problem.as_deref()))]
    NotGone {
        /// Why it was deleted.
        departure: Departure,
        /// The finalizers that hold it.
        finalizers: Vec<String>,
        /// Why it cannot be seen whether it is gone.
        problem: Option<String>,
    },
    /// The object is not healthy, and the objects after it were not written.
    #[error("what comes after it waits until it is healthy, and it is not{}: {message}", after(.limit.as_ref()))]
    NotHealthy {
        /// A description of its state.
        message: String,
        /// How long it was waited for; `None` if waiting would not have helped.
        limit: Option<Duration>,
    },
    /// A hook would take the place of an object of unknown origin.
    #[error(
        "it exists already and was not made by this application, and its hook would replace it: rename the hook, delete \
         the object, or hand it over with the annotation {ADOPT_ANNOTATION}=allowed"
    )]
    NotOurHook,
    /// A hook failed.
    #[error("its {event} hook failed: {reason}")]
    HookFailed {
        /// The event at which it ran.
        event: HookEvent,
        /// Why it failed.
        reason: String,
    },
    /// Someone created the object and deleted it again in the meantime.
    #[error("it came and went while it was planned: try again")]
    CameAndWent,
    /// A definition is to be deleted, and objects of its kind would be deleted with it.
    #[error(
        "objects of its kind have appeared, and would be deleted with it: allow that with \
         `prune.allowKinds: [CustomResourceDefinition]` or the annotation pintle.dev/prune=allowed"
    )]
    StillUsed,
    /// Anything else that the server or the network reports.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl WriteError {
    /// Returns when a retry is worthwhile.
    pub fn retry(&self) -> Retry {
        match self {
            // Another object has what it asks for and may be about to release it. It is not known when.
            Self::Invalid(problems) if is_taken(problems) => Retry::Backoff,
            Self::Conflict(_)
            | Self::Foreign { .. }
            | Self::Contested { .. }
            | Self::Immutable(_)
            | Self::Invalid(_)
            | Self::NotOurHook => Retry::OnChange,
            Self::Request(error) if !error.is_retryable() => Retry::OnChange,
            // Rights, policies, namespaces and definitions change without Pintle being told, and errors that are not about the
            // object say nothing against it. A 409 that names no field means that someone else wrote at the same moment.
            _ => Retry::Backoff,
        }
    }

    /// Interprets the error of a request for an object.
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
            Some(if is_only_immutable(&refusal.causes) {
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

/// Returns whether the only problem is that fields would change which must not. Anything else that is wrong would also be wrong
/// with an object that is made anew.
fn is_only_immutable(causes: &[Cause]) -> bool {
    !causes.is_empty() && causes.iter().all(is_immutable)
}

/// The API has no reason code for this. These are the words of the built-in kinds' validations and, by convention, those of CRDs.
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

/// Returns whether the only problem is that another object has a port or an address that can be given out only once. The API has
/// no reason code for this; these are the words of the allocators.
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
    /// The object.
    pub id: ObjectId,
    /// Where it is written in the source.
    pub position: Option<Position>,
    /// The reason.
    pub error: WriteError,
}

fn place(position: Option<&Position>) -> String {
    position
        .map(|position| format!("{position}: "))
        .unwrap_or_default()
}

/// Joins failures, one per line.
pub(crate) fn lines(failures: &[ObjectFailure]) -> String {
    failures
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns when a retry is worthwhile after several failures: soon, if one of them may pass by itself.
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
mod tests;
