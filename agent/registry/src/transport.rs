//! HTTP with a limit on everything, and failures described in words.
//!
//! `oci-client` is not used here. It reads manifests, error messages and token responses into memory as a whole, whatever their
//! size. It panics on a token with a line break in it, sends credentials to a token service without TLS, and uses the first
//! credentials that it saw for a registry for all later callers. The tests use it as an independent reader and writer.

use std::{
    collections::HashMap,
    error::Error,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use pintle_core::digest::Digest;
use reqwest::{
    Body, Certificate, Client, Method, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, IF_NONE_MATCH},
    redirect::Policy,
};
use rustls::{
    CertificateError, InvalidMessage, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::time;
use url::Url;

use crate::{
    auth::TokenCache,
    error::{Cause, SetupError, TlsProblem},
    options::{Options, is_loopback},
    turns::Turns,
};

/// The size of one piece of an upload, in bytes. It is small enough that a slow connection sends a piece within the read timeout.
const PIECE: usize = 64 << 10;

/// A request to send.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) accept: Option<&'static str>,
    /// The entity tag of the content that the caller already has.
    pub(crate) known: Option<HeaderValue>,
    pub(crate) content: Option<(&'static str, Bytes)>,
}

impl Outgoing {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            accept: None,
            known: None,
            content: None,
        }
    }

    /// Returns whether the request has no content and changes nothing, so that it may be redirected and repeated.
    pub(crate) fn is_harmless(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}

/// A client that sends requests and reads responses, within the limits of [`Options`].
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) options: Options,
    /// The digest of what the options trust.
    pub(crate) trust: Digest,
    /// The tokens that were issued and are still valid.
    pub(crate) tokens: TokenCache,
    /// The turns with hosts. A caller that sends something has a turn.
    pub(crate) turns: Turns,
    client: Client,
    /// The client for loopback addresses, which no proxy can reach.
    direct: Client,
    /// Whether each host that may be spoken to without TLS speaks it, as long as nothing suggests that this has changed.
    schemes: Mutex<HashMap<String, Scheme>>,
}

/// The protocol that a registry is spoken to with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Https,
    Http,
}

impl Scheme {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// What was read of a response.
pub(crate) struct Taken {
    pub(crate) bytes: Vec<u8>,
    /// Whether the response is larger than the limit.
    pub(crate) more: bool,
}

impl Transport {
    pub(crate) fn new(options: Options, turns: Turns) -> Result<Self, SetupError> {
        let mut certificates = Vec::new();
        for (number, pem) in (1..).zip(&options.certificate_authorities) {
            certificates.extend(read_authorities(number, pem)?);
        }
        let build = |direct: bool| {
            let mut builder = Client::builder()
                .user_agent(&options.user_agent)
                .connect_timeout(options.connect_timeout)
                // The session follows redirects. It knows where credentials may go.
                .redirect(Policy::none())
                // Digests are those of the bytes as stored. Another crate may turn these features on.
                .no_gzip()
                .no_brotli()
                .no_zstd()
                .no_deflate()
                .referer(false)
                .tls_certs_merge(certificates.iter().cloned());
            if direct {
                builder = builder.no_proxy();
            }
            builder.build().map_err(|error| SetupError::Client {
                reason: innermost(&error).to_string(),
            })
        };
        Ok(Self {
            client: build(false)?,
            direct: build(true)?,
            tokens: TokenCache::default(),
            turns,
            schemes: Mutex::default(),
            trust: options.trust(),
            options,
        })
    }

    /// Determines how to speak to a host: with TLS, unless the host may be spoken to without it and does not support it.
    pub(crate) async fn scheme(&self, host: &str) -> Result<Scheme, Cause> {
        if !self.options.allows_plain_http(host) {
            return Ok(Scheme::Https);
        }
        let known = self.schemes().get(host).copied();
        if let Some(scheme) = known {
            return Ok(scheme);
        }
        let (scheme, is_certain) = match self.probe(host, Scheme::Https).await {
            Ok(_) => (Scheme::Https, true),
            // A server that uses TLS with an untrusted certificate must be reported, and must not be spoken to in plain text.
            Err(Cause::Tls { problem, .. }) if problem != TlsProblem::PlainHttp => {
                (Scheme::Https, true)
            }
            Err(cause) => {
                let status = self.probe(host, Scheme::Http).await?;
                let is_plain = matches!(cause, Cause::Tls { .. });
                match plain_answer(status) {
                    // A server that uses TLS may have been unresponsive for a moment.
                    Plain::Registry => (Scheme::Http, is_plain),
                    Plain::Trouble => (Scheme::Http, false),
                    Plain::Other if is_plain => {
                        return Err(Cause::Protocol {
                            host: host.to_owned(),
                            reason: format!(
                                "without TLS, which it does not speak, it answers `GET /v2/` with status {}",
                                status.as_u16()
                            ),
                        });
                    }
                    Plain::Other => return Err(cause),
                }
            }
        };
        if is_certain {
            self.schemes().insert(host.to_owned(), scheme);
        }
        Ok(scheme)
    }

    async fn probe(&self, host: &str, scheme: Scheme) -> Result<StatusCode, Cause> {
        let url = base(host, scheme)?;
        let url = join(host, &url, "/v2/")?;
        self.send(&Outgoing::new(Method::GET, url), None)
            .await
            .map(|response| response.status())
    }

    /// Forgets how to speak to a host if that may have changed, so that the next pull or push determines it again.
    fn reconsider(&self, url: &Url, result: &Result<Response, Cause>) {
        let may_have_changed = match result {
            // A server that uses TLS answers this to a client that does not.
            Ok(response) => {
                response.status() == StatusCode::BAD_REQUEST && url.scheme() == Scheme::Http.name()
            }
            Err(Cause::Tls { problem, .. }) => *problem == TlsProblem::PlainHttp,
            Err(cause) => matches!(
                cause,
                Cause::Unreachable { .. } | Cause::Interrupted { .. } | Cause::Timeout { .. }
            ),
        };
        if may_have_changed {
            let is_other = |known: Url| known.origin() != url.origin();
            self.schemes()
                .retain(|host, scheme| base(host, *scheme).is_ok_and(is_other));
        }
    }

    fn schemes(&self) -> MutexGuard<'_, HashMap<String, Scheme>> {
        // A panic while the lock was held cannot leave the map in an inconsistent state.
        self.schemes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request and waits for the head of the response. Redirects are not followed.
    ///
    /// A kept connection may turn out to be closed only when it is used again. So if the connection breaks, a request that
    /// changes nothing is sent once more.
    pub(crate) async fn send(
        &self,
        outgoing: &Outgoing,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Cause> {
        let result = match self.send_once(outgoing, authorization).await {
            Err(Cause::Interrupted { .. }) if outgoing.is_harmless() => {
                self.send_once(outgoing, authorization).await
            }
            result => result,
        };
        self.reconsider(&outgoing.url, &result);
        result
    }

    async fn send_once(
        &self,
        outgoing: &Outgoing,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Cause> {
        let host = host_of(&outgoing.url);
        let sent = Arc::new(AtomicUsize::new(0));
        let mut request = Request::new(outgoing.method.clone(), outgoing.url.clone());
        let headers = request.headers_mut();
        if let Some(accept) = outgoing.accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        if let Some(known) = &outgoing.known {
            headers.insert(IF_NONE_MATCH, known.clone());
        }
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        match &outgoing.content {
            Some((content_type, bytes)) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
                headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
                *request.body_mut() = Some(pieces(bytes.clone(), sent.clone()));
            }
            None if !outgoing.is_harmless() => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
            }
            None => {}
        }
        let client = if is_loopback(&host) {
            &self.direct
        } else {
            &self.client
        };
        let mut answer = std::pin::pin!(client.execute(request));
        // Opening the connection has its own limit, which applies first if it is shorter.
        let limit = self.options.read_timeout.max(self.options.connect_timeout);
        loop {
            let before = sent.load(Ordering::Relaxed);
            match time::timeout(limit, &mut answer).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(cause(&error, &host, &self.options)),
                // A long upload is not a timeout while it makes progress.
                Err(_) if sent.load(Ordering::Relaxed) != before => {}
                Err(_) => return Err(silent(host, limit)),
            }
        }
    }

    /// Reads a response up to a limit, and no further.
    pub(crate) async fn take(&self, mut response: Response, limit: u64) -> Result<Taken, Cause> {
        let announced = response.content_length().unwrap_or_default();
        if announced > limit {
            return Ok(Taken {
                bytes: Vec::new(),
                more: true,
            });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(announced).unwrap_or_default());
        let has_ended = self.read_on(&mut response, &mut bytes, limit).await?;
        Ok(Taken {
            bytes,
            more: !has_ended,
        })
    }

    /// Continues to read a response until it exceeds a limit or has ended, and returns whether it has ended.
    pub(crate) async fn read_on(
        &self,
        response: &mut Response,
        bytes: &mut Vec<u8>,
        limit: u64,
    ) -> Result<bool, Cause> {
        let host = host_of(response.url());
        while bytes.len() as u64 <= limit {
            let chunk = time::timeout(self.options.read_timeout, response.chunk())
                .await
                .map_err(|_| silent(host.clone(), self.options.read_timeout))?
                .map_err(|error| cause(&error, &host, &self.options))?;
            match chunk {
                Some(chunk) => bytes.extend_from_slice(&chunk),
                None => return Ok(true),
            }
        }
        Ok(false)
    }
}

/// What the response to `GET /v2/` without TLS says about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plain {
    /// It is a registry that speaks http.
    Registry,
    /// It has a problem that may be temporary.
    Trouble,
    /// It is something else: a server that uses TLS answers 400, and one that requires TLS redirects to it.
    Other,
}

fn plain_answer(status: StatusCode) -> Plain {
    match status.as_u16() {
        200 | 401 | 403 | 404 => Plain::Registry,
        408 | 429 | 500.. => Plain::Trouble,
        _ => Plain::Other,
    }
}

/// Checks that PEM text can be used as an item of [`Options::certificate_authorities`].
pub fn check_authorities(pem: &[u8]) -> Result<(), SetupError> {
    read_authorities(1, pem).map(drop)
}

/// Reads certificates, and checks that each can be used as an authority. The HTTP client would only say that one of them all is
/// wrong.
fn read_authorities(number: usize, pem: &[u8]) -> Result<Vec<Certificate>, SetupError> {
    let unreadable = |reason: String| SetupError::Certificate { number, reason };
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem) {
        let der = der.map_err(|error| unreadable(error.to_string()))?;
        let certificate = Certificate::from_der(&der)
            .map_err(|error| unreadable(innermost(&error).to_string()))?;
        RootCertStore::empty()
            .add(der)
            .map_err(|error| unreadable(error.to_string()))?;
        found.push(certificate);
    }
    if found.is_empty() {
        return Err(SetupError::NoCertificate { number });
    }
    Ok(found)
}

/// Creates a request body that provides bytes in pieces, and counts the bytes that were requested from it.
fn pieces(bytes: Bytes, sent: Arc<AtomicUsize>) -> Body {
    Body::wrap_stream(stream::unfold(bytes, move |mut rest| {
        let piece = rest.split_to(PIECE.min(rest.len()));
        sent.fetch_add(piece.len(), Ordering::Relaxed);
        async move { (!piece.is_empty()).then_some((Ok::<_, io::Error>(piece), rest)) }
    }))
}

/// Returns the root URL of a host.
pub(crate) fn base(host: &str, scheme: Scheme) -> Result<Url, Cause> {
    Url::parse(&format!("{}://{host}", scheme.name())).map_err(|error| Cause::Unreachable {
        host: host.to_owned(),
        reason: error.to_string(),
    })
}

/// Resolves a location that a host gave, relative to another URL.
pub(crate) fn join(host: &str, from: &Url, to: &str) -> Result<Url, Cause> {
    from.join(to).map_err(|error| Cause::Protocol {
        host: host.to_owned(),
        reason: format!("it names a place that is no URL: {error}"),
    })
}

/// Returns the host that a URL is for, as `HOST[:PORT]`.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn silent(host: String, limit: Duration) -> Cause {
    Cause::Timeout {
        host,
        total: false,
        limit,
    }
}

fn cause(error: &reqwest::Error, host: &str, options: &Options) -> Cause {
    let host = host.to_owned();
    if let Some(error) = find::<rustls::Error>(error) {
        return Cause::Tls {
            host,
            problem: tls_problem(error),
        };
    }
    if error.is_timeout() {
        return silent(host, options.connect_timeout);
    }
    let reason = innermost(error).to_string();
    if error.is_connect() {
        Cause::Unreachable { host, reason }
    } else {
        Cause::Interrupted { host, reason }
    }
}

fn tls_problem(error: &rustls::Error) -> TlsProblem {
    match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsProblem::PlainHttp,
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer => TlsProblem::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::WrongName
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsProblem::Expired
            }
            other => TlsProblem::Other(other.to_string()),
        },
        other => TlsProblem::Other(other.to_string()),
    }
}

/// Returns the cause of an error. This includes the error that an [`io::Error`] wraps, which its `source` skips.
fn next<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| next(*error)).find_map(|error| error.downcast_ref())
}

/// Returns the innermost cause of an error. The outer errors say that a request failed, and this one says why.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    std::iter::successors(Some(error), |error| next(*error))
        .last()
        .unwrap_or(error)
}
