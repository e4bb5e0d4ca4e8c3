//! The client of a watch: kube's watcher sends its requests through it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{Request, Response, StatusCode, header};
use kube::client::Body;
use tokio::{sync::watch, time::Instant};
use tower::BoxError;

use crate::{connection::Connection, request::RequestError, retry};

/// A watch that ends within this time has ended too soon: a server ends it after minutes, or when it is restarted.
pub(crate) const BRIEF: Duration = Duration::from_secs(5);
/// The first pause after a watch that has ended too soon; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long the watches of one client live. kube's watcher opens one after the other, without any pause if the last was granted
/// and ended without an error: a server that ends each at once would be asked as fast as it answers.
struct Lives {
    /// When the last watch was granted; `None` if it was refused.
    granted_at: Option<Instant>,
    /// The pause before the next watch, if the last one ends too soon.
    pause: Duration,
}

impl Lives {
    fn new() -> Self {
        Self {
            granted_at: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Returns how long to wait before the next watch.
    fn pause(&mut self, now: Instant) -> Duration {
        // After a refusal, the caller waits.
        let Some(granted_at) = self.granted_at.take() else {
            return Duration::ZERO;
        };
        if now.saturating_duration_since(granted_at) >= BRIEF {
            self.pause = FIRST_PAUSE;
            return Duration::ZERO;
        }
        let longer = (self.pause * 2).min(LONGEST_PAUSE);
        std::mem::replace(&mut self.pause, longer)
    }

    fn granted(&mut self, now: Instant) {
        self.granted_at = Some(now);
    }
}

/// Returns a client that acts under a connection's own identity. Like all other requests under that identity, it observes the
/// pauses that the server asks for, and passes on those that the server asks of it. `answered` is notified when the server has
/// granted a request. Watches that end too soon are opened less and less often.
pub(crate) fn of(connection: &Connection, answered: watch::Sender<()>) -> kube::Client {
    let namespace = connection.default_namespace().to_owned();
    let connection = connection.clone();
    let lives = Arc::new(Mutex::new(Lives::new()));
    let asking = tower::service_fn(move |request: Request<Body>| {
        let (connection, answered) = (connection.clone(), answered.clone());
        let lives = Arc::clone(&lives);
        async move {
            let is_watch = is_watch(&request);
            if is_watch {
                let pause = lock(&lives).pause(Instant::now());
                if !pause.is_zero() {
                    let spread: f64 = rand::random();
                    tokio::time::sleep(pause.mul_f64(0.5 + spread / 2.0)).await;
                }
            }
            let response = ask(connection, request).await?;
            if response.status().is_success() {
                if is_watch {
                    lock(&lives).granted(Instant::now());
                }
                answered.send_replace(());
            }
            Ok::<_, BoxError>(response)
        }
    });
    kube::Client::new(asking, namespace)
}

fn lock(lives: &Mutex<Lives>) -> MutexGuard<'_, Lives> {
    // No code panics while it holds the lock.
    lives.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_watch(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|part| part == "watch=true")
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

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use bytes::Bytes;
    use futures::{FutureExt as _, StreamExt as _};
    use http_body_util::Full;

    use super::*;
    use crate::{
        connection::Options,
        discovery::ResourceType,
        watching::{Selection, open},
    };

    #[test]
    fn only_what_ends_too_soon_makes_the_next_one_wait() {
        let start = Instant::now();
        let mut lives = Lives::new();
        assert_eq!(lives.pause(start), Duration::ZERO, "it is the first one");
        assert_eq!(lives.pause(start), Duration::ZERO, "it was refused");
        for pause in [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4] {
            lives.granted(start);
            assert_eq!(lives.pause(start), pause);
        }
        for _ in 0..10 {
            lives.granted(start);
            lives.pause(start);
        }
        lives.granted(start);
        assert_eq!(lives.pause(start), LONGEST_PAUSE);
        lives.granted(start);
        assert_eq!(lives.pause(start + BRIEF), Duration::ZERO);
        lives.granted(start);
        assert_eq!(lives.pause(start), FIRST_PAUSE, "one has lived");
    }

    /// Returns how many watches are requested from a server that ends each at once, while a fixed number of its responses is
    /// consumed.
    async fn asked(is_streaming: bool) -> usize {
        let asked = Arc::new(AtomicUsize::new(0));
        let noted = Arc::clone(&asked);
        let server = tower::service_fn(move |request: Request<Body>| {
            let is_watch = is_watch(&request);
            noted.fetch_add(usize::from(is_watch), Ordering::Relaxed);
            let list = r#"{"apiVersion":"v1","kind":"ConfigMapList","metadata":{"resourceVersion":"1"},"items":[]}"#;
            let answer = if is_watch { "" } else { list };
            let answer = Bytes::from_static(answer.as_bytes());
            async move { Ok::<_, BoxError>(Response::new(Full::new(answer))) }
        });
        let client = kube::Client::new(server, "default");
        let connection = Connection::with_client(client, &Options::default(), None, String::new());
        let (answered, _answers) = watch::channel(());
        let config_maps = Selection::of(ResourceType::config_maps(), None, None);
        let mut events = pin!(open(&connection, &config_maps, is_streaming, answered));
        for _ in 0..10_000 {
            let _ = events.next().now_or_never();
            tokio::task::yield_now().await;
        }
        asked.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_server_that_ends_each_watch_at_once_is_asked_less_and_less_often() {
        for is_streaming in [false, true] {
            let asked = asked(is_streaming).await;
            assert!((1..20).contains(&asked), "{asked}");
        }
    }
}
