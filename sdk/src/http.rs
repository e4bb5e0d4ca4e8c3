//! Outgoing HTTP, for the kinds of plugins that may use it.

use std::fmt;

use serde_json::Value;

use crate::{Failure, Problem};

/// An HTTP request.
///
/// When it sends the request, the host replaces placeholders in the URL and in header values: `${secret:NAME}` with the
/// secret of that name, and `${hmac-sha256:NAME}` with the lowercase hexadecimal HMAC-SHA256 (RFC 2104) of exactly the
/// body's bytes, keyed with that secret. The plugin never holds the secret. Placeholders in the body are not replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method: `GET`, `POST`, ...
    pub method: String,
    /// The absolute `https://` or `http://` URL.
    pub url: String,
    /// Header names and values, in order. The host refuses headers that it sets itself: those that belong to the
    /// connection, `Host` and `Accept-Encoding`.
    pub headers: Vec<(String, String)>,
    /// The body, sent as it is.
    pub body: Vec<u8>,
    /// The timeout in milliseconds for the whole exchange. The host's limit is the maximum and the default.
    pub timeout_ms: Option<u32>,
}

impl HttpRequest {
    /// Creates a request with any method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
        }
    }

    /// Creates a `GET` request.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// Creates a `POST` request.
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

    /// Sets a JSON body and the matching content type.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Sets the timeout for the whole exchange, in milliseconds. The host's own limit applies too.
    #[must_use]
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.timeout_ms = Some(timeout_ms);
        self
    }
}

/// The response to an [`HttpRequest`], whatever its status. Redirects are not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status, 100 to 599.
    pub status: u16,
    /// Header names in lower case, and their values, in order.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// Creates a response with a status and nothing else.
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

    /// Returns whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the first header of that name, ignoring case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(each, _)| each.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The reason why a request has no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The request was not sent: the host, a secret, or the address that the name resolves to is not granted, or the
    /// request is malformed. The text says which, and what to do.
    NotGranted(String),
    /// No complete response arrived in time.
    TimedOut,
    /// The request arrived, and the response is larger than the host allows; the limit in bytes.
    TooLarge(u64),
    /// The connection failed; the text says how.
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

/// A request that was not sent will not be until somebody acts, and a request whose response was too large has already
/// arrived. Both are refusals. All other errors may be temporary.
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

/// An HTTP client for granted hosts. The grant is checked again after name resolution.
pub trait Http {
    /// Sends one request and waits for the complete response.
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError>;
}
