//! Runs plugins: Wasm components with grants, limits and a compiled-code cache.
//!
//! ```no_run
//! # async fn example(bytes: Vec<u8>, tree: std::sync::Arc<dyn pintle_core::tree::Tree>, seed: pintle_core::seed::Seed)
//! #     -> Result<(), Box<dyn std::error::Error>> {
//! use pintle_host::{Context, Host, LoadRequest, Options, RenderRequest, Settings};
//!
//! let host = Host::new(Options::default())?;
//! let renderer = host.load(LoadRequest::new("manifests", bytes)).await?.renderer()?;
//! let settings = Settings::merged(&serde_json::json!({}), &serde_json::json!({"recursive": true}));
//! let problems = renderer.plugin().validate(&settings).await?;
//! assert!(problems.is_empty());
//! let request = RenderRequest {
//!     settings,
//!     tree,
//!     inputs: Vec::new(),
//!     prior: Default::default(),
//!     context: Context::default(),
//!     seed,
//!     cluster: None,
//! };
//! let rendering = renderer.render(request).await?;
//! println!("{} objects from {} reads", rendering.objects.len(), rendering.reads.len());
//! # Ok(())
//! # }
//! ```
//!
//! - [`Host::load`] returns a [`Plugin`], which knows what it is ([`Plugin::id`], [`Plugin::description`]), what it may do
//!   ([`Plugin::grants`]) and whether settings are valid ([`Plugin::validate`]).
//! - [`Plugin::renderer`], [`Plugin::policy`], [`Plugin::health`] and [`Plugin::notifier`] return the handle for its kind.
//! - Every call runs in its own store under [`Limits`]. A failed call is a [`PluginError`] that names the plugin, digest, kind
//!   and stage, and whose [`Fault`] distinguishes a refusal, a crash, an exceeded limit, an outage and a broken contract.
//! - [`Observer`] is notified of every call and compilation, for metrics.
//!
//! All types of this interface are our own: nothing here shows which engine runs the components.
//!
//! [`PluginError`]: pintle_core::plugin::PluginError
//! [`Fault`]: pintle_core::plugin::Fault
#![deny(missing_docs)]

mod bindings;
mod call;
mod capability;
mod compiled;
mod compiler;
mod disk;
mod engine;
mod fault;
mod grants;
mod health;
mod host;
mod limits;
mod notifier;
mod observe;
mod plugin;
mod policy;
mod renderer;
mod settings;
mod state;
mod wasi;
mod wire;
mod world;

pub use self::{
    capability::{
        cluster::{ClusterError, ClusterQuestion, ClusterReader, Page},
        context::{Context, Facts},
        http::{Secrets, SecretsError},
    },
    compiler::{CompileError, Compiler, REFUSED, UNWRITTEN, compile},
    grants::{EffectiveGrants, GrantError},
    health::{Health, HealthRequest},
    host::{Host, HostError, LoadError, LoadRequest, Options},
    limits::{LOG_KEPT, Limits},
    notifier::Notifier,
    observe::{CodeFrom, Observer, Unobserved},
    plugin::{Plugin, WrongKind},
    policy::{Policy, PolicyRequest},
    renderer::{Input, RenderRequest, Renderer, Rendering, Source},
    settings::Settings,
    world::{Names, Unloadable},
};
