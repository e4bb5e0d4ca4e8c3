//! Readers and writers for what is received and sent.

use std::{
    io::{self, BufRead, Cursor, Read, Write},
    sync::{Arc, Mutex, PoisonError},
};

use reqwest::{
    Response,
    header::{CONTENT_TYPE, HeaderValue},
};

use super::exchange::{Exchange, innermost};
use crate::{error::SourceError, transport::Conversation};

/// The response, once it is asked for: gix takes the reader before it has written the request's body.
pub(super) struct Received {
    conversation: Arc<Conversation>,
    state: Mutex<State>,
}

enum State {
    /// The request, with its body so far.
    Pending(Option<Exchange>, Vec<u8>),
    Ready(Response),
    Failed,
}

impl Received {
    pub(super) fn ready(response: Response, conversation: Arc<Conversation>) -> Arc<Self> {
        Arc::new(Self {
            conversation,
            state: Mutex::new(State::Ready(response)),
        })
    }

    pub(super) fn pending(exchange: Exchange, conversation: Arc<Conversation>) -> Arc<Self> {
        Arc::new(Self {
            conversation,
            state: Mutex::new(State::Pending(Some(exchange), Vec::new())),
        })
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&mut Response, &Conversation) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Pending(exchange, body) = &mut *state {
            let (exchange, body) = (exchange.take(), std::mem::take(body));
            *state = State::Failed;
            let mut exchange = exchange.ok_or(io::ErrorKind::NotConnected)?;
            exchange.request = exchange.request.body(body);
            let response = exchange.send()?;
            if response.status().is_redirection() {
                let reason = "it redirects a request that has a body".to_owned();
                return Err(self.conversation.give_up(SourceError::Protocol {
                    url: self.conversation.url(),
                    reason,
                }));
            }
            *state = State::Ready(response);
        }
        match &mut *state {
            State::Ready(response) => act(response, &self.conversation),
            State::Pending(..) | State::Failed => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// The body of a request.
pub(super) struct Upload(pub(super) Arc<Received>);

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Pending(_, body) => {
                body.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            State::Ready(_) | State::Failed => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The headers of a response, as lines; gix looks for the content type.
pub(super) struct Headers {
    pub(super) received: Arc<Received>,
    pub(super) text: Option<Cursor<Vec<u8>>>,
}

impl Headers {
    fn text(&mut self) -> io::Result<&mut Cursor<Vec<u8>>> {
        if self.text.is_none() {
            let kind = self
                .received
                .with(|response, _| Ok(response.headers().get(CONTENT_TYPE).cloned()))?;
            let mut text = b"content-type: ".to_vec();
            text.extend_from_slice(kind.as_ref().map_or(&[][..], HeaderValue::as_bytes));
            text.push(b'\n');
            self.text = Some(Cursor::new(text));
        }
        self.text
            .as_mut()
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.text()?.read(buffer)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.text()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(text) = &mut self.text {
            text.consume(amount);
        }
    }
}

/// The body of a response.
pub(super) struct Body {
    received: Arc<Received>,
    chunk: bytes::Bytes,
    ended: bool,
}

impl Body {
    pub(super) fn new(received: Arc<Received>) -> Self {
        Self {
            received,
            chunk: bytes::Bytes::new(),
            ended: false,
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() && !self.ended {
            let next = self.received.with(|response, conversation| {
                let idle = conversation.limits().idle;
                let next = conversation.wait("sent nothing", idle, response.chunk())?;
                next.map_err(|error| {
                    let reason = format!("the connection broke: {}", innermost(&error));
                    conversation.give_up(SourceError::Unreachable {
                        url: conversation.url(),
                        reason,
                    })
                })
            })?;
            match next {
                Some(chunk) => {
                    self.received.conversation.receive(chunk.len())?;
                    self.chunk = chunk;
                }
                None => self.ended = true,
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.chunk.len());
        let _ = self.chunk.split_to(amount);
    }
}
