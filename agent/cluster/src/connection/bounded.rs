//! A bound on what an API server may make the agent keep.
//!
//! Clusters of applications are named by whoever may write a Secret: one may be a server that answers without an end, or with
//! what takes a hundred times as much memory once it is read. What is kept of an answer is all of it, and of a watch one
//! line: an event.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, BodyStream, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use tokio::time::timeout_at;
use tower::{BoxError, Layer, Service};

use super::{
    room::{FREE, Held, Room},
    weight::Scale,
};

/// The largest answer, and event, that is read: a list page is far below, and a broken server must not fill the memory.
const ANSWER_LIMIT: usize = 64 << 20;

/// What the largest answer of another cluster takes in memory: the list of all kinds is below, as is a page of a list.
const ANSWER_WEIGHT: usize = 64 << 20;

/// What the largest event of another cluster takes in memory: it is one object, and several of them wait to be looked at.
const EVENT_WEIGHT: usize = 32 << 20;

/// An answer, or an event, was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} has more than {} MiB{}", .most >> 20, if *.in_memory { " in memory" } else { "" })]
pub(crate) struct TooMuch {
    what: &'static str,
    /// Bytes that it may have.
    pub(crate) most: usize,
    /// Whether they are counted as it is in memory, rather than as it was sent.
    pub(crate) in_memory: bool,
}

/// A large answer, or event, keeps others waiting.
#[derive(Debug, thiserror::Error)]
#[error("{0} is large, and has not come as a whole within the time that is left to it")]
struct TooSlow(&'static str);

/// Bounds the answers of all requests, whoever sends them.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    /// Where the answers of another cluster are kept. What one's own cluster answers is trusted, and is not weighed.
    pub(super) room: Option<Room>,
}

impl<S> Layer<S> for Bound {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded {
            inner,
            room: self.room.clone(),
        }
    }
}

/// See [`Bound`].
#[derive(Debug, Clone)]
pub(super) struct Bounded<S> {
    inner: S,
    room: Option<Room>,
}

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
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let query = request.uri().query().unwrap_or_default();
        let is_watch = query.split('&').any(|part| part == "watch=true");
        let answer = self.inner.call(request);
        let room = self.room.clone();
        Box::pin(async move {
            let mut answer = answer.await?;
            // A refused watch is answered like anything else.
            let is_watch = is_watch && answer.status().is_success();
            let Some(room) = room else {
                return Ok(answer.map(|body| bounded(body, is_watch)));
            };
            let held = Held::default();
            // For whoever parses it.
            answer.extensions_mut().insert(held.clone());
            Ok(answer.map(|body| weighed(body, is_watch, room, held)))
        })
    }
}

fn named(is_watch: bool) -> &'static str {
    if is_watch { "an event" } else { "the answer" }
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
            return Err(BoxError::from(TooMuch {
                what: named(is_watch),
                most: ANSWER_LIMIT,
                in_memory: false,
            }));
        }
        Ok(frame)
    });
    StreamBody::new(frames).boxed_unsync()
}

fn weighed<B>(body: B, is_watch: bool, room: Room, held: Held) -> UnsyncBoxBody<Bytes, BoxError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let reading = Reading {
        frames: Box::pin(BodyStream::new(body)),
        is_watch,
        scale: Scale::default(),
        kept: 0,
        room,
        held,
    };
    StreamBody::new(stream::try_unfold(reading, Reading::next)).boxed_unsync()
}

/// An answer of another cluster that is being read.
struct Reading<B> {
    frames: Pin<Box<BodyStream<B>>>,
    is_watch: bool,
    scale: Scale,
    /// What is kept of it weighs this much.
    kept: usize,
    room: Room,
    held: Held,
}

impl<B> Reading<B>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async fn next(mut self) -> Result<Option<(Frame<Bytes>, Self)>, BoxError> {
        // Who asks for more has done with the events before it.
        if self.is_watch && self.kept <= FREE {
            self.held.let_go();
        }
        let Some(frame) = self.frame().await? else {
            return Ok(None);
        };
        if let Some(data) = frame.data_ref() {
            self.weigh(data).await?;
        }
        Ok(Some((frame, self)))
    }

    async fn frame(&mut self) -> Result<Option<Frame<Bytes>>, BoxError> {
        let until = self.held.until();
        let next = self.frames.next();
        let frame = match until {
            None => next.await,
            Some(until) => timeout_at(until, next)
                .await
                .map_err(|_| TooSlow(named(self.is_watch)))?,
        };
        frame.transpose().map_err(Into::into)
    }

    /// Waits until there is room for what is kept with this data.
    async fn weigh(&mut self, data: &[u8]) -> Result<(), BoxError> {
        let mut heaviest = 0;
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            self.kept += self.scale.weigh(line);
            heaviest = heaviest.max(self.kept);
            if self.is_watch && line.ends_with(b"\n") {
                self.kept = 0;
            }
        }
        let most = if self.is_watch {
            EVENT_WEIGHT
        } else {
            ANSWER_WEIGHT
        };
        if heaviest > most {
            return Err(BoxError::from(TooMuch {
                what: named(self.is_watch),
                most,
                in_memory: true,
            }));
        }
        if heaviest > FREE {
            self.held.take(&self.room).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use futures::FutureExt as _;

    use super::*;
    use crate::{
        connection::{Connection, Options},
        reader::paging::page,
    };

    /// The bound of the agent's own cluster.
    const HOME: Bound = Bound { room: None };

    fn remote() -> Bound {
        let room = Some(Room::default());
        Bound { room }
    }

    /// Reads what a server sends in pieces of a mebibyte, each ending like this; says how many there were before it broke
    /// off, and why.
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
        let answer = HOME.layer(server).call(request).await.unwrap();
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
        let client = kube::Client::new(HOME.layer(server), "default");
        let connection = Connection::with_client(client, &Options::default(), None, String::new());
        let error = connection.version().await.unwrap_err().to_string();
        let expected = "the answer to GET /version has more than 67108864 bytes";
        assert_eq!(error, expected);
        assert_eq!(asked.swap(0, Ordering::Relaxed), 1);
        page(&connection, "/api/v1/pods", None, None)
            .await
            .unwrap_err();
        // Of 500, 125, 31, 7, and one.
        assert_eq!(asked.load(Ordering::Relaxed), 5);
    }

    /// Makes a connection to a server that answers each request with so many times a piece between two others, in frames.
    fn server(bound: &Bound, around: [&'static str; 2], piece: &str, times: usize) -> Connection {
        let piece = Bytes::from(piece.repeat(1000));
        let server = tower::service_fn(move |_: Request<Body>| {
            let pieces = vec![piece.clone(); times / 1000];
            let [before, after] = around.map(|part| Bytes::from_static(part.as_bytes()));
            let all = [vec![before], pieces, vec![after]].concat();
            let frames = all
                .into_iter()
                .map(|data| Ok::<_, BoxError>(Frame::data(data)));
            let body = StreamBody::new(stream::iter(frames));
            async move { Ok::<_, BoxError>(Response::new(body)) }
        });
        let client = kube::Client::new(bound.layer(server), "default");
        Connection::with_client(client, &Options::default(), None, String::new())
    }

    #[tokio::test]
    async fn what_another_cluster_answers_is_bounded_in_memory() {
        let (zeros, objects) = (["[", "0]"], [r#"{"x":["#, "{}]}"]);
        for (around, piece, times) in [(zeros, "0,", 1_000_000), (objects, r#"{"":0},"#, 100_000)] {
            let error = server(&remote(), around, piece, times).version().await;
            let expected = "the answer to GET /version has more than 67108864 bytes in memory";
            assert_eq!(error.unwrap_err().to_string(), expected);
            server(&HOME, around, piece, times).version().await.unwrap();
            server(&remote(), around, piece, times / 10)
                .version()
                .await
                .unwrap();
        }
    }

    /// Reads events of a watch that come in one frame each; says why they broke off.
    async fn events(bound: &Bound, events: Vec<String>) -> Option<String> {
        let server = tower::service_fn(move |_: Request<Body>| {
            let frames = events.clone().into_iter();
            let frames = frames.map(|event| Ok::<_, BoxError>(Frame::data(Bytes::from(event))));
            let body = StreamBody::new(stream::iter(frames));
            async move { Ok::<_, BoxError>(Response::new(body)) }
        });
        let request = Request::get("/api/v1/pods?watch=true");
        let request = request.body(Body::empty()).unwrap();
        let answer = bound.layer(server).call(request).await.unwrap();
        answer
            .into_body()
            .collect()
            .await
            .err()
            .map(|error| error.to_string())
    }

    #[tokio::test]
    async fn each_event_of_another_cluster_is_bounded_in_memory_and_all_together_are_not() {
        let large = format!(r#"{{"object":[{}0],"type":"ADDED"}}"#, "{},".repeat(20_000));
        let line = format!("{large}\n");
        assert_eq!(events(&remote(), vec![line.clone(); 10]).await, None);
        let expected = Some("an event has more than 32 MiB in memory".to_owned());
        assert_eq!(events(&remote(), vec![large; 10]).await, expected);
        // A line that is malformed hides nothing of the next one.
        let both = vec!["\"\n".to_owned(), line.trim_end().repeat(10)];
        assert_eq!(events(&remote(), both).await, expected);
    }

    #[tokio::test]
    async fn who_keeps_a_large_answer_keeps_its_place() {
        let bound = remote();
        let room = bound.room.clone().expect("it is another cluster's");
        let connection = server(&bound, [r#"{"items":["#, "{}]}"], "{},", 1000);
        let read = async || page(&connection, "/api/v1/pods", None, None).await.unwrap();
        let (one, two) = (read().await, read().await);
        assert!(one.held.is_some() && two.held.is_some());
        let next = Held::default();
        let mut waiting = Box::pin(next.take(&room));
        assert!(waiting.as_mut().now_or_never().is_none(), "both are kept");
        drop(one);
        let waiting = tokio::time::timeout(Duration::from_mins(1), waiting);
        waiting.await.expect("the place is free again");
    }
}
