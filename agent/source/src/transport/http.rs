//! git's smart HTTP protocol over our own client.

use std::{
    any::Any,
    collections::HashMap,
    io::{self, BufRead, Cursor, Read, Write},
    sync::{Arc, Mutex, PoisonError},
};

use base64::Engine as _;
use gix::protocol::transport::{
    Protocol,
    client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse, Transport},
};
use pintle_core::digest::Digest;
use reqwest::{
    Certificate, Client, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, USER_AGENT},
    redirect::Policy,
};
use url::Url;

use super::{Connection, Conversation};
use crate::{
    credentials::{Credentials, Login},
    error::{SourceError, chain, one_line},
    limits::Limits,
};

/// Some hosts answer in git's protocol only to who names himself like this.
const AGENT: &str = concat!("git/pintle-", env!("CARGO_PKG_VERSION"));
/// Most redirects of one request.
const REDIRECTS: usize = 5;
/// What git adds to a repository's URL in the first request. A redirect must keep it, as in git.
const FIRST_PATH: &str = "/info/refs";
const FIRST_QUERY: &str = "service=git-upload-pack";

/// HTTP clients by the authority that they trust beside the system's; each keeps its connections for the next request.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<HashMap<Option<Digest>, Client>>);

impl Clients {
    fn client(
        &self,
        url: &str,
        authority: Option<&str>,
        limits: Limits,
    ) -> Result<Client, SourceError> {
        let key = authority.map(Digest::of);
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let mut builder = Client::builder()
            .user_agent(AGENT)
            .redirect(Policy::none())
            .connect_timeout(limits.connect)
            .http1_only();
        if let Some(authority) = authority {
            let wrong = |reason: String| SourceError::Credentials {
                url: url.to_owned(),
                reason,
            };
            let certificates = Certificate::from_pem_bundle(authority.as_bytes())
                .map_err(|error| wrong(format!("`ca.crt` is malformed: {}", chain(&error))))?;
            if certificates.is_empty() {
                return Err(wrong(
                    "`ca.crt` holds no certificate: expected PEM, `-----BEGIN CERTIFICATE-----`"
                        .to_owned(),
                ));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().map_err(|error| SourceError::Tls {
            url: url.to_owned(),
            reason: chain(&error),
        })?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// Makes a connection to a repository. Nothing is sent yet.
pub(crate) fn connect(
    clients: &Clients,
    url: &Url,
    credentials: &Credentials,
    conversation: &Arc<Conversation>,
    version: Protocol,
) -> Result<Connection, SourceError> {
    let shown = conversation.url();
    let client = clients.client(
        &shown,
        credentials.certificate_authority.as_deref(),
        conversation.limits(),
    )?;
    let authorization = authorization(&shown, &credentials.login)?;
    if authorization.is_some() && url.scheme() == "http" {
        tracing::warn!(url = shown, "credentials are sent in the clear: use https");
    }
    let address = gix::url::parse(url.as_str()).map_err(|error| SourceError::Url {
        url: shown,
        reason: chain(&error),
    })?;
    let http = GitHttp {
        client,
        origin: url.origin(),
        authorization,
        conversation: Arc::clone(conversation),
        base: None,
    };
    Ok(Box::new(Transport::new_http(http, address, version, false)))
}

fn authorization(url: &str, login: &Login) -> Result<Option<HeaderValue>, SourceError> {
    let text = match login {
        Login::Anonymous => return Ok(None),
        Login::Basic { username, password } => {
            let pair =
                base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
            format!("Basic {pair}")
        }
        Login::Bearer(token) => format!("Bearer {token}"),
        Login::Key { .. } => {
            return Err(SourceError::Credentials {
                url: url.to_owned(),
                reason: "they hold an SSH key, and this is no ssh URL: expected `username` and `password`, or `bearerToken`".to_owned(),
            });
        }
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| SourceError::Credentials {
        url: url.to_owned(),
        reason: "they hold characters that HTTP does not allow".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

struct GitHttp {
    client: Client,
    origin: url::Origin,
    authorization: Option<HeaderValue>,
    conversation: Arc<Conversation>,
    /// Where a redirect led.
    base: Option<String>,
}

impl GitHttp {
    /// Adds the headers. The credentials go to the server that they are for, and to no other.
    fn prepare(
        &self,
        mut request: RequestBuilder,
        url: &Url,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> RequestBuilder {
        for header in headers {
            if let Some((name, value)) = header.as_ref().split_once(':')
                && !name.eq_ignore_ascii_case(USER_AGENT.as_str())
            {
                request = request.header(name, value.trim());
            }
        }
        match &self.authorization {
            Some(value) if url.origin() == self.origin => {
                request.header(AUTHORIZATION, value.clone())
            }
            _ => request,
        }
    }

    fn failed(&self, error: SourceError) -> gix::Error {
        gix::Error::from_error(self.conversation.give_up(error))
    }
}

impl Http for GitHttp {
    type Headers = Headers;
    type ResponseBody = Body;
    type PostBody = Upload;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Headers, Body>> {
        let headers: Vec<String> = headers
            .into_iter()
            .map(|header| header.as_ref().to_owned())
            .collect();
        let malformed = |reason: String| SourceError::Protocol {
            url: self.conversation.url(),
            reason,
        };
        let mut next =
            Url::parse(url).map_err(|error| self.failed(malformed(error.to_string())))?;
        for _ in 0..=REDIRECTS {
            let request = self.prepare(self.client.get(next.clone()), &next, &headers);
            let exchange =
                Exchange::new(request, Arc::clone(&self.conversation), self.knows(&next));
            let response = exchange.send().map_err(gix::Error::from_error)?;
            if !response.status().is_redirection() {
                if next.as_str() != url {
                    next.set_query(None);
                    self.base = Some(next.as_str().trim_end_matches(FIRST_PATH).to_owned());
                }
                let received = Received::ready(response, Arc::clone(&self.conversation));
                let headers = Headers {
                    received: Arc::clone(&received),
                    text: None,
                };
                return Ok(GetResponse {
                    headers,
                    body: Body::new(received),
                });
            }
            next = redirected(&next, &response).map_err(|reason| self.failed(malformed(reason)))?;
            tracing::debug!(from = base_url, to = next.as_str(), "redirected");
        }
        Err(self.failed(malformed(format!(
            "it redirects more than {REDIRECTS} times"
        ))))
    }

    fn post(
        &mut self,
        url: &str,
        _: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Headers, Body, Upload>> {
        let target = Url::parse(url).map_err(|error| {
            self.failed(SourceError::Protocol {
                url: self.conversation.url(),
                reason: error.to_string(),
            })
        })?;
        let request = self.prepare(self.client.post(target.clone()), &target, headers);
        let exchange = Exchange::new(request, Arc::clone(&self.conversation), self.knows(&target));
        let received = Received::pending(exchange, Arc::clone(&self.conversation));
        Ok(PostResponse {
            post_body: Upload(Arc::clone(&received)),
            headers: Headers {
                received: Arc::clone(&received),
                text: None,
            },
            body: Body::new(received),
        })
    }

    fn configure(&mut self, _: &dyn Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.base.clone()
    }
}

impl GitHttp {
    /// Says whether the server at this URL gets credentials.
    fn knows(&self, url: &Url) -> bool {
        self.authorization.is_some() && url.origin() == self.origin
    }
}

/// Checks where a redirect leads: the same request, and never from https to http.
fn redirected(from: &Url, response: &Response) -> Result<Url, String> {
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok());
    let to = location
        .and_then(|location| from.join(location).ok())
        .ok_or("it redirects to nowhere")?;
    let shown = || crate::location::redact(to.as_str());
    match (from.scheme(), to.scheme()) {
        ("https" | "http", "https") | ("http", "http") => {}
        _ => return Err(format!("it redirects to {}, which is less safe", shown())),
    }
    let first = to.path().ends_with(FIRST_PATH)
        && to.query() == Some(FIRST_QUERY)
        && to.fragment().is_none();
    if !first || !to.username().is_empty() || to.password().is_some() {
        return Err(format!(
            "it redirects to {}, which is no repository: use the URL that the host shows for cloning",
            shown()
        ));
    }
    Ok(to)
}

/// One request and its answer.
struct Exchange {
    request: RequestBuilder,
    conversation: Arc<Conversation>,
    /// Whether credentials are sent.
    known: bool,
}

impl Exchange {
    fn new(request: RequestBuilder, conversation: Arc<Conversation>, known: bool) -> Self {
        Self {
            request,
            conversation,
            known,
        }
    }

    /// Sends the request; an answer that is not the one hoped for is an error.
    fn send(self) -> io::Result<Response> {
        let Self {
            request,
            conversation,
            known,
        } = self;
        let limit = conversation.limits().connect + conversation.limits().idle;
        let sent = conversation.wait("did not answer", limit, request.send())?;
        let response =
            sent.map_err(|error| conversation.give_up(classify(&conversation, &error)))?;
        let status = response.status();
        if status.is_success() {
            let kind = response
                .headers()
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            if kind.starts_with("application/x-git-upload-pack-") {
                return Ok(response);
            }
            let reason = format!(
                "it sends `{}`; check the path, and that the host is not one that answers with a page for people",
                one_line(kind)
            );
            return Err(conversation.give_up(SourceError::Protocol {
                url: conversation.url(),
                reason,
            }));
        }
        if status.is_redirection() {
            return Ok(response);
        }
        Err(conversation.give_up(refused(conversation.url(), status, known)))
    }
}

fn refused(url: String, status: StatusCode, given: bool) -> SourceError {
    let reason = format!("HTTP status {status}");
    match status {
        StatusCode::UNAUTHORIZED => SourceError::Unauthenticated { url, given },
        StatusCode::FORBIDDEN => SourceError::Forbidden { url, reason },
        StatusCode::NOT_FOUND | StatusCode::GONE => SourceError::NotFound { url, given },
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            SourceError::Unavailable { url, reason }
        }
        status if status.is_server_error() => SourceError::Unavailable { url, reason },
        _ => SourceError::Protocol { url, reason },
    }
}

fn classify(conversation: &Conversation, error: &reqwest::Error) -> SourceError {
    let url = conversation.url();
    if let Some(tls) = tls_error(error) {
        return SourceError::Tls {
            url,
            reason: one_line(&tls.to_string()),
        };
    }
    if error.is_timeout() && error.is_connect() {
        return SourceError::Timeout {
            url,
            doing: "accepted no connection",
            limit: conversation.limits().connect,
        };
    }
    let reason = innermost(error);
    SourceError::Unreachable { url, reason }
}

/// Returns the cause that says most: the outer ones repeat the URL and name layers of the client.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    one_line(&last.to_string())
}

fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error hides what it wraps from `source`.
        if let Some(inner) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            && let Some(found) = tls_error(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What comes back, once it is asked for: gix takes the reader before it has written the request's body.
struct Received {
    conversation: Arc<Conversation>,
    state: Mutex<State>,
}

enum State {
    /// The request with what its body is so far.
    Pending(Option<Exchange>, Vec<u8>),
    Ready(Response),
    Failed,
}

impl Received {
    fn ready(response: Response, conversation: Arc<Conversation>) -> Arc<Self> {
        Arc::new(Self {
            conversation,
            state: Mutex::new(State::Ready(response)),
        })
    }

    fn pending(exchange: Exchange, conversation: Arc<Conversation>) -> Arc<Self> {
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
pub(crate) struct Upload(Arc<Received>);

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

/// The headers of an answer, as lines; gix looks for the content type.
pub(crate) struct Headers {
    received: Arc<Received>,
    text: Option<Cursor<Vec<u8>>>,
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

/// The body of an answer.
pub(crate) struct Body {
    received: Arc<Received>,
    chunk: bytes::Bytes,
    ended: bool,
}

impl Body {
    fn new(received: Arc<Received>) -> Self {
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
