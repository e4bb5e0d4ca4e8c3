//! Serving requests, with limits on what a client may use, and the endpoints `/metrics`, `/healthz` and `/readyz`.

mod places;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::places::{Place, Places};
use super::metrics::Metrics;

/// How many connections one listener has at once. If there are more, idle ones make way.
const CONNECTIONS: usize = 128;

/// The pause after a failure to accept a connection, for example because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests in progress may still take when the agent stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// The state that the probes report.
#[derive(Default)]
pub(crate) struct Probes {
    /// Whether the first list of Applications has been read, so that the agent sees the cluster.
    pub(crate) ready: AtomicBool,
}

/// Listens until it is stopped.
pub(crate) async fn listen(
    address: SocketAddr,
    what: &'static str,
    router: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = bind(address)
        .await
        .with_context(|| format!("{what} cannot listen on {address}: is the address in use?"))?;
    tracing::info!(address = %listener.local_addr()?, "{what} is listening");
    serve_all(&listener, Places::new(CONNECTIONS), router, &stop).await;
    Ok(())
}

async fn serve_all(
    listener: &TcpListener,
    places: Places,
    router: Router,
    stop: &CancellationToken,
) {
    let places = Arc::new(places);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (stream, place) = accept(listener, &places) => {
                connections.spawn(serve(stream, place, router.clone(), stop.clone()));
            }
        }
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_ANSWERS, ended).await;
}

/// Binds an address. The unspecified IPv6 address includes all of IPv4, and means only IPv4 on a node without IPv6.
async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    if bound.is_err() && address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
    }
    bound
}

async fn accept(listener: &TcpListener, places: &Arc<Places>) -> (TcpStream, Arc<Place>) {
    let room = places.room().await;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, places.give(room)),
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection.
async fn serve(stream: TcpStream, place: Arc<Place>, router: Router, stop: CancellationToken) {
    let (router, asked) = (TowerToHyperService::new(router), Arc::clone(&place));
    let service = service_fn(move |request: Request<Incoming>| {
        let (busy, answer) = (asked.busy(), router.call(request));
        async move {
            let answer = answer.await;
            drop(busy);
            answer
        }
    });
    // The time for a head is part of the time for which the connection may be idle.
    let connection = http1::Builder::new()
        .header_read_timeout(None::<Duration>)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = place.is_over() => return,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

/// Returns the routes of metrics and probes.
pub(crate) fn routes(metrics: Arc<Metrics>, probes: Arc<Probes>) -> Router {
    Router::new()
        .route("/metrics", get(write_metrics))
        .with_state(metrics)
        // An agent that answers is alive: the runtime runs. Whatever else fails is shown in the status of what it fails for.
        .route("/healthz", get(async || "ok\n"))
        .merge(
            Router::new()
                .route("/readyz", get(ready))
                .with_state(probes),
        )
}

async fn write_metrics(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        metrics.text(),
    )
}

async fn ready(State(probes): State<Arc<Probes>>) -> (StatusCode, &'static str) {
    if probes.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the Applications have not been read yet\n",
        )
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::Notify,
    };

    use super::*;

    async fn asked(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    async fn answered(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn who_sends_nothing_makes_way_for_who_asks_and_nobody_who_waits_for_an_answer_does() {
        let (begun, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, wait) = (Arc::clone(&begun), Arc::clone(&end));
        let slow = move || async move {
            tell.notify_one();
            wait.notified().await;
            "at last\n"
        };
        let router = Router::new()
            .route("/slow", get(slow))
            .route("/healthz", get(async || "ok\n"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let server = tokio::spawn(async move {
            serve_all(&listener, Places::without_grace(3), router, &stopped).await;
        });

        let slow = asked(address, "/slow").await;
        begun.notified().await;
        let silent = TcpStream::connect(address).await.unwrap();
        let other = TcpStream::connect(address).await.unwrap();
        let answer = answered(asked(address, "/healthz").await).await;
        assert!(answer.ends_with("ok\n"), "{answer}");
        assert_eq!(answered(silent).await, "", "it has made way");
        end.notify_one();
        let answer = answered(slow).await;
        assert!(answer.ends_with("at last\n"), "{answer}");
        drop(other);
        stop.cancel();
        server.await.unwrap();
    }
}
