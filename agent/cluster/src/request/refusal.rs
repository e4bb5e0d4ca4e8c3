//! What the API server says when it refuses a request.

use std::fmt;

use serde::Deserialize;

use super::{Answer, Call};
use crate::retry;

/// A field of the request body that the server objects to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// A machine-readable reason, such as `FieldManagerConflict` or `FieldValueInvalid`.
    pub reason: String,
    /// A message for people.
    pub message: String,
    /// The field, as the API server writes it: `.spec.replicas` or `spec.replicas`.
    pub field: String,
}

/// The API server's refusal of a request: a `metav1.Status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The method and path of the request.
    pub request: String,
    /// Whether the request only reads; a dry run does not count.
    pub is_read: bool,
    /// The HTTP status.
    pub code: u16,
    /// A machine-readable reason, such as `Conflict`, `NotFound` or `Invalid`; empty if there is none.
    pub reason: String,
    /// A message for people.
    pub message: String,
    /// The name of the object concerned; absent if the refusal is about the path, for example because the path is not served.
    pub object: Option<String>,
    /// What the server objects to, field by field.
    pub causes: Vec<Cause>,
    /// Whether an earlier attempt got no clear answer, so that the request may have succeeded all the same.
    pub is_unsure: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the API server answered {} with {}",
            self.request, self.code
        )?;
        if !self.reason.is_empty() {
            write!(f, " {}", self.reason)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl Refusal {
    /// Returns whether the object does not fit its kind's schema.
    pub(crate) fn is_misfit(&self) -> bool {
        retry::is_misfit(self.code, &self.reason, &self.message)
    }

    /// Returns whether the path is not served. A missing object is named in the refusal; an unknown path is answered as any web
    /// server would.
    pub(crate) fn is_unserved(&self) -> bool {
        self.code == 404 && self.object.is_none()
    }

    pub(super) fn is_about_the_request(&self) -> bool {
        retry::is_about_the_request(self.code) || self.is_misfit()
    }
}

/// Parses the refusal from a response.
pub(super) fn refusal(call: &Call, answer: &Answer) -> Refusal {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Status {
        reason: String,
        message: String,
        details: Option<Details>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Details {
        name: String,
        causes: Vec<Cause>,
    }
    // A proxy before the API server answers with its own text.
    let status: Status = serde_json::from_slice(&answer.body).unwrap_or_else(|_| Status {
        message: String::from_utf8_lossy(&answer.body)
            .trim()
            .chars()
            .take(300)
            .collect(),
        ..Status::default()
    });
    let details = status.details.unwrap_or_default();
    Refusal {
        request: call.name(),
        is_read: call.is_read(),
        code: answer.code,
        reason: status.reason,
        message: status.message,
        object: Some(details.name).filter(|name| !name.is_empty()),
        causes: details.causes,
        is_unsure: false,
    }
}
