//! The client for OCI registries: pull, resolve, inspect and list tags.

use std::{collections::BTreeMap, panic, sync::Arc};

use bytes::Bytes;
use pintle_core::digest::Digest;
use reqwest::{Method, Response, StatusCode, header::HeaderMap};
use serde::Serialize;
use tokio::{task, time};

use crate::{
    auth::Access,
    cache::{Cache, Readers},
    chart::Archive,
    component::{self, ComponentError, Interface},
    config::WasmConfig,
    credentials::Credentials,
    error::{Cause, Part, RegistryError, SetupError, Stage},
    manifest::{ACCEPT, Descriptor, FilesManifest, MAX_CONFIG, WasmManifest},
    options::Options,
    reference::{Reference, Repository},
    session::Session,
    shared::Shared,
    tags,
    transport::{Outgoing, Transport},
};

/// The header with the digest of the content that a registry returns or has accepted.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A client for OCI registries, which uses the same options for all of them. Cloning it is cheap, and clones share connections,
/// tokens and cache.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) transport: Arc<Transport>,
    pub(crate) cache: Option<Cache>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) is_urgent: bool,
}

/// What a reference currently stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The reference, bound to the digest.
    pub reference: Reference,
    /// The digest of the manifest.
    pub manifest_digest: Digest,
}

/// A component with everything that its artifact says about it. Every digest has been verified.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The reference, bound to the digest of the manifest.
    pub reference: Reference,
    /// The component.
    pub bytes: Bytes,
    /// The digest of the component.
    pub component_digest: Digest,
    /// The digest of the manifest.
    pub manifest_digest: Digest,
    /// What the publisher says about the component.
    pub config: WasmConfig,
    /// The annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// An artifact of files. Every digest has been verified.
#[derive(Debug, Clone)]
pub struct PulledArchive {
    /// The reference, bound to the digest of the manifest.
    pub reference: Reference,
    /// The digest of the manifest.
    pub manifest_digest: Digest,
    /// The archive of the files.
    pub archive: Archive,
    /// The annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// A description of an artifact, for people and scripts.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspected {
    /// The reference, bound to the digest of the manifest.
    pub reference: Reference,
    /// The digest of the manifest.
    pub manifest_digest: Digest,
    /// The digest of the component.
    pub component_digest: Digest,
    /// The size of the component, in bytes.
    pub size: u64,
    /// What the publisher says about the component.
    pub config: WasmConfig,
    /// The annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// What the component imports and exports according to itself.
    pub interface: Interface,
    /// The component's interface with all types, as WIT.
    pub wit: String,
}

impl Registry {
    /// Sets up the HTTP clients. Nothing is contacted.
    pub fn new(options: Options) -> Result<Self, SetupError> {
        Self::sharing(options, Arc::default())
    }

    /// Like [`Registry::new`], but with state that it shares with other clients.
    pub fn sharing(options: Options, shared: Arc<Shared>) -> Result<Self, SetupError> {
        Ok(Self {
            cache: options.cache.clone().map(Cache::new),
            transport: Arc::new(Transport::new(options, shared.turns.clone())?),
            shared,
            is_urgent: false,
        })
    }

    /// Returns the same client for a caller that cannot wait: it also asks hosts that want to be left alone. Otherwise, if a host
    /// has asked any caller for a pause, no caller with the same credentials asks it until the pause is over.
    #[must_use]
    pub fn urgent(&self) -> Self {
        Self {
            is_urgent: true,
            ..self.clone()
        }
    }

    /// Finds the digest of the manifest that a tag stands for, with one small request and without a download.
    ///
    /// The digest is the one that the registry states. It is not verified here: a pull of that digest verifies the content. A
    /// reference that has a digest already is resolved without any request.
    pub async fn resolve(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Resolved, RegistryError> {
        let session = self.session(reference, credentials, Access::Pull, Stage::Resolve);
        let work = async {
            let manifest_digest = match reference.digest() {
                Some(digest) => digest,
                None => self.look_up(&session).await?,
            };
            Ok(Resolved {
                reference: reference.at(manifest_digest),
                manifest_digest,
            })
        };
        self.run(&session, work).await
    }

    /// Downloads a component, or takes it from the cache, and verifies manifest, config and component against their
    /// digests and sizes.
    ///
    /// If the reference has a digest and the content is in the cache, no request is sent.
    pub async fn pull(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Pulled, RegistryError> {
        let session = self.session(reference, credentials, Access::Pull, Stage::Manifest);
        self.run(&session, self.fetch(&session)).await
    }

    /// Downloads a component, or takes it from the cache, and describes it.
    pub async fn inspect(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Inspected, RegistryError> {
        let session = self.session(reference, credentials, Access::Pull, Stage::Manifest);
        let work = async {
            let pulled = self.fetch(&session).await?;
            let bytes = pulled.bytes.clone();
            let (interface, wit) =
                caught(move || Ok((Interface::of(&bytes)?, component::wit(&bytes)?)))
                    .await
                    .unwrap_or_else(|panic| {
                        // The decoder is third-party code, and the component may come from anybody.
                        let reason = panic
                            .downcast_ref::<String>()
                            .map_or("the decoder failed", |text| text);
                        Err(ComponentError::Undecodable(reason.to_owned()))
                    })?;
            Ok(Inspected {
                reference: pulled.reference,
                manifest_digest: pulled.manifest_digest,
                component_digest: pulled.component_digest,
                size: pulled.bytes.len() as u64,
                config: pulled.config,
                annotations: pulled.annotations,
                interface,
                wit,
            })
        };
        self.run(&session, work).await
    }

    /// Lists the tags of a repository that can be versions, in the registry's order and unchanged: a `_` in a tag stands for
    /// the `+` of a version.
    pub async fn tags(
        &self,
        repository: &Repository,
        credentials: &Credentials,
    ) -> Result<Vec<String>, RegistryError> {
        let session = self.session(repository.place(), credentials, Access::Pull, Stage::Tags);
        self.run(&session, tags::list(&session)).await
    }

    /// Downloads a chart or another artifact whose one layer is an archive of files, or takes it from the cache, and
    /// verifies manifest and archive against their digests and sizes.
    ///
    /// If the reference has a digest, and the content was fetched from its repository with these credentials and is in the
    /// cache, no request is sent. Content that was fetched with other credentials, or from another repository, is not used.
    pub async fn pull_archive(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<PulledArchive, RegistryError> {
        let session = self.session(reference, credentials, Access::Pull, Stage::Manifest);
        let work = async {
            let readers = readers(reference, credentials);
            let (manifest_digest, manifest) = self.fetch_manifest(&session, readers).await?;
            let manifest = FilesManifest::read(&manifest, self.transport.options.max_archive)?;
            session.enter(Stage::Files);
            let archive = self.fetch_archive(&session, readers, &manifest).await?;
            Ok(PulledArchive {
                reference: session.reference.at(manifest_digest),
                manifest_digest,
                archive,
                annotations: manifest.annotations,
            })
        };
        self.run(&session, work).await
    }

    pub(crate) fn session<'a>(
        &'a self,
        reference: &'a Reference,
        credentials: &'a Credentials,
        access: Access,
        stage: Stage,
    ) -> Session<'a> {
        Session::new(&self.transport, reference, credentials, access, stage).urgent(self.is_urgent)
    }

    /// Runs the work of a session, with the total timeout from when the session has its turn. An error says what was being done
    /// when the work failed.
    pub(crate) async fn run<T>(
        &self,
        session: &Session<'_>,
        work: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, RegistryError> {
        let limit = self.transport.options.total_timeout;
        let end = async {
            session.begun().await;
            time::sleep(limit).await;
        };
        let result = tokio::select! {
            biased;
            result = work => result,
            () = end => Err(Cause::Timeout {
                host: session.reference.registry().to_owned(),
                total: true,
                limit,
            }),
        };
        session.end(&result);
        result.map_err(|cause| RegistryError {
            reference: session.reference.clone(),
            stage: session.stage(),
            cause,
        })
    }

    async fn look_up(&self, session: &Session<'_>) -> Result<Digest, Cause> {
        let response = self.ask_for_manifest(session, Method::HEAD).await?;
        if let Some(digest) = content_digest(response.headers()) {
            return Ok(digest);
        }
        // Registries are not required to send the header, which is only recommended.
        let (digest, _) = self.download_manifest(session).await?;
        Ok(digest)
    }

    async fn fetch(&self, session: &Session<'_>) -> Result<Pulled, Cause> {
        let options = &self.transport.options;
        // Tenants do not name components: what was fetched for an operator is for all who use the operator's plugins.
        let readers = Readers::All;
        let (manifest_digest, manifest) = self.fetch_manifest(session, readers).await?;
        let manifest = WasmManifest::read(&manifest, options.max_component)?;

        session.enter(Stage::Config);
        let config = self
            .fetch_blob(session, readers, Part::Config, &manifest.config, MAX_CONFIG)
            .await?;
        let config = read_config(&config, &manifest)?;

        session.enter(Stage::Component);
        let bytes = self
            .fetch_blob(
                session,
                readers,
                Part::Component,
                &manifest.component,
                options.max_component,
            )
            .await?;
        component::check_preamble(&bytes)?;
        Ok(Pulled {
            reference: session.reference.at(manifest_digest),
            bytes,
            component_digest: manifest.component.digest,
            manifest_digest,
            config,
            annotations: manifest.annotations,
        })
    }

    /// Downloads the manifest, or takes it from the cache, and verifies it.
    async fn fetch_manifest(
        &self,
        session: &Session<'_>,
        readers: Readers,
    ) -> Result<(Digest, Bytes), Cause> {
        session.enter(Stage::Manifest);
        let cached = match session.reference.digest() {
            Some(digest) => self
                .cached(readers, digest, self.transport.options.max_manifest)
                .await
                .map(|bytes| (digest, bytes)),
            None => None,
        };
        if let Some(found) = cached {
            Ok(found)
        } else {
            let (digest, bytes) = self.download_manifest(session).await?;
            self.keep(readers, digest, &bytes).await;
            Ok((digest, bytes))
        }
    }

    async fn ask_for_manifest(
        &self,
        session: &Session<'_>,
        method: Method,
    ) -> Result<Response, Cause> {
        let url = session
            .url(&format!("manifests/{}", session.reference.version()))
            .await?;
        let response = session
            .exchange(Outgoing {
                accept: Some(ACCEPT),
                ..Outgoing::new(method, url)
            })
            .await?;
        if response.status() != StatusCode::OK {
            let part = match session.reference.digest() {
                Some(_) => "repository, or no manifest with this digest in it",
                None => "repository or tag",
            };
            return Err(session.failure(response, part).await);
        }
        Ok(response)
    }

    async fn download_manifest(&self, session: &Session<'_>) -> Result<(Digest, Bytes), Cause> {
        let limit = self.transport.options.max_manifest;
        let response = self.ask_for_manifest(session, Method::GET).await?;
        let size = response.content_length();
        let expected = session
            .reference
            .digest()
            .or_else(|| content_digest(response.headers()));
        let taken = self.transport.take(response, limit).await?;
        if taken.more {
            return Err(Cause::TooLarge {
                part: Part::Manifest,
                limit,
                size,
            });
        }
        let got = Digest::of(&taken.bytes);
        match expected {
            Some(expected) if expected != got => Err(Cause::Digest {
                part: Part::Manifest,
                expected,
                got,
            }),
            _ => Ok((got, taken.bytes.into())),
        }
    }

    async fn fetch_blob(
        &self,
        session: &Session<'_>,
        readers: Readers,
        part: Part,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, Cause> {
        if let Some(bytes) = self.cached(readers, descriptor.digest, limit).await {
            return Ok(bytes);
        }
        let response = self.ask_for_blob(session, part, descriptor.digest).await?;
        let taken = self.transport.take(response, descriptor.size).await?;
        let got = taken.bytes.len() as u64;
        if taken.more || got != descriptor.size {
            return Err(Cause::Size {
                part,
                declared: descriptor.size,
                got,
                more: taken.more,
            });
        }
        let bytes = Bytes::from(taken.bytes);
        let got = digest_of(bytes.clone()).await;
        if got != descriptor.digest {
            return Err(Cause::Digest {
                part,
                expected: descriptor.digest,
                got,
            });
        }
        self.keep(readers, got, &bytes).await;
        Ok(bytes)
    }

    pub(crate) async fn ask_for_blob(
        &self,
        session: &Session<'_>,
        part: Part,
        digest: Digest,
    ) -> Result<Response, Cause> {
        let url = session.url(&format!("blobs/{digest}")).await?;
        let response = session.exchange(Outgoing::new(Method::GET, url)).await?;
        if response.status() != StatusCode::OK {
            let part = match part {
                Part::Config => "config",
                Part::Archive => "archive",
                _ => "component",
            };
            return Err(session.failure(response, part).await);
        }
        Ok(response)
    }

    async fn cached(&self, readers: Readers, digest: Digest, limit: u64) -> Option<Bytes> {
        let cache = self.cache.clone()?.of(readers);
        blocking(move || cache.get(digest, limit))
            .await
            .map(Bytes::from)
    }

    async fn keep(&self, readers: Readers, digest: Digest, bytes: &Bytes) {
        if let Some(cache) = self.cache.clone() {
            let cache = cache.of(readers);
            let bytes = bytes.clone();
            blocking(move || cache.put(digest, &bytes)).await;
        }
    }
}

/// Returns the readers that ask the repository of a reference with these credentials.
pub(crate) fn readers(reference: &Reference, credentials: &Credentials) -> Readers {
    let place = format!("oci://{}", Repository::from(reference));
    Readers::of(&place, credentials)
}

/// Reads the digest that a registry states, or returns `None` if there is none or it uses another algorithm.
pub(crate) fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

/// Computes the digest of what may be many megabytes on a thread where that delays no other task.
pub(crate) async fn digest_of(bytes: Bytes) -> Digest {
    blocking(move || Digest::of(&bytes)).await
}

/// Runs work that blocks, or computes for long, on a thread where it delays no other task.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    caught(work)
        .await
        .unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// Like [`blocking`], but returns a panic of the work as an `Err`.
async fn caught<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Box<dyn std::any::Any + Send>> {
    task::spawn_blocking(work)
        .await
        .map_err(tokio::task::JoinError::into_panic)
}

fn read_config(bytes: &[u8], manifest: &WasmManifest) -> Result<WasmConfig, Cause> {
    let malformed = |reason: String| Cause::Malformed {
        part: Part::Config,
        reason,
    };
    if !manifest.has_layout {
        // Before there was a layout, configs were empty or contained something else.
        return Ok(serde_json::from_slice(bytes).unwrap_or_default());
    }
    // Parsed as a map first, because a list is not a config even if its items would fit the fields.
    let config: WasmConfig = serde_json::from_slice::<serde_json::Map<_, _>>(bytes)
        .and_then(|fields| serde_json::from_value(fields.into()))
        .map_err(|error| malformed(format!("it is not a JSON config: {error}")))?;
    if !config.layer_digests.is_empty() && config.layer_digests != [manifest.component.digest] {
        return Err(malformed(
            "its `layerDigests` are not those of the manifest's layers".to_owned(),
        ));
    }
    Ok(config)
}
