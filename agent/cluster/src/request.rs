//! One request to the API server: building it, sending it until it is answered, and understanding a refusal.

mod refusal;

use std::{borrow::Cow, error::Error, fmt::Write as _, time::Duration};

use bytes::Bytes;
use http::{Method, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use pintle_core::causes::chain;
use serde_json::Value;
use tokio::{sync::SemaphorePermit, time::Instant};
use tower::timeout::error::Elapsed;

use self::refusal::refusal;
pub use self::refusal::{Cause, Refusal};
use crate::{
    connection::{Connection, TooMuch},
    retry,
};

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The server refused it.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The server did not answer in time, despite retries.
    #[error("the API server did not answer {request} within {limit:?}: is it overloaded?")]
    Timeout {
        /// The method and path.
        request: String,
        /// How long each attempt waited.
        limit: Duration,
    },
    /// The server has asked clients to pause for longer than a request waits. The request was not sent.
    #[error(
        "the API server is overloaded and has asked for a rest, of which {}s are left: {request} was not sent",
        .left.as_secs_f64().round().max(1.0)
    )]
    Resting {
        /// The method and path.
        request: String,
        /// How much of the pause is left.
        left: Duration,
    },
    /// There is no connection to the server.
    #[error("cannot reach the API server {server} for {request}: {detail}")]
    Unreachable {
        /// The server's address.
        server: String,
        /// The method and path.
        request: String,
        /// The network error.
        detail: String,
    },
    /// The request was not sent, or was abandoned: another replica may be at work.
    #[error(
        "{request} was held back: this replica's lease is not renewed, and another may have taken over"
    )]
    Fenced {
        /// The method and path.
        request: String,
    },
    /// No credentials are available, for example because a login program failed.
    #[error("cannot get credentials for the API server: {detail}")]
    Credentials {
        /// The client's error.
        detail: String,
    },
    /// The server does not say for certain whether it serves something.
    #[error("it is not known whether the API server serves {what}: {why}")]
    Uncertain {
        /// A kind, or the version of a group.
        what: String,
        /// Why it is not known.
        why: String,
    },
    /// The response is larger than the request allows, and was not read to its end.
    #[error("the answer to {request} has more than {most} bytes")]
    TooLarge {
        /// The method and path.
        request: String,
        /// The limit in bytes.
        most: usize,
    },
    /// The response is not what the API promises.
    #[error("the answer to {request} is malformed: {detail}")]
    Malformed {
        /// The method and path.
        request: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl RequestError {
    /// Returns the refusal, if the server refused the request.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Returns the HTTP status of a refusal.
    pub fn code(&self) -> Option<u16> {
        self.refusal().map(|refusal| refusal.code)
    }

    /// Returns whether the object or path does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Returns whether the object does not exist, although the path is served.
    pub fn is_absent(&self) -> bool {
        self.is_not_found() && !self.is_unserved()
    }

    /// Returns whether the path is not served. That says nothing about the object, which may exist at another version.
    pub fn is_unserved(&self) -> bool {
        self.refusal().is_some_and(Refusal::is_unserved)
    }

    /// Returns whether another client was faster, or owns a field.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Returns whether the account has no right to do this.
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// Returns whether the same request may succeed later without any change to it, which is so unless the error is known to be
    /// about the request itself. Tokens, rights and whatever stands before a server change without notice.
    pub fn is_retryable(&self) -> bool {
        self.refusal()
            .is_none_or(|refusal| !refusal.is_about_the_request())
    }

    /// Returns whether the request was refused after an earlier attempt got no clear answer.
    pub(crate) fn is_unsure(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.is_unsure)
    }

    /// Returns whether the request may have succeeded all the same: its outcome is unknown, or the server failed while handling
    /// it.
    fn leaves_open(&self) -> bool {
        match self {
            Self::Refused(refusal) => retry::leaves_open(refusal.code),
            Self::Timeout { .. } | Self::Unreachable { .. } => true,
            _ => false,
        }
    }

    /// Returns whether the same request may succeed in a moment. This does not hold for conditions that this replica has to wait
    /// out itself.
    fn may_pass(&self) -> bool {
        match self {
            Self::Refused(refusal) => retry::is_transient(refusal.code) && !refusal.is_misfit(),
            Self::Timeout { .. } | Self::Unreachable { .. } | Self::Uncertain { .. } => true,
            Self::Resting { .. }
            | Self::Fenced { .. }
            | Self::Credentials { .. }
            | Self::TooLarge { .. }
            | Self::Malformed { .. } => false,
        }
    }
}

/// A request that may be sent more than once: every request of this crate has the same effect however often it arrives.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: String,
    accept: &'static str,
    body: Option<(&'static str, Bytes)>,
    /// The largest accepted response, in bytes. The connection has a limit for all requests.
    most: usize,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: String::new(),
            accept: "application/json",
            body: None,
            most: usize::MAX,
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(name);
        self.query.push('=');
        self.query.push_str(&encode(value));
        self
    }

    pub(crate) fn body(mut self, content_type: &'static str, body: &Value) -> Self {
        self.body = Some((content_type, body.to_string().into()));
        self
    }

    /// Sets the limit on the response size.
    pub(crate) fn at_most(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }

    /// Returns whether the request only reads. A dry run does not count: it is judged like the write that it tries.
    fn is_read(&self) -> bool {
        self.method == Method::GET
    }

    /// Returns the method and path for messages.
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn request(
        &self,
        headers: &http::HeaderMap,
    ) -> Result<http::Request<kube::client::Body>, RequestError> {
        let uri = if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, self.query)
        };
        let mut request = http::Request::builder()
            .method(self.method.clone())
            .uri(uri)
            .header(header::ACCEPT, self.accept);
        let (content_type, body) = self.body.clone().unzip();
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(all) = request.headers_mut() {
            all.extend(
                headers
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
        }
        request
            .body(kube::client::Body::from(body.unwrap_or_default()))
            .map_err(|error| RequestError::Malformed {
                request: self.name(),
                detail: error.to_string(),
            })
    }
}

/// The response to one attempt.
struct Answer {
    code: u16,
    retry_after: Option<Duration>,
    body: Bytes,
}

impl Answer {
    fn json(&self, call: &Call) -> Result<Value, RequestError> {
        serde_json::from_slice(&self.body).map_err(|error| RequestError::Malformed {
            request: call.name(),
            detail: error.to_string(),
        })
    }
}

impl Connection {
    /// Sends a request until it is answered, and parses the response as JSON.
    pub(crate) async fn call(&self, call: &Call) -> Result<Value, RequestError> {
        self.call_with_code(call).await.map(|(_, value)| value)
    }

    /// Like [`Connection::call`], with the HTTP status: 201 means that an apply created the object.
    pub(crate) async fn call_with_code(&self, call: &Call) -> Result<(u16, Value), RequestError> {
        let answer = self.answered(call).await?;
        Ok((answer.code, answer.json(call)?))
    }

    /// Like [`Connection::call`], with the size of the response in bytes.
    pub(crate) async fn call_with_size(&self, call: &Call) -> Result<(usize, Value), RequestError> {
        let answer = self.answered(call).await?;
        Ok((answer.body.len(), answer.json(call)?))
    }

    /// Sends a request for text once, without retries, as befits a log.
    pub(crate) async fn call_text_once(&self, call: &Call) -> Result<String, RequestError> {
        let answer = self.attempt(call).await?;
        if answer.code >= 400 {
            return Err(RequestError::Refused(Box::new(refusal(call, &answer))));
        }
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    async fn answered(&self, call: &Call) -> Result<Answer, RequestError> {
        let mut attempt = 1;
        let mut is_unsure = false;
        loop {
            let (error, wish) = match self.attempt(call).await {
                Ok(answer) if answer.code < 400 => return Ok(answer),
                Ok(answer) => {
                    let wish = answer.retry_after;
                    if answer.code == 429 {
                        self.pressure().rest(self.identity(), wish, Instant::now());
                    }
                    let refusal = Refusal {
                        is_unsure,
                        ..refusal(call, &answer)
                    };
                    (RequestError::Refused(Box::new(refusal)), wish)
                }
                Err(error) => (error, None),
            };
            let pause = error
                .may_pass()
                .then(|| retry::pause(attempt, wish, rand::random()))
                .flatten();
            let Some(pause) = pause else {
                return Err(error);
            };
            is_unsure |= error.leaves_open();
            tracing::debug!(attempt, ?pause, %error, "sending again");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Waits until a request may be sent: there are not too many in flight, and the server has not asked for a pause.
    async fn turn(&self, call: &Call) -> Result<SemaphorePermit<'_>, RequestError> {
        loop {
            let passed = self.pressure().pass(self.identity()).await;
            passed.map_err(|left| RequestError::Resting {
                request: call.name(),
                left,
            })?;
            let permit = self.permit().await;
            // A request that pauses must not hold a permit that others need.
            let left = self.pressure().left(self.identity(), Instant::now());
            if left.is_none() {
                return Ok(permit);
            }
        }
    }

    async fn attempt(&self, call: &Call) -> Result<Answer, RequestError> {
        let request = call.request(self.identity_headers())?;
        let limit = self.request_timeout();
        let _permit = self.turn(call).await?;
        let exchange = async {
            let response = self
                .client()
                .send(request)
                .await
                .map_err(|error| transport(self.server(), call, limit, &error))?;
            let code = response.status().as_u16();
            self.clock().told(response.headers().get(header::DATE));
            let retry_after = retry::retry_after(response.headers().get(header::RETRY_AFTER));
            let body = Limited::new(response.into_body(), call.most)
                .collect()
                .await;
            let body = body.map_err(|error| broken_off(self.server(), call, &*error))?;
            Ok(Answer {
                code,
                retry_after,
                body: body.to_bytes(),
            })
        };
        let bounded = tokio::time::timeout(limit, exchange);
        let result = match self.fence().filter(|_| !call.is_read()) {
            None => bounded.await,
            Some(fence) => tokio::select! {
                biased;
                () = fence.closes() => {
                    return Err(RequestError::Fenced { request: call.name() });
                }
                result = bounded => result,
            },
        };
        result.unwrap_or_else(|_| {
            Err(RequestError::Timeout {
                request: call.name(),
                limit,
            })
        })
    }
}

fn transport(server: &str, call: &Call, limit: Duration, error: &kube::Error) -> RequestError {
    match error {
        // The client has the same timeout, and may notice first.
        kube::Error::Service(error) if error.is::<Elapsed>() => RequestError::Timeout {
            request: call.name(),
            limit,
        },
        kube::Error::Auth(error) => RequestError::Credentials {
            detail: chain(error),
        },
        other => RequestError::Unreachable {
            server: server.to_owned(),
            request: call.name(),
            detail: chain(other),
        },
    }
}

/// Returns the error for a response that began but was not read to its end.
fn broken_off(
    server: &str,
    call: &Call,
    error: &(dyn Error + Send + Sync + 'static),
) -> RequestError {
    if let Some(most) = exceeded(call, error) {
        return RequestError::TooLarge {
            request: call.name(),
            most,
        };
    }
    RequestError::Unreachable {
        server: server.to_owned(),
        request: call.name(),
        detail: chain(error),
    }
}

/// Returns the limit that a response exceeded, if that is why it was not read to its end.
fn exceeded(call: &Call, error: &(dyn Error + 'static)) -> Option<usize> {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.find_map(|cause| {
        let bound = cause.downcast_ref::<TooMuch>().map(|bound| bound.most);
        bound.or_else(|| cause.is::<LengthLimitError>().then_some(call.most))
    })
}

/// Encodes text as one path segment or as a query value (RFC 3986: all but unreserved characters and `:`).
pub(crate) fn encode(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string");
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn refused(call: &Call, code: u16, body: &str) -> RequestError {
        let answer = Answer {
            code,
            retry_after: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        RequestError::Refused(Box::new(refusal(call, &answer)))
    }

    fn read(code: u16, body: &str) -> RequestError {
        refused(&Call::get("/api/v1/namespaces/shop"), code, body)
    }

    #[test]
    fn a_refusal_says_what_was_asked_and_what_was_answered() {
        let body = r#"{"kind":"Status","reason":"NotFound","message":"namespaces \"shop\" not found","details":{"name":"shop"},"code":404}"#;
        assert_snapshot!(read(404, body), @r#"the API server answered GET /api/v1/namespaces/shop with 404 NotFound: namespaces "shop" not found"#);
        assert!(read(404, body).is_not_found() && !read(404, body).may_pass());
    }

    #[test]
    fn a_path_that_is_not_served_says_nothing_about_an_object() {
        let absent = read(
            404,
            r#"{"kind":"Status","details":{"name":"shop","kind":"namespaces"}}"#,
        );
        assert!(absent.is_absent() && !absent.is_unserved());
        // Built-in kinds, and kinds from definitions.
        let built_in = r#"{"kind":"Status","message":"the server could not find the requested resource","details":{}}"#;
        for body in [built_in, "404 page not found\n"] {
            assert!(read(404, body).is_unserved() && !read(404, body).is_absent());
        }
        assert!(!read(403, "").is_unserved());
    }

    #[test]
    fn an_answer_that_is_not_from_kubernetes_is_shown_as_it_is() {
        assert_snapshot!(read(502, "<html>bad gateway</html>\n"), @"the API server answered GET /api/v1/namespaces/shop with 502: <html>bad gateway</html>");
        assert_snapshot!(read(503, ""), @"the API server answered GET /api/v1/namespaces/shop with 503");
        assert!(read(502, "").may_pass());
    }

    #[test]
    fn what_is_not_about_the_request_may_succeed_later_and_some_of_it_in_a_moment() {
        for code in [408, 425, 429, 500, 502, 503, 504, 522] {
            assert!(read(code, "").may_pass(), "{code}");
        }
        for code in [401, 403, 404, 409, 410, 501] {
            let refused = read(code, "");
            assert!(refused.is_retryable() && !refused.may_pass(), "{code}");
        }
        for code in [400, 405, 406, 413, 415, 422] {
            let refused = read(code, "");
            assert!(!refused.is_retryable() && !refused.may_pass(), "{code}");
        }
        let misfit =
            r#"{"kind":"Status","message":"failed to create typed patch object: x","code":500}"#;
        assert!(!read(500, misfit).is_retryable() && !read(500, misfit).may_pass());
        let malformed = RequestError::Malformed {
            request: "GET /api".to_owned(),
            detail: "expected value at line 1 column 1".to_owned(),
        };
        assert!(malformed.is_retryable() && !malformed.may_pass());
    }

    #[test]
    fn whoever_forbids_a_read_it_is_not_admission() {
        let is_denial = |method: Method| {
            let error = refused(&Call::new(method, "/p"), 403, "<html>forbidden</html>");
            error.refusal().is_some_and(Refusal::is_denial)
        };
        assert!(is_denial(Method::PATCH) && is_denial(Method::DELETE));
        assert!(!is_denial(Method::GET));
    }

    #[test]
    fn names_are_encoded_where_they_must_be() {
        assert_eq!(encode("system:node-a.b_c~"), "system:node-a.b_c~");
        assert_eq!(encode("a b/ü"), "a%20b%2F%C3%BC");
        let call = Call::get("/p")
            .query("labelSelector", "a=b,c")
            .query("limit", "1");
        let request = call.request(&http::HeaderMap::new()).unwrap();
        assert_eq!(request.uri(), "/p?labelSelector=a%3Db%2Cc&limit=1");
    }
}
