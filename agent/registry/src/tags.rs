//! Lists of tags (OCI distribution specification 1.1, "Listing Tags").
//!
//! Lists are read to find the highest version in them. Repositories hold many other tags, of branches, builds and signatures,
//! and a registry may return anything. Tags that cannot be versions are left out during reading, so that a list takes no more
//! memory than its versions.

use std::fmt;

use pintle_core::version::loose;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use url::Url;

use crate::{
    error::{Cause, Part},
    link,
    reference::is_tag,
    registry::blocking,
    session::Session,
    transport::{Outgoing, join},
};

/// The number of tags that are asked for at once. Some registries return fewer, and some return all.
const PAGE: usize = 1000;
/// The most versions that are kept.
const MAX_VERSIONS: usize = 100_000;
/// The most pages that are read: enough for that many versions from a registry that returns fifty tags at once.
const MAX_PAGES: u64 = 2_000;
/// The most bytes that are read from all pages together: enough for that many versions with tags of the longest kind, and for
/// as much again and more of other tags.
const MAX_BYTES: u64 = 32 << 20;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    tags: Option<Versions>,
}

/// The tags of a page that can be versions. It holds at most one more than are kept, which shows that there are more.
#[derive(Default)]
struct Versions(Vec<String>);

impl<'de> Deserialize<'de> for Versions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tags;

        impl<'de> Visitor<'de> for Tags {
            type Value = Versions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of tags")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut tags: A) -> Result<Versions, A::Error> {
                let mut kept = Vec::new();
                while let Some(tag) = tags.next_element::<String>()? {
                    if kept.len() <= MAX_VERSIONS && is_version(&tag) {
                        kept.push(tag);
                    }
                }
                Ok(Versions(kept))
            }
        }

        deserializer.deserialize_seq(Tags)
    }
}

/// Returns whether a tag can be a version. A tag has no `+`, so Helm writes `_` in its place.
fn is_version(tag: &str) -> bool {
    is_tag(tag) && loose(&tag.replace('_', "+")).is_some()
}

/// Lists all tags that can be versions, page by page.
pub(crate) async fn list(session: &Session<'_>) -> Result<Vec<String>, Cause> {
    let mut versions = Vec::new();
    let mut unread = MAX_BYTES;
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
        let next = next(response.headers())?
            .map(|next| join(session.reference.registry(), &url, &next))
            .transpose()?;
        let taken = session.transport.take(response, unread).await?;
        if taken.more {
            return Err(too_many(MAX_BYTES, "bytes"));
        }
        unread -= taken.bytes.len() as u64;
        // A single page may have all of these bytes.
        let page = blocking(move || read(&taken.bytes)).await;
        versions.extend(page?);
        if versions.len() > MAX_VERSIONS {
            return Err(too_many(MAX_VERSIONS as u64, "versions"));
        }
        match next {
            Some(next) => url = on_the_same_host(session, &url, next).await?,
            None => return Ok(versions),
        }
    }
    Err(too_many(MAX_PAGES, "pages"))
}

fn too_many(limit: u64, unit: &'static str) -> Cause {
    Cause::TooManyTags { limit, unit }
}

fn read(bytes: &[u8]) -> Result<Vec<String>, Cause> {
    let answer: Answer = serde_json::from_slice(bytes).map_err(|error| Cause::Malformed {
        part: Part::Tags,
        reason: error.to_string(),
    })?;
    Ok(answer.tags.unwrap_or_default().0)
}

/// Returns the URL of the next page, which is on the registry's own host: some registries name it with another scheme, which is
/// corrected, and none name another host.
async fn on_the_same_host(session: &Session<'_>, from: &Url, next: Url) -> Result<Url, Cause> {
    let mut own = from.clone();
    own.set_path(next.path());
    own.set_query(next.query());
    session.check_target(&own).await?;
    Ok(own)
}

/// Finds the next page. If a list is taken for shorter than it is, its highest version is too low, so a header that cannot be
/// read does not count as the end.
fn next(headers: &HeaderMap) -> Result<Option<String>, Cause> {
    link::next(headers).map_err(|link::Unreadable| Cause::Malformed {
        part: Part::Tags,
        reason: "the next page is not known, because the `Link` header is not as in RFC 8288; expected `<URL>; rel=\"next\"`, or no such header on the last page".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_version_is_kept() {
        let long = format!("1.0.0-{}", "a".repeat(128));
        let page = serde_json::json!({"name": "x", "tags": [
            "1.2.3", "", "latest", "v1.2.3", "1.2", "1.2.3_b", "1.2.3_b_c", "2.0.0-rc.1", "1.2.3.4", long,
            "sha256-44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a.sig", "1.2.3/../../x",
        ]});
        assert_eq!(
            read(page.to_string().as_bytes()).unwrap(),
            ["1.2.3", "v1.2.3", "1.2", "1.2.3_b", "2.0.0-rc.1"]
        );
        for none in [r#"{"tags":null}"#, r#"{"tags":[]}"#, "{}"] {
            assert!(read(none.as_bytes()).unwrap().is_empty(), "{none}");
        }
        let error = read(br#"{"tags":"1.2.3"}"#).unwrap_err();
        insta::assert_snapshot!(error.to_string(), @r#"the list of tags cannot be understood: invalid type: string "1.2.3", expected a list of tags at line 1 column 15"#);
    }

    #[test]
    fn a_page_without_versions_takes_no_memory() {
        let empty = vec!["\"\""; 100_000].join(",");
        let kept = read(format!(r#"{{"tags":[{empty}]}}"#).as_bytes()).unwrap();
        assert_eq!(kept.capacity(), 0);
    }
}
