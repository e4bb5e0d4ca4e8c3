//! The proxy's thread: accepts, passes on, and strikes.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

use super::fault::Effect;
use super::{Proxied, Shared};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Error>;

/// What each connection needs.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) shared: Arc<Shared>,
    pub(super) client: reqwest::Client,
    pub(super) acceptor: Option<TlsAcceptor>,
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
        // An error here is a client that went away, or a cut that was asked for.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    /// Answers a request. An error closes the connection without an answer.
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, Error> {
        let method = request.method().clone();
        let uri = request
            .uri()
            .path_and_query()
            .map_or_else(String::new, ToString::to_string);
        let fault = self.shared.fault_for(method.as_str(), &uri);
        let record = |status: u16, passed_on: bool| {
            let seen = Proxied {
                method: method.to_string(),
                uri: uri.clone(),
                status,
                passed_on,
            };
            Shared::lock(&self.shared.seen).push(seen);
        };
        if let Some(fault) = &fault {
            tokio::time::sleep(fault.delay).await;
        }
        let effect = fault.map_or(Effect::None, |fault| fault.effect);
        match effect {
            Effect::Answer {
                status,
                headers,
                body,
            } => {
                record(status, false);
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                Ok(response.body(Full::new(body.into()).map_err(never).boxed_unsync())?)
            }
            Effect::Refuse => {
                record(0, false);
                Err("refused by a fault".into())
            }
            Effect::LoseAnswer => {
                let answer = self.pass_on(request).await?;
                let whole = answer.bytes().await;
                record(0, true);
                whole.map_err(Error::from)?;
                Err("answer lost by a fault".into())
            }
            Effect::None | Effect::CutAfter(_) => match self.pass_on(request).await {
                Ok(answer) => {
                    record(answer.status().as_u16(), true);
                    let limit = if let Effect::CutAfter(bytes) = effect {
                        Some(bytes)
                    } else {
                        None
                    };
                    Ok(self.pass_back(answer, limit))
                }
                Err(error) => {
                    record(0, false);
                    Err(error)
                }
            },
        }
    }

    async fn pass_on(&self, request: Request<Incoming>) -> Result<reqwest::Response, Error> {
        let (parts, body) = request.into_parts();
        let uri = parts.uri.path_and_query().map_or("/", |uri| uri.as_str());
        let body = body.collect().await?.to_bytes();
        let mut headers = parts.headers;
        remove_hop_by_hop(&mut headers);
        headers.remove(HOST);
        let request = self
            .client
            .request(parts.method, format!("{}{uri}", self.shared.upstream))
            .headers(headers);
        Ok(request.body(body).send().await?)
    }

    /// Streams an answer as it comes, until its end, its limit, or the next cut.
    fn pass_back(&self, mut answer: reqwest::Response, limit: Option<usize>) -> Response<Body> {
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        remove_hop_by_hop(response.headers_mut());
        let mut cut = self.shared.cut.subscribe();
        let (send, chunks) = mpsc::channel::<Result<Frame<Bytes>, Error>>(1);
        tokio::spawn(async move {
            let mut left = limit;
            loop {
                let chunk = tokio::select! {
                    chunk = answer.chunk() => chunk,
                    _ = cut.changed() => {
                        let _ = send.send(Err("cut by the test".into())).await;
                        return;
                    }
                    () = send.closed() => return,
                };
                let (frame, last) = match chunk {
                    Ok(None) => return,
                    Err(error) => (Err(error.into()), true),
                    Ok(Some(chunk)) => match &mut left {
                        Some(left) if chunk.len() >= *left => {
                            let _ = send.send(Ok(Frame::data(chunk.slice(..*left)))).await;
                            (Err("cut by a fault".into()), true)
                        }
                        left => {
                            if let Some(left) = left {
                                *left -= chunk.len();
                            }
                            (Ok(Frame::data(chunk)), false)
                        }
                    },
                };
                if send.send(frame).await.is_err() || last {
                    return;
                }
            }
        });
        let stream = futures::stream::unfold(chunks, |mut chunks| async {
            chunks.recv().await.map(|chunk| (chunk, chunks))
        });
        response.map(|()| StreamBody::new(stream).boxed_unsync())
    }
}

/// Headers about one connection, and about a body's length: each side says its own.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        headers.remove(name);
    }
}

fn never(never: Infallible) -> Error {
    match never {}
}
