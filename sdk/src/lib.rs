//! Write Pintle plugins: one trait per kind, one macro to export it.
//!
//! A plugin is a type that implements [`Plugin`] and the trait of its kind: [`Renderer`], [`Policy`], [`Health`] or
//! [`Notifier`]. The kind's macro turns it into a WebAssembly component. On every other target the macro exports
//! nothing, so the crate is also a normal Rust library whose logic [`testing`] runs natively.
//!
//! ```
//! use pintle_sdk::{Context, Failure, Plugin, RenderedObject, Renderer, Rendering, Tree, schemars::JsonSchema};
//! use serde::Deserialize;
//! use serde_json::json;
//!
//! struct Motd;
//!
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     /// The file whose text becomes the message.
//!     #[serde(default = "default_file")]
//!     file: String,
//! }
//!
//! fn default_file() -> String {
//!     "motd.txt".to_owned()
//! }
//!
//! impl Plugin for Motd {
//!     const NAME: &'static str = "motd";
//!     const VERSION: &'static str = "1.0.0";
//!     const SUMMARY: &'static str = "a ConfigMap with the message of the day";
//!     type Settings = Settings;
//! }
//!
//! impl Renderer for Motd {
//!     fn detect(folder: &dyn Tree) -> bool {
//!         folder.stat("motd.txt").is_some_and(|entry| entry.is_file())
//!     }
//!
//!     fn render(
//!         settings: &Settings,
//!         folder: &dyn Tree,
//!         _inputs: &[&dyn Tree],
//!         context: &dyn Context,
//!     ) -> Result<Rendering, Failure> {
//!         let bytes = folder.read(&settings.file).map_err(|error| error.at(&settings.file))?;
//!         let manifest = json!({
//!             "apiVersion": "v1",
//!             "kind": "ConfigMap",
//!             "metadata": {"name": context.name(), "namespace": context.namespace()},
//!             "data": {"motd": String::from_utf8_lossy(&bytes)},
//!         });
//!         Ok(Rendering { objects: vec![RenderedObject::new(manifest)], ..Rendering::default() })
//!     }
//! }
//!
//! pintle_sdk::export_renderer!(Motd);
//! # fn main() {}
//! ```
#![deny(missing_docs)]

pub mod context;
mod export;
pub mod glob;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod glue;
pub mod health;
pub mod hook;
pub mod http;
pub mod log;
pub mod manifest;
pub mod notifier;
pub mod object;
pub mod plan;
pub mod plugin;
pub mod policy;
pub mod problem;
pub mod renderer;
mod settings;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod tree;

#[doc(inline)]
pub use context::{Cluster, Context};
#[doc(inline)]
pub use health::{Assessment, GroupKind, Health, Status};
#[doc(inline)]
pub use hook::{Hook, HookDeletion, HookEvent, HookOutcome};
#[doc(inline)]
pub use http::{Http, HttpError, HttpRequest, HttpResponse};
#[doc(inline)]
pub use manifest::Manifest;

pub use notifier::{Event, Notifier};
#[doc(inline)]
pub use object::ObjectId;
#[doc(inline)]
pub use plan::{Action, Change, Difference, Plan};
#[doc(inline)]
pub use plugin::{Plugin, Request};
#[doc(inline)]
pub use policy::{Finding, Policy};
#[doc(inline)]
pub use problem::{Failure, Position, Problem};
#[doc(inline)]
pub use renderer::{Chart, Remote, RenderedObject, Renderer, Rendering, Source};
/// The version of schemars from which settings derive `JsonSchema`.
pub use schemars;
#[doc(inline)]
pub use tree::{Entry, EntryKind, ReadError, Tree};

/// A JSON document.
pub type Json = serde_json::Value;
