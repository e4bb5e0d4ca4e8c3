//! Outgoing HTTP, for kinds that may have it.

use std::fmt;

use serde_json::Value;

use crate::{Failure, Problem};

/// One HTTP request.
///
/// In the URL and in header values the host replaces, on the way out, `${secret:NAME}` by the secret of that name and
/// `${hmac-sha256:NAME}` by the lowercase hexadecimal HMAC-SHA256 (RFC 2104) of exactly the body's bytes, keyed with it:
/// the plugin never holds the secret. Placeholders in the body are not replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Absolute `https://` or `http://` URL.
    pub url: String,
    /// Names and values, in order. The host refuses those that it sets itself: what belongs to the connection, `Host`
    /// and `Accept-Encoding`.
    pub headers: Vec<(String, String)>,
    /// Sent as it is.
    pub body: Vec<u8>,
    /// Milliseconds for the whole exchange; at most, and without it, what the host allows.
    pub timeout_ms: Option<u32>,
}

impl HttpRequest {
    /// Starts a request with any method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
        }
    }

    /// Starts a `GET` request.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// Starts a `POST` request.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a JSON body and its content type.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Bounds the whole exchange, in milliseconds; the host's own limit applies too.
    #[must_use]
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.timeout_ms = Some(timeout_ms);
        self
    }
}

/// The answer to an [`HttpRequest`], whatever its status. Redirects are not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// 100 to 599.
    pub status: u16,
    /// Names in lower case, and values, in order.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// Makes an answer with a status and nothing else.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(each, _)| each.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// It was not sent: the host, a secret, or the address that the name resolves to is not granted, or the request is
    /// malformed; says which, and what to do.
    NotGranted(String),
    /// No whole answer in time.
    TimedOut,
    /// The request has arrived, and the answer is larger than the host allows; the limit in bytes.
    TooLarge(u64),
    /// The connection failed; says how.
    Transport(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted(what) => write!(f, "not sent: {what}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::TooLarge(limit) => {
                write!(f, "the answer is larger than the limit of {limit} bytes")
            }
            Self::Transport(reason) => write!(f, "connection failed: {reason}"),
        }
    }
}

impl std::error::Error for HttpError {}

/// What was not sent never will be until somebody acts, and what was answered at too great a length has arrived: both
/// refuse. Everything else may pass.
impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        let message = error.to_string();
        match error {
            HttpError::NotGranted(_) => Problem::new(message).into(),
            HttpError::TooLarge(_) => Problem::new(message)
                .hint("the request has arrived, and is not sent again")
                .into(),
            HttpError::TimedOut | HttpError::Transport(_) => Self::unavailable(message),
        }
    }
}

/// Sends requests to granted hosts; the grant is checked again after name resolution.
pub trait Http {
    /// Sends one request and waits for the whole answer.
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError>;
}
