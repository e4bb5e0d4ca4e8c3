//! Lists, page by page: in few requests where objects are small, and with little memory where they are large.

use serde_json::Value;

use crate::{
    connection::Connection,
    objects::items,
    request::{Call, RequestError},
};

/// The most objects per page. A separate request for every few objects would take too long.
const MOST: usize = 500;

/// The most bytes per page. Parsed JSON takes several times as much memory, until the page has been turned into text.
const BYTES: usize = 8 << 20;

/// The factor by which a page is smaller than one that was too large, and larger than one that left enough room.
const STEP: usize = 4;

/// Reads a page of a list, of all objects or of those with some labels: the first page, or the one that `named` names. Also
/// returns the name of the next page.
///
/// If objects are large, fewer are requested. A server accepts any limit for the rest of a list.
pub(crate) async fn page(
    connection: &Connection,
    path: &str,
    labels: Option<&str>,
    named: Option<&str>,
) -> Result<(Vec<Value>, Option<String>), RequestError> {
    let mut place = Place::of(named);
    loop {
        match connection.call_with_size(&place.call(path, labels)).await {
            Ok((size, list)) => {
                let next = place.next(size, &list);
                return Ok((items(list), next));
            }
            // A single object may be larger than any other response.
            Err(RequestError::TooLarge { .. }) if place.limit > 1 => {
                place.limit = fewer(place.limit);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Where a page begins, and how many objects it may have.
struct Place<'a> {
    limit: usize,
    /// The server's token for the rest of the list; `None` at its beginning.
    rest: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// Parses what [`Place::next`] has written.
    fn of(named: Option<&'a str>) -> Self {
        let Some(named) = named else {
            return Self {
                limit: MOST,
                rest: None,
            };
        };
        let (limit, rest) = named.split_once(' ').unwrap_or(("", named));
        Self {
            limit: limit.parse().unwrap_or(MOST),
            rest: Some(rest),
        }
    }

    fn call(&self, path: &str, labels: Option<&str>) -> Call {
        let mut call = Call::get(path);
        if let Some(labels) = labels {
            call = call.query("labelSelector", labels);
        }
        call = call.query("limit", &self.limit.to_string());
        if let Some(rest) = self.rest {
            call = call.query("continue", rest);
        }
        // A single object is accepted at any size, and so is the list of a server that ignores limits.
        if self.limit > 1 {
            call = call.at_most(BYTES);
        }
        call
    }

    /// Names the page after one of `size` bytes; `None` after the last.
    fn next(&self, size: usize, list: &Value) -> Option<String> {
        let rest = list["metadata"]["continue"].as_str();
        let rest = rest.filter(|rest| !rest.is_empty())?;
        Some(format!("{} {rest}", after(self.limit, size)))
    }
}

/// Returns how many objects to request when `limit` of them are too large.
fn fewer(limit: usize) -> usize {
    (limit / STEP).max(1)
}

/// Returns how many objects to request after a page of `size` bytes: more, if they would fit.
fn after(limit: usize, size: usize) -> usize {
    if size < BYTES / STEP {
        (limit * STEP).min(MOST)
    } else {
        limit
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use kube::client::Body;
    use serde_json::json;
    use tower::BoxError;

    use super::*;
    use crate::connection::Options;

    const LABELS: &str = "app";

    const MEBIBYTE: usize = 1 << 20;

    /// Answers a list request for objects of these sizes as the API server does, and records how many objects were requested.
    fn answer(sizes: &[usize], query: &str, limits: &Mutex<Vec<usize>>) -> Bytes {
        let value = |name: &str| -> Option<usize> {
            let mut all = query.split('&').filter_map(|one| one.split_once('='));
            let (_, value) = all.find(|(known, _)| *known == name)?;
            Some(value.parse().unwrap())
        };
        let labels = query.split('&').next().unwrap_or_default();
        assert_eq!(labels, "labelSelector=app", "{query}");
        let (start, limit) = (value("continue").unwrap_or(0), value("limit").unwrap());
        limits.lock().unwrap().push(limit);
        let end = sizes.len().min(start + limit);
        let objects = sizes[start..end].iter();
        let objects: Vec<Value> = objects
            .map(|size| json!({"text": "x".repeat(*size)}))
            .collect();
        let rest = if end < sizes.len() {
            end.to_string()
        } else {
            String::new()
        };
        let list = json!({"metadata": {"continue": rest}, "items": objects});
        list.to_string().into()
    }

    /// Reads a whole list of objects of these sizes, and returns how many were requested each time.
    async fn limits(sizes: Vec<usize>) -> Vec<usize> {
        let count = sizes.len();
        let limits: Arc<Mutex<Vec<usize>>> = Arc::default();
        let noted = Arc::clone(&limits);
        let server = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default();
            let answer = answer(&sizes, query, &noted);
            async move { Ok::<_, BoxError>(Response::new(Full::new(answer))) }
        });
        let client = kube::Client::new(server, "default");
        let connection = Connection::with_client(client, &Options::default(), None, String::new());
        let mut found = 0;
        let mut next: Option<String> = None;
        loop {
            let read = page(&connection, "/api/v1/pods", Some(LABELS), next.as_deref()).await;
            let (objects, named) = read.unwrap();
            found += objects.len();
            next = named;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(found, count);
        let limits = limits.lock().unwrap();
        limits.clone()
    }

    #[tokio::test]
    async fn a_thousand_small_objects_take_two_requests() {
        assert_eq!(limits(vec![100; 1000]).await, [500, 500]);
    }

    #[tokio::test]
    async fn fewer_are_asked_for_where_they_are_large_and_more_where_they_are_small_again() {
        let sizes = [vec![MEBIBYTE; 10], vec![100; 1000]].concat();
        let expected = [500, 125, 31, 7, 7, 7, 28, 112, 448, 500];
        assert_eq!(limits(sizes).await, expected);
    }

    #[tokio::test]
    async fn an_object_that_is_larger_than_a_page_comes_alone() {
        let sizes = vec![9 * MEBIBYTE, 100];
        assert_eq!(limits(sizes).await, [500, 125, 31, 7, 1, 1]);
    }
}
