//! The available plugins, and where they come from.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, RwLock},
};

use bytes::Bytes;
use pintle_core::{
    application::{Grants, PluginSpec},
    plugin::Kind,
};
use pintle_host::{Host, LoadError, LoadRequest, Plugin, Settings, WrongKind};
use pintle_registry::{ParseReferenceError, Reference, RegistryError};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::remotes::{Remotes, RemotesError};

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogError {
    /// No plugin has this name.
    #[error("there is no plugin `{name}`: {}", known(.built_in, .resources.as_ref()))]
    Unknown {
        name: String,
        built_in: Vec<&'static str>,
        /// The Plugin resources, in the agent. `None` on the command line, which also accepts files and references.
        resources: Option<Vec<String>>,
    },
    /// A Plugin resource without an image is for a plugin that is built in.
    #[error("no plugin `{name}` is built in ({}): set `image`", .built_in.join(", "))]
    NotBuiltIn {
        name: String,
        built_in: Vec<&'static str>,
    },
    /// The Plugin resource is for other namespaces.
    #[error(
        "plugin `{name}` is not for applications in namespace {namespace}: `namespaces` of the Plugin does not name it"
    )]
    NotHere { name: String, namespace: String },
    /// The Plugin resource is new to the agent.
    #[error("plugin `{name}` cannot be used yet: it has not been loaded")]
    Loading { name: String },
    /// The Plugin resource is broken.
    #[error("plugin `{name}` cannot be used: {reason}")]
    Broken {
        name: String,
        reason: String,
        /// Whether the agent retries the load on its own: the spec can be read, and what it names may come back.
        is_retried: bool,
    },
    /// A file cannot be read.
    #[error("the component {path} cannot be read")]
    File {
        path: String,
        source: std::io::Error,
    },
    /// The text is neither a name nor a file nor an OCI reference.
    #[error("`{text}` is neither a built-in plugin ({}), nor a file, nor an OCI reference", .built_in.join(", "))]
    Reference {
        text: String,
        built_in: Vec<&'static str>,
        source: ParseReferenceError,
    },
    /// The registry did not deliver it.
    #[error(transparent)]
    Registry(Box<RegistryError>),
    /// The credentials for the registry are unknown.
    #[error(transparent)]
    Credentials(#[from] pintle_registry::CredentialsError),
    /// There is no client for registries.
    #[error(transparent)]
    Remotes(#[from] RemotesError),
    /// It cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It is a plugin of another kind.
    #[error(transparent)]
    Kind(#[from] WrongKind),
}

fn known(built_in: &[&str], resources: Option<&Vec<String>>) -> String {
    let built_in = built_in.join(", ");
    match resources {
        None => format!("built in are {built_in}; a file or an OCI reference is taken too"),
        Some(names) if names.is_empty() => {
            format!("built in are {built_in}, and there is no Plugin resource")
        }
        Some(names) => format!(
            "built in are {built_in}; Plugin resources are {}",
            names.join(", ")
        ),
    }
}

impl From<RegistryError> for CatalogError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}

impl CatalogError {
    /// Returns whether the same may succeed later without a change to the application.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_retryable(),
            Self::Load(error) => error.is_retryable(),
            // Nothing is wrong with it so far.
            Self::Loading { .. } => true,
            // A change to a Plugin resource starts the runs of the applications that use it, and of all that wait for a change.
            _ => false,
        }
    }
}

/// A plugin with its default settings.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) plugin: Plugin,
    pub(crate) defaults: Value,
}

impl Ready {
    /// Returns the settings for one use.
    pub(crate) fn settings(&self, of_use: &Value) -> Settings {
        Settings::merged(&self.defaults, of_use)
    }
}

/// Finds plugins.
pub(crate) struct Catalog {
    all: Arc<All>,
    /// In the agent, the namespace of the applications that it is for.
    namespace: Option<String>,
}

struct All {
    host: Host,
    remotes: Arc<Remotes>,
    /// The grants for plugins without a Plugin resource.
    grants: Grants,
    built_in: BTreeMap<&'static str, OnceCell<Plugin>>,
    /// Plugin resources by name. `None` on the command line.
    resources: Option<RwLock<BTreeMap<String, Resource>>>,
}

/// A Plugin resource, and the result of loading it.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// `None` if it cannot be read: then nobody may use the plugin.
    pub(crate) spec: Option<PluginSpec>,
    /// The loaded plugin, or why there is none.
    pub(crate) outcome: Result<Ready, Unready>,
}

/// Why a Plugin resource is not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unready {
    /// It is being tried for the first time.
    Loading,
    /// The try failed for this reason.
    Failed(String),
}

/// Returns the names of the built-in plugins.
pub(crate) fn built_in_names() -> Vec<&'static str> {
    pintle_builtin::components()
        .iter()
        .map(|component| component.name)
        .collect()
}

/// Returns the component of a built-in plugin.
pub(crate) fn built_in_bytes(name: &str) -> Result<Bytes, CatalogError> {
    let found = pintle_builtin::components()
        .iter()
        .find(|component| component.name == name);
    match found {
        Some(component) => Ok(Bytes::from_static(component.bytes)),
        None => Err(CatalogError::NotBuiltIn {
            name: name.to_owned(),
            built_in: built_in_names(),
        }),
    }
}

impl Catalog {
    /// Creates the catalog of the command line: built-in plugins, files and references.
    ///
    /// A person who runs a command is the operator, and grants what plugins ask for.
    pub(crate) fn for_commands(host: Host, remotes: Arc<Remotes>, grants: Grants) -> Arc<Self> {
        Arc::new(Self::new(host, remotes, grants, None))
    }

    /// Creates the catalog of the agent: Plugin resources, and built-in plugins where no resource has the name.
    pub(crate) fn for_agent(host: Host, remotes: Arc<Remotes>) -> Arc<Self> {
        let resources = Some(RwLock::default());
        Arc::new(Self::new(host, remotes, Grants::default(), resources))
    }

    fn new(
        host: Host,
        remotes: Arc<Remotes>,
        grants: Grants,
        resources: Option<RwLock<BTreeMap<String, Resource>>>,
    ) -> Self {
        let all = All {
            host,
            remotes,
            grants,
            built_in: cells(),
            resources,
        };
        Self {
            all: Arc::new(all),
            namespace: None,
        }
    }

    /// Returns the catalog as applications in a namespace see it.
    pub(crate) fn within(&self, namespace: &str) -> Self {
        Self {
            all: Arc::clone(&self.all),
            namespace: Some(namespace.to_owned()),
        }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.all.host
    }

    pub(crate) fn remotes(&self) -> &Remotes {
        &self.all.remotes
    }

    /// Records the result of a Plugin resource.
    pub(crate) fn put(&self, name: &str, outcome: Option<Resource>) {
        let Some(resources) = &self.all.resources else {
            return;
        };
        let mut resources = resources
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match outcome {
            Some(outcome) => resources.insert(name.to_owned(), outcome),
            None => resources.remove(name),
        };
    }

    /// Reserves the name of a Plugin resource until the resource is loaded, so that a built-in plugin of that name is not used.
    /// Until then, a plugin that was loaded with another spec stays in use. Nothing remains of another resource of the same name.
    pub(crate) fn await_load(&self, name: &str, spec: &PluginSpec, is_new: bool) {
        let known = self.resource(name);
        let is_loaded = known.is_some_and(|resource| resource.outcome.is_ok());
        if is_new || !is_loaded {
            let loading = Resource {
                spec: Some(spec.clone()),
                outcome: Err(Unready::Loading),
            };
            self.put(name, Some(loading));
        }
    }

    /// Returns the plugin that a name, a file or a reference stands for.
    pub(crate) async fn find(&self, text: &str) -> Result<Ready, CatalogError> {
        let resource = self.resource(text);
        if let Some(resource) = resource.as_ref().filter(|resource| self.may_use(resource)) {
            let outcome = resource.outcome.clone();
            let name = text.to_owned();
            return outcome.map_err(|unready| match unready {
                Unready::Loading => CatalogError::Loading { name },
                Unready::Failed(reason) => CatalogError::Broken {
                    name,
                    reason,
                    is_retried: resource.spec.is_some(),
                },
            });
        }
        if let Some(plugin) = self.built_in(text).await? {
            return Ok(Ready {
                plugin,
                defaults: Value::Null,
            });
        }
        if let (Some(_), Some(namespace)) = (&resource, &self.namespace) {
            return Err(CatalogError::NotHere {
                name: text.to_owned(),
                namespace: namespace.clone(),
            });
        }
        let component = match &self.all.resources {
            None => self.bytes(text).await?,
            Some(resources) => {
                let resources = resources
                    .read()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                let usable = resources.iter().filter(|(_, one)| self.may_use(one));
                let resources = Some(usable.map(|(name, _)| name.clone()).collect());
                return Err(CatalogError::Unknown {
                    name: text.to_owned(),
                    built_in: built_in_names(),
                    resources,
                });
            }
        };
        let plugin = self.all.host.load(self.request(text, component)).await?;
        Ok(Ready {
            plugin,
            defaults: Value::Null,
        })
    }

    /// Returns whether a name is that of a built-in plugin that nobody has loaded yet.
    pub(crate) fn is_cold(&self, name: &str) -> bool {
        let cell = self.all.built_in.get(name);
        cell.is_some_and(|cell| !cell.initialized()) && self.resource(name).is_none()
    }

    fn may_use(&self, resource: &Resource) -> bool {
        let (Some(spec), Some(namespace)) = (&resource.spec, &self.namespace) else {
            return true;
        };
        spec.is_for(namespace)
    }

    fn resource(&self, name: &str) -> Option<Resource> {
        let resources = self
            .all
            .resources
            .as_ref()?
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        resources.get(name).cloned()
    }

    fn request(&self, name: &str, component: Bytes) -> LoadRequest {
        LoadRequest {
            grants: self.all.grants.clone(),
            ..LoadRequest::new(name, component)
        }
    }

    async fn built_in(&self, name: &str) -> Result<Option<Plugin>, CatalogError> {
        let Some(component) = pintle_builtin::components()
            .iter()
            .find(|component| component.name == name)
        else {
            return Ok(None);
        };
        let cell = &self.all.built_in[component.name];
        let load = || {
            let bytes = Bytes::from_static(component.bytes);
            self.all.host.load(LoadRequest {
                digest: Some(component.digest),
                ..self.request(name, bytes)
            })
        };
        Ok(Some(cell.get_or_try_init(load).await?.clone()))
    }

    /// Returns the component that a built-in name, a file or an OCI reference stands for.
    pub(crate) async fn bytes(&self, text: &str) -> Result<Bytes, CatalogError> {
        if let Some(component) = pintle_builtin::components()
            .iter()
            .find(|component| component.name == text)
        {
            return Ok(Bytes::from_static(component.bytes));
        }
        let is_file = Path::new(text).is_file();
        let looks_like_file = text.starts_with(['.', '/'])
            || Path::new(text)
                .extension()
                .is_some_and(|extension| extension == "wasm");
        if is_file || looks_like_file {
            let bytes = tokio::fs::read(text).await;
            return bytes.map(Bytes::from).map_err(|source| CatalogError::File {
                path: text.to_owned(),
                source,
            });
        }
        if !text.contains(['/', ':']) {
            return Err(CatalogError::Unknown {
                name: text.to_owned(),
                built_in: built_in_names(),
                resources: None,
            });
        }
        let reference: Reference = text.parse().map_err(|source| {
            let built_in = built_in_names();
            CatalogError::Reference {
                text: text.to_owned(),
                built_in,
                source,
            }
        })?;
        let credentials = self.all.remotes.keychain().await?.find(&reference).await?;
        let registry = self.all.remotes.registry().await?;
        Ok(registry.pull(&reference, &credentials).await?.bytes)
    }

    /// Returns the built-in renderers, which can say whether a folder is theirs.
    pub(crate) async fn detectable(&self) -> Result<Vec<Ready>, CatalogError> {
        let mut found = Vec::new();
        let renderers = pintle_builtin::components()
            .iter()
            .filter(|one| one.kind == Kind::Renderer);
        for component in renderers {
            found.push(self.find(component.name).await?);
        }
        Ok(found)
    }
}

fn cells() -> BTreeMap<&'static str, OnceCell<Plugin>> {
    built_in_names()
        .into_iter()
        .map(|name| (name, OnceCell::new()))
        .collect()
}

#[cfg(test)]
mod tests {
    use pintle_core::{
        digest::Digest,
        plugin::{Fault, PluginError, PluginId, Stage},
        readset::ReadSet,
    };
    use pintle_host::{Options, Unloadable};

    use super::*;
    use crate::cli::args::RegistryArgs;

    fn spec(text: &str) -> PluginSpec {
        serde_json::from_str(text).unwrap()
    }

    #[tokio::test]
    async fn a_plugin_that_is_not_loaded_yet_is_not_the_built_in_one_of_its_name() {
        let host = Host::new(Options {
            is_pooled: false,
            ..Options::default()
        });
        let args = RegistryArgs {
            registry_ca: None,
            plain_http: Vec::new(),
        };
        let catalog = Catalog::for_agent(host.unwrap(), Remotes::of_user(args, None));
        let ours = spec(r#"{"namespaces": ["shop"]}"#);
        catalog.await_load("guardrails", &ours, true);
        assert!(!catalog.is_cold("guardrails"));
        let error = catalog.within("shop").find("guardrails").await.unwrap_err();
        assert!(error.is_retryable());
        insta::assert_snapshot!(error, @"plugin `guardrails` cannot be used yet: it has not been loaded");

        // A plugin that failed is tried again with another spec.
        let failed = Resource {
            spec: Some(ours.clone()),
            outcome: Err(Unready::Failed("connection refused".to_owned())),
        };
        catalog.put("guardrails", Some(failed));
        let error = catalog.find("guardrails").await.unwrap_err();
        assert!(!error.is_retryable());
        insta::assert_snapshot!(error, @"plugin `guardrails` cannot be used: connection refused");
        catalog.await_load("guardrails", &ours, false);
        let error = catalog.find("guardrails").await.unwrap_err();
        assert!(matches!(error, CatalogError::Loading { .. }), "{error}");
    }

    #[test]
    fn what_may_load_later_is_tried_again() {
        let described = |fault: Fault| {
            CatalogError::Load(LoadError::Describe(PluginError {
                plugin: Box::new(PluginId {
                    name: "helm".to_owned(),
                    digest: Digest::of(""),
                    kind: Kind::Renderer,
                }),
                stage: Stage::Describe,
                fault,
                looked_up: ReadSet::default(),
            }))
        };
        let component = |reason: Unloadable| {
            CatalogError::Load(LoadError::Component {
                name: "helm".to_owned(),
                digest: Digest::of(""),
                reason,
            })
        };
        let away = Fault::Unavailable {
            reason: "too many instances of plugins are running".to_owned(),
            retry_after: None,
        };
        assert!(described(away).is_retryable());
        assert!(component(Unloadable::Interrupted).is_retryable());
        assert!(component(Unloadable::Unfinished("exit status: 1".to_owned())).is_retryable());
        assert!(!described(Fault::Trap("unreachable".to_owned())).is_retryable());
        assert!(!component(Unloadable::Compile("signal: 11".to_owned())).is_retryable());
    }
}
