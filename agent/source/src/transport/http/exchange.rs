//! One request and its response.

use std::{
    error::Error,
    io, iter,
    sync::Arc,
    time::{Duration, SystemTime},
};

use pintle_core::retry_after;
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER},
};

use crate::{
    error::{SourceError, one_line},
    transport::Conversation,
};

/// One request and its response.
pub(super) struct Exchange {
    pub(super) request: RequestBuilder,
    conversation: Arc<Conversation>,
    login: Sent,
}

/// Whether the server gets the credentials and, if not, why.
#[derive(Clone)]
pub(super) enum Sent {
    /// There are none.
    Nothing,
    Credentials,
    /// None, because a redirect led to this other server.
    Withheld(String),
}

impl Exchange {
    pub(super) fn new(
        request: RequestBuilder,
        conversation: Arc<Conversation>,
        login: Sent,
    ) -> Self {
        Self {
            request,
            conversation,
            login,
        }
    }

    /// Sends the request. A response other than the expected one is an error.
    pub(super) fn send(self) -> io::Result<Response> {
        let Self {
            request,
            conversation,
            login,
        } = self;
        let limit = conversation.limits().connect + conversation.limits().idle;
        let again = request.try_clone();
        let sent = conversation.wait("did not answer", limit, request.send())?;
        // A server may close a kept connection just as the next request arrives. All requests only read, so this one is sent
        // once more.
        let sent = match (sent, again) {
            (Err(error), Some(again)) if was_closed(&error) => {
                conversation.wait("did not answer", limit, again.send())?
            }
            (sent, _) => sent,
        };
        let response =
            sent.map_err(|error| conversation.give_up(classify(&conversation, &error)))?;
        let status = response.status();
        if status.is_success() {
            let kind = response
                .headers()
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            if kind.starts_with("application/x-git-upload-pack-") {
                return Ok(response);
            }
            let reason = format!(
                "it sends `{}`; check the path, and that the host is not one that answers with a page for people",
                one_line(kind)
            );
            return Err(conversation.give_up(SourceError::Protocol {
                url: conversation.url(),
                reason,
            }));
        }
        if status.is_redirection() {
            return Ok(response);
        }
        let text = |name: HeaderName| response.headers().get(name)?.to_str().ok();
        let wish = text(RETRY_AFTER)
            .and_then(|wish| retry_after::read(wish, text(DATE), SystemTime::now()));
        Err(conversation.give_up(refused(conversation.url(), status, login, wish)))
    }
}

fn refused(
    url: String,
    status: StatusCode,
    login: Sent,
    retry_after: Option<Duration>,
) -> SourceError {
    let reason = format!("HTTP status {status}");
    let given = match login {
        Sent::Credentials => true,
        Sent::Withheld(to) if status.is_client_error() => {
            let reason = format!(
                "it redirects to {to}, which answers with {reason} and gets no credentials, as they are not for it: use \
                 that URL"
            );
            return SourceError::Url { url, reason };
        }
        Sent::Nothing | Sent::Withheld(_) => false,
    };
    let unavailable = |url, reason| SourceError::Unavailable {
        url,
        reason,
        retry_after,
    };
    match status {
        StatusCode::UNAUTHORIZED => SourceError::Unauthenticated { url, given },
        StatusCode::FORBIDDEN => SourceError::Forbidden { url, reason },
        StatusCode::NOT_FOUND | StatusCode::GONE => SourceError::NotFound { url, given },
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => unavailable(url, reason),
        status if status.is_server_error() => unavailable(url, reason),
        _ => SourceError::Protocol { url, reason },
    }
}

fn classify(conversation: &Conversation, error: &reqwest::Error) -> SourceError {
    let url = conversation.url();
    if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return SourceError::Tls {
            url,
            reason: one_line(&tls.to_string()),
        };
    }
    if error.is_timeout() && error.is_connect() {
        return SourceError::Timeout {
            url,
            doing: "accepted no connection",
            limit: conversation.limits().connect,
        };
    }
    let reason = innermost(error);
    SourceError::Unreachable { url, reason }
}

/// Returns whether the connection was closed before a response arrived.
fn was_closed(error: &reqwest::Error) -> bool {
    let is_closed = |cause: &(dyn Error + 'static)| {
        let closed = cause.downcast_ref::<hyper::Error>();
        let broken = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        closed.is_some_and(hyper::Error::is_incomplete_message)
            || matches!(
                broken,
                Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
            )
    };
    !error.is_connect() && causes(error).any(is_closed)
}

/// Returns the most telling cause: the outer ones repeat the URL and name layers of the client.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let last = causes(error).last().unwrap_or(error);
    one_line(&last.to_string())
}

/// Walks from an error through its causes, including those inside an [`io::Error`], whose `source` skips the error that it
/// wraps.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| {
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}
