//! The client of a watch: kube's watcher asks through it.

use http::{Request, Response, StatusCode, header};
use kube::client::Body;
use tokio::{sync::watch, time::Instant};
use tower::BoxError;

use crate::{connection::Connection, request::RequestError, retry};

/// Returns a client in a connection's own name that keeps the rest that the server asks for, as all other requests of that
/// name do, and says so where it asks for one itself. `answered` is sent when the server has granted a request.
pub(crate) fn of(connection: &Connection, answered: watch::Sender<()>) -> kube::Client {
    let namespace = connection.default_namespace().to_owned();
    let connection = connection.clone();
    let asking = tower::service_fn(move |request: Request<Body>| {
        let (connection, answered) = (connection.clone(), answered.clone());
        async move {
            let response = ask(connection, request).await?;
            if response.status().is_success() {
                answered.send_replace(());
            }
            Ok::<_, BoxError>(response)
        }
    });
    kube::Client::new(asking, namespace)
}

async fn ask(connection: Connection, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let passed = connection.pressure().pass(None).await;
    passed.map_err(|left| RequestError::Resting {
        request: format!("{} {}", request.method(), request.uri().path()),
        left,
    })?;
    let response = connection.client().send(request).await?;
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        let wish = retry::retry_after(response.headers().get(header::RETRY_AFTER));
        connection.pressure().rest(None, wish, Instant::now());
    }
    Ok(response)
}
