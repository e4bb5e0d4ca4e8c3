//! Listening, with bounds on what a client may take; and `/metrics`, `/healthz` and `/readyz`.

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
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// How many connections one listener has at once; more wait to be accepted.
const CONNECTIONS: usize = 128;

/// How long the head of a request may take, and a connection may rest between two: longer than metrics are usually asked
/// for, so that a connection is not closed at the moment of the next request.
const HEAD: Duration = Duration::from_secs(90);

/// Between two attempts to accept a connection, as when too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests that are under way may still take when the agent stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What the probes tell.
#[derive(Default)]
pub(crate) struct Probes {
    /// The first list of Applications has been read: the agent sees the cluster.
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
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (stream, place) = accept(&listener, &places) => {
                connections.spawn(serve(stream, place, router.clone(), stop.clone()));
            }
        }
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_ANSWERS, ended).await;
    Ok(())
}

/// Binds an address. All of IPv6 means all of IPv4 as well, and only that on a node without IPv6.
async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    if bound.is_err() && address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
    }
    bound
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection.
async fn serve(
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
    router: Router,
    stop: CancellationToken,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
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
        // Alive is whoever answers: the runtime runs. What else could fail is in the status of what it fails for.
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
