//! A bound on how much memory an API server's responses may take.
//!
//! Anyone who may write a Secret can name a cluster for applications, and that cluster may be a server that sends without end. A
//! normal response is held in memory as a whole, and a watch one line, that is one event, at a time.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture};
use http::{Request, Response};
use http_body_util::{BodyExt as _, BodyStream, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

/// The largest response or event that is read. A list page is far smaller, and a broken server must not fill the memory.
const ANSWER_LIMIT: usize = 64 << 20;

/// An error: a response or an event was too large and not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} has more than {} MiB", .most >> 20)]
pub(crate) struct TooMuch {
    what: &'static str,
    /// The limit in bytes.
    pub(crate) most: usize,
}

/// Bounds the responses to all requests, whoever sends them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound;

impl<S> Layer<S> for Bound {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded(inner)
    }
}

/// See [`Bound`].
#[derive(Debug, Clone)]
pub(super) struct Bounded<S>(S);

impl<S, B> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let query = request.uri().query().unwrap_or_default();
        let is_watch = query.split('&').any(|part| part == "watch=true");
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            // A refused watch is answered like any other request.
            let is_watch = is_watch && answer.status().is_success();
            Ok(answer.map(|body| bounded(body, is_watch)))
        })
    }
}

fn bounded<B>(body: B, is_watch: bool) -> UnsyncBoxBody<Bytes, BoxError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut kept = 0;
    let frames = BodyStream::new(body).map(move |frame| {
        let frame = frame.map_err(Into::<BoxError>::into)?;
        if let Some(data) = frame.data_ref() {
            kept = match data.iter().rposition(|byte| *byte == b'\n') {
                Some(end) if is_watch => data.len() - end - 1,
                _ => kept + data.len(),
            };
        }
        if kept > ANSWER_LIMIT {
            let what = if is_watch { "an event" } else { "the answer" };
            let most = ANSWER_LIMIT;
            return Err(BoxError::from(TooMuch { what, most }));
        }
        Ok(frame)
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::{
        connection::{Connection, Options},
        reader::paging::page,
    };
    use futures::stream;
    use http_body::Frame;

    /// Reads from a server that sends pieces of one mebibyte, each ending with `end`. Returns how many pieces arrived before the
    /// response broke off, and why it did.
    async fn read(query: &str, end: u8) -> (usize, Option<String>) {
        let server = tower::service_fn(move |_: Request<Body>| async move {
            let mut piece = vec![b' '; 1 << 20];
            piece[(1 << 20) - 1] = end;
            let piece = Bytes::from(piece);
            let frames = stream::repeat_with(move || Ok::<_, BoxError>(Frame::data(piece.clone())));
            Ok::<_, BoxError>(Response::new(StreamBody::new(frames.take(100))))
        });
        let request = Request::get(format!("/api/v1/pods?{query}"));
        let request = request.body(Body::empty()).unwrap();
        let answer = Bound.layer(server).call(request).await.unwrap();
        let mut frames = std::pin::pin!(BodyStream::new(answer.into_body()));
        let mut count = 0;
        while let Some(frame) = frames.next().await {
            match frame {
                Ok(_) => count += 1,
                Err(error) => return (count, Some(error.to_string())),
            }
        }
        (count, None)
    }

    #[tokio::test]
    async fn an_answer_has_an_end_and_so_has_each_event_of_a_watch() {
        let broken = |what: &str| Some(format!("{what} has more than 64 MiB"));
        assert_eq!(read("limit=5", b'\n').await, (64, broken("the answer")));
        assert_eq!(read("watch=true", b' ').await, (64, broken("an event")));
        assert_eq!(read("limit=5&watch=true", b'\n').await, (100, None));
    }

    #[tokio::test]
    async fn what_has_no_end_is_not_asked_for_again_but_by_fewer_objects() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let server = tower::service_fn(move |_: Request<Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move {
                let piece = Bytes::from(vec![b' '; 1 << 20]);
                let frame = move || Ok::<_, BoxError>(Frame::data(piece.clone()));
                let frames = stream::repeat_with(frame);
                Ok::<_, BoxError>(Response::new(StreamBody::new(frames)))
            }
        });
        let client = kube::Client::new(Bound.layer(server), "default");
        let connection = Connection::with_client(client, &Options::default(), None, String::new());
        let error = connection.version().await.unwrap_err().to_string();
        let expected = "the answer to GET /version has more than 67108864 bytes";
        assert_eq!(error, expected);
        assert_eq!(asked.swap(0, Ordering::Relaxed), 1);
        page(&connection, "/api/v1/pods", None, None)
            .await
            .unwrap_err();
        // The limits were 500, 125, 31, 7 and 1.
        assert_eq!(asked.load(Ordering::Relaxed), 5);
    }
}
