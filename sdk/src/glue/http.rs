//! The host's HTTP client.

use crate::{Http, HttpError, HttpRequest, HttpResponse};

use super::wit::http;

/// An HTTP client that sends through the host.
pub(super) struct HostHttp;

impl Http for HostHttp {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        let header = |(name, value): &(String, String)| http::Header {
            name: name.clone(),
            value: value.clone(),
        };
        let response = http::send(&http::Request {
            method: request.method.clone(),
            url: request.url.clone(),
            headers: request.headers.iter().map(header).collect(),
            body: request.body.clone(),
            timeout_ms: request.timeout_ms,
        })?;
        Ok(HttpResponse {
            status: response.status,
            headers: response
                .headers
                .into_iter()
                .map(|header| (header.name, header.value))
                .collect(),
            body: response.body,
        })
    }
}

impl From<http::HttpError> for HttpError {
    fn from(error: http::HttpError) -> Self {
        match error {
            http::HttpError::NotGranted(what) => Self::NotGranted(what),
            http::HttpError::TimedOut => Self::TimedOut,
            http::HttpError::TooLarge(limit) => Self::TooLarge(limit),
            http::HttpError::Transport(reason) => Self::Transport(reason),
        }
    }
}
