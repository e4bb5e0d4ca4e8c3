//! A registry that answers whatever a test wants.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    body::Body,
    extract::Request,
    http::{Response, StatusCode, header},
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use pintle_core::digest::Digest;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    /// The entity tag of what the other side has.
    pub(crate) known: Option<String>,
    pub(crate) body: Bytes,
}

pub(crate) type Answer = Response<Body>;

/// A server on loopback with one function for an answer to everything. Dropping it stops it.
pub(crate) struct Liar {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Liar {
    pub(crate) async fn start(
        answer: impl Fn(&Asked) -> Answer + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let log = asked.clone();
        let app = axum::Router::new().fallback(move |request: Request| {
            let (answer, log) = (answer.clone(), log.clone());
            async move {
                let (parts, body) = request.into_parts();
                let header = |name| {
                    let value = parts.headers.get(name)?;
                    Some(value.to_str().unwrap().to_owned())
                };
                let asked = Asked {
                    line: format!("{} {}", parts.method, parts.uri),
                    authorization: header(header::AUTHORIZATION),
                    known: header(header::IF_NONE_MATCH),
                    body: axum::body::to_bytes(body, usize::MAX)
                        .await
                        .unwrap_or_default(),
                };
                log.lock().unwrap().push(asked.clone());
                answer(&asked)
            }
        });
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self {
            address,
            asked,
            task,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn status(status: u16) -> Answer {
    Response::builder()
        .status(status)
        .body(Body::empty())
        .unwrap()
}

pub(crate) fn ok(body: impl Into<Body>) -> Answer {
    Response::new(body.into())
}

pub(crate) fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers_mut().insert(name, value.parse().unwrap());
    answer
}

pub(crate) fn redirect(to: &str) -> Answer {
    with(
        status(StatusCode::TEMPORARY_REDIRECT.as_u16()),
        "location",
        to,
    )
}

/// A body of unknown length that goes on until the other side has enough.
pub(crate) fn endless() -> Answer {
    let chunk = Bytes::from(vec![0; 64 << 10]);
    let chunks = stream::repeat(chunk).map(Ok::<_, std::io::Error>);
    ok(Body::from_stream(chunks))
}

/// A body that begins, and then nothing comes.
pub(crate) fn stalling(start: &'static [u8]) -> Answer {
    let start = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(start))]);
    ok(Body::from_stream(start.chain(stream::pending())))
}

/// A body of which one byte comes now and then, so that it is never silent for long.
pub(crate) fn dripping() -> Answer {
    let drops = stream::repeat(Bytes::from_static(b" ")).then(async |drop| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, std::io::Error>(drop)
    });
    ok(Body::from_stream(drops))
}

/// An honest artifact, to change something of.
#[derive(Clone)]
pub(crate) struct Artifact {
    pub(crate) manifest: Value,
    pub(crate) config: Bytes,
    pub(crate) component: Bytes,
}

impl Artifact {
    pub(crate) fn new(component: Bytes) -> Self {
        let config = Bytes::from_static(b"{}");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.wasm.config.v0+json", "digest": Digest::of(&config), "size": config.len()
            },
            "layers": [{"mediaType": "application/wasm", "digest": Digest::of(&component), "size": component.len()}],
        });
        Self {
            manifest,
            config,
            component,
        }
    }

    /// Answers as an honest registry does.
    pub(crate) fn answer(&self, asked: &Asked) -> Answer {
        let blob = |bytes: &Bytes| format!("GET /v2/x/blobs/{}", Digest::of(bytes));
        if asked.line == "GET /v2/" {
            ok("{}")
        } else if asked.line.starts_with("GET /v2/x/manifests/") {
            ok(self.manifest.to_string())
        } else if asked.line == blob(&self.config) {
            ok(self.config.clone())
        } else if asked.line == blob(&self.component) {
            ok(self.component.clone())
        } else {
            status(404)
        }
    }
}
