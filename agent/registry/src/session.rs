//! One pull or push: requests to one repository, with credentials that go to its registry and nowhere else.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use reqwest::{
    Response, StatusCode,
    header::{DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER},
};
use serde::Deserialize;
use tokio::sync::{Notify, OnceCell};
use url::Url;

use crate::{
    auth::{self, Access, TokenKey},
    credentials::{Credentials, is_hub},
    error::{Cause, Shown, Stage},
    reference::Reference,
    transport::{Outgoing, Scheme, Transport, base, host_of, join},
    turns::{Asking, Turn},
};

/// The most redirects that are followed for one request. A registry that keeps content elsewhere needs one or two.
const MAX_REDIRECTS: usize = 5;
/// The size of the largest error message that is read, in bytes.
const MAX_ERROR: u64 = 64 << 10;
/// The most characters of an error message that are passed on.
const MAX_SAID: usize = 300;
/// The host of Docker Hub's API. Its other names are for people.
const HUB_API: &str = "registry-1.docker.io";

/// A mark on a response to a token that was issued in the same exchange. If that token is refused, the credentials are not the
/// reason.
#[derive(Clone)]
struct FreshToken;

/// Requests to one repository.
pub(crate) struct Session<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) reference: &'a Reference,
    pub(crate) credentials: &'a Credentials,
    pub(crate) access: Access,
    is_urgent: bool,
    stage: Mutex<Stage>,
    base: OnceCell<Url>,
    /// The turn with the registry, held from the first request on.
    turn: Mutex<Option<Turn>>,
    has_turn: Notify,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        transport: &'a Transport,
        reference: &'a Reference,
        credentials: &'a Credentials,
        access: Access,
        stage: Stage,
    ) -> Self {
        Self {
            transport,
            reference,
            credentials,
            access,
            is_urgent: false,
            stage: Mutex::new(stage),
            base: OnceCell::new(),
            turn: Mutex::default(),
            has_turn: Notify::new(),
        }
    }

    /// Sets whether the session also asks a registry that wants to be left alone.
    pub(crate) fn urgent(self, is_urgent: bool) -> Self {
        Self { is_urgent, ..self }
    }

    /// Records what is being done, for the error if it fails.
    pub(crate) fn enter(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the session may speak to the registry, which never happens if it need not.
    pub(crate) async fn begun(&self) {
        self.has_turn.notified().await;
    }

    /// Gives back its turn, if it has one.
    pub(crate) fn end<T>(&self, result: &Result<T, Cause>) {
        let turn = self.turn().take();
        if let Some(turn) = turn {
            turn.tell(result);
        }
    }

    fn turn(&self) -> MutexGuard<'_, Option<Turn>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn with the registry. What comes from the cache needs none.
    async fn begin(&self, host: &str) -> Result<(), Cause> {
        let is_known = self.turn().is_some();
        if !is_known {
            let limit = self.transport.options.total_timeout;
            // An account may have limits of its own, and a caller without one has those of this address.
            let together = self.credentials.fingerprint();
            let asking = Asking::new(host.to_owned(), together, self.is_urgent);
            let turn = self.transport.turns.take(asking, limit).await?;
            *self.turn() = Some(turn);
            self.has_turn.notify_one();
        }
        Ok(())
    }

    /// Returns the URL of something in the repository, such as `manifests/TAG`.
    pub(crate) async fn url(&self, path: &str) -> Result<Url, Cause> {
        let base = self.base().await?;
        let path = format!("/v2/{}/{path}", self.reference.repository());
        join(self.reference.registry(), base, &path)
    }

    async fn base(&self) -> Result<&Url, Cause> {
        let registry = self.reference.registry();
        let host = if is_hub(registry) { HUB_API } else { registry };
        self.base
            .get_or_try_init(async || {
                self.begin(&host_of(&base(host, Scheme::Https)?)).await?;
                base(host, self.transport.scheme(host).await?)
            })
            .await
    }

    pub(crate) fn token_key(&self) -> TokenKey {
        TokenKey {
            registry: self.reference.registry().to_owned(),
            repository: self.reference.repository().to_owned(),
            access: self.access,
            credentials: self.credentials.fingerprint(),
        }
    }

    /// Sends a request, with credentials if it is to the registry and the registry wants them. Follows redirects of `GET` and
    /// `HEAD` requests.
    pub(crate) async fn exchange(&self, mut outgoing: Outgoing) -> Result<Response, Cause> {
        let registry = self.base().await?.origin();
        let mut authorization = match self.credentials {
            Credentials::Bearer(token) => auth::bearer(token.expose()),
            _ => self.transport.tokens.get(&self.token_key()),
        };
        let mut asked = false;
        let mut is_fresh = false;
        let mut redirects = 0;
        loop {
            // An `Authorization` header never crosses to another host (distribution specification 1.1, "Determining
            // Support"; CVE-2020-15157).
            let ours = outgoing.url.origin() == registry;
            let header = authorization.as_ref().filter(|_| ours);
            let mut response = self.transport.send(&outgoing, header).await?;
            if response.status() == StatusCode::UNAUTHORIZED && ours && !asked {
                asked = true;
                match self.authorize(response.headers()).await? {
                    Some(granted) => {
                        is_fresh = granted.is_token;
                        authorization = Some(granted.header);
                    }
                    None => return Ok(response),
                }
            } else if outgoing.is_harmless()
                && let Some(target) = redirect(&response)?
            {
                redirects += 1;
                if redirects > MAX_REDIRECTS {
                    return Err(refused(&response, &target, "it is one redirect too many"));
                }
                self.check_target(&target).await?;
                outgoing.url = target;
            } else {
                if is_fresh && ours {
                    response.extensions_mut().insert(FreshToken);
                }
                return Ok(response);
            }
        }
    }

    /// Refuses a target if others could read or change, on the way, what is sent there or fetched.
    pub(crate) async fn check_target(&self, target: &Url) -> Result<(), Cause> {
        let base = self.base().await?;
        // The address of the registry itself has been allowed already, and may be written in another way.
        let plain = base.scheme() == Scheme::Http.name()
            && (target.origin() == base.origin()
                || self.transport.options.allows_plain_http(&host_of(target)));
        let reason = match target.scheme() {
            "https" if target.username().is_empty() && target.password().is_none() => return Ok(()),
            "http" if plain && target.username().is_empty() && target.password().is_none() => {
                return Ok(());
            }
            "https" | "http" if target.host().is_some() && !target.username().is_empty() => {
                "it has credentials of its own"
            }
            _ => "it is not https",
        };
        Err(Cause::Redirect {
            host: self.reference.registry().to_owned(),
            to: shown(target),
            reason,
        })
    }

    /// Returns whether the credentials were not refused themselves, but lack a permission: a token service has just accepted
    /// them, or the registry says so itself. A caller that shows none is asked for some in the same way.
    fn misses_a_right(&self, response: &Response) -> bool {
        let is_known = response.extensions().get::<FreshToken>().is_some()
            || auth::misses_a_right(response.headers());
        is_known && *self.credentials != Credentials::Anonymous
    }

    /// Returns the action that was not permitted. Some registries have a separate permission for lists of tags.
    fn action(&self) -> &'static str {
        match self.stage() {
            Stage::Tags => "list the tags of",
            _ => self.access.words(),
        }
    }

    /// Returns the cause that describes an unexpected response.
    pub(crate) async fn failure(&self, response: Response, part: &'static str) -> Cause {
        let ours = self
            .base
            .get()
            .is_some_and(|base| base.origin() == response.url().origin());
        if ours {
            let misses_a_right = self.misses_a_right(&response);
            let cause = explain(self.transport, response, self.credentials.shown(), part).await;
            return match cause {
                Cause::Unauthorized { host, message, .. } if misses_a_right => Cause::NoRight {
                    host,
                    action: self.action(),
                    repository: self.reference.repository().to_owned(),
                    message,
                },
                cause => cause,
            };
        }
        // The registry chooses where it redirects to, so what is written there is not for the reader of a status.
        let host = host_of(response.url());
        let status = response.status();
        match status {
            StatusCode::NOT_FOUND => Cause::NotFound {
                host,
                part,
                message: None,
            },
            StatusCode::TOO_MANY_REQUESTS => Cause::RateLimited {
                host,
                retry_after: retry_after(response.headers()),
                message: None,
            },
            _ if is_temporary(status) => Cause::Server {
                host,
                status: status.as_u16(),
                retry_after: retry_after(response.headers()),
                message: None,
            },
            _ => Cause::Refused {
                host,
                status: status.as_u16(),
                message: None,
            },
        }
    }
}

/// Returns the cause that describes a response of a registry or token service.
pub(crate) async fn explain(
    transport: &Transport,
    response: Response,
    shown: Shown,
    part: &'static str,
) -> Cause {
    let host = host_of(response.url());
    let status = response.status();
    let retry_after = retry_after(response.headers());
    // An unreadable message is no reason to hide the status.
    let message = match transport.take(response, MAX_ERROR).await {
        Ok(taken) if !taken.more => message(&taken.bytes),
        _ => None,
    };
    match status {
        StatusCode::UNAUTHORIZED => Cause::Unauthorized {
            host,
            shown,
            message,
        },
        StatusCode::FORBIDDEN => Cause::Denied { host, message },
        StatusCode::NOT_FOUND => Cause::NotFound {
            host,
            part,
            message,
        },
        StatusCode::TOO_MANY_REQUESTS => Cause::RateLimited {
            host,
            retry_after,
            message,
        },
        _ if is_temporary(status) => Cause::Server {
            host,
            status: status.as_u16(),
            retry_after,
            message,
        },
        _ => Cause::Refused {
            host,
            status: status.as_u16(),
            message,
        },
    }
}

/// Returns where a response redirects to, if it does.
fn redirect(response: &Response) -> Result<Option<Url>, Cause> {
    let status = response.status().as_u16();
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    location(response).map(Some)
}

/// Returns where a response points to.
pub(crate) fn location(response: &Response) -> Result<Url, Cause> {
    let host = host_of(response.url());
    match response.headers().get(LOCATION).map(HeaderValue::to_str) {
        Some(Ok(location)) => join(&host, response.url(), location),
        _ => Err(Cause::Protocol {
            host,
            reason: format!(
                "it answers with status {} and without `Location`",
                response.status().as_u16()
            ),
        }),
    }
}

fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT
}

fn refused(response: &Response, target: &Url, reason: &'static str) -> Cause {
    Cause::Redirect {
        host: host_of(response.url()),
        to: shown(target),
        reason,
    }
}

/// Formats a URL without anything that may be a secret: signed URLs carry the signature in their query.
fn shown(url: &Url) -> String {
    let path: String = url.path().chars().take(100).collect();
    format!("{}://{}{path}", url.scheme(), host_of(url))
}

/// Reads how long a server asks to be left alone.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    pintle_core::retry_after::read(text(RETRY_AFTER)?, text(DATE), SystemTime::now())
}

/// Reads the first error in a registry's response (distribution specification 1.1, "Error Codes").
fn message(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let first = serde_json::from_slice::<Errors>(bytes)
        .ok()?
        .errors
        .into_iter()
        .next()?;
    let text = match (first.code.as_str(), first.message.as_str()) {
        ("", "") => return None,
        (one, "") | ("", one) => one.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    Some(
        text.chars()
            .filter(|c| !c.is_control())
            .take(MAX_SAID)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{options::Options, turns::Turns};

    #[test]
    fn messages_are_short_and_on_one_line() {
        let said = |text: &str| message(text.as_bytes());
        assert_eq!(
            said(r#"{"errors":[{"code":"DENIED","message":"no\nway","detail":[1]},{}]}"#)
                .as_deref(),
            Some("DENIED: noway")
        );
        assert_eq!(
            said(r#"{"errors":[{"code":"DENIED"}]}"#).as_deref(),
            Some("DENIED")
        );
        assert_eq!(said(r#"{"errors":[{}]}"#), None);
        assert_eq!(said("<html>"), None);
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(1000));
        assert_eq!(said(&long).map(|m| m.len()), Some(MAX_SAID));
    }

    #[test]
    fn a_wish_is_in_seconds_or_until_a_date() {
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        let read = |wish: &'static str| {
            let headers = [(RETRY_AFTER, wish), (DATE, now)];
            let headers = headers.map(|(name, text)| (name, HeaderValue::from_static(text)));
            retry_after(&headers.into_iter().collect()).map(|wish| wish.as_secs())
        };
        assert_eq!(read("7"), Some(7));
        assert_eq!(read("Sun, 06 Nov 1994 08:51:07 GMT"), Some(90));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:00 GMT"), None);
        assert_eq!(read("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
        let far: HeaderMap = [(
            RETRY_AFTER,
            HeaderValue::from_static("Thu, 31 Dec 9998 23:59:59 GMT"),
        )]
        .into_iter()
        .collect();
        assert!(
            retry_after(&far).is_some(),
            "without a date of the answer, by our own clock"
        );
    }

    #[test]
    fn a_signature_in_a_url_is_not_shown() {
        let url = Url::parse("https://cdn.example.com:8443/blob?X-Amz-Signature=secret").unwrap();
        assert_eq!(shown(&url), "https://cdn.example.com:8443/blob");
    }

    #[tokio::test]
    async fn from_https_one_never_comes_to_http() {
        let transport = Transport::new(Options::default(), Turns::default()).unwrap();
        let reference = "registry.example.com/x:1".parse().unwrap();
        let check = async |base: &str, target: &str| {
            let session = Session::new(
                &transport,
                &reference,
                &Credentials::Anonymous,
                Access::Pull,
                Stage::Config,
            );
            session.base.set(Url::parse(base).unwrap()).unwrap();
            session
                .check_target(&Url::parse(target).unwrap())
                .await
                .map_err(|e| e.to_string())
        };
        let (https, http) = ("https://registry.example.com", "http://127.0.0.1:5000");
        assert_eq!(check(https, "https://cdn.example.com/x").await, Ok(()));
        assert_eq!(check(http, "https://cdn.example.com/x").await, Ok(()));
        assert_eq!(check(http, "http://127.0.0.1:6000/x").await, Ok(()));
        let named = "http://registry.example.com:80";
        assert_eq!(check(named, "http://registry.example.com/x").await, Ok(()));
        let mut said = Vec::new();
        for (base, target) in [
            (https, "http://registry.example.com/x"),
            (https, "http://127.0.0.1:6000/x"),
            (http, "http://cdn.example.com/x"),
            (named, "http://registry.example.com:5000/x"),
            (https, "https://user:secret@cdn.example.com/x"),
            (https, "file:///etc/passwd"),
        ] {
            said.push(check(base, target).await.unwrap_err());
        }
        insta::assert_snapshot!(said.join("\n"), @r"
        registry.example.com sends us to http://registry.example.com/x, which is not followed: it is not https
        registry.example.com sends us to http://127.0.0.1:6000/x, which is not followed: it is not https
        registry.example.com sends us to http://cdn.example.com/x, which is not followed: it is not https
        registry.example.com sends us to http://registry.example.com:5000/x, which is not followed: it is not https
        registry.example.com sends us to https://cdn.example.com/x, which is not followed: it has credentials of its own
        registry.example.com sends us to file:///etc/passwd, which is not followed: it is not https
        ");
    }

    proptest! {
        #[test]
        fn no_message_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = message(&bytes);
        }
    }
}
