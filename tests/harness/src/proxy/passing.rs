//! How an answer's body is forwarded: as it arrives, slowly, or not to its end.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::Frame;
use tokio::sync::{mpsc, watch};

use super::End;
use super::serve::Error;

/// The event that the API server sends in a watch whose position etcd has compacted.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#410-gone-responses>
const EXPIRED: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version","reason":"Expired","code":410}}"#,
    "\n"
);

type Sender = mpsc::Sender<Result<Frame<Bytes>, Error>>;

/// How one answer's body is forwarded.
pub(super) struct Passing {
    is_watch: bool,
    pace: Duration,
    pub(super) cut_after: Option<usize>,
    pub(super) expire_after: Option<usize>,
    /// In a watch, the part of the next event that has arrived.
    begun: BytesMut,
}

impl Passing {
    /// Forwards the whole body, with a pause before each piece.
    pub(super) fn whole(is_watch: bool, pace: Duration) -> Self {
        Self {
            is_watch,
            pace,
            cut_after: None,
            expire_after: None,
            begun: BytesMut::new(),
        }
    }

    /// Forwards a body until its end, its limit, or the end of all answers.
    pub(super) async fn run(
        mut self,
        mut answer: reqwest::Response,
        mut end: watch::Receiver<Option<End>>,
        send: Sender,
    ) {
        loop {
            let chunk = tokio::select! {
                chunk = answer.chunk() => chunk,
                Ok(()) = end.changed() => {
                    let ended = *end.borrow_and_update();
                    match ended {
                        Some(End::Expired) if self.is_watch => expire(&send).await,
                        Some(End::Expired) | None => continue,
                        Some(End::Cut) => cut(&send, "cut by the test").await,
                    }
                    return;
                }
                () = send.closed() => return,
            };
            let pieces = match chunk {
                Ok(Some(chunk)) => self.pieces(chunk),
                Ok(None) => {
                    let rest = std::mem::take(&mut self.begun).freeze();
                    if !rest.is_empty() {
                        let _ = send.send(Ok(Frame::data(rest))).await;
                    }
                    return;
                }
                Err(error) => {
                    let _ = send.send(Err(error.into())).await;
                    return;
                }
            };
            for piece in pieces {
                if !self.pass(piece, &send).await {
                    return;
                }
            }
        }
    }

    /// Splits a watch into its events, one per line: what is inserted between events must not end up inside one.
    fn pieces(&mut self, chunk: Bytes) -> Vec<Bytes> {
        if !self.is_watch {
            return vec![chunk];
        }
        self.begun.extend_from_slice(&chunk);
        let mut pieces = Vec::new();
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            pieces.push(self.begun.split_to(end + 1).freeze());
        }
        pieces
    }

    /// Forwards one piece. Returns whether there is more to come.
    async fn pass(&mut self, piece: Bytes, send: &Sender) -> bool {
        if self.expire_after == Some(0) {
            expire(send).await;
            return false;
        }
        if !self.pace.is_zero() {
            tokio::time::sleep(self.pace).await;
        }
        let shortened = match &mut self.cut_after {
            Some(left) if piece.len() >= *left => Some(piece.slice(..*left)),
            Some(left) => {
                *left -= piece.len();
                None
            }
            None => None,
        };
        if let Some(piece) = shortened {
            let _ = send.send(Ok(Frame::data(piece))).await;
            cut(send, "cut by a fault").await;
            return false;
        }
        if let Some(left) = &mut self.expire_after {
            *left -= 1;
        }
        send.send(Ok(Frame::data(piece))).await.is_ok()
    }
}

/// Sends the expiry event. A client that has gone away in the meantime does not need it.
async fn expire(send: &Sender) {
    let _ = send
        .send(Ok(Frame::data(Bytes::from_static(EXPIRED.as_bytes()))))
        .await;
}

async fn cut(send: &Sender, why: &str) {
    let _ = send.send(Err(why.into())).await;
}
