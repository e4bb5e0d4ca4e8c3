//! The webhook receiver: a push to a repository starts a fetch at once.
//!
//! It supports GitHub, GitLab, and a generic form. Each request is authenticated before its content is looked at. The content
//! only means "look now", so even a forged request could do no more than cause a fetch. A body is read only if the head may be
//! right, and all bodies together have a limited amount of memory.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use futures::StreamExt as _;
use hmac::{Hmac, Mac as _};
use pintle_core::digest::Digest;
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};

use super::replicas::Pushed;

/// GitHub sends at most 25 MB. <https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap>
const BODY_LIMIT: usize = 25 << 20;

/// The part of each body that is read without waiting for room. Nearly all bodies have a few kilobytes, and so are not held up by
/// whatever large ones wait for. The number of simultaneous connections of a port limits how much that is in total.
const SMALL: usize = 64 << 10;

/// How many bytes of bodies, beyond the small ones, are in memory at once. Each body is there twice while it is put together.
const ROOM: usize = 2 * BODY_LIMIT;

/// The time limit for a body, including the wait for room. GitHub waits for 10 s.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The state that the handlers share.
#[derive(Clone)]
pub(crate) struct Receiver {
    /// The shared secret, or `None` while its Secret does not exist.
    token: watch::Receiver<Option<Arc<[u8]>>>,
    /// Receives the pushes, with each repository as the digest of its form from [`normal_url`].
    pushed: mpsc::Sender<Pushed>,
    room: Arc<Semaphore>,
    body_time: Duration,
}

/// An authenticated request. Its body takes room until this is dropped.
struct Delivery<'a> {
    headers: HeaderMap,
    body: Vec<u8>,
    _room: Option<SemaphorePermit<'a>>,
}

/// Returns the routes `/webhook/github`, `/webhook/gitlab` and `/webhook/generic`.
pub(crate) fn routes(receiver: Receiver) -> Router {
    Router::new()
        .route("/webhook/github", post(github))
        .route("/webhook/gitlab", post(gitlab))
        .route("/webhook/generic", post(generic))
        .with_state(receiver)
}

/// The number of bytes of an HMAC with SHA-256.
const SIGNATURE: usize = 32;

type Answer = (StatusCode, &'static str);

const NO_TOKEN: Answer = (
    StatusCode::SERVICE_UNAVAILABLE,
    "the webhook secret is not set up\n",
);
const UNAUTHENTICATED: Answer = (
    StatusCode::UNAUTHORIZED,
    "the signature does not match the webhook secret\n",
);
const UNREAD: Answer = (
    StatusCode::PAYLOAD_TOO_LARGE,
    "the body has more than 25 MiB, or broke off\n",
);
const SLOW: Answer = (
    StatusCode::REQUEST_TIMEOUT,
    "the body did not come in time\n",
);

async fn github(State(receiver): State<Receiver>, request: Request) -> Answer {
    let delivery = match receiver.signed(request, "x-hub-signature-256").await {
        Ok(delivery) => delivery,
        Err(answer) => return answer,
    };
    match text(&delivery.headers, "x-github-event") {
        "ping" => (StatusCode::OK, "pong\n"),
        "push" | "create" => {
            receiver
                .tell(
                    &delivery.body,
                    &[
                        "/repository/clone_url",
                        "/repository/ssh_url",
                        "/repository/html_url",
                    ],
                )
                .await
        }
        _ => (
            StatusCode::ACCEPTED,
            "this event is not needed: only push is\n",
        ),
    }
}

async fn gitlab(State(receiver): State<Receiver>, request: Request) -> Answer {
    let delivery = match receiver.with_token(request, "x-gitlab-token").await {
        Ok(delivery) => delivery,
        Err(answer) => return answer,
    };
    match text(&delivery.headers, "x-gitlab-event") {
        "Push Hook" | "Tag Push Hook" => {
            receiver
                .tell(
                    &delivery.body,
                    &[
                        "/project/git_http_url",
                        "/project/git_ssh_url",
                        "/project/web_url",
                    ],
                )
                .await
        }
        _ => (
            StatusCode::ACCEPTED,
            "this event is not needed: only push and tag push are\n",
        ),
    }
}

/// Handles `{"url": "https://git.example.com/team/repository.git"}`, signed in `X-Signature-256: sha256=…`.
async fn generic(State(receiver): State<Receiver>, request: Request) -> Answer {
    match receiver.signed(request, "x-signature-256").await {
        Ok(delivery) => receiver.tell(&delivery.body, &["/url"]).await,
        Err(answer) => answer,
    }
}

impl Receiver {
    pub(crate) fn new(
        token: watch::Receiver<Option<Arc<[u8]>>>,
        pushed: mpsc::Sender<Pushed>,
    ) -> Self {
        Self {
            token,
            pushed,
            room: Arc::new(Semaphore::new(ROOM)),
            body_time: BODY_TIME,
        }
    }

    fn token(&self) -> Option<Arc<[u8]>> {
        self.token.borrow().clone()
    }

    /// Accepts a request whose body is signed.
    async fn signed(&self, request: Request, header: &str) -> Result<Delivery<'_>, Answer> {
        let token = self.token().ok_or(NO_TOKEN)?;
        let signature = text(request.headers(), header)
            .strip_prefix("sha256=")
            .and_then(|digits| hex::decode(digits).ok())
            .filter(|signature| signature.len() == SIGNATURE)
            .ok_or(UNAUTHENTICATED)?;
        let delivery = self.read(request).await?;
        mac(&token, &delivery.body)
            .verify_slice(&signature)
            .map_err(|_| UNAUTHENTICATED)?;
        Ok(delivery)
    }

    /// Accepts a request that contains the secret itself.
    async fn with_token(&self, request: Request, header: &str) -> Result<Delivery<'_>, Answer> {
        let token = self.token().ok_or(NO_TOKEN)?;
        if !equal(text(request.headers(), header).as_bytes(), &token) {
            return Err(UNAUTHENTICATED);
        }
        self.read(request).await
    }

    async fn read(&self, request: Request) -> Result<Delivery<'_>, Answer> {
        let (head, body) = request.into_parts();
        let read = tokio::time::timeout(self.body_time, self.read_body(body)).await;
        let (body, room) = read.unwrap_or(Err(SLOW))?;
        Ok(Delivery {
            headers: head.headers,
            body,
            _room: room,
        })
    }

    /// Reads a body, and takes the room for it. A slow sender holds room for what has arrived, and not for all of the body.
    async fn read_body(
        &self,
        body: Body,
    ) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), Answer> {
        let (mut chunks, mut read) = (body.into_data_stream(), Vec::new());
        let mut room: Option<SemaphorePermit<'_>> = None;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| UNREAD)?;
            let length = read.len() + chunk.len();
            if length > BODY_LIMIT {
                return Err(UNREAD);
            }
            let held = room.as_ref().map_or(0, SemaphorePermit::num_permits);
            let more = length.saturating_sub(SMALL + held);
            if more > 0 {
                let more = u32::try_from(more).expect("a body is not that large");
                let more = self.room.acquire_many(more).await;
                let more = more.expect("the semaphore is never closed");
                match &mut room {
                    Some(room) => room.merge(more),
                    None => room = Some(more),
                }
            }
            read.extend_from_slice(&chunk);
        }
        Ok((read, room))
    }

    async fn tell(&self, body: &[u8], pointers: &[&str]) -> Answer {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return (
                StatusCode::BAD_REQUEST,
                "the body is not JSON: choose the content type application/json\n",
            );
        };
        let urls = pointers
            .iter()
            .filter_map(|pointer| body.pointer(pointer)?.as_str());
        let repositories: BTreeSet<String> = urls.map(normal_url).collect();
        if repositories.is_empty() {
            return (StatusCode::BAD_REQUEST, "the body names no repository\n");
        }
        // The answer cannot say whether anybody follows these repositories: other replicas may follow them, too.
        tracing::info!(?repositories, "a webhook tells of a push");
        let pushed: Pushed = repositories.iter().map(Digest::of).collect();
        match self.pushed.send(pushed).await {
            Ok(()) => (StatusCode::ACCEPTED, "looking for the new revision\n"),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n"),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn mac(key: &[u8], body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(body);
    mac
}

/// Compares two texts by their MACs, in a time that does not depend on where they differ.
fn equal(one: &[u8], other: &[u8]) -> bool {
    mac(other, one)
        .verify_slice(&mac(other, other).finalize().into_bytes())
        .is_ok()
}

/// Reduces a repository's URL to what all its forms have in common: host and path.
///
/// `https://GIT.example.com/a/b.git`, `git@git.example.com:A/b` and `ssh://git@git.example.com:22/a/b/` are the same. Most hosts
/// accept a path in any case, and report it in the case in which it was created. Where case distinguishes two repositories, one
/// of them is asked too often.
pub(crate) fn normal_url(url: &str) -> String {
    let url = url.to_lowercase();
    let rest = url.split_once("://").map_or(&*url, |(_, rest)| rest);
    let authority_end = rest.find(['/', ':']).unwrap_or(rest.len());
    let at = rest[..authority_end].rfind('@').or_else(|| {
        // A password may contain a colon: user:password@host.
        rest.find('@')
            .filter(|at| rest.find('/').is_none_or(|slash| *at < slash))
    });
    let rest = at.map_or(rest, |at| &rest[at + 1..]);
    // A query may be a secret, and does not distinguish repositories.
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let end = rest.find(['/', ':']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    // A colon is followed by a port (in URLs) or already by the path (in scp form).
    let path = match path.strip_prefix(':') {
        Some(after) => match after.split_once('/') {
            Some((port, path)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
                path
            }
            _ => after,
        },
        None => path,
    };
    let host = match host {
        // The hosts at which they accept ssh on port 443.
        "ssh.github.com" => "github.com",
        "altssh.gitlab.com" => "gitlab.com",
        host => host,
    };
    let path = path.trim_matches('/');
    format!("{host}/{}", path.strip_suffix(".git").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use axum::{body::Bytes, http::HeaderValue};
    use futures::{FutureExt as _, future::join_all, stream};

    use super::*;

    fn receiver(token: Option<&str>) -> (Receiver, mpsc::Receiver<Pushed>) {
        let (_, token) = watch::channel(token.map(|token| Arc::from(token.as_bytes())));
        let (pushed, told) = mpsc::channel(4);
        (Receiver::new(token, pushed), told)
    }

    fn repository(normal: &str) -> Pushed {
        Pushed::from([Digest::of(normal)])
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    (*name).parse().unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn request(headers: HeaderMap, body: impl Into<Body>) -> Request {
        let mut request = Request::new(body.into());
        *request.headers_mut() = headers;
        request
    }

    /// Returns a body that must not be read.
    fn unread() -> Body {
        Body::from_stream(stream::poll_fn(
            |_| -> std::task::Poll<Option<Result<Bytes, std::io::Error>>> {
                panic!("the body is read")
            },
        ))
    }

    fn signed(header: &'static str, body: &[u8]) -> (&'static str, String) {
        (
            header,
            format!(
                "sha256={}",
                hex::encode(mac(b"token", body).finalize().into_bytes())
            ),
        )
    }

    #[test]
    fn all_forms_of_a_url_are_one() {
        for url in [
            "https://GIT.example.com/team/app.git",
            "https://user:pa:ss@git.example.com:8443/team/app",
            "http://git.example.com/team/app/",
            "git@git.example.com:team/app.git",
            "ssh://git@git.example.com:2222/team/app.git",
            "HTTPS://git.example.com/Team/APP.GIT",
        ] {
            assert_eq!(normal_url(url), "git.example.com/team/app", "{url}");
        }
        for (url, normal) in [
            (
                "ssh://git@ssh.github.com:443/Team/app.git",
                "github.com/team/app",
            ),
            (
                "ssh://git@altssh.gitlab.com:443/team/app.git",
                "gitlab.com/team/app",
            ),
            ("https://h/a?token=X", "h/a"),
            ("https://h/a.git/?token=X/y#z", "h/a"),
            ("https://user@h?token=X", "h/"),
        ] {
            assert_eq!(normal_url(url), normal);
        }
        for odd in ["", "@", ":", "//", "a@", "://", "é@ü:/"] {
            let _ = normal_url(odd);
        }
    }

    #[tokio::test]
    async fn a_signed_push_is_told_and_a_forged_one_is_not() {
        let body = br#"{"repository":{"clone_url":"https://git.example.com/a/b.git","ssh_url":"git@git.example.com:a/b.git"}}"#;
        let (receiver, mut told) = receiver(Some("token"));
        let (name, signature) = signed("x-hub-signature-256", body);
        let good = headers(&[(name, &signature), ("x-github-event", "push")]);
        let answer = github(State(receiver.clone()), request(good.clone(), &body[..])).await;
        assert_eq!(answer.0, StatusCode::ACCEPTED);
        assert_eq!(
            told.recv().await.unwrap(),
            repository("git.example.com/a/b")
        );
        let short = headers(&[(name, "sha256=00"), ("x-github-event", "push")]);
        for (bad, body) in [
            (good, Body::from(&b"{}"[..])),
            (headers(&[("x-github-event", "push")]), unread()),
            (short, unread()),
        ] {
            let answer = github(State(receiver.clone()), request(bad, body)).await;
            assert_eq!(answer, UNAUTHENTICATED);
        }
        assert!(told.try_recv().is_err());
    }

    #[tokio::test]
    async fn gitlab_sends_the_token_itself() {
        let body = r#"{"project":{"git_http_url":"https://git.example.com/a/b.git"}}"#;
        let (receiver, mut told) = receiver(Some("token"));
        let with = |token| headers(&[("x-gitlab-token", token), ("x-gitlab-event", "Push Hook")]);
        assert_eq!(
            gitlab(State(receiver.clone()), request(with("token"), body))
                .await
                .0,
            StatusCode::ACCEPTED
        );
        assert_eq!(
            told.recv().await.unwrap(),
            repository("git.example.com/a/b")
        );
        for wrong in ["", "toke", "token2"] {
            assert_eq!(
                gitlab(State(receiver.clone()), request(with(wrong), unread())).await,
                UNAUTHENTICATED
            );
        }
    }

    #[tokio::test]
    async fn the_generic_form_and_what_is_wrong_with_a_request() {
        let (receiver, mut told) = receiver(Some("token"));
        let send = |body: &'static [u8]| {
            let (name, signature) = signed("x-signature-256", body);
            generic(
                State(receiver.clone()),
                request(headers(&[(name, &signature)]), body),
            )
        };
        assert_eq!(
            send(br#"{"url":"ssh://git@h/a"}"#).await.0,
            StatusCode::ACCEPTED
        );
        assert_eq!(told.recv().await.unwrap(), repository("h/a"));
        assert_eq!(send(b"{}").await.0, StatusCode::BAD_REQUEST);
        assert_eq!(send(b"url=a").await.0, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn without_a_secret_nothing_is_accepted() {
        let (receiver, _told) = receiver(None);
        let answer = gitlab(
            State(receiver),
            request(headers(&[("x-gitlab-token", "")]), unread()),
        )
        .await;
        assert_eq!(answer, NO_TOKEN);
    }

    #[tokio::test]
    async fn bodies_that_do_not_come_hold_nobody_up() {
        let (mut receiver, mut told) = receiver(Some("token"));
        let with = || headers(&[("x-gitlab-token", "token"), ("x-gitlab-event", "Push Hook")]);
        // The largest allowed body, without its end.
        let never = || {
            let whole = Ok::<_, std::io::Error>(Bytes::from(vec![b' '; BODY_LIMIT]));
            Body::from_stream(stream::iter([whole]).chain(stream::pending()))
        };
        receiver.body_time = Duration::from_millis(50);
        let slow = receiver.clone();
        let stuck = (0..3).map(|_| gitlab(State(slow.clone()), request(with(), never())));
        let mut stuck = pin!(join_all(stuck));
        assert!(stuck.as_mut().now_or_never().is_none());
        assert!(receiver.room.available_permits() <= 2 * SMALL);

        receiver.body_time = BODY_TIME;
        let push = r#"{"project":{"git_http_url":"https://git.example.com/a/b.git"}}"#;
        let answer = gitlab(State(receiver.clone()), request(with(), push)).now_or_never();
        assert_eq!(answer.map(|answer| answer.0), Some(StatusCode::ACCEPTED));
        assert!(told.recv().await.is_some());
        for answer in stuck.await {
            assert_eq!(answer, SLOW);
        }
        assert_eq!(receiver.room.available_permits(), ROOM);

        let large = vec![b' '; BODY_LIMIT + 1];
        let answer = gitlab(State(receiver.clone()), request(with(), large)).await;
        assert_eq!(answer, UNREAD);
        let mut large = br#"{"project":"#.to_vec();
        large.resize(2 * SMALL, b' ');
        large.extend_from_slice(b"{}}");
        let answer = gitlab(State(receiver.clone()), request(with(), large)).await;
        let read = (StatusCode::BAD_REQUEST, "the body names no repository\n");
        assert_eq!(answer, read);
        assert_eq!(receiver.room.available_permits(), ROOM);
    }
}
