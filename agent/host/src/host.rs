//! The host: its options, and how a plugin is loaded.

use std::{fmt, path::PathBuf, sync::Arc};

use bytes::Bytes;
use pintle_core::{
    application,
    digest::Digest,
    plugin::{Capability, Description, Fault, PluginError, PluginId, Stage},
};
use semver::Version;

use crate::{
    Compiler, Observer, Unobserved,
    bindings::plugin,
    call::{Caller, Places, Setup, Shared},
    capability::http::HttpClients,
    compiled::CompiledStore,
    engine::{self, Instances, Ticker},
    grants::{EffectiveGrants, GrantError, OperatorGrants},
    limits::Limits,
    plugin::Plugin,
    settings::{SCHEMA_BYTES, Schema},
    state::Together,
    wire,
    world::Unloadable,
};

/// The options of a host. The defaults suit a laptop and a small pod.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder for compiled code, created if it does not exist. Without it, every start compiles anew.
    pub cache: Option<PathBuf>,
    /// A process that compiles, used if there is a cache. Without it, this process compiles. None by default.
    pub compiler: Option<Compiler>,
    /// The maximum size in bytes of compiled code on disk. The least recently used code is deleted first. 1 GiB by default.
    pub cache_bytes: u64,
    /// The limits for plugins whose operator sets none.
    pub limits: Limits,
    /// The number of calls that may run at once, 1 to 1,024; others wait. 16 by default. One plugin, or all notifiers together,
    /// take at most half.
    ///
    /// Each call reserves 8 GiB of address space, which costs no memory.
    pub calls: u32,
    /// Whether instances come from a pool that is created first. This is right where plugins are called again and again. A
    /// process that makes only a few calls finishes sooner without. True by default.
    pub is_pooled: bool,
    /// The number of bytes of memory for all concurrent calls, including what their results take while they are read. A call that
    /// would exceed it fails and may be retried. 1 GiB by default; in a pod, choose a value well below the pod's limit.
    pub memory: u64,
    /// The certificate authorities, in PEM, that notifiers trust in addition to those of the system.
    pub authorities: Vec<Vec<u8>>,
    /// The observer of calls and compilations.
    pub observer: Arc<dyn Observer>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache: None,
            compiler: None,
            cache_bytes: 1 << 30,
            limits: Limits::default(),
            calls: 16,
            is_pooled: true,
            memory: 1 << 30,
            authorities: Vec::new(),
            observer: Arc::new(Unobserved),
        }
    }
}

impl Options {
    pub(crate) fn calls(&self) -> u32 {
        self.calls.clamp(1, 1_024)
    }

    pub(crate) fn instances(&self) -> Instances {
        if self.is_pooled {
            Instances::Pooled {
                calls: self.calls(),
            }
        } else {
            Instances::Mapped
        }
    }
}

/// The reason why a host cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The engine does not start on this machine.
    #[error("the Wasm engine does not start: {0}")]
    Engine(String),
    /// The folder for compiled code cannot be used.
    #[error("the folder {} for compiled plugins cannot be used", .path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

/// The reason why a plugin was not loaded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LoadError {
    /// The component is not one that this host can run.
    #[error("plugin `{name}` ({digest}) cannot be loaded")]
    Component {
        /// The name under which it is configured.
        name: String,
        /// The digest of the component.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        reason: Unloadable,
    },
    /// The operator's grants are malformed.
    #[error("the grants of plugin `{name}` are malformed")]
    Grants {
        /// The name under which it is configured.
        name: String,
        /// What is wrong with the grants.
        #[source]
        reason: GrantError,
    },
    /// The plugin failed to describe itself, or its description violates the contract.
    #[error(transparent)]
    Describe(#[from] PluginError),
}

impl LoadError {
    /// Returns whether the same plugin may be loaded later without any change.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Component { reason, .. } => reason.is_retryable(),
            Self::Grants { .. } => false,
            Self::Describe(error) => error.fault.is_retryable(),
        }
    }
}

/// A plugin to load.
#[derive(Debug, Clone)]
pub struct LoadRequest {
    /// The name under which it is configured.
    pub name: String,
    /// The component.
    pub component: Bytes,
    /// The digest of the component, if already known; otherwise it is computed.
    pub digest: Option<Digest>,
    /// The operator's grants.
    pub grants: application::Grants,
    /// The operator's limits.
    pub limits: application::Limits,
}

impl LoadRequest {
    /// Creates a request for a component without grants, under the host's own limits.
    pub fn new(name: impl Into<String>, component: impl Into<Bytes>) -> Self {
        Self {
            name: name.into(),
            component: component.into(),
            digest: None,
            grants: application::Grants::default(),
            limits: application::Limits::default(),
        }
    }
}

/// A host, which loads plugins and runs them. Cheap to clone: clones share everything.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
    store: Arc<CompiledStore>,
    limits: Limits,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Creates a host. This starts one thread, which sleeps while no plugin runs.
    pub fn new(options: Options) -> Result<Self, HostError> {
        let calls = options.calls();
        let engine = engine::build(&options)?;
        let store = CompiledStore::new(engine.clone(), &options)?;
        let shared = Shared {
            ticker: Ticker::start(&engine)?,
            engine,
            places: Places::new(calls),
            memory: Arc::new(Together::new(options.memory)),
            powers: Arc::default(),
            http: HttpClients::new(options.authorities),
            observer: options.observer,
        };
        Ok(Self {
            shared: Arc::new(shared),
            store: Arc::new(store),
            limits: options.limits,
        })
    }

    /// Loads a plugin: compiles it if necessary, asks it to describe itself, and determines what it may do.
    ///
    /// Compilation runs off the async threads, one component at a time, and takes about a second per few megabytes. Loading from
    /// the cache takes milliseconds, even while another component is being compiled. If the future is dropped during a
    /// compilation, the compilation still finishes, for the next caller that loads the component. A broken plugin is an error of
    /// this call and harms no other plugin.
    pub async fn load(&self, request: LoadRequest) -> Result<Plugin, LoadError> {
        let LoadRequest {
            name,
            component,
            digest,
            grants,
            limits,
        } = request;
        let granted = OperatorGrants::try_from(&grants).map_err(|reason| LoadError::Grants {
            name: name.clone(),
            reason,
        })?;
        let digest = match digest {
            Some(digest) => digest,
            None => digest_of(&component).await,
        };
        let compiled = match self.store.get(digest, component).await {
            Ok(compiled) => compiled,
            Err(reason) => {
                return Err(LoadError::Component {
                    name,
                    digest,
                    reason,
                });
            }
        };
        let mut caller = Caller {
            id: PluginId {
                name,
                digest: compiled.digest,
                kind: compiled.world.kind,
            },
            compiled,
            limits: self.limits.clone().overridden_by(&limits),
            grants: Arc::default(),
            share: self.shared.places.share(),
            shared: Arc::clone(&self.shared),
        };
        let (description, schema) = if let Some(known) = caller.compiled.description.clone() {
            let schema = Schema::known(known.settings_schema.clone());
            (known, schema)
        } else {
            let described = describe(&caller).await?;
            let stated = described.settings_schema.clone();
            let schema = Schema::compiled(stated, caller.limits.time(Stage::Describe)).await;
            let schema = schema.map_err(|fault| caller.failed(Stage::Describe, fault))?;
            self.store
                .keep_description(caller.compiled.digest, &described)
                .await;
            (described, schema)
        };
        let grants = EffectiveGrants::new(caller.id.kind, &description.requests, &granted)
            .map_err(|error| {
                let fault = Fault::Contract(error.to_string());
                caller.failed(Stage::Describe, fault)
            })?;
        caller.grants = Arc::new(grants);
        Ok(Plugin::new(caller, description, schema))
    }
}

/// Computes the digest of a component, off the async threads if it is large.
async fn digest_of(component: &Bytes) -> Digest {
    /// A size in bytes whose digest takes well under a millisecond.
    const SMALL: usize = 256 << 10;
    if component.len() <= SMALL {
        return Digest::of(component);
    }
    let bytes = component.clone();
    match tokio::task::spawn_blocking(move || Digest::of(bytes)).await {
        Ok(digest) => digest,
        // The runtime is shutting down.
        Err(_) => Digest::of(component),
    }
}

async fn describe(caller: &Caller) -> Result<Description, PluginError> {
    let compiled = Arc::clone(&caller.compiled);
    caller
        .run(
            Stage::Describe,
            Setup::default(),
            move |store| {
                Box::pin(async move {
                    let instance = compiled.instantiate_checked(store).await?;
                    instance
                        .pintle_types_plugin()
                        .call_describe(&mut *store)
                        .await
                })
            },
            |description, _| checked(description),
        )
        .await
}

/// The maximum length of a version in bytes.
const VERSION: usize = 128;

/// The maximum number of capabilities that a plugin may request, and the maximum size of each in bytes. The status lists those
/// that are not granted. The name of a host, or of an API group, has up to 253 bytes.
const REQUESTS: usize = 100;
const REQUEST: usize = 512;

/// Checks what a plugin says about itself, except for the schema, which takes longer.
fn checked(description: plugin::Description) -> Result<Description, Fault> {
    let contract = |text: String| Err(Fault::Contract(text));
    let name = description.name;
    if !is_name(&name) {
        return contract(format!(
            "its name is `{}`: expected lowercase letters, digits and inner `-`, at most 63",
            wire::text(name)
        ));
    }
    let size = description.version.len();
    if size > VERSION {
        return contract(format!(
            "its version has {size} bytes, and the limit is {VERSION}"
        ));
    }
    if let Err(error) = Version::parse(&description.version) {
        return contract(format!(
            "its version is `{}`: expected a semantic version such as 1.2.0 ({error})",
            description.version
        ));
    }
    let size = description.settings_schema.len();
    if size > SCHEMA_BYTES {
        return contract(format!(
            "its settings schema has {size} bytes, and the limit is {SCHEMA_BYTES}"
        ));
    }
    let schema = match serde_json::from_str(&description.settings_schema) {
        Ok(schema) => schema,
        Err(error) => return contract(format!("its settings schema is not JSON: {error}")),
    };
    let count = description.requests.len();
    if count > REQUESTS {
        return contract(format!(
            "it has {count} requests, and the limit is {REQUESTS}"
        ));
    }
    let sizes = description.requests.iter().map(|request| match request {
        plugin::Request::HttpHost(text) | plugin::Request::ClusterRead(text) => text.len(),
    });
    if let Some(size) = sizes.max().filter(|size| *size > REQUEST) {
        return contract(format!(
            "a request of it has {size} bytes, and the limit is {REQUEST}"
        ));
    }
    let request = |request| match request {
        plugin::Request::HttpHost(host) => Capability::HttpHost(host),
        plugin::Request::ClusterRead(kind) => Capability::ClusterRead(kind),
    };
    Ok(Description {
        name,
        version: description.version,
        summary: wire::text(description.summary),
        settings_schema: schema,
        requests: description.requests.into_iter().map(request).collect(),
    })
}

/// Returns whether a text is an RFC 1123 label.
fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(version: &str, requests: Vec<plugin::Request>) -> Result<Description, Fault> {
        checked(plugin::Description {
            name: "watchman".to_owned(),
            version: version.to_owned(),
            summary: "watches".to_owned(),
            settings_schema: "{}".to_owned(),
            requests,
        })
    }

    #[test]
    fn what_ends_in_a_status_is_bounded() {
        let version = |size: usize| format!("1.2.3+{}", "x".repeat(size - 6));
        let requests = |count: usize, size: usize| -> Vec<plugin::Request> {
            let request = |_| plugin::Request::ClusterRead("x".repeat(size));
            (0..count).map(request).collect()
        };
        let most = described(&version(VERSION), requests(REQUESTS, REQUEST)).unwrap();
        assert_eq!(most.requests.len(), REQUESTS);
        let fault = |version: &str, requests| described(version, requests).unwrap_err();
        insta::assert_snapshot!(fault(&version(VERSION + 1), Vec::new()), @"it broke the contract: its version has 129 bytes, and the limit is 128");
        insta::assert_snapshot!(fault("1.2.3", requests(101, 1)), @"it broke the contract: it has 101 requests, and the limit is 100");
        insta::assert_snapshot!(fault("1.2.3", requests(1, 513)), @"it broke the contract: a request of it has 513 bytes, and the limit is 512");
    }
}
