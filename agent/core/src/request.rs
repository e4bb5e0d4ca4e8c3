//! A person's request to an application, as written to an annotation with who made it, when and why.

use serde::{Deserialize, Serialize};

use crate::plain;

/// The maximum number of bytes of a reason. It goes into annotations, statuses and Events.
const REASON_BYTES: usize = 200;

/// A person's request. Annotations hold it as JSON; fields that a reader does not know are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonRequest {
    /// The id of the request, which no other request has.
    pub id: String,
    /// The name of the user, as the API server knows it.
    pub by: String,
    /// When the request was made, in RFC 3339 format.
    pub at: String,
    /// The reason for the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For a rollback, the revision to roll back to; by default, the last healthy one before the one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl PersonRequest {
    /// Reads the value of an annotation, or returns `None` if it is not a request.
    pub fn read(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }

    /// Reads the value of an annotation, or returns an error that says what it lacks.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let mut request: Self = serde_json::from_str(text)?;
        request.reason = request.reason.map(|reason| cut(&plain::of(&reason)));
        request.by = plain::of(&request.by).into_owned();
        Ok(request)
    }

    /// Writes the request as the value of an annotation.
    pub fn write(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// Returns who made the request, when and why: `by ada at 2026-01-01T00:00:00Z: the sale is on`.
    pub fn told(&self) -> String {
        let why = self.reason.as_ref();
        let why = why.map_or_else(String::new, |reason| format!(": {reason}"));
        format!("by {} at {}{why}", self.by, self.at)
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(REASON_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_anything_else_is_none() {
        let request = PersonRequest {
            id: "1".into(),
            by: "ada".into(),
            at: "2026-01-01T00:00:00Z".into(),
            reason: Some("the sale is on".into()),
            to: None,
        };
        assert_eq!(PersonRequest::read(&request.write()), Some(request.clone()));
        insta::assert_snapshot!(request.told(), @"by ada at 2026-01-01T00:00:00Z: the sale is on");
        let newer = r#"{"id": "1", "by": "ada", "at": "t", "mood": "good"}"#;
        assert!(PersonRequest::read(newer).is_some());
        assert_eq!(PersonRequest::read("true"), None);
        let lacking = PersonRequest::parse(r#"{"id": "1", "by": "ada"}"#).unwrap_err();
        assert!(lacking.to_string().contains("missing field `at`"));
        let steering = r#"{"id": "1", "by": "\u001b[2Jada", "at": "t", "reason": "\u0007now"}"#;
        let read = PersonRequest::read(steering).unwrap();
        assert_eq!(read.told(), "by ada at t: \u{fffd}now");
        let long = PersonRequest {
            reason: Some("ü".repeat(1000)),
            ..request
        };
        let read = PersonRequest::read(&long.write()).unwrap();
        assert_eq!(read.reason.unwrap().len(), REASON_BYTES);
    }
}
