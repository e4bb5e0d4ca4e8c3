//! `/metrics`, `/healthz` and `/readyz`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context as _;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// What the probes tell.
#[derive(Default)]
pub(crate) struct Probes {
    /// The first list of Applications has been read: the agent sees the cluster.
    pub(crate) ready: AtomicBool,
}

/// Listens until it is stopped.
pub(crate) async fn listen(
    address: std::net::SocketAddr,
    what: &'static str,
    router: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("{what} cannot listen on {address}: is the address in use?"))?;
    tracing::info!(address = %listener.local_addr()?, "{what} is listening");
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context(what)
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
