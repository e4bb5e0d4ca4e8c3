//! `pintle:types/http`: outgoing HTTP to granted hosts, with secrets that the guest never holds.

mod address;
mod hiding;
mod placeholder;
mod secrets;

use std::{
    error::Error,
    io, iter,
    sync::{Arc, OnceLock},
    time::Duration,
};

use pintle_core::causes::chain;
use reqwest::{
    Client, Method, Url,
    header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use tokio::time::timeout;
use url::Host as UrlHost;

pub use self::secrets::{Secrets, SecretsError};
use self::{
    address::{Blocked, Lookups, Resolver, is_public},
    placeholder::Filling,
};
use crate::{
    bindings::wit::http::{Header, Host, HttpError, Request, Response},
    grants::EffectiveGrants,
    state::State,
};

/// The maximum size of a response body in bytes.
const RESPONSE: usize = 1 << 20;

/// The maximum size of a request body in bytes.
const REQUEST: usize = 4 << 20;

/// The maximum number of headers of a request.
const HEADERS: usize = 64;

/// The maximum sizes in bytes of a request's URL and of a header value, both as the plugin writes them and as they are sent.
const URL: usize = 8 << 10;
const VALUE: usize = 16 << 10;

/// The timeout for establishing a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Headers that belong to the connection, that would address a host other than the granted one (RFC 9110, section 7), or that
/// would ask for an answer in which secrets cannot be found. The contract lists them. A `*` stands for any suffix.
const OWN_HEADERS: [&str; 10] = [
    "accept-encoding",
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-*",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The clients of all notifiers, each created when it is first needed: most runs notify nobody, and reading the system's
/// certificate authorities takes longer than a render.
///
/// Connections are reused between plugins. Plugins differ only in the addresses that they may reach, so there is one client for
/// each case.
#[derive(Debug, Clone)]
pub(crate) struct HttpClients(Arc<Clients>);

#[derive(Debug)]
struct Clients {
    authorities: Vec<Vec<u8>>,
    lookups: Lookups,
    public: OnceLock<Result<Client, String>>,
    any: OnceLock<Result<Client, String>>,
}

impl HttpClients {
    pub(crate) fn new(authorities: Vec<Vec<u8>>) -> Self {
        Self(Arc::new(Clients {
            authorities,
            lookups: Lookups::default(),
            public: OnceLock::new(),
            any: OnceLock::new(),
        }))
    }

    fn client(&self, private: bool) -> Result<&Client, HttpError> {
        let clients = &self.0;
        let client = if private {
            &clients.any
        } else {
            &clients.public
        };
        client
            .get_or_init(|| make(clients, private).map_err(|error| chain(&error)))
            .as_ref()
            .map_err(|error| HttpError::Transport(format!("the client does not start: {error}")))
    }
}

fn make(clients: &Clients, private: bool) -> Result<Client, reqwest::Error> {
    let mut headers = HeaderMap::new();
    // Secrets cannot be found in compressed data.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let mut builder = Client::builder()
        // A proxy would resolve names itself and so bypass the check of addresses.
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT)
        .dns_resolver(Arc::new(Resolver {
            private,
            lookups: clients.lookups.clone(),
        }))
        .default_headers(headers)
        .user_agent(concat!("pintle/", env!("CARGO_PKG_VERSION")));
    for pem in &clients.authorities {
        for certificate in reqwest::Certificate::from_pem_bundle(pem)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build()
}

/// The destination of a request.
struct Target {
    url: Url,
    /// What messages call the host if it came from a secret.
    hidden: Option<String>,
}

/// What one call may send.
pub(crate) struct HttpAccess {
    pub(crate) clients: HttpClients,
    pub(crate) grants: Arc<EffectiveGrants>,
    pub(crate) secrets: Arc<Secrets>,
}

impl Host for State {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, HttpError>> {
        let headers: usize = request
            .headers
            .iter()
            .map(|h| h.name.len() + h.value.len())
            .sum();
        self.called(request.url.len() + headers + request.body.len())?;
        let Some(access) = &self.http else {
            let reason = "HTTP is not to be used at this stage".to_owned();
            return Ok(Err(HttpError::NotGranted(reason)));
        };
        let response = access.send(request, self.deadline.for_waiting()).await;
        let size = response.as_ref().map_or(0, |response| {
            let headers: usize = response
                .headers
                .iter()
                .map(|h| h.name.len() + h.value.len())
                .sum();
            headers + response.body.len()
        });
        self.traffic.charge(size)?;
        Ok(response)
    }
}

impl HttpAccess {
    /// Sends a request with the timeout `most`, or a shorter one if the request sets it.
    async fn send(&self, request: Request, most: Duration) -> Result<Response, HttpError> {
        let time = request
            .timeout_ms
            .map_or(most, |ms| Duration::from_millis(ms.into()).min(most));
        // A request that is sent may take effect even if nobody waits for the answer, so do not send it.
        if time.is_zero() {
            return Err(HttpError::TimedOut);
        }
        match timeout(time, self.exchange(request)).await {
            Ok(response) => response,
            Err(_) => Err(HttpError::TimedOut),
        }
    }

    async fn exchange(&self, request: Request) -> Result<Response, HttpError> {
        let method = method(&request.method)?;
        // Checked before the body is signed.
        if request.body.len() > REQUEST {
            return Err(HttpError::NotGranted(format!(
                "the request's body is larger than {REQUEST} bytes"
            )));
        }
        let (Target { url, hidden }, headers) = {
            let mut filling = self.secrets.filling(&request.body);
            let target = self.target(&request, &mut filling)?;
            (target, headers(&request, &mut filling)?)
        };
        let failed = |error: reqwest::Error| failed(&error, hidden.as_deref());
        let client = self.clients.client(self.grants.private_networks())?;
        let sent = client
            .request(method, url)
            .headers(headers)
            .body(request.body)
            .send()
            .await;
        let mut response = sent.map_err(failed)?;
        let status = response.status().as_u16();
        let hiding = self.secrets.hiding();
        let headers = response.headers().iter().map(|(name, value)| Header {
            name: name.as_str().to_owned(),
            value: hiding.text(value.as_bytes(), RESPONSE),
        });
        let headers = headers.collect();
        if hiding.is_blind(response.headers()) {
            return Ok(Response {
                status,
                headers,
                body: Vec::new(),
            });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > RESPONSE {
                return Err(HttpError::TooLarge(RESPONSE as u64));
            }
            body.extend_from_slice(&chunk);
        }
        let body = hiding.bytes(body, RESPONSE);
        if body.len() > RESPONSE {
            return Err(HttpError::TooLarge(RESPONSE as u64));
        }
        Ok(Response {
            status,
            headers,
            body,
        })
    }

    /// Fills in the URL and checks that its host is granted. Messages show the URL as the plugin wrote it.
    fn target(&self, request: &Request, filling: &mut Filling<'_>) -> Result<Target, HttpError> {
        let filled = filling.fill("the URL", &request.url, URL)?;
        let malformed =
            |reason: &str| HttpError::NotGranted(format!("`{}` {reason}", shown(&request.url)));
        // The parser's message may quote what was filled in.
        let url = Url::parse(&filled).map_err(|_| malformed("is not an absolute URL"))?;
        let own = match url.scheme() {
            "https" => 443,
            "http" => 80,
            _ => return Err(malformed("is neither https nor http")),
        };
        let (Some(host), Some(name)) = (url.host(), url.host_str()) else {
            return Err(malformed("names no host"));
        };
        let port = url.port().unwrap_or(own);
        // A host that came from a secret stays secret.
        let hidden = (!is_written(&request.url, &url))
            .then(|| format!("the host of `{}`", shown(&request.url)));
        let told = hidden.clone().unwrap_or_else(|| format!("{name}:{port}"));
        if !self.grants.reaches(name, port, own) {
            return Err(HttpError::NotGranted(format!(
                "{told} is not among the granted hosts: add it to `grants.httpHosts` of the Plugin"
            )));
        }
        let address = match host {
            UrlHost::Ipv4(address) => Some(address.into()),
            UrlHost::Ipv6(address) => Some(address.into()),
            UrlHost::Domain(_) => None,
        };
        if let Some(address) = address
            && !self.grants.private_networks()
            && !is_public(address)
        {
            return Err(HttpError::NotGranted(private(&told)));
        }
        Ok(Target { url, hidden })
    }
}

/// Returns whether the plugin itself wrote the host and port, that is, before the first placeholder.
fn is_written(template: &str, url: &Url) -> bool {
    let written = template
        .split_once("${")
        .map_or(template, |(written, _)| written);
    Url::parse(written).is_ok_and(|written| {
        written.host() == url.host()
            && written.port_or_known_default() == url.port_or_known_default()
    })
}

fn headers(request: &Request, filling: &mut Filling<'_>) -> Result<HeaderMap, HttpError> {
    if request.headers.len() > HEADERS {
        return Err(HttpError::NotGranted(format!(
            "more than {HEADERS} headers"
        )));
    }
    let mut headers = HeaderMap::new();
    for header in &request.headers {
        let bad = |reason: &str| {
            HttpError::NotGranted(format!("header `{}` {reason}", shown(&header.name)))
        };
        let name: HeaderName = header
            .name
            .parse()
            .map_err(|_| bad("has a malformed name"))?;
        if is_own(name.as_str()) {
            return Err(bad("is the host's to set"));
        }
        let what = format!("the value of header `{}`", shown(&header.name));
        let value = filling.fill(&what, &header.value, VALUE)?;
        // Text outside ASCII is sent as UTF-8.
        let mut value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| bad("has a value with characters that headers cannot have"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn is_own(name: &str) -> bool {
    OWN_HEADERS.iter().any(|own| match own.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *own,
    })
}

fn method(text: &str) -> Result<Method, HttpError> {
    match Method::from_bytes(text.as_bytes()) {
        // A tunnel would bypass the check of hosts.
        Ok(method) if method != Method::CONNECT => Ok(method),
        _ => Err(HttpError::NotGranted(format!(
            "`{}` is not a method",
            shown(text)
        ))),
    }
}

/// Describes how a request failed, without the URL, which may hold a secret. A hidden host is called by the text in `hidden`.
fn failed(error: &reqwest::Error, hidden: Option<&str>) -> HttpError {
    if let Some(blocked) = causes(error).find_map(|cause| cause.downcast_ref::<Blocked>()) {
        let told = hidden.map_or_else(|| blocked.to_string(), ToOwned::to_owned);
        return HttpError::NotGranted(private(&told));
    }
    if error.is_timeout() {
        return HttpError::TimedOut;
    }
    if error.is_builder() {
        return HttpError::NotGranted("the URL is none that HTTP can ask for".to_owned());
    }
    if let Some(host) = hidden {
        return HttpError::Transport(format!("{host}: {}", failed_nameless(error)));
    }
    HttpError::Transport(
        error
            .source()
            .map_or_else(|| "the exchange failed".to_owned(), chain),
    )
}

/// Describes the failure without the texts of its causes, which may contain names, such as those in a certificate.
fn failed_nameless(error: &reqwest::Error) -> String {
    let what = if error.is_dns() {
        "its name is not resolved"
    } else if error.is_connect() {
        "no connection to it was made"
    } else {
        "the connection broke off"
    };
    let of_system = causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .find(|cause| cause.raw_os_error().is_some());
    of_system.map_or_else(
        || what.to_owned(),
        |cause| format!("{what}: {}", cause.kind()),
    )
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(error.source(), |&error| error.source())
}

fn private(what: &str) -> String {
    format!(
        "{what} is on a private, local or reserved network: set `grants.privateNetworks` of the Plugin if it may be"
    )
}

/// Shortens what a plugin wrote, for a message that goes back to it.
fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_plugins_if_it_stands_before_all_placeholders() {
        let is_written =
            |template: &str, filled: &str| is_written(template, &Url::parse(filled).unwrap());
        for (template, filled) in [
            ("https://a.example/", "https://a.example/"),
            (
                "https://a.example:443/x?${secret:s}",
                "https://a.example/x?s",
            ),
            ("http://10.0.0.1:8080/${secret:s}", "http://10.0.0.1:8080/s"),
        ] {
            assert!(is_written(template, filled), "{template}");
        }
        for (template, filled) in [
            ("${secret:s}", "https://a.example/"),
            ("https://${secret:s}/", "https://a.example/"),
            ("https:///${secret:s}/", "https://a.example/"),
            ("https://a${secret:s}", "https://a.example/"),
            ("https://a.example:8${secret:s}", "https://a.example:8080/"),
            ("https://a${secret:s}/", "https://a:b@c.example/"),
            ("https://a:${secret:s}@c.example/", "https://a:b@c.example/"),
        ] {
            assert!(!is_written(template, filled), "{template}");
        }
    }

    #[test]
    fn the_contract_lists_the_headers_that_are_the_hosts() {
        let contract = include_str!("../../../../wit/types/types.wit");
        let (_, list) = contract.split_once("which the host sets itself:").unwrap();
        let (list, _) = list.split_once('.').unwrap();
        let listed: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, OWN_HEADERS);
        let own = ["host", "proxy-authorization", "te"].map(is_own);
        let others = ["x-host", "proxy", "test", "authorization"].map(is_own);
        assert_eq!((own, others), ([true; 3], [false; 4]));
    }
}
