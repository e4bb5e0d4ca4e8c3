//! The requests that clients sent to the API server, from the server's own audit log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::control_plane::ControlPlane;

/// One request to the API server from any client except the control plane itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiRequest {
    /// The Kubernetes verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, ...
    pub verb: String,
    /// The user who sent it, such as `system:serviceaccount:pintle-system:pintle`.
    pub user: String,
    /// The user that the sender impersonated.
    pub impersonated: Option<String>,
    /// The user agent that the client reported.
    pub user_agent: String,
    /// The path and the query.
    pub uri: String,
    /// The plural name of the resource, such as `deployments`. Empty for paths such as `/version`.
    pub resource: String,
    /// The subresource, such as `status`. Empty if there is none.
    pub subresource: String,
    /// The namespace. Empty if there is none.
    pub namespace: String,
    /// The name of the object. Empty for lists and for some creations.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
}

impl ApiRequest {
    /// Returns whether the request was meant to change something, dry runs included.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// Counts requests by verb.
pub fn by_verb<'a>(requests: impl IntoIterator<Item = &'a ApiRequest>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts.entry(request.verb.clone()).or_default() += 1;
    }
    counts
}

impl ControlPlane {
    /// Marks the current position, for [`ControlPlane::requests_since`]. A partially written line belongs to a request that has
    /// no answer yet, so it comes after the mark.
    pub fn requests_mark(&self) -> Result<u64> {
        let path = self.dir().join("audit.log");
        match fs::read(&path) {
            Ok(log) => Ok(whole(&log).len() as u64),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!(
                    "{} does not exist: start the control plane with `audit`",
                    path.display()
                )
            }
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Returns the requests answered since the mark, in order. A watch counts when it begins.
    ///
    /// The API server writes its log before the end of an answer, so a client that has an answer finds its request here.
    pub fn requests_since(&self, mark: u64) -> Result<Vec<ApiRequest>> {
        let path = self.dir().join("audit.log");
        let mut log = Vec::new();
        let mut file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        let metadata = file.metadata();
        let length = metadata.with_context(|| format!("look at {}", path.display()))?;
        // In a different file, none of the requests would be found.
        if length.len() < mark {
            bail!("{} is shorter than when it was marked", path.display());
        }
        file.seek(SeekFrom::Start(mark))
            .and_then(|_| file.read_to_end(&mut log))
            .with_context(|| format!("read {}", path.display()))?;
        parse(&log)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

/// Returns the complete lines. The last line may be partially written.
fn whole(log: &[u8]) -> &[u8] {
    let end = log.iter().rposition(|byte| *byte == b'\n');
    end.map_or(&[], |end| &log[..=end])
}

fn parse(log: &[u8]) -> Result<Vec<ApiRequest>> {
    let text = str::from_utf8(whole(log)).context("the audit log is not UTF-8")?;
    let mut requests = Vec::new();
    for line in text.lines() {
        let event: Event =
            serde_json::from_str(line).with_context(|| format!("parse the audit event {line}"))?;
        // A watch has two events, one when it begins and one when it ends. Everything else has one event, or "Panic".
        if (event.stage == "ResponseStarted") != (event.verb == "watch") {
            continue;
        }
        let object = event.object_ref.unwrap_or_default();
        requests.push(ApiRequest {
            verb: event.verb,
            user: event.user.username,
            impersonated: event.impersonated_user.map(|user| user.username),
            user_agent: event.user_agent,
            uri: event.request_uri,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            code: event.response_status.map_or(0, |status| status.code),
        });
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &str = concat!(
        r#"{"stage":"ResponseStarted","requestURI":"/api/v1/pods?watch=1","verb":"watch","user":{"username":"a"},"objectRef":{"resource":"pods"},"responseStatus":{"code":200}}"#,
        "\n",
        r#"{"stage":"ResponseComplete","requestURI":"/api/v1/pods?watch=1","verb":"watch","user":{"username":"a"},"responseStatus":{"code":200}}"#,
        "\n",
        r#"{"stage":"ResponseComplete","requestURI":"/apis/apps/v1/namespaces/n/deployments/d?dryRun=All","verb":"patch","user":{"username":"a"},"impersonatedUser":{"username":"b"},"userAgent":"pintle/1","objectRef":{"resource":"deployments","namespace":"n","name":"d","subresource":"status"},"responseStatus":{"code":409}}"#,
        "\n",
        r#"{"stage":"ResponseComplete","requestURI":"/ver"#,
    );

    #[test]
    fn each_request_counts_once_and_a_half_written_line_not_yet() {
        let requests = parse(EVENTS.as_bytes()).unwrap();
        assert_eq!(
            by_verb(&requests),
            BTreeMap::from([("patch".to_owned(), 1), ("watch".to_owned(), 1)])
        );
        let patch = &requests[1];
        assert!(patch.is_write() && !requests[0].is_write());
        assert_eq!(
            (patch.user.as_str(), patch.impersonated.as_deref()),
            ("a", Some("b"))
        );
        assert_eq!(
            (patch.resource.as_str(), patch.name.as_str(), patch.code),
            ("deployments", "d", 409)
        );
    }
    #[test]
    fn a_mark_is_where_a_line_begins() {
        assert_eq!(whole(b"{}\n{}\n{\"sta"), b"{}\n{}\n");
        assert_eq!(whole(b"{\"sta"), b"");
    }
}
