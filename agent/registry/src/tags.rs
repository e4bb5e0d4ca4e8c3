//! Lists of tags (OCI distribution specification 1.1, "Listing Tags").

use reqwest::{
    Method, StatusCode,
    header::{HeaderMap, LINK},
};
use serde::Deserialize;
use url::Url;

use crate::{
    error::{Cause, Part},
    session::Session,
    transport::{Outgoing, join},
};

/// Tags asked for at once.
const PAGE: usize = 1000;
/// Most pages that are read.
const MAX_PAGES: usize = 100;
/// Largest page, in bytes: a thousand tags of the longest kind, several times over.
const MAX_PAGE: u64 = 1 << 20;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// Lists all tags, page by page.
pub(crate) async fn list(session: &Session<'_>) -> Result<Vec<String>, Cause> {
    let mut all = Vec::new();
    let mut url = session.url(&format!("tags/list?n={PAGE}")).await?;
    for _ in 0..MAX_PAGES {
        let outgoing = Outgoing {
            accept: Some("application/json"),
            ..Outgoing::new(Method::GET, url.clone())
        };
        let response = session.exchange(outgoing).await?;
        if response.status() != StatusCode::OK {
            return Err(session.failure(response, "repository").await);
        }
        let next =
            next(response.headers()).map(|next| join(session.reference.registry(), &url, next));
        let next = next.transpose()?;
        let taken = session.transport.take(response, MAX_PAGE).await?;
        if taken.more {
            return Err(Cause::TooLarge {
                part: Part::Tags,
                limit: MAX_PAGE,
                size: None,
            });
        }
        let answer: Answer =
            serde_json::from_slice(&taken.bytes).map_err(|error| Cause::Malformed {
                part: Part::Tags,
                reason: error.to_string(),
            })?;
        all.extend(answer.tags.unwrap_or_default());
        match next {
            Some(next) => url = on_the_same_host(session, &url, next).await?,
            None => return Ok(all),
        }
    }
    Err(Cause::TooLarge {
        part: Part::Tags,
        limit: MAX_PAGE * MAX_PAGES as u64,
        size: None,
    })
}

/// The next page is the registry's own: some name it with another scheme, which is corrected, and none elsewhere.
async fn on_the_same_host(session: &Session<'_>, from: &Url, next: Url) -> Result<Url, Cause> {
    let mut own = from.clone();
    own.set_path(next.path());
    own.set_query(next.query());
    session.check_target(&own).await?;
    Ok(own)
}

/// Reads `<...>; rel="next"` (RFC 8288).
fn next(headers: &HeaderMap) -> Option<&str> {
    let link = headers.get(LINK)?.to_str().ok()?;
    link.split(',').find_map(|one| {
        let (target, parameters) = one.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters
            .split(';')
            .any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
        is_next.then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page() {
        let found = |link: &str| {
            let headers: HeaderMap = [(LINK, link.parse().unwrap())].into_iter().collect();
            next(&headers).map(str::to_owned)
        };
        assert_eq!(
            found("</v2/x/tags/list?last=b&n=2>; rel=\"next\"").as_deref(),
            Some("/v2/x/tags/list?last=b&n=2")
        );
        assert_eq!(
            found("<a>; rel=\"prev\", <b>; rel=next").as_deref(),
            Some("b")
        );
        assert_eq!(found("<a>; rel=\"prev\""), None);
        assert_eq!(found("garbage"), None);
    }
}
