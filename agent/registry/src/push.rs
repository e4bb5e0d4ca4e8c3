//! Pushing components.

use std::collections::BTreeMap;

use bytes::Bytes;
use pintle_core::digest::Digest;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use url::Url;

use crate::{
    auth::Access,
    component::Interface,
    config::WasmConfig,
    credentials::Credentials,
    error::{Cause, Part, RegistryError, Stage},
    manifest::{MANIFEST, Manifest},
    reference::Reference,
    registry::{Registry, blocking, content_digest, digest_of},
    session::{Session, location},
    transport::{Outgoing, host_of},
};

/// What to say about a component beyond what it says itself. The fields become the annotations of the OCI image specification,
/// `org.opencontainers.image.…`.
///
/// Nothing depends on the time, the machine or the person unless it is given here: the same component with the same metadata
/// has the same digest, wherever and whenever it is pushed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// A name for people.
    pub title: Option<String>,
    /// The version of the component.
    pub version: Option<String>,
    /// A description in one sentence.
    pub description: Option<String>,
    /// The URL of the source code.
    pub source: Option<String>,
    /// The licence, as an SPDX expression.
    pub licenses: Option<String>,
    /// Who made it.
    pub authors: Option<String>,
    /// When it was made. Without it, the config says 1970 and the annotations say nothing.
    pub created: Option<jiff::Timestamp>,
    /// Further annotations. The fields above take precedence over them.
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    fn to_annotations(&self) -> BTreeMap<String, String> {
        let mut annotations = self.annotations.clone();
        let created = self.created.map(|at| at.to_string());
        for (name, value) in [
            ("title", &self.title),
            ("version", &self.version),
            ("description", &self.description),
            ("source", &self.source),
            ("licenses", &self.licenses),
            ("authors", &self.authors),
            ("created", &created),
        ] {
            if let Some(value) = value {
                annotations.insert(format!("org.opencontainers.image.{name}"), value.clone());
            }
        }
        annotations
    }
}

/// The result of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pushed {
    /// The reference, bound to the digest of the manifest. This is what others should pull.
    pub reference: Reference,
    /// The digest of the manifest.
    pub manifest_digest: Digest,
    /// The digest of the component.
    pub component_digest: Digest,
    /// The size of the component, in bytes.
    pub size: u64,
}

impl Registry {
    /// Uploads a component, and finally the manifest that makes it visible under the tag, the digest, or both.
    ///
    /// A blob that the registry already has is not uploaded again. If the reference has a digest, the manifest must have that
    /// digest, which is checked before anything is sent.
    pub async fn push(
        &self,
        reference: &Reference,
        bytes: Bytes,
        metadata: &Metadata,
        credentials: &Credentials,
    ) -> Result<Pushed, RegistryError> {
        let session = self.session(reference, credentials, Access::Push, Stage::Check);
        self.run(&session, self.upload(&session, bytes, metadata))
            .await
    }

    async fn upload(
        &self,
        session: &Session<'_>,
        bytes: Bytes,
        metadata: &Metadata,
    ) -> Result<Pushed, Cause> {
        let size = bytes.len() as u64;
        let limit = self.transport.options.max_component;
        if size > limit {
            return Err(Cause::TooLarge {
                part: Part::Component,
                limit,
                size: Some(size),
            });
        }
        let component = bytes.clone();
        let interface = blocking(move || Interface::of(&component)).await?;
        let component_digest = digest_of(bytes.clone()).await;
        let config = WasmConfig::describe(
            component_digest,
            &interface,
            metadata.created,
            metadata.authors.clone(),
        );
        let config = json(&config);
        let manifest = json(&Manifest::new(
            &config,
            component_digest,
            size,
            metadata.to_annotations(),
        ));
        let manifest_digest = Digest::of(&manifest);
        if let Some(expected) = session.reference.digest()
            && expected != manifest_digest
        {
            return Err(Cause::OtherContent {
                expected,
                got: manifest_digest,
            });
        }

        session.enter(Stage::UploadComponent);
        upload_blob(session, component_digest, bytes).await?;
        session.enter(Stage::UploadConfig);
        upload_blob(session, Digest::of(&config), config).await?;
        session.enter(Stage::UploadManifest);
        upload_manifest(session, manifest_digest, manifest).await?;
        Ok(Pushed {
            reference: session.reference.at(manifest_digest),
            manifest_digest,
            component_digest,
            size,
        })
    }
}

/// Serializes a value so that equal values always give the same bytes: fields are in the order of their declaration, and maps
/// are sorted by key.
fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("the types have text keys only and serialise without failing")
        .into()
}

async fn upload_blob(session: &Session<'_>, digest: Digest, bytes: Bytes) -> Result<(), Cause> {
    let there = session.url(&format!("blobs/{digest}")).await?;
    // Whatever else the registry answers, the upload reveals more.
    if session
        .exchange(Outgoing::new(Method::HEAD, there))
        .await?
        .status()
        == StatusCode::OK
    {
        return Ok(());
    }
    let start = session.url("blobs/uploads/").await?;
    let response = session.exchange(Outgoing::new(Method::POST, start)).await?;
    if response.status() != StatusCode::ACCEPTED {
        return Err(session.failure(response, "repository").await);
    }
    let mut url = secured(response.url(), location(&response)?);
    session.check_target(&url).await?;
    url.query_pairs_mut()
        .append_pair("digest", &digest.to_string());
    let response = session
        .exchange(Outgoing {
            content: Some(("application/octet-stream", bytes)),
            ..Outgoing::new(Method::PUT, url)
        })
        .await?;
    if response.status().is_success() {
        Ok(())
    } else {
        Err(session.failure(response, "upload").await)
    }
}

async fn upload_manifest(
    session: &Session<'_>,
    digest: Digest,
    manifest: Bytes,
) -> Result<(), Cause> {
    let name = session
        .reference
        .tag()
        .map_or_else(|| digest.to_string(), str::to_owned);
    let url = session.url(&format!("manifests/{name}")).await?;
    let response = session
        .exchange(Outgoing {
            content: Some((MANIFEST, manifest)),
            ..Outgoing::new(Method::PUT, url)
        })
        .await?;
    if !response.status().is_success() {
        return Err(session.failure(response, "repository").await);
    }
    match content_digest(response.headers()) {
        Some(got) if got != digest => Err(Cause::Protocol {
            host: host_of(response.url()),
            reason: format!("it stored the manifest {digest} as {got}"),
        }),
        _ => Ok(()),
    }
}

/// Changes a URL on the same host back to https. Registries behind a proxy that terminates TLS often do not know of that.
fn secured(from: &Url, mut to: Url) -> Url {
    if from.scheme() == "https"
        && to.scheme() == "http"
        && from.host() == to.host()
        && to.port().is_none()
    {
        // Neither call fails for URLs that have a host.
        let _ = to.set_scheme("https");
        let _ = to.set_port(from.port());
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_stays_on_https() {
        let url = |text: &str| Url::parse(text).unwrap();
        for (from, to, expected) in [
            ("https://r/v2/", "http://r/v2/u", "https://r/v2/u"),
            ("https://r:8443/v2/", "http://r/v2/u", "https://r:8443/v2/u"),
            ("https://r/v2/", "http://other/v2/u", "http://other/v2/u"),
            ("https://r/v2/", "http://r:81/v2/u", "http://r:81/v2/u"),
            ("http://r/v2/", "http://r/v2/u", "http://r/v2/u"),
        ] {
            assert_eq!(secured(&url(from), url(to)), url(expected));
        }
    }

    #[test]
    fn metadata_becomes_annotations() {
        let metadata = Metadata {
            title: Some("manifests".into()),
            created: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            annotations: BTreeMap::from([
                ("org.opencontainers.image.title".into(), "other".into()),
                ("com.example/x".into(), "y".into()),
            ]),
            ..Metadata::default()
        };
        insta::assert_yaml_snapshot!(metadata.to_annotations(), @r#"
        com.example/x: y
        org.opencontainers.image.created: "2026-01-02T03:04:05Z"
        org.opencontainers.image.title: manifests
        "#);
    }
}
