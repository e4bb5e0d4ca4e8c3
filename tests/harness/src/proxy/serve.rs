//! The proxy's thread: accepts connections, forwards requests, and applies faults.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

use super::fault::Effect;
use super::passing::Passing;
use super::{Answered, Proxied, Shared};

pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Error>;

/// The state that each connection needs.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) shared: Arc<Shared>,
    pub(super) client: reqwest::Client,
    pub(super) acceptor: Option<TlsAcceptor>,
}

/// Counts a request as in flight from its arrival until it is recorded.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Serving {
    /// Serves until `stopped` is sent or dropped.
    pub(super) async fn run(self, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
            return;
        };
        loop {
            let connection = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = &mut stopped => return,
            };
            let Ok((stream, _)) = connection else {
                continue;
            };
            let serving = self.clone();
            tokio::spawn(async move {
                match serving.acceptor.clone() {
                    None => serving.connection(stream).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serving.connection(stream).await;
                        }
                    }
                }
            });
        }
    }

    async fn connection(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(|request| self.clone().answer(request));
        // An error here is a client that went away, or a cut that was requested.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    /// Answers a request. An error closes the connection without an answer.
    ///
    /// This runs in a task of its own: a request whose client is gone is still forwarded and recorded.
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, Error> {
        let under_way = UnderWay::begin(&self.shared);
        let answering = tokio::spawn(async move {
            let answer = self.answer_whole(request).await;
            drop(under_way);
            answer
        });
        answering.await?
    }

    async fn answer_whole(self, request: Request<Incoming>) -> Result<Response<Body>, Error> {
        let arrived = Instant::now();
        let (parts, body) = request.into_parts();
        let uri = parts
            .uri
            .path_and_query()
            .map_or_else(|| "/".to_owned(), ToString::to_string);
        let fault = self.shared.fault_for(parts.method.as_str(), &uri);
        let record = |status: u16, passed_on: Option<&Bytes>, answered: Option<Answered>| {
            let seen = Proxied {
                method: parts.method.to_string(),
                uri: uri.clone(),
                arrived,
                status,
                passed_on: passed_on.is_some(),
                answered,
                body: passed_on.cloned().unwrap_or_default(),
            };
            Shared::lock(&self.shared.seen).push(seen);
        };
        // The body is read before any delay, because a client that has sent all of it may be gone afterwards.
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                record(0, None, None);
                return Err(error.into());
            }
        };
        if let Some(fault) = &fault {
            tokio::time::sleep(fault.delay).await;
        }
        let pace = fault.as_ref().map(|fault| fault.pace).unwrap_or_default();
        let effect = fault.map_or(Effect::None, |fault| fault.effect);
        let rewind = match &effect {
            Effect::Answer {
                status,
                headers,
                body,
            } => {
                record(*status, None, None);
                let mut response = Response::builder().status(*status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                let body = Full::new(Bytes::from(body.clone()));
                return Ok(response.body(body.map_err(never).boxed_unsync())?);
            }
            Effect::Refuse => {
                record(0, None, None);
                return Err("refused by a fault".into());
            }
            Effect::Rewind(versions) => *versions,
            _ => 0,
        };
        let answer = self.pass_on(&parts, &uri, body.clone(), rewind).await;
        let answered = answer.as_ref().ok().map(|answer| Answered {
            status: answer.status().as_u16(),
            at: Instant::now(),
        });
        if effect == Effect::LoseAnswer {
            record(0, Some(&body), answered);
            answer?.bytes().await?;
            return Err("answer lost by a fault".into());
        }
        let status = answered.map_or(0, |answered| answered.status);
        record(status, Some(&body), answered);
        let mut passing = Passing::whole(is_watch(&uri), pace);
        match effect {
            Effect::CutAfter(bytes) => passing.cut_after = Some(bytes),
            Effect::ExpireAfter(events) => passing.expire_after = Some(events),
            _ => {}
        }
        Ok(self.pass_back(answer?, passing))
    }

    /// Sends a request to the real server, and returns its answer.
    async fn pass_on(
        &self,
        parts: &Parts,
        uri: &str,
        body: Bytes,
        rewind: u64,
    ) -> Result<reqwest::Response, Error> {
        let uri = rewound(uri, rewind);
        let mut headers = parts.headers.clone();
        remove_hop_by_hop(&mut headers);
        headers.remove(HOST);
        let request = self
            .client
            .request(
                parts.method.clone(),
                format!("{}{uri}", self.shared.upstream),
            )
            .headers(headers);
        Ok(request.body(body).send().await?)
    }

    /// Streams an answer as it arrives, until its end, its limit, or the end of all answers.
    fn pass_back(&self, answer: reqwest::Response, passing: Passing) -> Response<Body> {
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        remove_hop_by_hop(response.headers_mut());
        let (send, chunks) = mpsc::channel::<Result<Frame<Bytes>, Error>>(1);
        tokio::spawn(passing.run(answer, self.shared.end.subscribe(), send));
        let stream = futures::stream::unfold(chunks, |mut chunks| async {
            chunks.recv().await.map(|chunk| (chunk, chunks))
        });
        response.map(|()| StreamBody::new(stream).boxed_unsync())
    }
}

fn is_watch(uri: &str) -> bool {
    uri.contains("watch=1") || uri.contains("watch=true")
}

/// Moves back the position from which a watch is resumed. Positions are numbers in every existing API server.
fn rewound(uri: &str, versions: u64) -> Cow<'_, str> {
    const PARAMETER: &str = "resourceVersion=";
    if versions == 0 || !is_watch(uri) {
        return Cow::Borrowed(uri);
    }
    let Some(start) = uri.find(PARAMETER).map(|start| start + PARAMETER.len()) else {
        return Cow::Borrowed(uri);
    };
    let end = uri[start..].find('&').map_or(uri.len(), |end| start + end);
    match uri[start..end].parse::<u64>() {
        Ok(position) if position > versions => Cow::Owned(format!(
            "{}{}{}",
            &uri[..start],
            position - versions,
            &uri[end..]
        )),
        _ => Cow::Borrowed(uri),
    }
}

/// Removes the headers about one connection and about a body's length: each side sets its own.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        headers.remove(name);
    }
}

fn never(never: Infallible) -> Error {
    match never {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_position_of_a_watch_is_moved() {
        let watch = "/api/v1/pods?watch=true&resourceVersion=120&timeoutSeconds=290";
        assert_eq!(
            rewound(watch, 20),
            "/api/v1/pods?watch=true&resourceVersion=100&timeoutSeconds=290"
        );
        for same in [
            "/api/v1/pods?resourceVersion=120",
            "/api/v1/pods?watch=true",
            "/api/v1/pods?watch=true&resourceVersion=7",
            "/api/v1/pods?watch=true&resourceVersion=",
        ] {
            assert_eq!(rewound(same, 20), same);
        }
    }
}
