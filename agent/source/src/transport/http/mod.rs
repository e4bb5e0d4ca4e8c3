//! git's smart HTTP protocol over our own client.

mod body;
mod clients;
mod exchange;

use std::{any::Any, sync::Arc};

use base64::Engine as _;
use gix::protocol::transport::{
    Protocol,
    client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse, Transport},
};
use reqwest::{
    Client, RequestBuilder, Response,
    header::{AUTHORIZATION, HeaderValue, LOCATION, USER_AGENT},
};
use url::Url;

pub(crate) use self::clients::Clients;
use self::{
    body::{Body, Headers, Received, Upload},
    exchange::{Exchange, Sent},
};
use super::{Connection, Conversation};
use crate::{
    credentials::{Credentials, Login},
    error::{SourceError, chain},
};

/// The most redirects of one request.
const REDIRECTS: usize = 5;
/// What git appends to a repository's URL in the first request. As in git, a redirect must keep it.
const FIRST_PATH: &str = "/info/refs";
const FIRST_QUERY: &str = "service=git-upload-pack";

/// Creates a connection to a repository. Nothing is sent yet.
pub(crate) fn connect(
    clients: &Clients,
    url: &Url,
    credentials: &Credentials,
    conversation: &Arc<Conversation>,
    version: Protocol,
) -> Result<Connection, SourceError> {
    let shown = conversation.url();
    let client = clients.client(
        url,
        &shown,
        credentials.certificate_authority.as_deref(),
        conversation.limits(),
    )?;
    let authorization = authorization(&shown, &credentials.login)?;
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
    /// The URL that a redirect led to.
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
                Exchange::new(request, Arc::clone(&self.conversation), self.login(&next));
            let response = exchange.send().map_err(gix::Error::from_error)?;
            if !response.status().is_redirection() {
                if next.as_str() != url {
                    self.base = Some(base(&next));
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
        let exchange = Exchange::new(request, Arc::clone(&self.conversation), self.login(&target));
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
    /// Returns whether the server at this URL gets the credentials and, if not, why.
    fn login(&self, url: &Url) -> Sent {
        match &self.authorization {
            None => Sent::Nothing,
            Some(_) if url.origin() == self.origin => Sent::Credentials,
            Some(_) => Sent::Withheld(base(url)),
        }
    }
}

/// Returns a repository's URL, given that of the first request to it.
fn base(first: &Url) -> String {
    let mut url = first.clone();
    url.set_query(None);
    let text = url.as_str();
    text.strip_suffix(FIRST_PATH).unwrap_or(text).to_owned()
}

/// Checks where a redirect leads: it must be the same request, and never lead from https to http.
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
