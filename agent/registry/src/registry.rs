//! Pull, push, resolve and inspect.

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

/// Header in which a registry says the digest of what it gives or took.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// OCI registries, spoken to with the same options. Cloning it is cheap and shares connections, tokens and cache.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) transport: Arc<Transport>,
    pub(crate) cache: Option<Cache>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) is_urgent: bool,
}

/// What a reference stands for at this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The reference, bound to the digest.
    pub reference: Reference,
    /// Digest of the manifest.
    pub manifest_digest: Digest,
}

/// A component with all that its artifact says about it. Every digest has been verified.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The reference, bound to the digest of the manifest.
    pub reference: Reference,
    /// The component.
    pub bytes: Bytes,
    /// Digest of the component.
    pub component_digest: Digest,
    /// Digest of the manifest.
    pub manifest_digest: Digest,
    /// What the publisher says of the component.
    pub config: WasmConfig,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// An artifact of files. Every digest has been verified.
#[derive(Debug, Clone)]
pub struct PulledArchive {
    /// The reference, bound to the digest of the manifest.
    pub reference: Reference,
    /// Digest of the manifest.
    pub manifest_digest: Digest,
    /// The files, packed.
    pub archive: Archive,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// What is to be known of an artifact, for people and scripts.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspected {
    /// The reference, bound to the digest of the manifest.
    pub reference: Reference,
    /// Digest of the manifest.
    pub manifest_digest: Digest,
    /// Digest of the component.
    pub component_digest: Digest,
    /// Size of the component, in bytes.
    pub size: u64,
    /// What the publisher says of the component.
    pub config: WasmConfig,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// What the component itself says that it imports and exports.
    pub interface: Interface,
    /// Its interface with all types, as WIT.
    pub wit: String,
}

impl Registry {
    /// Sets up clients. Nothing is contacted.
    pub fn new(options: Options) -> Result<Self, SetupError> {
        Self::sharing(options, Arc::default())
    }

    /// Like [`Registry::new`], with what others use too.
    pub fn sharing(options: Options, shared: Arc<Shared>) -> Result<Self, SetupError> {
        Ok(Self {
            cache: options.cache.clone().map(Cache::new),
            transport: Arc::new(Transport::new(options, shared.turns.clone())?),
            shared,
            is_urgent: false,
        })
    }

    /// Returns the same for somebody who wants it now: it asks hosts that want to be left alone, too. Otherwise nobody asks one
    /// until the pause is over for which it has asked anybody with the same credentials.
    #[must_use]
    pub fn urgent(&self) -> Self {
        Self {
            is_urgent: true,
            ..self.clone()
        }
    }

    /// Finds the digest of the manifest that a tag stands for, with one small request and without downloading.
    ///
    /// The registry's word is taken for it: the pull of that digest verifies the content. A reference with a digest is
    /// its own answer, and nobody is asked.
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
    /// For a reference with a digest whose content is in the cache nobody is asked.
    pub async fn pull(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Pulled, RegistryError> {
        let session = self.session(reference, credentials, Access::Pull, Stage::Manifest);
        self.run(&session, self.fetch(&session)).await
    }

    /// Downloads a component and says all that is to be known of it.
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
                        // The decoder is not ours, and the component is anybody's.
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

    /// Lists the tags of a repository that can be versions, in the registry's order and as they are: `_` in one stands for
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
    /// For a reference with a digest whose content was fetched from its repository with these credentials, and is in the
    /// cache, nobody is asked. What others have fetched is not given out.
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

    /// Bounds the whole from when it is its turn, and says what was being done when it failed.
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
        // The header is only recommended.
        let (digest, _) = self.download_manifest(session).await?;
        Ok(digest)
    }

    async fn fetch(&self, session: &Session<'_>) -> Result<Pulled, Cause> {
        let options = &self.transport.options;
        // Tenants name no components: what was fetched for an operator is for all who use his plugins.
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

/// Is who asks the repository of a reference with some credentials.
pub(crate) fn readers(reference: &Reference, credentials: &Credentials) -> Readers {
    let place = format!("oci://{}", Repository::from(reference));
    Readers::of(&place, credentials)
}

/// Reads the digest that a registry says. One by another algorithm says nothing here.
pub(crate) fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

/// Digests what may be many megabytes where that holds up nobody else.
pub(crate) async fn digest_of(bytes: Bytes) -> Digest {
    blocking(move || Digest::of(&bytes)).await
}

/// Runs what blocks, or computes for long, where that holds up nobody else.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    caught(work)
        .await
        .unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// Runs what computes for long as [`blocking`] does, and may panic: that is its `Err`.
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
        // Before there was a layout, configs were empty or held something else.
        return Ok(serde_json::from_slice(bytes).unwrap_or_default());
    }
    // By way of a map, because a list is no config even if its items would do for the fields.
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
